"""`frpc doctor`: what keeps a tunnel from working, step by step.

It is a client of its own: it logs in without the configured clientID and with a new run id, so a client that runs is not
replaced. Its proxies are registered for a moment, which the server refuses without any effect when their names are taken. Members of
a load-balancing group would be given users at once, so those are registered only when that is asked for.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from frp_py.cli.doctor import SKEW, Report, clock_faults, counted, quiet, span, tell_clock, tell_configuration, tell_port, where_is
from frp_py.cli.local_services import faults_of
from frp_py.cli.process import leaves_of
from frp_py.client.app import Client
from frp_py.client.connect import Connector
from frp_py.client.phase import Phase
from frp_py.config import load_client
from frp_py.config.proxies import HealthCheck
from frp_py.errors import ConfigError, FrpError
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.net.token import token_of
from frp_py.net.transports.tcp import dial

if TYPE_CHECKING:
    from collections.abc import Collection

    from frp_py.config.client import ClientConfig
    from frp_py.config.proxies import ProxyBase
    from frp_py.config.visitors import VisitorBase

_LOGIN = 25.0  # s
_REGISTRATION = 10.0  # s until the server has answered for every proxy


def examine_client(path: str, *, strict: bool, allow_unsafe: Collection[str], try_all: bool) -> int:
    """Examine the client with this file, print what is found, and return the exit code. `try_all`: also proxies with a group."""
    report = Report()
    try:
        config = load_client(path, strict=strict, allow_unsafe=allow_unsafe, store=True)
    except ConfigError as error:
        report.failed("configuration", str(error), f"frpc verify -c {path} checks it after each change")
        return report.result()
    proxies, visitors = counted(config.proxies, "proxy", "proxies"), counted(config.visitors, "visitor", "visitors")
    tell_configuration(report, f"{path}, {proxies}, {visitors}", config)
    with quiet():
        trio.run(_examine_client, config, report, try_all, clock_faults(path))
    return report.result()


async def _examine_client(config: ClientConfig, report: Report, try_all: bool, against_clock: list[str]) -> None:
    runs_here = _seems_connected(config)  # before we are
    token = await _token(config, report)
    is_reachable = token is not None and await _reach(config, report)
    certificate: bytes | None = None
    if is_reachable and token is not None:
        is_reachable, certificate = await _secure(config, token, report)
    elif token is not None:
        report.skipped("TLS", "there is no connection")
    against_clock += _certificate_faults(certificate)
    tell_clock(report, against_clock)
    local = await faults_of(config.proxies)
    if is_reachable:
        await _log_in(config, report, local, runs_here=runs_here, try_all=try_all)
    else:
        report.skipped("login", "there is no connection")
        for proxy in config.proxies:
            _tell_local(report, proxy, local[proxy.name])
    for visitor in config.visitors:
        _tell_visitor(report, visitor, runs_here=runs_here)


def _seems_connected(config: ClientConfig) -> bool:
    from frp_py.cli.health import check_client

    try:
        check_client(config)
    except (FrpError, OSError):
        return False
    return True


async def _token(config: ClientConfig, report: Report) -> str | None:
    if config.auth.token_source is None:
        return config.auth.token
    try:
        token = await token_of(config.auth)
    except FrpError as error:
        report.failed("token", str(error))
        return None
    report.ok("token", f"from {config.auth.token_source.type}")
    return token


async def _reach(config: ClientConfig, report: Report) -> bool:
    """DNS, then TCP."""
    host, port, transport = config.server_addr, config.server_port, config.transport
    if transport.proxy_url:
        report.skipped("DNS", "the proxy of transport.proxyURL looks the server up")
        report.skipped("TCP", "the server is reached through a proxy")
        return True
    try:
        with trio.fail_after(transport.dial_server_timeout):
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, trio.TooSlowError) as error:
        reason = "no answer" if isinstance(error, trio.TooSlowError) else getattr(error, "strerror", None) or error
        report.failed("DNS", f"lookup {host}: {reason}")
        report.skipped("TCP", "there is no address")
        return False
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    advice = "serverAddr should be the name or address of the server" if host == "0.0.0.0" else ""
    report.ok("DNS", f"{host} is {', '.join(addresses)}" if addresses != [host] else f"{host} is an address", advice)
    if transport.protocol in ("kcp", "quic"):
        report.skipped("TCP", f"the server is reached by {transport.protocol}, which is UDP")
        return True
    began = trio.current_time()
    try:
        sock = await dial(host, port, timeout=transport.dial_server_timeout, local_ip=transport.connect_server_local_ip)
    except FrpError as error:
        report.failed("TCP", str(error))
        return False
    sock.close()
    report.ok("TCP", f"{where_is(host, port)} accepts connections, after {(trio.current_time() - began) * 1000:.0f} ms")
    return True


async def _secure(config: ClientConfig, token: str, report: Report) -> tuple[bool, bytes | None]:
    """TLS; whether it goes on, and the server's certificate."""
    transport = config.transport
    if transport.protocol != "tcp" or transport.proxy_url:
        report.skipped("TLS", "it is tried together with the login")
        return True, None
    if not transport.tls.enable:
        report.skipped("TLS", "transport.tls.enable is false")
        return True, None
    engine = Engine()
    async with engine.running():
        try:
            sock: Any = await Connector(config, engine, token).connect()
        except FrpError as error:
            report.failed("TLS", str(error).removeprefix("tls: "))
            return False, None
    try:
        if not isinstance(sock, TlsSocket):
            report.ok("TLS")
            return True, None
        certificate = sock.getpeercert(binary_form=True)
        if transport.tls.trusted_ca_file:
            report.ok("TLS", f"{sock.version()}, the server's certificate is good")
        else:
            advice = "nobody checks whom we talk to: docs/guide/tls.md says how to change that"
            report.ok("TLS", f"{sock.version()}, the server's certificate is not checked", advice)
        return True, certificate
    finally:
        sock.close()


def _certificate_faults(certificate: bytes | None) -> list[str]:
    if certificate is None:
        return []
    from datetime import UTC, datetime

    from cryptography import x509

    try:
        parsed = x509.load_der_x509_certificate(certificate)
        begins = parsed.not_valid_before_utc
    except ValueError:
        return []
    early = (begins - datetime.now(UTC)).total_seconds()
    return [f"the server's certificate was made {span(early)} from now"] if early > SKEW else []


async def _log_in(config: ClientConfig, report: Report, local: dict[str, str | None], *, runs_here: bool, try_all: bool) -> None:
    """The login, and each proxy, at this end and at the server's."""
    tried = [proxy for proxy in config.proxies if try_all or not proxy.load_balancer.group]
    client = Client(_for_trial(config, tried))
    reason = ""
    sides: dict[str, tuple[Phase, str, str]] = {}
    try:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(_LOGIN) as waiting:
                await nursery.start(client.run)
                report.ok("login")
                await _until_answered(client)
                if client.session is not None:
                    sides = {side.name: (side.phase, side.error, side.remote_address) for side in client.session.proxies.values()}
            if waiting.cancelled_caught and not sides:
                reason = "no answer to the login"
            nursery.cancel_scope.cancel()
    except* FrpError as failed:
        reason = str(leaves_of(failed)[0]).removeprefix("login to the server failed: ").partition(". With loginFailExit")[0]
    if reason:
        report.failed("login", reason, await _login_advice(config, reason))
    for proxy in config.proxies:
        _tell_local(report, proxy, local[proxy.name])
        if not reason:
            _tell_remote(report, proxy, sides.get(proxy.name), config.server_addr, runs_here=runs_here, was_tried=proxy in tried)


def _for_trial(config: ClientConfig, proxies: Collection[ProxyBase]) -> ClientConfig:
    """The same way to the same server for another client: one that listens nowhere and gives up at once."""
    return replace(
        config,
        client_id="",
        login_fail_exit=True,
        web_server=type(config.web_server)(),
        store=type(config.store)(),
        proxies=tuple(replace(proxy, health_check=HealthCheck()) for proxy in proxies),
        visitors=(),
    )


async def _until_answered(client: Client) -> None:
    """Until the server has accepted or refused each proxy, for as long as it may take."""
    with trio.move_on_after(_REGISTRATION):
        while client.session is not None:
            await trio.sleep(0.02)
            if client.session is None or all(side.phase in (Phase.RUNNING, Phase.START_ERROR) for side in client.session.proxies.values()):
                return


async def _login_advice(config: ClientConfig, reason: str) -> str:
    """What can't be seen in the text: a connection that ends without a word. What would have worked is found by trying it."""
    if not any(sign in reason.lower() for sign in ("closed by the other side", "reset by peer", "something else than a message")):
        return ""
    transport = config.transport
    if not transport.tls.enable and await _logs_in(replace(config, transport=replace(transport, tls=replace(transport.tls, enable=True)))):
        return "the server demands TLS (its transport.tls.force): set transport.tls.enable = true"
    if await _logs_in(replace(config, transport=replace(transport, tcp_mux=not transport.tcp_mux))):
        return f"transport.tcpMux must be the same on both sides: set it to {str(not transport.tcp_mux).lower()}"
    return ""


async def _logs_in(config: ClientConfig) -> bool:
    """Whether a client with this configuration gets in."""
    logged_in = False
    with trio.move_on_after(_LOGIN):
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(Client(_for_trial(config, ())).run)
                logged_in = True
                nursery.cancel_scope.cancel()
        except* FrpError:
            pass
    return logged_in


def _tell_local(report: Report, proxy: ProxyBase, fault: str | None) -> None:
    step = f"proxy {proxy.name}, local service"
    what = f"plugin {proxy.plugin.type}" if proxy.plugin is not None else where_is(proxy.local_ip, proxy.local_port)
    if fault is None:
        report.skipped(step, f"{what} can't be tried from outside")
    elif fault:
        advice = "start the service, or set localIP and localPort to where it listens" if "refused" in fault else ""
        report.failed(step, fault, advice)
    else:
        report.ok(step, f"{what} is there")


def _tell_remote(
    report: Report, proxy: ProxyBase, side: tuple[Phase, str, str] | None, server: str, *, runs_here: bool, was_tried: bool
) -> None:
    step = f"proxy {proxy.name}, at the server"
    if not was_tried:
        report.skipped(step, f"users of its group {proxy.load_balancer.group} would come here meanwhile; --try_proxies tries it")
        return
    if side is None:
        report.failed(step, "the connection to the server was lost")
        return
    phase, error, remote = side
    if phase is Phase.RUNNING:
        place = f"{server if remote.startswith(':') else ''}{remote}"
        report.ok(step, f"users reach it at {place}" if place else "visitors reach it")
    elif phase is not Phase.START_ERROR:
        report.failed(step, "no answer", "the log of the server may tell more")
    elif "already exists" in error and runs_here:
        report.ok(step, "it is registered, it seems by the frpc that runs on this machine")
    else:
        report.failed(step, error)


def _tell_visitor(report: Report, visitor: VisitorBase, *, runs_here: bool) -> None:
    step = f"visitor {visitor.name}"
    if visitor.bind_port < 0:
        report.skipped(step, "it doesn't listen")
        return
    kind = socket.SOCK_DGRAM if visitor.type == "sudp" else socket.SOCK_STREAM
    tell_port(report, step, visitor.bind_addr, visitor.bind_port, kind, "frpc" if runs_here else "")
