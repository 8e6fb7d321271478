"""Reading the configuration of a running server again.

Everything is read and checked first; what is wrong with it is an error, and nothing changes. Then each key that differs is applied
as its line in `HOW` says. Nobody who is connected notices: sessions, proxies and users go on with what they began with, unless a line
says otherwise. Keys without a way to apply them keep the value of the start, and are named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import trio

from frp_py import log as logs
from frp_py.config.base import Section
from frp_py.errors import ConfigError, FrpError
from frp_py.net.token import token_of
from frp_py.net.transports import tls

if TYPE_CHECKING:
    import ssl

    from frp_py.config.common import LogConfig
    from frp_py.config.server import ServerConfig
    from frp_py.server.app import Server

log = logs.get_logger()

Apply = Callable[["Server"], None]


class Reloaded(NamedTuple):
    """What a reload has done: the keys that are in effect now, and those that need a restart."""

    applied: list[str]
    restart: list[str]


def _looked_up(server: Server) -> None:
    """It is read from `server.config` by whoever needs it, for what begins from now on."""


def _ports(server: Server) -> None:
    for book in (server.tcp_ports, server.udp_ports):
        book.allow(server.config.allow_ports)


def _keepalive(server: Server) -> None:
    server.client_port.keep_alive(server.config.transport.tcp_keepalive)


def _user_waits(server: Server) -> None:
    server.user_waits.change(server.config.user_conn_timeout)


def _http(server: Server) -> None:
    if server.http is not None:
        server.http.configure(server.config)


def _tcpmux(server: Server) -> None:
    if server.tcpmux is not None:
        server.tcpmux.passthrough = server.config.tcpmux_passthrough


def _lobby(server: Server) -> None:
    lobby, config = server.lobby, server.config
    lobby.limit, lobby.of_one_network = config.max_unauthenticated, config.max_unauthenticated_per_source


def _penalties(server: Server) -> None:
    penalties = server.config.source_penalties
    server.penalties.configure(penalties.longest, penalties.exempt)


def _history(server: Server) -> None:
    if server.web is not None:
        server.web.history.configure(server.config.statistics)


def _log(server: Server) -> None:
    logs.setup(server.config.log)


def _watch(server: Server) -> None:
    server.watch_again()


_RESTART = None
HOW: dict[str, Apply | None] = {
    "version": _looked_up,
    "auth.method": _RESTART,
    "auth.additionalScopes": _looked_up,
    "auth.token": _looked_up,  # as Server.token, which `reload` sets
    "auth.tokenSource": _looked_up,
    "auth.oidc.issuer": _RESTART,
    "auth.oidc.audience": _RESTART,
    "auth.oidc.skipExpiryCheck": _RESTART,
    "auth.oidc.skipIssuerCheck": _RESTART,
    "bindAddr": _RESTART,
    "bindPort": _RESTART,
    "kcpBindPort": _RESTART,
    "quicBindPort": _RESTART,
    "proxyBindAddr": _RESTART,
    "vhostHTTPPort": _RESTART,
    "vhostHTTPTimeout": _http,
    "vhostHTTPSPort": _RESTART,
    "tcpmuxHTTPConnectPort": _RESTART,
    "tcpmuxPassthrough": _tcpmux,
    "subDomainHost": _looked_up,
    "custom404Page": _http,
    "sshTunnelGateway.bindPort": _RESTART,
    "sshTunnelGateway.privateKeyFile": _RESTART,
    "sshTunnelGateway.autoGenPrivateKeyPath": _RESTART,
    "sshTunnelGateway.authorizedKeysFile": _RESTART,
    "webServer.addr": _RESTART,
    "webServer.port": _RESTART,
    "webServer.user": _looked_up,  # all of them by WebService.renew, which `reload` calls because it can fail
    "webServer.password": _looked_up,
    "webServer.assetsDir": _looked_up,
    "webServer.pprofEnable": _looked_up,
    "webServer.tls": _looked_up,
    "enablePrometheus": _looked_up,
    "log.to": _log,
    "log.level": _log,
    "log.maxDays": _log,
    "log.disablePrintColor": _log,
    "transport.tcpMux": _RESTART,
    "transport.tcpMuxKeepaliveInterval": _looked_up,
    "transport.tcpKeepalive": _keepalive,
    "transport.maxPoolCount": _looked_up,
    "transport.heartbeatTimeout": _looked_up,
    "transport.quic.keepalivePeriod": _RESTART,
    "transport.quic.maxIdleTimeout": _RESTART,
    "transport.quic.maxIncomingStreams": _RESTART,
    "transport.tls.certFile": _looked_up,  # the context is made by `reload`, because that can fail
    "transport.tls.keyFile": _looked_up,
    "transport.tls.trustedCaFile": _looked_up,
    "transport.tls.serverName": _looked_up,
    "transport.tls.force": _looked_up,
    "detailedErrorsToClient": _looked_up,
    "maxPortsPerClient": _looked_up,
    "maxProxiesPerClient": _looked_up,
    "maxUsersPerClient": _looked_up,
    "maxStreamsPerClient": _looked_up,
    "maxUnauthenticated": _lobby,
    "maxUnauthenticatedPerSource": _lobby,
    "bandwidthLimitPerClient": _looked_up,
    "sourcePenalties.longest": _penalties,
    "sourcePenalties.exempt": _penalties,
    "statistics.path": _RESTART,
    "statistics.keepHours": _history,
    "statistics.keepDays": _history,
    "userConnTimeout": _user_waits,
    "udpPacketSize": _looked_up,
    "natholeAnalysisDataReserveHours": _looked_up,
    "allowPorts": _ports,
    "httpPlugins": _RESTART,
    "watchConfig": _watch,
}
"""How a change of each key is applied, once for each way; None: by a restart."""

_FOLLOWS = {"transport.heartbeatTimeout": "transport.tcpMux"}
"""Keys whose default follows from another one's value: when that needs a restart, so do they."""


def keys_of(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a configuration with its value. A table that may be absent is one key, and so is a list."""
    for field in msgspec.structs.fields(section):
        key, value = prefix + field.encode_name, getattr(section, field.name)
        if isinstance(value, Section) and field.default is not None:
            yield from keys_of(value, f"{key}.")
        else:
            yield key, value


def split(old: ServerConfig, new: ServerConfig) -> Reloaded:
    """The keys that differ, by whether they can be applied."""
    before = dict(keys_of(old))
    changed = [key for key, value in keys_of(new) if value != before[key]]
    restart = [key for key in changed if HOW[key] is None]
    restart += [key for key in changed if key not in restart and _FOLLOWS.get(key) in restart]
    return Reloaded([key for key in changed if key not in restart], restart)


def merged(old: Any, new: Any, restart: list[str], prefix: str = "") -> Any:
    """`new`, but with the values of `old` for the keys that need a restart."""
    changes = {}
    for field in msgspec.structs.fields(new):
        key = prefix + field.encode_name
        ours, theirs = getattr(old, field.name), getattr(new, field.name)
        if key in restart:
            changes[field.name] = ours
        elif any(each.startswith(f"{key}.") for each in restart):
            changes[field.name] = merged(ours, theirs, restart, f"{key}.")
    return msgspec.structs.replace(new, **changes)


async def reload(server: Server) -> Reloaded:
    """Read the server's file again and apply what is in it. Raises ConfigError, and then nothing has changed."""
    if server.source is None:
        raise ConfigError("frps has no config file path")
    new = await trio.to_thread.run_sync(server.source.load, abandon_on_cancel=True)
    token = await token_of(new.auth)
    applied, restart = split(server.config, new)
    config = merged(server.config, new, restart)
    certificates = tls.digest(config.transport.tls), tls.digest(config.web_server.tls)
    has_web_changed = _touches(applied, "webServer.") or certificates[1] != server.certificates[1]
    try:
        context: ssl.SSLContext | None = None
        if _touches(applied, "transport.tls.") or certificates[0] != server.certificates[0]:
            context = tls.server_context(config.transport.tls)
        if _touches(applied, "log.to"):
            _check_log(config.log)
        if server.web is not None and has_web_changed:
            server.web.renew(config.web_server)
    except FrpError as error:
        raise ConfigError(str(error)) from None
    # nothing fails from here on
    for place, (table, key) in enumerate((("transport.tls.", "transport.tls.certFile"), ("webServer.tls", "webServer.tls"))):
        if certificates[place] != server.certificates[place] and not _touches(applied, table):
            applied.append(key)  # the files have changed, their names have not
    if token != server.token and not _touches(applied, "auth.token"):
        applied.append("auth.tokenSource")
    server.config = config
    server.token = token
    server.certificates = certificates
    if context is not None:
        server.tls_context = context
    for apply in dict.fromkeys(HOW[key] for key in applied):
        if apply is not None:
            apply(server)
    _tell(server, applied, restart)
    return Reloaded(applied, restart)


def _tell(server: Server, applied: list[str], restart: list[str]) -> None:
    log.info("success reload conf")
    if applied:
        log.info("changed: %s", ", ".join(applied))
    if restart:
        log.warning("restart needed for: %s", ", ".join(restart))
    if server.is_open and _touches(applied, "auth."):
        log.warning("auth.token is empty: everybody who reaches the client port may open proxies")


def _touches(keys: list[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


def _check_log(wanted: LogConfig) -> None:
    """A log that can't be written is nothing to go on with when there is one that can."""
    if wanted.to not in ("console", ""):
        path = os.path.abspath(wanted.to)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        except OSError as error:
            raise ConfigError(f"log.to: open {path}: {(error.strerror or str(error)).lower()}") from None


def renew_certificates(server: Server) -> None:
    """Read the files of certificates again. Some that can't be used are reported, and the old ones stay."""
    now = server.certificates_now()
    of_port, of_web = (new != old for new, old in zip(now, server.certificates, strict=True))
    server.certificates = now
    try:
        if of_port:
            server.tls_context = tls.server_context(server.config.transport.tls)
        if of_web and server.web is not None:
            server.web.renew(server.config.web_server)
    except FrpError as error:
        log.warning("files of certificates have changed, and can't be used: %s", error)
    else:
        log.info("files of certificates have changed, and were read again")
