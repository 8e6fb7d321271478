"""The command `frps` (config.md 5.2)."""

from __future__ import annotations

import sys

from frp_py.cli.command import Command, execute
from frp_py.cli.common import (
    completion_command,
    global_flags,
    health_command,
    init_command,
    load_again,
    load_to_start,
    print_version,
    schema_command,
    service_command,
    verify_command,
)
from frp_py.cli.flags import BOOL, BOOL_WITH_VALUE, DURATION, INT, PORTS, STRING, Duration, Flag, Values, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from frp_py.config.common import WebServerConfig
    from frp_py.config.server import ServerConfig

CONFIG_FLAGS = (
    Flag("bind_addr", STRING, "0.0.0.0", "address that clients connect to", key="bindAddr"),
    Flag("bind_port", INT, 7000, "port that clients connect to", short="p", key="bindPort"),
    Flag("kcp_bind_port", INT, 0, "UDP port for clients that come by KCP", key="kcpBindPort"),
    Flag("quic_bind_port", INT, 0, "UDP port for clients that come by QUIC", key="quicBindPort"),
    Flag("proxy_bind_addr", STRING, "0.0.0.0", "address that users connect to", key="proxyBindAddr"),
    Flag("vhost_http_port", INT, 0, "port for users of http proxies", key="vhostHTTPPort"),
    Flag("vhost_https_port", INT, 0, "port for users of https proxies", key="vhostHTTPSPort"),
    Flag("vhost_http_timeout", INT, 60, "seconds to wait for the head of a local service's answer", key="vhostHTTPTimeout"),
    Flag("dashboard_addr", STRING, "0.0.0.0", "address of the dashboard", key="webServer.addr"),
    Flag("dashboard_port", INT, 0, "port of the dashboard", key="webServer.port"),
    Flag("dashboard_user", STRING, "admin", "user of the dashboard", key="webServer.user"),
    Flag("dashboard_pwd", STRING, "admin", "password of the dashboard", key="webServer.password"),
    Flag("dashboard_tls_cert_file", STRING, "", "certificate of the dashboard", key="webServer.tls.certFile"),
    Flag("dashboard_tls_key_file", STRING, "", "private key of the dashboard", key="webServer.tls.keyFile"),
    Flag("dashboard_tls_mode", BOOL_WITH_VALUE, False, "serve the dashboard by https"),
    Flag("enable_prometheus", BOOL, False, "serve metrics for Prometheus on the dashboard's port", key="enablePrometheus"),
    Flag("log_file", STRING, "console", "file for the log, or console", key="log.to"),
    Flag("log_level", STRING, "info", "lowest level that is logged: trace, debug, info, warn or error", key="log.level"),
    Flag("log_max_days", INT, 3, "days that old log files are kept", key="log.maxDays"),
    Flag("disable_log_color", BOOL, False, "no colours on the console", key="log.disablePrintColor"),
    Flag("token", STRING, "", "the secret that clients must know", short="t", key="auth.token"),
    Flag("subdomain_host", STRING, "", "domain below which clients may have names", key="subDomainHost"),
    Flag("allow_ports", PORTS, [], "ports that clients may ask for, as 2000-3000,3001", key="allowPorts"),
    Flag("max_ports_per_client", INT, 0, "how many ports one client may have; 0: any number", key="maxPortsPerClient"),
    Flag("tls_only", BOOL, False, "accept only clients that use TLS", key="transport.tls.force"),
)


def _load(values: Values, notices: list[str] | None = None) -> ServerConfig:
    from frp_py.config import load_server

    return load_server(values["config"], strict=values["strict-config"], allow_unsafe=values["allow-unsafe"], notices=notices)


def _from_flags(values: Values) -> ServerConfig:
    from frp_py.config import server_from_dict

    shape = tree(CONFIG_FLAGS, values)
    web = shape["webServer"]
    if values["dashboard-tls-mode"]:
        web.setdefault("tls", {})
    elif "dashboard-tls-mode" in values.given:
        web.pop("tls", None)
    return server_from_dict(shape)


def _run(values: Values) -> int:
    if values["version"]:
        return print_version()
    path = values["config"]
    config = load_to_start(lambda notices: _load(values, notices) if path else _from_flags(values))
    if config is None:
        return 1

    from frp_py.net.transports import made_certificate

    if not (config.transport.tls.cert_file and config.transport.tls.key_file):
        made_certificate.begin()  # while we import the rest

    from frp_py import log
    from frp_py.cli import process
    from frp_py.errors import FrpError
    from frp_py.server.app import Server, Source

    log.setup(config.log)
    log.get_logger().info(*(("frps uses config file: %s", path) if path else ("frps uses command line arguments for config",)))
    try:
        server = Server(config, Source(path, lambda: load_again(lambda: _load(values))) if path else None)
    except FrpError as error:
        print(error)
        return 1
    return process.run("frps", server)


def _health(values: Values) -> str:
    from frp_py.cli.health import check_server

    return check_server(_load(values) if values["config"] else _from_flags(values))


def _doctor(values: Values) -> int:
    from frp_py.cli.doctor_server import examine_server

    path = values["config"]
    return examine_server(lambda: _load(values) if path else _from_flags(values), path)


def _api_command(name: str, summary: str, ask: Callable[[WebServerConfig, float], str], more: str) -> Command:
    """A command that asks the web API of the server that runs."""

    def run(values: Values) -> int:
        from frp_py.errors import FrpError

        try:
            web = (_load(values) if values["config"] else _from_flags(values)).web_server
            if not web.port:
                raise FrpError(f"webServer.port is not set, so that a running server can't be asked. {_WITHOUT_API[name]}")
            print(ask(web, values["api-timeout"]))
        except FrpError as error:
            print(error)
            if str(error).startswith("api status code [401]"):
                print(f"  The server that runs may have been given another webServer.user or password. {_WITHOUT_API[name]}")
            return 1
        return 0

    return Command(
        name,
        summary,
        run,
        flags=(Flag("api-timeout", DURATION, Duration(30), "how long the running server may take"),),
        more=f"It asks the server that runs with this file, by its web API: the file must have webServer.port.\n{more}",
        example=f"frps {name} -c ./frps.toml",
    )


_WITHOUT_API = {
    "reload": "It reads its file again all the same at SIGHUP: systemctl reload frps, or kill -HUP and the number of its process",
    "status": "frps health tells whether it runs",
}


def _reload(web: WebServerConfig, timeout: float) -> str:
    from frp_py.cli import api

    return api.reload_server(web, timeout)


def _status(web: WebServerConfig, timeout: float) -> str:
    from frp_py.cli import api

    return api.server_status(web, timeout)


_DOCTOR = Command(
    "doctor",
    "Find out what is wrong with a server, step by step",
    _doctor,
    more="Looks at the configuration, ports, certificates, DNS, limits and the clock, and says what to do. The exit code is 1 when\n"
    "something is wrong. A server that runs is not disturbed.",
    example="frps doctor -c ./frps.toml",
)
ROOT: Command = Command(
    "frps",
    "frps makes services of machines behind NAT reachable at this server.",
    _run,
    inherited=(*global_flags(""), *CONFIG_FLAGS),
    children=(
        init_command(
            "frps", CONFIG_FLAGS, (), "frps init\nfrps init /etc/frp/frps.toml --vhost_http_port 80 --subdomain_host frp.example.com"
        ),
        verify_command("frps", _load),
        _DOCTOR,
        _api_command("status", "Show what the running server does", _status, "frps health needs none."),
        _api_command(
            "reload",
            "Make the running server read its file again",
            _reload,
            "Without one, SIGHUP does the same: systemctl reload frps. Tunnels go on; keys that need a restart are named.",
        ),
        health_command("frps", _health),
        service_command("frps"),
        schema_command("frps"),
        completion_command("frps", lambda: ROOT),
    ),
    more="It runs on a machine that everybody can reach. A first try needs no file; frps init writes one for later.",
    example="frps --token SECRET --allow_ports 6000-6999\nfrps init\nfrps -c ./frps.toml",
)


def main(args: Sequence[str] | None = None) -> int:
    """Run `frps` with `args` (those of the process by default) and return its exit code."""
    return execute(ROOT, sys.argv[1:] if args is None else args)
