from pathlib import Path
from typing import Any

import pytest

from frp_py.config import client_from_dict, load_client, warnings_of
from frp_py.config.legacy_client import read_client
from frp_py.errors import ConfigError


def read(text: str) -> Any:
    return read_client(text.encode(), "frpc.ini", {"NAME": "web", "PORT": "80"})[0]


ERRORS = [
    (
        "heartbeat_interval = 20\nheartbeat_timeout = 10",
        "parse config error: invalid heartbeat_timeout, heartbeat_timeout is less than heartbeat_interval",
    ),
    ("protocol = x", "parse config error: invalid protocol"),
    ("includes = nowhere/*.ini", "parse config error: include: directory of nowhere/*.ini not exist"),
    ("[a]\ntype = x", "failed to parse proxy a, err: invalid type [x]"),
    ("[a]\nbandwidth_limit = 1GB", "failed to parse proxy a, err: unit not support"),
    ("[a]\nrole = x", "proxy a role should be 'server' or 'visitor'"),
    ("[a]\nrole = visitor", "failed to parse visitor a, err: type shouldn't be empty"),
    ("[a]\nrole = visitor\ntype = tcp", "failed to parse visitor a, err: type [tcp] error"),
    ("[a]\nplugin = x", "failed to parse proxy a, err: unknown plugin type: x"),
    ("[range:a]\nlocal_port = 1", "failed to render template for proxy range:a: local_port or remote_port is empty"),
    (
        "[range: a ]\nlocal_port = 1-2\nremote_port = 1",
        "failed to render template for proxy range:a: local ports number should be same with remote ports number",
    ),
    ("[range:a]\nlocal_port = 2-1\nremote_port = 1", "failed to render template for proxy range:a: range number is invalid"),
    (
        "[range:a]\nlocal_port = x\nremote_port = 1",
        'failed to render template for proxy range:a: range number is invalid, strconv.ParseInt: parsing "x": invalid syntax',
    ),
    ('[a]\nx = {{ parseNumberRange "1" }}', 'template: frp:3: function "parseNumberRange" not defined'),
]


@pytest.mark.parametrize(("text", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_errors(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("[common]\n" + text)
    first, _, where = str(caught.value).partition("\n  in ")
    assert first == expected
    assert where.startswith("frpc.ini")


@pytest.mark.parametrize(("interval", "timeout"), [(20, 20), (20, 0), (-1, 10), (0, 10), (20, -1)])
def test_heartbeats_that_are_fine(interval: int, timeout: int) -> None:
    assert read(f"[common]\nheartbeat_interval = {interval}\nheartbeat_timeout = {timeout}").transport.heartbeat_interval == (
        interval or -1
    )


def test_ranges_merge_into_sections() -> None:
    config = read(
        "[common]\n[a_1]\ntype = udp\nlocal_ip = h\n[range:a]\ntype = tcp\nlocal_port = 1-2\nremote_port = 8,9\nuse_encryption = 1"
    )
    found = [(proxy.name, proxy.type, proxy.local_ip, proxy.local_port, proxy.remote_port) for proxy in config.proxies]
    assert found == [("a_1", "tcp", "h", 2, 9), ("a_0", "tcp", "127.0.0.1", 1, 8)]
    assert all(proxy.transport.use_encryption for proxy in config.proxies)


def test_templates_and_oddities() -> None:
    config = read(
        "[common]\n[{{ .Envs.NAME }}]\nname = ignored\nlocal_port = {{ .Envs.PORT }}\nremote_port = 10s\nfoo = bar\nmeta_ = x\nmeta_A = y"
    )
    (proxy,) = config.proxies
    assert (proxy.name, proxy.type, proxy.local_port, proxy.remote_port, proxy.metadatas) == ("web", "tcp", 80, 0, {"A": "y"})
    visitor = read(
        "[common]\n[v]\nrole = visitor\ntype = xtcp\nmax_retries_an_hour = -1\nmin_retry_interval = 0\nfallback_timeout_ms = x"
    ).visitors[0]
    assert (visitor.max_retries_an_hour, visitor.min_retry_interval, visitor.fallback_timeout_ms) == (8, 90, 1000)


def test_includes_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "1.ini").write_text("[b]\nlocal_port = {{ .Envs.PORT }}\n[a]\nlocal_port = 2\n[common]\nuser = ignored")
    config = read("[common]\nincludes = ./d/*.ini\n[a]\nlocal_port = 1\nremote_port = 3")
    assert [(proxy.name, proxy.local_port, proxy.remote_port) for proxy in config.proxies] == [("a", 2, 3), ("b", 80, 0)]
    assert config.user == ""
    (tmp_path / "d" / "1.ini").write_text("[b")
    with pytest.raises(ConfigError, match=r"^unclosed section: \[b"):
        read("[common]\nincludes = ./d/*.ini")
    (tmp_path / "d" / "1.ini").write_text("[b]\nx = {{ y }}")
    with pytest.raises(
        ConfigError, match=r'^getIncludeContents error: render extra config .*/d/1.ini error: template: frp:2: function "y" not'
    ):
        read("[common]\nincludes = ./d/*.ini")


def test_notices_and_the_ordinary_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "frpc"
    path.write_text("[common]\ntls_enable = false\ntls_cert_file = c\ntls_trusted_ca_file = d\nstart = b\n[a]\ntype = http\n[b]\n")
    notices: list[str] = []
    config = load_client(str(path), notices=notices, environ={"http_proxy": "http://p"})
    assert notices[0].startswith("WARNING: ini format is deprecated")
    assert notices[1:] == [f"WARNING! {key} is invalid when tls_enable is false" for key in ("tls_cert_file", "tls_trusted_ca_file")]
    assert warnings_of(config)[0] == "transport.tls.certFile is invalid when transport.tls.enable is false"
    assert [proxy.name for proxy in config.proxies] == ["b"]
    assert config.transport.proxy_url == "http://p"
    path.write_text("[common]\n[a]\ntype = http\n")
    with pytest.raises(ConfigError, match=r"^proxy a: subdomain and custom domains should not be both empty\n  in .*: .a..customDomains"):
        load_client(str(path))


def test_an_empty_common_part_has_the_ordinary_defaults() -> None:
    assert read("[common]\n") == client_from_dict({}, environ={})
