"""`frps doctor`: what keeps a server from starting, or its clients from what they want."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import trio

from frp_py.cli.doctor import Report, clock_faults, counted, quiet, span, tell_clock, tell_configuration, tell_port
from frp_py.errors import ConfigError, FrpError
from frp_py.net.token import token_of
from frp_py.net.transports import tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from frp_py.config.server import ServerConfig

_LOOKUP = 3.0  # s
_SOON = 14 * 86400  # s before a certificate ends
_FEW_FILES = 4096


def examine_server(load: Callable[[], ServerConfig], path: str) -> int:
    """Examine a server, print what is found, and return the exit code; `path` is empty when its configuration is made of flags."""
    report = Report()
    try:
        config = load()
    except ConfigError as error:
        report.failed("configuration", str(error), f"frps verify -c {path} checks it after each change" if path else "")
        return report.result()
    tell_configuration(report, path or "made of the flags", config)
    with quiet():
        trio.run(_examine_server, config, report, clock_faults(path))
    return report.result()


async def _examine_server(config: ServerConfig, report: Report, against_clock: list[str]) -> None:
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
            tell_port(report, key, host, port, kind, program)
    _tell_server_tls(config, report)
    if config.allow_ports:
        report.ok("allowPorts", counted(config.allow_ports, "entry", "entries"))
    else:
        report.ok("allowPorts", "clients may open any port", "set allowPorts to those that the firewall lets through")
    await _tell_subdomains(config, report)
    _tell_files(report)
    _tell_log(config, report)
    tell_clock(report, against_clock)


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
        report.ok("TLS", f"{files.cert_file or 'a certificate is made'}", f"it expires in {span(left or 0)}" if soon else "")


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
        with trio.fail_after(_LOOKUP):
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
    if os.path.isdir(directory) and os.access(path if os.path.exists(path) else directory, os.W_OK):
        report.ok("log", path)
    else:
        report.failed("log", f"{path} can't be written", "choose another log.to, or give the user that frps runs as the right to")
