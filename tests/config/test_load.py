import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from frp_py import config
from frp_py.config.client import ClientConfig
from frp_py.config.proxies import TcpProxy, XtcpProxy
from frp_py.config.server import PortsRange
from frp_py.config.visitors import XtcpVisitor
from frp_py.errors import ConfigError

DATA = Path(__file__).parent.parent / "data"
VECTORS = json.loads((DATA / "config_vectors.json").read_text())
EXAMPLES = sorted((DATA / "config_examples").iterdir())
LEGACY_YIELDS = ["bulk_0", "bulk_1", "bulk_2", "bulk_3", "files", "secret", "shell", "site"]


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("http_proxy", raising=False)


def load(program: str, path: str | Path, **options: Any) -> Any:
    return (config.load_server if program == "frps" else config.load_client)(str(path), **options)


def client(text: str, name: str = "frpc.toml", **options: Any) -> ClientConfig:
    Path(name).write_text(text)
    return config.load_client(name, **options)


def failure(text: str, name: str = "frpc.toml", program: str = "frpc", **options: Any) -> tuple[str, str]:
    """Return the specification's part of the error, and the line that says where."""
    Path(name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(program, name, **options)
    return split(str(caught.value))


def split(error: str) -> tuple[str, str]:
    lines = error.split("\n")
    where = [line for line in lines if line.startswith("  in ")]
    assert len(where) <= 1
    return "\n".join(line for line in lines if line not in where), "".join(where)


@pytest.mark.parametrize("vector", VECTORS, ids=[str(vector["number"]) for vector in VECTORS])
def test_vectors(vector: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / ("file" + (f".{vector['extension']}" if vector["extension"] else ""))
    path.write_text(vector["content"])
    try:
        loaded = load(vector["program"], path)
    except ConfigError as error:
        text, where = split(str(error))
        assert text == vector["error"]
        assert where.startswith(f"  in {path}: ")
    else:
        assert vector["error"] == ""
        assert config.warnings_of(loaded) == vector["warnings"]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_examples(path: Path, tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    options: dict[str, Any] = {"allow_unsafe": ["TokenSourceExec"], "environ": {}}
    if "-15-" in path.name:
        with pytest.raises(ConfigError, match="VirtualNet feature is not enabled"):
            load("frpc", path, **options)
        options["store"] = True
    loaded = load(path.name[:4], path, **options)
    # What it says as a tree, written as TOML, is the same configuration again.
    rewritten = tmp_path / "again.toml"
    rewritten.write_text(config.to_toml(config.to_dict(loaded)))
    assert load(path.name[:4], rewritten, **options) == loaded


def example(name: str, **options: Any) -> Any:
    return load(name[:4], DATA / "config_examples" / name, **options)


def test_the_same_client_in_three_formats() -> None:
    assert example("frpc-02-1.yaml") == example("frpc-02-2.json") == example("frpc-01-2.toml")


def test_a_full_server() -> None:
    loaded = example("frps-03-1.toml")
    assert (loaded.vhost_http_port, loaded.vhost_https_port, loaded.tcpmux_http_connect_port) == (8080, 8443, 1337)
    assert loaded.allow_ports == (PortsRange(start=6000, end=6999), PortsRange(single=9000))
    assert not loaded.transport.tcp_mux
    assert loaded.transport.heartbeat_timeout == 60
    assert loaded.http_plugins[0].ops[-1] == "NewUserConn"
    assert not loaded.detailed_errors_to_client


def test_templates_make_proxies() -> None:
    names = [f"tcp-{6000 + i}" for i in range(8)] + ["n00", "n01", "n02"]
    loaded = example("frpc-06-1.toml", environ={})
    assert [proxy.name for proxy in loaded.proxies] == names
    assert loaded.server_addr == "203.0.113.5"
    with_values = example("frpc-06-1.toml", environ={"FRP_HOST": "h", "FRP_TOKEN": 'a"b', "WITH_DNS": "yes"})
    assert (with_values.server_addr, with_values.auth.token) == ("h", 'a"b')
    assert [proxy.name for proxy in with_values.proxies] == [*names[:8], "dns", *names[8:]]


def test_anchors_and_cases() -> None:
    assert [proxy.transport.use_compression for proxy in example("frpc-07-1.yaml").proxies] == [True, True]
    odd = example("frpc-13-1.toml")
    assert odd.server_addr == "203.0.113.5"
    assert not odd.transport.tcp_mux
    assert odd.proxies == (TcpProxy(name="a", local_port=22),)


def test_a_legacy_server() -> None:
    notices: list[str] = []
    loaded = example("frps-16-1.ini", notices=notices)
    assert notices == [config.LEGACY_WARNING]
    assert loaded.auth.token == "a token # with hash"
    assert loaded.auth.additional_scopes == ("HeartBeats",)
    assert loaded.allow_ports == (PortsRange(start=6000, end=6999), PortsRange(single=9000))
    assert (loaded.transport.tcp_mux, loaded.transport.heartbeat_timeout) == (False, 90)
    assert (loaded.web_server.addr, loaded.web_server.port, loaded.web_server.user) == ("0.0.0.0", 7500, "root")
    assert [(hook.name, hook.addr, hook.ops) for hook in loaded.http_plugins] == [("gate keeper", "127.0.0.1:9000", ("Login", "NewProxy"))]


def test_a_legacy_client() -> None:
    loaded = example("frpc-17-1.ini", store=True)
    assert [proxy.name for proxy in loaded.proxies] == LEGACY_YIELDS
    assert [visitor.name for visitor in loaded.visitors] == ["secret_visitor"]
    by_name: dict[str, Any] = {proxy.name: proxy for proxy in loaded.proxies}
    assert (by_name["bulk_3"].type, by_name["bulk_3"].local_port, by_name["bulk_3"].remote_port) == ("udp", 7010, 8010)
    assert by_name["site"].request_headers.set == {"X-From": "frp"}
    assert by_name["shell"].transport.bandwidth_limit.bytes_per_second == 512 * 1024
    assert by_name["files"].plugin.local_path == "public"
    assert loaded.metadatas == {"site": "berlin"}


def test_an_unreadable_file() -> None:
    with pytest.raises(ConfigError, match=r"^open none\.toml: no such file or directory$"):
        config.load_client("none.toml")
    with pytest.raises(ConfigError, match=r"^read \.: is a directory$"):
        config.load_server(".")
    with pytest.raises(ConfigError, match=r"invalid argument$"):
        config.load_server("a\0b")


# Defaults that depend on something


def test_heartbeats_follow_the_mux() -> None:
    assert config.client_from_dict({}).transport.heartbeat_interval == -1
    plain = config.client_from_dict({"transport": {"tcpMux": False}}).transport
    assert (plain.heartbeat_interval, plain.heartbeat_timeout) == (30, 90)
    explicit = config.client_from_dict({"transport": {"tcpMux": False, "heartbeatInterval": -1}}).transport
    assert (explicit.heartbeat_interval, explicit.heartbeat_timeout) == (-1, 90)
    assert config.server_from_dict({"transport": {"heartbeatTimeout": 7}}).transport.heartbeat_timeout == 7


def test_the_proxy_of_the_environment() -> None:
    environ = {"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}
    assert config.client_from_dict({}, environ=environ).transport.proxy_url == "http://p:1"
    assert config.client_from_dict({"transport": {"proxyURL": "x"}}, environ=environ).transport.proxy_url == "x"
    assert client('user = "a"', environ=environ).transport.proxy_url == "http://p:1"


def test_zero_means_default() -> None:
    loaded = config.client_from_dict(
        {"transport": {"poolCount": 0}, "log": {"maxDays": 0, "level": ""}, "serverPort": 0, "udpPacketSize": -1}
    )
    assert (loaded.transport.pool_count, loaded.log.max_days, loaded.log.level, loaded.server_port) == (1, 3, "info", 7000)
    assert loaded.udp_packet_size == -1
    server = config.server_from_dict({"bindAddr": "192.0.2.1", "transport": {"tls": {"trustedCaFile": "ca"}}})
    assert (server.proxy_bind_addr, server.transport.tls.force) == ("192.0.2.1", True)
    assert server.web_server.addr == "127.0.0.1"
    visitor = config.client_from_dict({"visitors": [{"type": "xtcp", "name": "v", "serverName": "s", "bindPort": 1}]}).visitors[0]
    assert isinstance(visitor, XtcpVisitor)
    assert (visitor.protocol, visitor.max_retries_an_hour, visitor.min_retry_interval, visitor.fallback_timeout_ms) == ("quic", 8, 90, 1000)


# Names, start, enabled


def test_start_and_enabled() -> None:
    proxies = [{"name": name, "type": "tcp", "enabled": enabled} for name, enabled in (("a", True), ("b", False), ("c", True), ("d", True))]
    loaded = config.client_from_dict({"proxies": proxies, "start": ["c", "b", "a", "unknown"]})
    assert [proxy.name for proxy in loaded.proxies] == ["a", "c"]
    assert [proxy.name for proxy in config.client_from_dict({"proxies": proxies}).proxies] == ["a", "c", "d"]


def test_a_disabled_proxy_is_decoded_but_not_checked() -> None:
    assert client('[[proxies]]\nname="a"\ntype="http"\nenabled=false').proxies == ()
    assert failure('[[proxies]]\nname="a"\ntype="nope"\nenabled=false')[0] == "decode proxy at index 0: unknown proxy type: nope"


def test_duplicates_name_both_places() -> None:
    Path("more").mkdir()
    Path("more/x.toml").write_text('[[proxies]]\nname="a"\ntype="udp"')
    text, where = failure('includes=["more/*.toml"]\n[[proxies]]\nname="a"\ntype="tcp"')
    assert text == "proxy name [a] is duplicated"
    assert where == f"  in {os.getcwd()}/more/x.toml: proxies[0] has the name of proxies[0] in frpc.toml"
    assert failure('[[visitors]]\ntype="stcp"\n[[visitors]]\ntype="stcp"')[0] == "visitor name [] is duplicated"
    both = '[[proxies]]\nname="a"\ntype="tcp"\n[[visitors]]\nname="a"\ntype="stcp"\nserverName="s"\nbindPort=1'
    assert len(client(both).visitors) == 1


def test_names_at_start() -> None:
    text = '[[{0}s]]\ntype="{1}"\nname=""'
    assert failure(text.format("proxie", "tcp"), store=True)[0] == "failed to set config source: proxy name cannot be empty"
    assert failure(text.format("visitor", "stcp"), store=True)[0] == "failed to set config source: visitor name cannot be empty"


def test_gates_count_at_start_only() -> None:
    text = 'virtualNet.address = "1.1.1.1/24"\nfeatureGates = {{ {} = true }}'
    assert client(text.format("VirtualNet"), store=True).virtual_net.address == "1.1.1.1/24"
    assert failure(text.format("Foo"), store=True)[0] == "unrecognized feature gate: Foo"
    assert failure('virtualNet.address = "1.1.1.1/24"\nfeatureGates = { VirtualNet = false }', store=True)[0].startswith(
        "VirtualNet feature"
    )


def test_file_order_unless_started() -> None:
    text = '[[proxies]]\nname="b"\ntype="tcp"\n[[proxies]]\nname="a"\ntype="tcp"'
    assert [proxy.name for proxy in client(text).proxies] == ["b", "a"]
    assert [proxy.name for proxy in client(text, store=True).proxies] == ["a", "b"]


def test_the_file_of_statistics_is_seen_from_the_folder_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    for path, expected in (
        ("x.db", tmp_path / "etc" / "x.db"),
        ("../x.db", tmp_path / "etc" / "../x.db"),
        ("/var/x.db", Path("/var/x.db")),
    ):
        (tmp_path / "etc" / "frps.toml").write_text(f'[statistics]\npath = "{path}"\n')
        assert config.load_server("etc/frps.toml").statistics.path == str(expected)
    assert config.server_from_dict({"statistics": {"keepHours": 2}}).statistics.path == ""
    (tmp_path / "etc" / "frps.toml").write_text("[statistics]\nkeepDays = 2\n")
    assert config.load_server("etc/frps.toml").statistics.path == ""


# The store


def test_the_store_replaces_by_name_and_disabled_entries_hide_nothing() -> None:
    Path("sub").mkdir()
    Path("sub/store.json").write_text(
        json.dumps(
            {
                "proxies": [
                    {"name": "a", "type": "xtcp", "secretKey": "k", "someday": 1},
                    {"name": "b", "type": "udp", "enabled": False},
                    {"name": "z", "type": "tcp", "localPort": 1},
                    {"name": "z", "type": "tcp", "localPort": 2, "plugin": None},
                ],
                "visitors": [{"name": "v", "type": "stcp", "serverName": "s", "bindPort": 1}],
            }
        )
    )
    text = 'store.path = "store.json"\n[[proxies]]\nname="b"\ntype="tcp"\n[[proxies]]\nname="a"\ntype="tcp"'
    loaded = client(text, "sub/frpc.toml", store=True)
    assert loaded.proxies == (XtcpProxy(name="a", secret_key="k"), TcpProxy(name="b"), TcpProxy(name="z", local_port=2))
    assert [visitor.name for visitor in loaded.visitors] == ["v"]
    assert loaded.store.path == os.path.join(os.getcwd(), "sub", "store.json")
    assert [proxy.name for proxy in client(text, "sub/frpc.toml").proxies] == ["b", "a"]  # verify doesn't open it


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "failed to parse JSON: unexpected end of JSON input"),
        ("{} {}", "failed to parse JSON: invalid character '{' after top-level value"),
        ('{"proxies": [{"name": "a", "type": "x"}]}', "failed to decode proxy at index 0: unknown proxy type: x"),
        ('{"proxies": [null]}', "failed to decode proxy at index 0: type is required"),
        (
            '{"visitors": [{"type": "stcp", "name": "a"}, {"type": "tcp"}]}',
            "failed to decode visitor at index 1: unknown visitor type: tcp",
        ),
        ('{"proxies": [{"type": "tcp"}]}', "proxy name cannot be empty"),
        ('{"visitors": [{"type": "stcp"}]}', "visitor name cannot be empty"),
    ],
)
def test_a_broken_store(content: str, cause: str) -> None:
    Path("s.json").write_text(content)
    text, where = failure('store.path = "s.json"', store=True)
    assert text == f"failed to create store source: failed to load existing data: {cause}"
    assert "s.json" in where


def test_a_stored_entry_is_checked() -> None:
    Path("s.json").write_text('{"proxies": [{"name": "a", "type": "http"}]}')
    text, where = failure('store.path = "s.json"', store=True)
    assert text == "proxy a: subdomain and custom domains should not be both empty"
    assert where.endswith("s.json: proxies[a].customDomains or subdomain must be given")
    Path("s.json").unlink()
    assert client('store.path = "s.json"', store=True).proxies == ()


# Includes


def test_includes() -> None:
    Path("conf.d").mkdir()
    Path("conf.d/b.yaml").write_text("serverAddr: ignored\nincludes: [nowhere/*.toml]\nproxies: [{name: 'y', type: tcp}]")
    Path("conf.d/a.json").write_text('{"visitors": [{"name": "v", "type": "stcp", "serverName": "s", "bindPort": 1}]}')
    Path("conf.d/.hidden").write_text('[[proxies]]\nname="h"\ntype="{{ .Envs.KIND }}"')
    Path("conf.d/dir.d").mkdir()
    Path("main").mkdir()
    loaded = client('includes = ["./conf.d/*"]\n[[proxies]]\nname="m"\ntype="tcp"', "main/frpc.toml", environ={"KIND": "udp"})
    assert [(proxy.name, proxy.type) for proxy in loaded.proxies] == [("m", "tcp"), ("h", "udp"), ("y", "tcp")]
    assert [visitor.name for visitor in loaded.visitors] == ["v"]
    assert loaded.server_addr == "0.0.0.0"
    assert client('includes = ["conf.d", "conf.d/*.none", "conf.d/[", "conf.d/"]').proxies == ()


def test_errors_of_includes() -> None:
    here = os.getcwd()
    assert failure('includes = ["none/*.toml"]')[0] == f"stat {here}/none: no such file or directory"
    Path("x.toml").write_text('[[proxies]]\ntype="tcp"\nname="a"\nfoo=1')
    text, where = failure('includes = ["x.toml"]')
    frame = f"load additional config from {here}/x.toml error: "
    assert text == frame + 'decode proxy at index 0: unmarshal ProxyConfig error: json: unknown field "foo"'
    assert where == f"  in {here}/x.toml: proxies[0].foo is no key of tcp proxies"
    Path("link").symlink_to(here)
    assert failure('includes = ["lin?"]')[0] == f"load additional config from {here}/link error: read {here}/link: is a directory"
    Path("x.toml").write_text("serverPort = true")
    assert failure('includes = ["x.toml"]')[0] == frame + 'field "ClientCommonConfig.serverPort": cannot unmarshal bool into int'
    Path("x.toml").write_text("[common]\n[a]\ntype=tcp")
    assert failure('includes = ["x.toml"]')[0].startswith(frame + "toml: ")


# Order and lenience


def test_common_findings_come_before_entries() -> None:
    text, _ = failure('log.level="x"\n[[proxies]]\nname="a"\ntype="http"')
    assert text == "invalid log level, optional values are [trace debug info warn error]"
    text, _ = failure('[[visitors]]\nname="v"\ntype="stcp"\n[[proxies]]\nname="a"\ntype="http"')
    assert text.startswith("proxy a: ")


def test_lenient_loading_ignores_unknown_keys_everywhere() -> None:
    text = 'foo=1\nlog.foo=1\n[[proxies]]\nname="a"\ntype="tcp"\nfoo=1\nplugin={type="socks5", foo=1}'
    assert [proxy.name for proxy in client(text, strict=False).proxies] == ["a"]
    assert failure('foo=1\nserverPort="x"', strict=False)[0] == 'field "ClientCommonConfig.serverPort": cannot unmarshal string into int'
    Path("frps.toml").write_text("foo=1\nbindPort=7001")
    assert config.load_server("frps.toml", strict=False).bind_port == 7001


def test_exec_sources_need_leave() -> None:
    text = 'auth.tokenSource = { type = "exec", exec = { command = "x" } }'
    assert client(text, allow_unsafe=["TokenSourceExec"]).auth.token_source
    assert failure(text, allow_unsafe=["tokensourceexec"])[0].startswith('unsafe feature "TokenSourceExec" is not enabled')


def test_secrets_are_not_shown() -> None:
    assert "12345" not in " ".join(failure("auth.token = 12345"))
    assert "12345" not in " ".join(failure('[[proxies]]\nname="a"\ntype="stcp"\nsecretKey = 12345'))


def test_everything_is_imported_on_demand() -> None:
    import subprocess
    import sys

    program = "import sys, frp_py.config; print(*[m for m in ('msgspec', 'yaml', 'tomli', 'difflib', 'trio') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
    program = (
        "import sys, frp_py.config as c; c.load_server('frps.toml');"
        "print(*[m for m in ('yaml', 'json', 'difflib', 'trio', 'subprocess', 'frp_py.config.template') if m in sys.modules])"
    )
    Path("frps.toml").write_text("bindPort = 7001")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(found) <= {"json"}
    with pytest.raises(AttributeError):
        _ = config.nothing


@pytest.mark.parametrize("spelling", ["localPort", "LocalPort"])
def test_two_thousand_proxies_load_quickly(spelling: str) -> None:
    entry = '[[proxies]]\nname="p{0}"\ntype="tcp"\n{1}={0}\nremotePort={0}\ntransport.useEncryption=true\ntransport.bandwidthLimit="1MB"\n'
    text = "".join(entry.format(i, spelling) for i in range(2000))
    spent = []
    for _ in range(3):
        start = time.process_time()
        assert len(client(text).proxies) == 2000
        spent.append(time.process_time() - start)
    assert min(spent) < 0.3
