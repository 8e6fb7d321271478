from typing import Any

import pytest

from frp_py.config.decode import decode_client, decode_server
from frp_py.config.formats import parse_text
from frp_py.errors import ConfigError


def text_of(text: str, name: str = "frpc.toml", program: str = "frpc", strict: bool = True) -> tuple[str, str]:
    """Return the specification's text and the second line of the error that `text` gives."""
    with pytest.raises(ConfigError) as caught:
        (decode_server if program == "frps" else decode_client)(parse_text(text, name, strict=strict), strict=strict)
    first, _, where = str(caught.value).partition("\n  in ")
    return first, where


def proxy(body: str) -> str:
    return f'[[proxies]]\nname="a"\ntype="tcp"\n{body}'


PROXY = "decode proxy at index 0: unmarshal ProxyConfig error: "
PROXY_PLUGIN = "decode proxy at index 0: unmarshal proxy plugin error: unmarshal ClientPluginOptions error: "
VISITOR = "decode visitor at index 0: unmarshal VisitorConfig error: "
NETWORK = 'type="stcp"\nplugin={type="virtual_net"'

ERRORS = [
    # unknown keys
    ("transport.tls.foo = 1", 'json: unknown field "foo"'),
    ('"fo\\"o" = 1', 'json: unknown field "fo\\"o"'),
    (proxy('subdomain = "x"'), PROXY + 'json: unknown field "subdomain"'),
    (proxy("healthCheck.foo = 1"), PROXY + 'json: unknown field "foo"'),
    ('[[proxies]]\ntype="stcp"\nnatTraversal = {}', PROXY + 'json: unknown field "natTraversal"'),
    (proxy('requestHeaders.set.x = "y"'), PROXY + 'json: unknown field "requestHeaders"'),
    ('[[proxies]]\ntype="http"\nrequestHeaders.add.x = "y"', PROXY + 'json: unknown field "add"'),
    (proxy('plugin = {type="socks5", localAddr="x"}'), PROXY_PLUGIN + 'json: unknown field "localAddr"'),
    ('[[visitors]]\ntype="stcp"\nprotocol="kcp"', VISITOR + 'json: unknown field "protocol"'),
    (
        f"[[visitors]]\n{NETWORK}, foo=1}}",
        'decode visitor at index 0: unmarshal visitor plugin error: unmarshal VisitorPluginOptions error: json: unknown field "foo"',
    ),
    # types of entries
    ('[[proxies]]\nname="a"\ntype="TCP"', "decode proxy at index 0: unknown proxy type: TCP"),
    ('[[proxies]]\ntype="tcp"\n[[proxies]]', "decode proxy at index 1: unknown proxy type: "),
    ('[[visitors]]\ntype="tcp"', "decode visitor at index 0: unknown visitor type: tcp"),
    ("[[proxies]]\ntype=1", 'field "type": cannot unmarshal number into string'),
    (proxy("plugin = {}"), PROXY + "plugin type is empty"),
    (proxy('plugin = {type="x"}'), PROXY + "unknown plugin type: x"),
    ('[[visitors]]\ntype="stcp"\nplugin={}', VISITOR + "visitor plugin type is empty"),
    ('[[visitors]]\ntype="stcp"\nplugin={type="x"}', VISITOR + "unknown visitor plugin type: x"),
    # bandwidth
    (proxy('transport.bandwidthLimit = "1mb"'), PROXY + "unit not support"),
    (proxy('transport.bandwidthLimit = "x MB"'), PROXY + 'strconv.ParseFloat: parsing "x ": invalid syntax'),
    (proxy('transport.bandwidthLimit = "MB"'), PROXY + 'strconv.ParseFloat: parsing "": invalid syntax'),
    # wrong types
    ('transport.tcpMux = "x"', 'field "ClientCommonConfig.transport.tcpMux": cannot unmarshal string into bool'),
    ("loginFailExit = 1", 'field "ClientCommonConfig.loginFailExit": cannot unmarshal number into bool'),
    ('proxies = "x"', 'field "proxies": cannot unmarshal string into []jsonx.RawMessage'),
    ('log.maxDays = "x"', 'field "ClientCommonConfig.log.maxDays": cannot unmarshal string into int64'),
    ("serverPort = 70.5", 'field "ClientCommonConfig.serverPort": cannot unmarshal number 70.5 into int'),
    ("serverPort = 1e19", 'field "ClientCommonConfig.serverPort": cannot unmarshal number 10000000000000000000 into int'),
    ("serverPort = 1e22", 'field "ClientCommonConfig.serverPort": cannot unmarshal number 1e+22 into int'),
    ("serverPort = 9223372036854775808", 'field "ClientCommonConfig.serverPort": cannot unmarshal number 9223372036854775808 into int'),
    ("serverPort = []", 'field "ClientCommonConfig.serverPort": cannot unmarshal array into int'),
    ("log = 1", 'field "ClientCommonConfig.log": cannot unmarshal number into v1.LogConfig'),
    ("transport = true", 'field "ClientCommonConfig.transport": cannot unmarshal bool into v1.ClientTransportConfig'),
    ('auth.tokenSource = "x"', 'field "ClientCommonConfig.auth.tokenSource": cannot unmarshal string into v1.ValueSource'),
    ('webServer.tls = "x"', 'field "ClientCommonConfig.webServer.tls": cannot unmarshal string into v1.TLSConfig'),
    ("webServer.tls.certFile = 1", 'field "ClientCommonConfig.webServer.tls.certFile": cannot unmarshal number into string'),
    ("transport.tls.certFile = 1", 'field "ClientCommonConfig.transport.tls.TLSConfig.certFile": cannot unmarshal number into string'),
    ("transport.tls.enable = {}", 'field "ClientCommonConfig.transport.tls.enable": cannot unmarshal object into bool'),
    ("version = 1", 'field "ClientCommonConfig.APIMetadata.version": cannot unmarshal number into string'),
    ('start = "a"', 'field "ClientCommonConfig.start": cannot unmarshal string into []string'),
    ('start = ["a", 1]', 'field "ClientCommonConfig.start": cannot unmarshal number into string'),
    ("metadatas.a = 1", 'field "ClientCommonConfig.metadatas": cannot unmarshal number into string'),
    ('featureGates.a = "x"', 'field "ClientCommonConfig.featureGates": cannot unmarshal string into bool'),
    ("serverPort = inf", "json: unsupported value: +Inf"),
    ("aaa = 1\nz = [-inf]", "json: unsupported value: -Inf"),
    ("serverPort = nan", "json: unsupported value: NaN"),
    (
        proxy('localPort = "x"'),
        PROXY + "json: cannot unmarshal string into Go struct field TCPProxyConfig.ProxyBaseConfig.ProxyBackend.localPort of type int",
    ),
    (
        '[[proxies]]\ntype="http"\nsubdomain=1',
        PROXY + "json: cannot unmarshal number into Go struct field HTTPProxyConfig.DomainConfig.subdomain of type string",
    ),
    (
        '[[visitors]]\ntype="xtcp"\nbindPort="1"',
        VISITOR + "json: cannot unmarshal string into Go struct field XTCPVisitorConfig.VisitorBaseConfig.bindPort of type int",
    ),
    (proxy('remotePort = "1"'), PROXY + "json: cannot unmarshal string into Go struct field TCPProxyConfig.remotePort of type int"),
    # the first error is the one of the key that sorts first; the common part comes before the entries
    ("zz = 1\naa = 1", 'json: unknown field "aa"'),
    ('[[proxies]]\ntype="x"\n[zz]', 'json: unknown field "zz"'),
    ('[[visitors]]\ntype="x"\n[[proxies]]\ntype="y"', "decode proxy at index 0: unknown proxy type: y"),
]


@pytest.mark.parametrize(("content", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_texts(content: str, expected: str) -> None:
    assert text_of(content)[0] == expected


SERVER_ERRORS = [
    ("auth.oidc.clientID = 'x'", 'json: unknown field "clientID"'),
    ("version = 1", 'field "APIMetadata.version": cannot unmarshal number into string'),
    ("transport.tls.keyFile = 1", 'field "transport.tls.TLSConfig.keyFile": cannot unmarshal number into string'),
    ('allowPorts = ["1-2"]', 'field "allowPorts": cannot unmarshal string into types.PortsRange'),
    ('allowPorts = [{start = "x"}]', 'field "allowPorts.start": cannot unmarshal string into int'),
    ('vhostHTTPTimeout = "1"', 'field "vhostHTTPTimeout": cannot unmarshal string into int64'),
]


@pytest.mark.parametrize(("content", "expected"), SERVER_ERRORS, ids=range(len(SERVER_ERRORS)))
def test_server_texts(content: str, expected: str) -> None:
    assert text_of(content, program="frps")[0] == expected


LENIENT_YAML = [
    ("serverPort: x", "json: cannot unmarshal string into Go struct field ClientConfig.ClientCommonConfig.serverPort of type int"),
    ("proxies: [{type: zz}]", "unknown proxy type: zz"),
    ("visitors: [{type: tcp}]", "unknown visitor type: tcp"),
    ("proxies: [{type: tcp, transport: {bandwidthLimit: 1}}]", None),
    ("proxies: [{type: tcp, transport: {bandwidthLimit: 1GB}}]", "unmarshal ProxyConfig error: unit not support"),
    ("proxies: [null]", "type is required"),
]


@pytest.mark.parametrize(("content", "expected"), LENIENT_YAML, ids=range(len(LENIENT_YAML)))
def test_lenient_yaml_has_another_frame(content: str, expected: str | None) -> None:
    text, _ = text_of(content, "frpc.yaml", strict=False)
    assert text.startswith("error unmarshaling JSON: while decoding JSON: ")
    if expected:
        assert text.endswith(": " + expected)
    server, _ = text_of("bindPort: x", "frps.yaml", "frps", strict=False)
    assert server.endswith(": json: cannot unmarshal string into Go struct field ServerConfig.bindPort of type int")


def test_strict_is_the_default() -> None:
    for decode in (decode_client, decode_server):
        with pytest.raises(ConfigError, match="unknown field"):
            decode(parse_text("foo = 1", "x.toml"))
        decode(parse_text("foo = 1", "x.toml"), strict=False)


def test_a_file_that_is_no_table() -> None:
    assert text_of("- a", "x.yaml", "frps")[0] == "json: cannot unmarshal array into Go value of type v1.ServerConfig"
    assert text_of("5", "x.yaml")[0] == "json: cannot unmarshal number into Go value of type v1.rawClientConfig"
    assert text_of("true", "x.yaml")[0] == "json: cannot unmarshal bool into Go value of type v1.rawClientConfig"
    text, where = text_of("serverAddr = x\n", "frpc.conf")
    assert text == "json: cannot unmarshal string into Go value of type v1.rawClientConfig"
    assert where.endswith("as TOML it has an error in line 1, column 14: Invalid value")


def test_json_literals_are_kept() -> None:
    for literal in ("7000.0", "7e3", "9223372036854775808", "1" * 5000):
        text, _ = text_of(f'{{"serverPort": {literal}}}', "x.json")
        assert text == f'field "ClientCommonConfig.serverPort": cannot unmarshal number {literal} into int'
    assert text_of('{"user": 7.5}', "x.json")[0] == 'field "ClientCommonConfig.user": cannot unmarshal number into string'
    assert text_of('{"proxies": [null]}', "x.json")[0] == "decode proxy at index 0: type is required"
    assert text_of('{"visitors": [null]}', "x.json")[0] == "decode visitor at index 0: type is required"
    assert text_of('{"zz": 1, "aa": 1}', "x.json")[0] == 'json: unknown field "zz"'


WHERE = [
    ("serveraddrr = 'x'", 'frpc.toml: serveraddrr is no known key; did you mean "serverAddr"?'),
    ("[transport]\nheart_beat_interval = 1", 'frpc.toml: transport.heart_beat_interval is no known key; did you mean "heartbeatInterval"?'),
    ("bindPort = 1", "frpc.toml: bindPort is a key of frps only"),
    (proxy('subdomain = "x"'), "frpc.toml: proxies[0].subdomain is no key of tcp proxies; http, https, tcpmux proxies have it"),
    (proxy("transport.useEncryption = 1"), "frpc.toml: proxies[0].transport.useEncryption must be true or false, not 1"),
    (proxy('localPort = "22"'), 'frpc.toml: proxies[0].localPort must be a whole number, not "22"; leave out the quotes'),
    (proxy("localIP = 22"), "frpc.toml: proxies[0].localIP must be a string, not 22; put it in quotes"),
    ("auth.token = 22", "frpc.toml: auth.token must be a string, not what stands there; put it in quotes"),
    ("start = [1]", "frpc.toml: start[0] must be a string, not 1; put it in quotes"),
    ("metadatas = 'x'", 'frpc.toml: metadatas must be a table whose values are a string, not "x"'),
    (f"user = [{'1, ' * 50}]", "frpc.toml: user must be a string, not a list"),
    (f"serverPort = '{'x' * 100}'", f'frpc.toml: serverPort must be a whole number, not "{"x" * 56}...'),
]


@pytest.mark.parametrize(("content", "expected"), WHERE, ids=range(len(WHERE)))
def test_the_second_line_says_where_and_what(content: str, expected: str) -> None:
    assert text_of(content)[1] == expected


def client(text: str, name: str = "frpc.toml", strict: bool = True) -> Any:
    return decode_client(parse_text(text, name, strict=strict), strict=strict)


def test_spellings() -> None:
    assert client('USER = "a"\nuser = "b"').user == "b"  # the one that sorts last
    assert client('{"user": "a", "USER": "b"}', "x.json").user == "b"  # the last in the file
    assert client('"ſerverAddr" = "x"\n"\u212aey" = 1', strict=False).server_addr == "x"
    assert client("[Transport]\npoolCount = 3\n[transport]\ntcpMux = false").transport.pool_count == 3
    assert client('[metadatas]\nKey = "1"\nkey = "2"').metadatas == {"Key": "1", "key": "2"}
    assert client('Metadatas.a = "1"').metadatas == {"a": "1"}
    assert client('[[proxies]]\nType = "udp"\ntype = "tcp"\nNAME = "n"').proxies[0].type == "tcp"


def test_nulls_are_defaults() -> None:
    loaded = client(
        """{"user": null, "transport": null, "loginFailExit": null, "start": null, "metadatas": {"a": null}, "auth": {"tokenSource": null},
        "webServer": {"tls": null},
        "proxies": [{"type": "tcp", "plugin": null, "enabled": null, "healthCheck": {"httpHeaders": [null]}}]}""",
        "x.json",
    )
    assert (loaded.user, loaded.transport.tcp_mux, loaded.login_fail_exit, loaded.start, loaded.metadatas) == (
        "",
        True,
        True,
        (),
        {"a": ""},
    )
    assert loaded.auth.token_source is None
    assert loaded.web_server.tls is None
    assert (loaded.proxies[0].plugin, loaded.proxies[0].enabled, len(loaded.proxies[0].health_check.http_headers)) == (None, True, 1)
    assert client("user: null\nproxies:\nlog: ~", "x.yaml").user == ""
    assert (
        client("null", "x.yaml")
        == client("", "x.toml")
        == client("# only this", "x.toml")
        == client("---", "x.yaml")
        == client("{}", "x.json")
    )


def test_whole_floats_and_times_fit_in_toml() -> None:
    assert client("serverPort = 7000.0").server_port == 7000
    assert client("serverPort: 7.0e3", "x.yaml").server_port == 7000
    for literal, text in (
        ("1979-05-27", "1979-05-27"),
        ("07:32:00", "07:32:00"),
        ("07:32:00.500", "07:32:00.5"),
        ("1979-05-27T07:32:00Z", "1979-05-27T07:32:00Z"),
        ("1979-05-27 07:32:00-07:00", "1979-05-27T07:32:00-07:00"),
    ):
        assert client(f"user = {literal}").user == text
        assert text_of(f"serverPort = {literal}")[0].endswith("cannot unmarshal string into int")


def test_dot_keys_are_for_anchors_in_yaml_only() -> None:
    assert client(".a: &a {type: tcp}\nproxies: [{name: m, <<: *a}]", "x.yaml").proxies[0].name == "m"
    assert text_of("log: {.a: 1}", "x.yaml")[0] == 'json: unknown field ".a"'
    assert text_of('{".a": 1}', "x.json")[0] == 'json: unknown field ".a"'


def test_the_fast_and_the_lenient_way_agree() -> None:
    exact = '[[proxies]]\nname="a"\ntype="tcp"\nlocalPort=1\ntransport.bandwidthLimit=" 1MB "\nplugin={type="socks5",username="u"}\n'
    assert client(exact) == client(exact.replace("localPort", "LOCALPORT"))
    assert client(exact).proxies[0].transport.bandwidth_limit.text == "1MB"
