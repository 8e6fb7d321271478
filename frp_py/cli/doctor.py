"""`frpc doctor` and `frps doctor`: what keeps a tunnel from working, step by step.

The client's doctor is a client of its own: it logs in without the configured clientID and with a new run id, so a client that
runs is not replaced. Its proxies are registered for a moment, which the server refuses without any effect when their names are taken. Members of
a load-balancing group would be given users at once, so those are registered only when that is asked for.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from frp_py.cli.advice import advice_for
from frp_py.cli.process import leaves_of
from frp_py.client.app import Client
from frp_py.client.connect import Connector
from frp_py.client.phase import Phase
from frp_py.config import load_client, load_server, not_yet_supported, warnings_of
from frp_py.config.proxies import HealthCheck
from frp_py.errors import ConfigError, FrpError
from frp_py.log import printable
from frp_py.net.engine.loop import Engine
from frp_py.net.token import token_of
from frp_py.net.transports import tls
from frp_py.net.transports.tcp import dial

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from frp_py.config.client import ClientConfig
    from frp_py.config.proxies import ProxyBase
    from frp_py.config.server import ServerConfig

_LOCAL_DIAL = 3.0  # s
_REGISTRATION = 10.0  # s until the server has answered for every proxy
_LOGIN = 25.0  # s
_AT_ONCE = 50  # local services
_UDP_REFUSAL = 0.3  # s that a refusal may take
_SKEW = 120  # s that clocks may differ
_SOON = 14 * 86400  # s before a certificate ends
_FEW_FILES = 4096


class Report:
    """Writes the steps as they are taken."""

    def __init__(self) -> None:
        self.failures = 0

    def ok(self, step: str, text: str = "", advice: str = "") -> None:
        """It works; the advice is for what could still be better."""
        self._write("ok", step, text, advice)

    def skipped(self, step: str, text: str) -> None:
        """It was not tried."""
        self._write("skipped", step, text, "")

    def failed(self, step: str, text: str, advice: str = "") -> None:
        """It doesn't work."""
        self.failures += 1
        self._write("failed", step, text, advice or advice_for(text))

    def _write(self, state: str, step: str, text: str, advice: str) -> None:
        first, *more = text.splitlines() or [""]
        print(printable(f"{state:<8} {step}{': ' if first else ''}{first}"), flush=True)
        for line in more:
            print(f"           {printable(line.strip())}", flush=True)
        if advice:
            print(f"         -> {printable(advice)}", flush=True)

    def result(self) -> int:
        """The last line, and the exit code."""
        if self.failures:
            print(f"\n{self.failures} {'step' if self.failures == 1 else 'steps'} failed")
        else:
            print("\nno fault found")
        return 1 if self.failures else 0


def examine_client(path: str, *, strict: bool, allow_unsafe: Collection[str], try_all: bool) -> int:
    """Examine the client with this file, print what is found, and return the exit code. `try_all`: also proxies with a group."""
    report = Report()
    try:
        config = load_client(path, strict=strict, allow_unsafe=allow_unsafe, store=True)
    except ConfigError as error:
        report.failed("configuration", str(error), f"frpc verify -c {path} checks it after each change")
        return report.result()
    entries = f"{len(config.proxies)} proxies, {len(config.visitors)} visitors"
    _tell_configuration(report, path, config, entries)
    with _quiet():
        trio.run(_examine_client, config, report, try_all, _clock_faults(path))
    return report.result()


def examine_server(path: str, *, strict: bool, allow_unsafe: Collection[str]) -> int:
    """Examine the server with this file, print what is found, and return the exit code."""
    report = Report()
    try:
        config = load_server(path, strict=strict, allow_unsafe=allow_unsafe)
    except ConfigError as error:
        report.failed("configuration", str(error), f"frps verify -c {path} checks it after each change")
        return report.result()
    _tell_configuration(report, path, config, "")
    with _quiet():
        trio.run(_examine_server, config, report, _clock_faults(path))
    return report.result()


@contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _tell_configuration(report: Report, path: str, config: ClientConfig | ServerConfig, entries: str) -> None:
    missing = not_yet_supported(config)
    if missing:
        report.failed("configuration", "\n".join(missing), "remove these keys, or use a release that has them")
    else:
        report.ok("configuration", f"{path}{f', {entries}' if entries else ''}", "; ".join(warnings_of(config)))


def _clock_faults(path: str) -> list[str]:
    try:
        ahead = os.stat(path).st_mtime - time.time()
    except OSError:
        return []
    return [f"{path} was written {_span(ahead)} from now"] if ahead > _SKEW else []


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} seconds"


def _tell_clock(report: Report, faults: list[str]) -> None:
    if faults:
        report.failed("clock", "\n".join(faults), "set the clock of this machine, e.g. timedatectl set-ntp true")
    else:
        report.ok("clock", f"nothing contradicts {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")


def _where(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# The client


async def _examine_client(config: ClientConfig, report: Report, try_all: bool, clock_faults: list[str]) -> None:
    runs_here = _seems_connected(config)  # before we are
    token = await _token(config, report)
    is_reachable = token is not None and await _reach(config, report)
    certificate: bytes | None = None
    if is_reachable and token is not None:
        is_reachable, certificate = await _secure(config, token, report)
    elif token is not None:
        report.skipped("TLS", "there is no connection")
    clock_faults += _certificate_faults(certificate)
    _tell_clock(report, clock_faults)
    local = await _local_services(config.proxies)
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
    report.ok("TCP", f"{_where(host, port)} accepts connections, after {(trio.current_time() - began) * 1000:.0f} ms")
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
            report.failed("TLS", str(error))
            return False, None
    try:
        if not isinstance(sock, ssl.SSLSocket):
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
    return [f"the server's certificate was made {_span(early)} from now"] if early > _SKEW else []


async def _log_in(config: ClientConfig, report: Report, local: dict[str, str | None], *, runs_here: bool, try_all: bool) -> None:
    """The login, and each proxy, at this end and at the server's."""
    tried = [proxy for proxy in config.proxies if try_all or not proxy.load_balancer.group]
    client = Client(_for_trial(config, tried))
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(_LOGIN):
                await nursery.start(client.run)
            report.ok("login")
            await _until_answered(client, len(tried))
            sides = {side.name: (side.phase, side.error, side.remote_address) for side in client.session.proxies.values()} if client.session else {}
            nursery.cancel_scope.cancel()
    except trio.TooSlowError:
        report.failed("login", "no answer to the login")
        sides = None
    except* FrpError as failed:
        reason = str(leaves_of(failed)[0]).removeprefix("login to the server failed: ").partition(". With loginFailExit")[0]
        report.failed("login", reason, await _login_advice(config, reason))
        sides = None
    for proxy in config.proxies:
        _tell_local(report, proxy, local[proxy.name])
        if sides is not None:
            _tell_remote(report, proxy, sides.get(proxy.name), config.server_addr, runs_here=runs_here, was_tried=proxy in tried)


def _for_trial(config: ClientConfig, proxies: list[ProxyBase]) -> ClientConfig:
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


async def _until_answered(client: Client, count: int) -> None:
    with trio.move_on_after(_REGISTRATION):
        while client.session is not None:
            sides = client.session.proxies.values()
            if len(sides) >= count and all(side.phase in (Phase.RUNNING, Phase.START_ERROR) for side in sides):
                return
            await trio.sleep(0.02)


async def _login_advice(config: ClientConfig, reason: str) -> str:
    """What can't be seen in the text: a server that demands TLS closes the connection without a word."""
    transport = config.transport
    if transport.tls.enable or transport.protocol != "tcp" or transport.proxy_url or "token" in reason:
        return ""
    try:
        sock = await dial(config.server_addr, config.server_port, timeout=transport.dial_server_timeout)
        with trio.fail_after(_LOCAL_DIAL), tls.wrap_client(tls.client_context(transport.tls), sock, config.server_addr) as wrapped:
            await tls.handshake(wrapped)
    except (FrpError, OSError, trio.TooSlowError):
        return ""
    return "the server speaks TLS and seems to demand it (its transport.tls.force): set transport.tls.enable = true"


async def _local_services(proxies: Collection[ProxyBase]) -> dict[str, str | None]:
    """What is wrong with each proxy's local service, by the proxy's name; None when nothing was tried."""
    found: dict[str, str | None] = {}
    limit = trio.CapacityLimiter(_AT_ONCE)

    async def look(proxy: ProxyBase) -> None:
        async with limit:
            found[proxy.name] = await _local_fault(proxy)

    async with trio.open_nursery() as nursery:
        for proxy in proxies:
            nursery.start_soon(look, proxy)
    return found


async def _local_fault(proxy: ProxyBase) -> str | None:
    plugin: Any = proxy.plugin
    if plugin is not None:
        if plugin.type == "static_file":
            return "" if os.access(plugin.local_path, os.R_OK | os.X_OK) else f"{plugin.local_path} is no directory that can be read"
        if plugin.type == "unix_domain_socket":
            return await _unix_fault(plugin.unix_path)
        host, _, port = getattr(plugin, "local_addr", "").rpartition(":")
        if not port.isdecimal():
            return None
        return await _tcp_fault(host.strip("[]") or "127.0.0.1", int(port))
    if not proxy.local_port:
        return "localPort is not set"
    if proxy.type in ("udp", "sudp"):
        return await _udp_fault(proxy.local_ip, proxy.local_port)
    return await _tcp_fault(proxy.local_ip, proxy.local_port)


async def _tcp_fault(host: str, port: int) -> str:
    try:
        (await dial(host, port, timeout=_LOCAL_DIAL)).close()
    except FrpError as error:
        return str(error)
    return ""


async def _unix_fault(path: str) -> str:
    try:
        with trio.fail_after(_LOCAL_DIAL):
            await (await trio.open_unix_socket(path)).aclose()
    except trio.TooSlowError:
        return f"dial unix {path}: i/o timeout"
    except (OSError, RuntimeError) as error:
        return f"dial unix {path}: {(getattr(error, 'strerror', None) or str(error)).lower()}"
    return ""


async def _udp_fault(host: str, port: int) -> str | None:
    """Only a refusal can be seen: that of an empty datagram."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        with trio.socket.socket(found[0][0], socket.SOCK_DGRAM) as sock:
            await sock.connect(found[0][4])
            await sock.send(b"")
            with trio.move_on_after(_UDP_REFUSAL):
                await sock.recv(1)
    except ConnectionRefusedError:
        return f"dial udp {_where(host, port)}: connection refused"
    except OSError as error:
        return f"dial udp {_where(host, port)}: {(error.strerror or str(error)).lower()}"
    return None


def _tell_local(report: Report, proxy: ProxyBase, fault: str | None) -> None:
    step = f"proxy {proxy.name}, local service"
    what = f"plugin {proxy.plugin.type}" if proxy.plugin is not None else _where(proxy.local_ip, proxy.local_port)
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
        report.skipped(step, f"its group {proxy.load_balancer.group} has users now who would come here; --try_proxies tries it nevertheless")
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


def _tell_visitor(report: Report, visitor: Any, *, runs_here: bool) -> None:
    step = f"visitor {visitor.name}"
    if visitor.bind_port < 0:
        report.skipped(step, "it doesn't listen")
        return
    kind = socket.SOCK_DGRAM if visitor.type == "sudp" else socket.SOCK_STREAM
    _tell_port(report, step, visitor.bind_addr, visitor.bind_port, kind, "frpc" if runs_here else "")


def _tell_port(report: Report, step: str, host: str, port: int, kind: int, program: str) -> None:
    """Whether a port can be listened on; `program` is what may have it already."""
    where = _where(host, port)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_STREAM and os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and program:
            report.ok(step, f"{where} is in use, it seems by the {program} that runs on this machine")
        elif error.errno == errno.EADDRINUSE:
            report.failed(step, f"{where} is in use", "another program has it (ss -lntup shows which): choose another port, or stop it")
        else:
            report.failed(step, f"{where}: {(error.strerror or str(error)).lower()}")
    except OverflowError:
        report.failed(step, f"{port} is no port")
    else:
        report.ok(step, f"{where} is free")


# The server


async def _examine_server(config: ServerConfig, report: Report, clock_faults: list[str]) -> None:
    from frp_py.cli.health import check_server

    await _tell_server_token(config, report)
    try:
        runs = await trio.to_thread.run_sync(check_server, config)
    except (FrpError, OSError):
        runs = ""
    program = "frps" if runs else ""
    if runs:
        report.ok("running", runs)
    else:
        report.skipped("running", "no frps with this configuration runs here")
    ports = [
        ("bindPort", config.bind_addr, config.bind_port, socket.SOCK_STREAM),
        ("kcpBindPort", config.bind_addr, config.kcp_bind_port, socket.SOCK_DGRAM),
        ("quicBindPort", config.bind_addr, config.quic_bind_port, socket.SOCK_DGRAM),
        ("vhostHTTPPort", config.proxy_bind_addr, config.vhost_http_port, socket.SOCK_STREAM),
        ("vhostHTTPSPort", config.proxy_bind_addr, config.vhost_https_port, socket.SOCK_STREAM),
        ("tcpmuxHTTPConnectPort", config.proxy_bind_addr, config.tcpmux_http_connect_port, socket.SOCK_STREAM),
        ("webServer.port", config.web_server.addr, config.web_server.port, socket.SOCK_STREAM),
    ]
    for key, host, port, kind in ports:
        if port:
            _tell_port(report, key, host, port, kind, program)
    _tell_server_tls(config, report)
    if config.allow_ports:
        report.ok("allowPorts", f"{len(config.allow_ports)} {'entry' if len(config.allow_ports) == 1 else 'entries'}")
    else:
        report.ok("allowPorts", "clients may open any port", "set allowPorts to those that the firewall lets through")
    await _tell_subdomains(config, report)
    _tell_files(report)
    _tell_log(config, report)
    _tell_clock(report, clock_faults)


async def _tell_server_token(config: ServerConfig, report: Report) -> None:
    try:
        token = await token_of(config.auth)
    except FrpError as error:
        report.failed("token", str(error))
        return
    if token or config.auth.method != "token":
        report.ok("token", "" if token else f"clients log in by {config.auth.method}")
    else:
        report.ok("token", "there is none", "anybody can open ports here: set auth.token")


def _tell_server_tls(config: ServerConfig, report: Report) -> None:
    files = config.transport.tls
    if not (files.cert_file and files.key_file) and not files.trusted_ca_file:
        report.skipped("TLS", "a certificate is made at each start")
        return
    try:
        tls.server_context(files)
    except FrpError as error:
        report.failed("TLS", str(error), "does the user that frps runs as have the right to read it?" if "permission" in str(error) else "")
        return
    left = _seconds_left(files.cert_file) if files.cert_file else None
    if left is not None and left <= 0:
        report.failed("TLS", f"{files.cert_file} has expired", "renew it and start frps anew")
    else:
        soon = left is not None and left < _SOON
        report.ok("TLS", f"{files.cert_file or 'a certificate is made'}", f"it expires in {_span(left or 0)}" if soon else "")


def _seconds_left(path: str) -> float | None:
    from datetime import UTC, datetime

    from cryptography import x509

    try:
        with open(path, "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read())
    except (OSError, ValueError):
        return None
    return (certificate.not_valid_after_utc - datetime.now(UTC)).total_seconds()


async def _tell_subdomains(config: ServerConfig, report: Report) -> None:
    host = config.sub_domain_host
    if not host:
        return
    try:
        with trio.fail_after(_LOCAL_DIAL):
            found = await trio.socket.getaddrinfo(f"frp-doctor.{host}", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, trio.TooSlowError):
        report.failed("subDomainHost", f"names below {host} are not known", f"add a DNS entry *.{host} that leads to this server")
    else:
        report.ok("subDomainHost", f"*.{host} is {', '.join(dict.fromkeys(str(entry[4][0]) for entry in found))}")


def _tell_files(report: Report) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < _FEW_FILES:
        advice = "each user is two: frps service install allows a million, or ulimit -Hn"
        report.failed("open files", f"this user may have only {hard}", advice)
    else:
        report.ok("open files", "no limit" if hard < 0 else f"up to {hard}")


def _tell_log(config: ServerConfig, report: Report) -> None:
    path = config.log.to
    if path == "console":
        return
    directory = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(directory):
        directory = os.path.dirname(directory)
    if os.access(path if os.path.exists(path) else directory, os.W_OK):
        report.ok("log", path)
    else:
        report.failed("log", f"{path} can't be written", "choose another log.to, or give the user that frps runs as the right to")
