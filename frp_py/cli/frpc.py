"""The command `frpc` (config.md 5.3 to 5.7)."""

from __future__ import annotations

import os
import sys

from frp_py.cli.command import Command, execute
from frp_py.cli.common import (
    completion_command,
    global_flags,
    health_command,
    init_command,
    load_to_start,
    print_version,
    refuse_unsupported,
    schema_command,
    service_command,
    verify_command,
)
from frp_py.cli.flags import BANDWIDTH, BOOL, DURATION, INT, LIST, MAP, STRING, Duration, Flag, Values, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from frp_py.client.sources import ConfigFile
    from frp_py.config.client import ClientConfig
    from frp_py.config.common import WebServerConfig

COMMON = (
    Flag("server_addr", STRING, "127.0.0.1", "address of the server", short="s", key="serverAddr"),
    Flag("server_port", INT, 7000, "port of the server", short="P", key="serverPort"),
    Flag("protocol", STRING, "tcp", "how the server is reached: tcp, kcp, quic, websocket or wss", short="p", key="transport.protocol"),
    Flag("log_level", STRING, "info", "lowest level that is logged: trace, debug, info, warn or error", key="log.level"),
    Flag("log_file", STRING, "console", "file for the log, or console", key="log.to"),
    Flag("log_max_days", INT, 3, "days that old log files are kept", key="log.maxDays"),
    Flag("disable_log_color", BOOL, False, "no colours on the console", key="log.disablePrintColor"),
    Flag("tls_server_name", STRING, "", "name that the server's certificate must have", key="transport.tls.serverName"),
    Flag("dns_server", STRING, "", "DNS server to ask instead of the system's", key="dnsServer"),
    Flag("tls_enable", BOOL, True, "connect to the server by TLS", key="transport.tls.enable"),
    Flag("user", STRING, "", "goes before the names of proxies: USER.NAME", short="u", key="user"),
    Flag("client-id", STRING, "", "name of this client on the dashboard", key="clientID"),
    Flag("token", STRING, "", "the secret of the server", short="t", key="auth.token"),
)

_BASE = (
    Flag("proxy_name", STRING, "", "name of the proxy", short="n", key="name"),
    Flag("metadatas", MAP, {}, "what server plugins are told, as key=value", key="metadatas"),
    Flag("annotations", MAP, {}, "what the dashboard shows, as key=value", key="annotations"),
    Flag("local_ip", STRING, "127.0.0.1", "address of the local service", short="i", key="localIP"),
    Flag("local_port", INT, 0, "port of the local service", short="l", key="localPort"),
    Flag("ue", BOOL, False, "encrypt", key="transport.useEncryption"),
    Flag("uc", BOOL, False, "compress", key="transport.useCompression"),
    Flag("bandwidth_limit", BANDWIDTH, "", "bytes a second, as 500KB or 1MB", key="transport.bandwidthLimit"),
    Flag("bandwidth_limit_mode", STRING, "client", "which side limits: client or server", key="transport.bandwidthLimitMode"),
)
_PORT = (Flag("remote_port", INT, 0, "port on the server; 0: any free one", short="r", key="remotePort"),)
_DOMAIN = (
    Flag("custom_domain", LIST, [], "domains of the service", short="d", key="customDomains"),
    Flag("sd", STRING, "", "name below the server's subdomain host", key="subdomain"),
)
_HTTP_AUTH = (
    Flag("http_user", STRING, "", "user that visitors must give", key="httpUser"),
    Flag("http_pwd", STRING, "", "password that visitors must give", key="httpPassword"),
)
_HTTP = (
    Flag("locations", LIST, [], "beginnings of paths that come here", key="locations"),
    Flag("host_header_rewrite", STRING, "", "Host header that the local service gets", key="hostHeaderRewrite"),
)
_MUX = (Flag("mux", STRING, "", "multiplexer: httpconnect", key="multiplexer"),)
_SECRET = (
    Flag("sk", STRING, "", "the secret that visitors must know", key="secretKey"),
    Flag("allow_users", LIST, [], "users whose visitors may connect; *: all", key="allowUsers"),
)
PROXIES = {
    "tcp": (*_BASE, *_PORT),
    "udp": (*_BASE, *_PORT),
    "http": (*_BASE, *_DOMAIN, *_HTTP_AUTH, *_HTTP),
    "https": (*_BASE, *_DOMAIN),
    "tcpmux": (*_BASE, *_DOMAIN, *_HTTP_AUTH, *_MUX),
    "stcp": (*_BASE, *_SECRET),
    "sudp": (*_BASE, *_SECRET),
    "xtcp": (*_BASE, *_SECRET),
}
VISITOR = (
    Flag("visitor_name", STRING, "", "name of the visitor", short="n", key="name"),
    Flag("ue", BOOL, False, "encrypt", key="transport.useEncryption"),
    Flag("uc", BOOL, False, "compress", key="transport.useCompression"),
    Flag("sk", STRING, "", "the secret of the proxy", key="secretKey"),
    Flag("server_name", STRING, "", "name of the proxy to reach", key="serverName"),
    Flag("server-user", STRING, "", "user of the client that has the proxy", key="serverUser"),
    Flag("bind_addr", STRING, "", "address to listen on", key="bindAddr"),
    Flag("bind_port", INT, 0, "port to listen on", key="bindPort"),
)


def _load(values: Values) -> ClientConfig:
    from frp_py.config import load_client

    return load_client(values["config"], strict=values["strict-config"], allow_unsafe=values["allow-unsafe"])


def _load_to_start(values: Values, path: str) -> ClientConfig | None:
    from frp_py.config import load_client

    strict, unsafe = values["strict-config"], values["allow-unsafe"]
    return load_to_start(lambda notices: load_client(path, strict=strict, allow_unsafe=unsafe, store=True, notices=notices))


def _run(values: Values) -> int:
    if values["version"]:
        return print_version()
    if values["config-dir"]:
        return _run_directory(values)
    config = _load_to_start(values, values["config"])
    return 1 if config is None else _serve(config, _config_file(values, values["config"]))


def _config_file(values: Values, path: str) -> ConfigFile:
    from frp_py.client.sources import ConfigFile

    return ConfigFile(path, strict=values["strict-config"], allow_unsafe=values["allow-unsafe"])


def _serve(config: ClientConfig, file: ConfigFile | None = None, *, announced: bool = False) -> int:
    """Run one client; there is no `file` when its configuration comes from flags. When `announced`, tell where users find its proxy."""
    from frp_py import log
    from frp_py.cli import process
    from frp_py.client.app import Client
    from frp_py.errors import FrpError

    log.setup(config.log)
    logger = log.get_logger()
    try:
        client = Client(config, file, log.setup)
    except FrpError as error:
        print(error)
        return 1
    if file is not None:
        logger.info("start frpc service for config file [%s] with aggregated configuration", file.path)
    if announced:
        from frp_py.cli.short import Announced

        return process.run("frpc", Announced(client))
    code = process.run("frpc", client)
    if file is not None:
        logger.info("frpc service for config file [%s] stopped", file.path)
    return code


def _run_directory(values: Values) -> int:
    """One client for each file below a directory, in one process. The first file says how this process logs."""
    configs = []
    for directory, subdirectories, names in os.walk(values["config-dir"]):
        subdirectories.sort()
        for path in (os.path.join(directory, name) for name in sorted(names)):
            if not os.path.isfile(path):
                continue
            if config := _load_to_start(values, path):
                configs.append((_config_file(values, path), config))
            else:
                print(f"frpc service error for config file [{path}]", flush=True)
    if configs:
        from frp_py import log
        from frp_py.cli import process
        from frp_py.cli.several import SeveralClients

        log.setup(configs[0][1].log)
        process.run("frpc", SeveralClients(configs))
    return 0


def _one(shape: dict[str, Any], prefix: str, *, announced: bool = False) -> int:
    """Run one proxy or visitor; its errors are told without the words that name it in a file."""
    from frp_py.config import client_from_dict
    from frp_py.errors import ConfigError

    try:
        config = client_from_dict(shape)
    except ConfigError as error:
        print(str(error).removeprefix(prefix))
        return 1
    return 1 if refuse_unsupported(config) else _serve(config, announced=announced)


def _proxy_command(kind: str, flags: Sequence[Flag]) -> Command:
    def run(values: Values) -> int:
        entry = {"type": kind, **tree(flags, values)}
        is_short = False
        if values.words:
            from frp_py.cli.short import complete

            is_short = complete(kind, values, entry)
        name = entry.get("name", "")
        return _one({**tree(COMMON, values), "proxies": [entry]}, f"proxy {name}: ", announced=is_short)

    def run_visitor(values: Values) -> int:
        entry = {"type": kind, **tree(VISITOR, values)}
        return _one({**tree(COMMON, values), "visitors": [entry]}, f"visitor {values['visitor-name']}: ")

    visitor = Command(
        "visitor",
        f"Reach another client's {kind} proxy",
        run_visitor,
        flags=VISITOR,
        example=f"frpc {kind} visitor -s frp.example.com -t SECRET -n me --server_name shell --sk KEY --bind_port 6000",
    )
    return Command(
        kind,
        _SUMMARIES[kind],
        run,
        flags=flags,
        inherited=COMMON,
        children=(visitor,) if kind in ("stcp", "sudp", "xtcp") else (),
        words="[[host:]port]",
        more=_SHORTEST.get(kind, _SHORTEST[""]),
        example=f"frpc {kind} {_PORTS[kind]} -s frp.example.com -t SECRET\n"
        f"frpc {kind} -s frp.example.com -t SECRET -n mine -l {_PORTS[kind]}{_EXAMPLES[kind]}",
    )


_SUMMARIES = {
    "tcp": "Make a TCP service reachable at a port of the server",
    "udp": "Make a UDP service reachable at a port of the server",
    "http": "Make a web site reachable by its name",
    "https": "Make a site that does TLS itself reachable by its name",
    "tcpmux": "Make a TCP service reachable by a name, for users that come by HTTP CONNECT",
    "stcp": "Make a TCP service reachable for visitors that know a key",
    "sudp": "Make a UDP service reachable for visitors that know a key",
    "xtcp": "Make a TCP service reachable for visitors that know a key, past the server",
}
_SHORTEST = {
    "": "With just the port of the local service, a name is made up, and where users find it is printed.",
    **dict.fromkeys(
        ("http", "https", "tcpmux"),
        "With just the port of the local service, a name below the server's subDomainHost is made up, and printed.",
    ),
    **dict.fromkeys(
        ("stcp", "sudp", "xtcp"),
        "With just the port of the local service, name and key are made up, and what the visitor has to run is printed.",
    ),
}
_PORTS = {"tcp": 22, "udp": 53, "http": 8080, "https": 8443, "tcpmux": 22, "stcp": 22, "sudp": 53, "xtcp": 22}
_EXAMPLES = {
    **dict.fromkeys(("tcp", "udp"), " -r 6000"),
    **dict.fromkeys(("http", "https"), " -d www.example.com"),
    "tcpmux": " -d ssh.example.com --mux httpconnect",
    **dict.fromkeys(("stcp", "sudp", "xtcp"), " --sk KEY"),
}


def _health(values: Values) -> str:
    from frp_py.cli.health import check_client

    return check_client(_load(values))


def _doctor(values: Values) -> int:
    from frp_py.cli.doctor_client import examine_client

    path = values["config"]
    if "config" not in values.given and not os.path.exists(path) and os.path.exists("./frpc.toml"):
        path = "./frpc.toml"
    return examine_client(path, strict=values["strict-config"], allow_unsafe=values["allow-unsafe"], try_all=values["try-proxies"])


_DOCTOR = Command(
    "doctor",
    "Find out why a tunnel doesn't work, step by step",
    _doctor,
    flags=(Flag("try_proxies", BOOL, False, "register also proxies of load-balancing groups, which takes some users for a moment"),),
    more="Looks at the configuration, DNS, the way to the server, TLS, the login, each proxy at both ends, and the clock, and says what\n"
    "to do. The exit code is 1 when something is wrong. A client that runs is not disturbed.",
    example="frpc doctor -c ./frpc.toml",
)


def _discover(values: Values) -> int:
    from frp_py.cli.nathole import report
    from frp_py.config.client import ClientCommon
    from frp_py.errors import ConfigError

    server = values["nat-hole-stun-server"]
    if not server:
        try:
            server = _load(values).nat_hole_stun_server
        except ConfigError:
            server = ClientCommon().nat_hole_stun_server
    return report(server, values["nat-hole-local-addr"])


_DISCOVER = Command(
    "discover",
    "Ask a STUN server by which address others see this machine",
    _discover,
    flags=(
        Flag("nat_hole_stun_server", STRING, "", "host:port of the STUN server, instead of the file's natHoleStunServer"),
        Flag("nat_hole_local_addr", STRING, "", "local host:port to ask from", short="l"),
    ),
    more="xtcp goes past the server where the NATs at both ends allow it: between two of type EasyNAT always, with one HardNAT mostly.\n"
    "The STUN server must have two addresses. A configuration file that can't be read is not missed.",
    example="frpc nathole discover\nfrpc nathole discover --nat_hole_stun_server stun.example.com:3478 -l 0.0.0.0:6000",
)


def _api_command(name: str, summary: str, ask: Callable[[Values, WebServerConfig], str]) -> Command:
    """A command that asks the web API of the client that runs."""

    def run(values: Values) -> int:
        from frp_py.cli.api import read_config
        from frp_py.errors import FrpError

        try:
            print(ask(values, read_config(values["config"], strict=values["strict-config"]).web_server))
        except FrpError as error:
            print(error)
            return 1
        return 0

    return Command(
        name,
        summary,
        run,
        flags=(Flag("api-timeout", DURATION, Duration(30), "how long the running client may take"),),
        more="It asks the client that runs with this file, by its web API: the file must have webServer.port.",
        example=f"frpc {name} -c ./frpc.toml",
    )


def _reload(values: Values, web: WebServerConfig) -> str:
    from frp_py.cli import api

    return api.reload(web, values["api-timeout"], strict=values["strict-config"])


def _status(values: Values, web: WebServerConfig) -> str:
    from frp_py.cli import api

    return api.status(web, values["api-timeout"]).removesuffix("\n")


def _stop(values: Values, web: WebServerConfig) -> str:
    from frp_py.cli import api

    return api.stop(web, values["api-timeout"])


ROOT: Command = Command(
    "frpc",
    "frpc makes services of this machine reachable at a server that runs frps.",
    _run,
    inherited=(
        *global_flags("./frpc.ini"),
        Flag("config_dir", STRING, "", "run one client for each file of this directory"),
    ),
    children=(
        *(_proxy_command(kind, flags) for kind, flags in PROXIES.items()),
        init_command("frpc", COMMON, COMMON, "frpc init -s frp.example.com -t SECRET"),
        verify_command("frpc", _load),
        _DOCTOR,
        _api_command("status", "Show the proxies of the running client", _status),
        _api_command("reload", "Make the running client read its file again", _reload),
        _api_command("stop", "Stop the running client", _stop),
        health_command("frpc", _health),
        service_command("frpc"),
        schema_command("frpc"),
        completion_command("frpc", lambda: ROOT),
        Command("nathole", "Find out how this machine's NAT behaves", children=(_DISCOVER,)),
    ),
    more="It runs beside the services, and needs no public address. A first try needs no file; frpc init writes one for later.",
    example="frpc tcp 22 -s frp.example.com -t SECRET\nfrpc init -s frp.example.com -t SECRET\nfrpc -c ./frpc.toml",
)


def main(args: Sequence[str] | None = None) -> int:
    """Run `frpc` with `args` (those of the process by default) and return its exit code."""
    return execute(ROOT, sys.argv[1:] if args is None else args)
