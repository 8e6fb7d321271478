"""The command `frpc` (config.md 5.3 to 5.7)."""

from __future__ import annotations

import os
import sys

from frp_py.cli.command import Command, execute
from frp_py.cli.common import (
    completion_command,
    global_flags,
    health_command,
    load_to_start,
    print_version,
    refuse_unsupported,
    verify_command,
)
from frp_py.cli.flags import BANDWIDTH, BOOL, INT, LIST, MAP, STRING, Flag, Values, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from frp_py.config.client import ClientConfig

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
    return 1 if config is None else _serve(config, values["config"])


def _serve(config: ClientConfig, path: str) -> int:
    """Run one client; `path` is empty when its configuration comes from flags."""
    from frp_py import log
    from frp_py.cli import process
    from frp_py.client.app import Client
    from frp_py.errors import FrpError

    log.setup(config.log)
    logger = log.get_logger()
    try:
        client = Client(config)
    except FrpError as error:
        print(error)
        return 1
    if path:
        logger.info("start frpc service for config file [%s] with aggregated configuration", path)
    code = process.run("frpc", client)
    if path:
        logger.info("frpc service for config file [%s] stopped", path)
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
                configs.append((path, config))
            else:
                print(f"frpc service error for config file [{path}]", flush=True)
    if configs:
        from frp_py import log
        from frp_py.cli import process
        from frp_py.cli.several import SeveralClients

        log.setup(configs[0][1].log)
        process.run("frpc", SeveralClients(configs))
    return 0


def _one(shape: dict[str, Any], prefix: str) -> int:
    """Run one proxy or visitor; its errors are told without the words that name it in a file."""
    from frp_py.config import client_from_dict
    from frp_py.errors import ConfigError

    try:
        config = client_from_dict(shape)
    except ConfigError as error:
        print(str(error).removeprefix(prefix))
        return 1
    return 1 if refuse_unsupported(config) else _serve(config, "")


def _proxy_command(kind: str, flags: Sequence[Flag]) -> Command:
    def run(values: Values) -> int:
        entry = {"type": kind, **tree(flags, values)}
        return _one({**tree(COMMON, values), "proxies": [entry]}, f"proxy {values['proxy-name']}: ")

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
        f"Run one {kind} proxy without a configuration file",
        run,
        flags=flags,
        inherited=COMMON,
        children=(visitor,) if kind in ("stcp", "sudp", "xtcp") else (),
        example=f"frpc {kind} -s frp.example.com -t SECRET -n mine -l 22" + _EXAMPLES[kind],
    )


_EXAMPLES = {
    **dict.fromkeys(("tcp", "udp"), " -r 6000"),
    **dict.fromkeys(("http", "https"), " -d www.example.com"),
    "tcpmux": " -d ssh.example.com --mux httpconnect",
    **dict.fromkeys(("stcp", "sudp", "xtcp"), " --sk KEY"),
}


def _health(values: Values) -> str:
    from frp_py.cli.health import check_client

    return check_client(_load(values))


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
        verify_command("frpc", _load),
        health_command("frpc", _health),
        completion_command("frpc", lambda: ROOT),
        Command("reload", "Make the running client read its file again", built=False),
        Command("status", "Show the proxies of the running client", built=False),
        Command("stop", "Stop the running client", built=False),
        Command("nathole", "Find out how this machine's NAT behaves", built=False),
    ),
    example="frpc -c ./frpc.toml\nfrpc tcp -s frp.example.com -t SECRET -n ssh -l 22 -r 6000",
)


def main(args: Sequence[str] | None = None) -> int:
    """Run `frpc` with `args` (those of the process by default) and return its exit code."""
    return execute(ROOT, sys.argv[1:] if args is None else args)
