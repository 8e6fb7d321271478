from typing import Any

import pytest

from frp_py.config.legacy_server import read_server
from frp_py.config.server import PortsRange, ServerConfig
from frp_py.errors import ConfigError


def read(text: str) -> Any:
    return read_server(("[common]\n" + text).encode(), "frps.ini", {})


def test_defaults_differ_only_in_the_dashboard() -> None:
    config = read("bind_port = abc\nauthentication_method =\n[ignored]\nx = 1")
    assert config.web_server.addr == "0.0.0.0"
    assert config == ServerConfig(web_server=config.web_server)


def test_dashboard_tls() -> None:
    files = "dashboard_tls_cert_file = c\ndashboard_tls_key_file = k\npprof_enable = true\n"
    assert read(files).web_server.tls is None
    assert read(files).web_server.pprof_enable
    tls = read(files + "dashboard_tls_mode = true").web_server.tls
    assert (tls.cert_file, tls.key_file) == ("c", "k")
    assert read("dashboard_tls_mode = true").web_server.tls is not None


def test_ports_are_never_opened_by_a_typing_error() -> None:
    assert read("allow_ports = 1-2, 5").allow_ports == (PortsRange(start=1, end=2), PortsRange(single=5))
    assert read("allow_ports =").allow_ports == ()
    with pytest.raises(ConfigError, match=r"^parse config error: invalid allow_ports: range number is invalid"):
        read("allow_ports = 1-2-3")


def test_hooks_and_scopes() -> None:
    config = read("authenticate_new_work_conns = on\n[plugin. one ]\naddr = a\nops = Login, Ping\ntlsVerify = true\n[plugin.two]")
    assert config.auth.additional_scopes == ("NewWorkConns",)
    assert [(hook.name, hook.ops, hook.tls_verify) for hook in config.http_plugins] == [
        ("one", ("Login", "Ping"), True),
        ("two", (), False),
    ]
