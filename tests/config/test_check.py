from typing import Any

import pytest

from frp_py.config import client_from_dict, server_from_dict, warnings_of
from frp_py.config.check import annotations_fault, check_client, check_proxy, check_server, check_visitor
from frp_py.config.decode import Document, decode_client, decode_server
from frp_py.config.proxies import HttpProxy, HttpsProxy, TcpProxy
from frp_py.config.visitors import StcpVisitor, XtcpVisitor

UNSAFE = 'unsafe feature "TokenSourceExec" is not enabled. To enable it, ensure it is allowed in the configuration or command line flags'
URL = "auth.oidc.tokenEndpointURL "


def oidc(**keys: Any) -> dict[str, Any]:
    return {"auth": {"method": "oidc", "oidc": {"clientID": "c", "tokenEndpointURL": "https://h/t", **keys}}}


def source(**keys: Any) -> dict[str, Any]:
    return {"auth": {"tokenSource": keys}}


COMMON: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"auth": {"method": "x"}}, ["invalid auth method, optional values are [token oidc]"]),
    ({"auth": {"additionalScopes": ["Ping", "Pong"]}}, ["invalid auth additional scopes, optional values are [HeartBeats NewWorkConns]"]),
    (
        {"auth": {"token": "t", "tokenSource": {"type": "file", "file": {"path": "p"}}}},
        ["cannot specify both auth.token and auth.tokenSource"],
    ),
    (source(type="exec"), [UNSAFE, "invalid auth.tokenSource: exec configuration is required when type is 'exec'"]),
    (source(type="file"), ["invalid auth.tokenSource: file configuration is required when type is 'file'"]),
    (source(type="file", file={}), ["invalid auth.tokenSource: file path cannot be empty"]),
    (source(type="http"), ["invalid auth.tokenSource: unsupported value source type: http (only 'file' and 'exec' are supported)"]),
    (source(type="file", file={"path": "none"}, exec={}), []),
    ({"log": {"level": "INFO"}}, ["invalid log level, optional values are [trace debug info warn error]"]),
    ({"webServer": {"port": 65536}}, ["webServer.port: port number 65536 must be in the range 0..65535"]),
    ({"webServer": {"port": -1, "tls": {}}}, ["tls.certFile must be specified when tls is enabled"]),
    ({"webServer": {"port": -1, "tls": {"certFile": "c"}}}, ["tls.keyFile must be specified when tls is enabled"]),
    ({"webServer": {"tls": {"certFile": "c", "keyFile": "k"}}}, []),
]

EXEC = [
    ({}, "exec command cannot be empty"),
    ({"command": "c", "env": [{}]}, "exec env name cannot be empty"),
    ({"command": "c", "env": [{"name": "a"}, {"name": "b=c"}]}, "exec env name cannot contain '='"),
]

CLIENT: list[tuple[dict[str, Any], list[str]]] = [
    (oidc(), []),
    (oidc(tokenEndpointURL="/t"), [URL + "must be an absolute http or https URL"]),
    (oidc(tokenEndpointURL="https:///t"), [URL + "must be an absolute http or https URL"]),
    (oidc(tokenEndpointURL="http://[::1/t"), [URL + "must be an absolute http or https URL"]),
    (oidc(tokenEndpointURL="ftp://h/t"), [URL + "must use http or https"]),
    (
        oidc(clientID="", tokenEndpointURL="", audience="a", additionalEndpointParams={"scope": "s", "audience": "b"}),
        [
            f"auth.oidc.clientID is required; {URL}is required; "
            "auth.oidc.additionalEndpointParams.scope is not allowed; use auth.oidc.scope instead; "
            "cannot specify both auth.oidc.audience and auth.oidc.additionalEndpointParams.audience"
        ],
    ),
    (
        {"auth": {"oidc": {"clientID": "c", "tokenSource": {"type": "exec", "exec": {}}}}},
        [
            "cannot specify both auth.oidc.tokenSource and any other field of auth.oidc",
            UNSAFE,
            "invalid auth.oidc.tokenSource: exec command cannot be empty",
        ],
    ),
    ({"transport": {"heartbeatInterval": 0, "heartbeatTimeout": 5}}, []),
    ({"transport": {"heartbeatInterval": 5, "heartbeatTimeout": 5}}, []),
    (
        {"transport": {"heartbeatInterval": 6, "heartbeatTimeout": 5}},
        ["invalid transport.heartbeatTimeout, heartbeat timeout should not less than heartbeat interval"],
    ),
    ({"transport": {"wireProtocol": "v3"}}, ["invalid transport.wireProtocol, optional values are [v1 v2]"]),
    (
        {"virtualNet": {"address": "x"}, "auth": {"method": "x"}, "transport": {"protocol": "udp", "wireProtocol": "x"}},
        [
            "VirtualNet feature is not enabled; enable it by setting the appropriate feature gate flag",
            "invalid auth method, optional values are [token oidc]",
            "invalid transport.protocol, optional values are [tcp kcp quic websocket wss]",
            "invalid transport.wireProtocol, optional values are [v1 v2]",
        ],
    ),
    ({"serverPort": 70000, "serverAddr": "??", "dnsServer": "x", "transport": {"proxyURL": "x"}}, []),
]

SERVER: list[tuple[dict[str, Any], list[str]]] = [
    ({"maxUnauthenticated": -1}, ["maxUnauthenticated must be above 0"]),
    ({"maxUnauthenticatedPerSource": -1}, ["maxUnauthenticatedPerSource must be above 0"]),
    ({"sourcePenalties": {"exempt": ["::1", "ten"]}}, ['invalid sourcePenalties.exempt[1]: "ten"']),
    ({"auth": {"method": "oidc"}}, []),
    (
        dict.fromkeys(("bindPort", "kcpBindPort", "quicBindPort", "vhostHTTPPort", "vhostHTTPSPort", "tcpmuxHTTPConnectPort"), 65536),
        [
            f"{key}: port number 65536 must be in the range 0..65535"
            for key in ("bindPort", "kcpBindPort", "quicBindPort", "vhostHTTPPort", "vhostHTTPSPort", "tcpMuxHTTPConnectPort")
        ],
    ),
    (
        {"httpPlugins": [{"ops": ["Login", "login", "x"]}, {"ops": []}, {"ops": ["x"]}]},
        ["invalid http plugin ops, optional values are [Login NewProxy CloseProxy Ping NewWorkConn NewUserConn]"] * 2,
    ),
    ({"statistics": {"keepHours": 1, "keepDays": 3660}}, []),
    ({"statistics": {"keepHours": 0, "keepDays": 0}}, []),  # that is, the defaults
    ({"statistics": {"keepHours": 8785, "keepDays": -1}}, ["invalid statistics.keepHours: 8785", "invalid statistics.keepDays: -1"]),
    ({"allowPorts": [{"start": 9, "end": -1}], "sshTunnelGateway": {"bindPort": -5}, "vhostHTTPPort": 7000}, []),
]


@pytest.mark.parametrize(("tree", "expected"), COMMON + CLIENT, ids=range(len(COMMON + CLIENT)))
def test_client_rules(tree: dict[str, Any], expected: list[str]) -> None:
    findings = check_client(decode_client(Document(tree, "toml", "x")))
    assert [finding.text for finding in findings] == expected
    assert all(finding.key and finding.expected for finding in findings)


@pytest.mark.parametrize(("tree", "expected"), COMMON + SERVER, ids=range(len(COMMON + SERVER)))
def test_server_rules(tree: dict[str, Any], expected: list[str]) -> None:
    assert [finding.text for finding in check_server(decode_server(Document(tree, "toml", "x")))] == expected


@pytest.mark.parametrize(("keys", "reason"), EXEC)
def test_programs_as_sources(keys: dict[str, Any], reason: str) -> None:
    config = decode_server(Document(source(type="exec", exec=keys), "toml", "x"))
    assert [finding.text for finding in check_server(config, {"TokenSourceExec"})] == [f"invalid auth.tokenSource: {reason}"]


PROXIES: list[tuple[dict[str, Any], str | None]] = [
    ({"type": "tcp", "name": ""}, "name should not be empty"),
    ({"type": "tcp", "transport": {"proxyProtocolVersion": "v3"}}, "not support proxy protocol version: v3"),
    ({"type": "tcp", "transport": {"bandwidthLimitMode": "both"}}, "bandwidth limit mode should be client or server"),
    ({"type": "tcp", "localPort": -1}, "localPort: localPort: port number -1 must be in the range 0..65535"),
    ({"type": "tcp", "localPort": -1, "plugin": {"type": "virtual_net"}}, None),
    ({"type": "udp", "healthCheck": {"type": "icmp"}}, "not support health check type: icmp"),
    ({"type": "tcp", "healthCheck": {"type": "http"}}, "health check path should not be empty"),
    ({"type": "tcp", "healthCheck": {"type": "tcp"}}, None),
    *[
        ({"type": "tcp", "plugin": {"type": kind}}, f"plugin {kind}: {key} is required")
        for kind, key in {
            "http2https": "localAddr",
            "https2http": "localAddr",
            "https2https": "localAddr",
            "tls2raw": "localAddr",
            "static_file": "localPath",
            "unix_domain_socket": "unixPath",
        }.items()
    ],
    ({"type": "tcp", "plugin": {"type": "http2http"}}, None),
    ({"type": "https"}, "subdomain and custom domains should not be both empty"),
    ({"type": "http", "customDomains": [""]}, None),
    ({"type": "tcpmux"}, "subdomain and custom domains should not be both empty"),
    ({"type": "tcpmux", "subdomain": "a"}, "not support multiplexer: "),
    ({"type": "tcpmux", "subdomain": "a", "multiplexer": "x"}, "not support multiplexer: x"),
    ({"type": "stcp", "remotePort": 1}, None),
    ({"type": "xtcp", "name": " ü "}, None),
]


@pytest.mark.parametrize(("tree", "expected"), PROXIES, ids=range(len(PROXIES)))
def test_proxy_rules(tree: dict[str, Any], expected: str | None) -> None:
    finding = check_proxy(decode_client(Document({"proxies": [{"name": "a", **tree}]}, "toml", "x"), strict=False).proxies[0])
    assert (finding.text if finding else None) == expected


def test_the_first_broken_rule_of_an_entry_counts() -> None:
    finding = check_proxy(HttpProxy(local_port=70000))
    assert finding is not None
    assert finding.text == "name should not be empty"
    assert check_proxy(TcpProxy(name="a", remote_port=-5)) is None
    assert check_proxy(HttpsProxy(name="a", subdomain="x")) is None


def test_visitor_rules() -> None:
    def text(visitor: Any) -> str:
        finding = check_visitor(visitor)
        return finding.text if finding else ""

    assert text(StcpVisitor()) == "name is required"
    assert text(StcpVisitor(name="a")) == "server name is required"
    assert text(StcpVisitor(name="a", server_name="s")) == "bind port is required"
    assert text(StcpVisitor(name="a", server_name="s", bind_port=70000)) == ""
    assert text(XtcpVisitor(name="a", server_name="s", bind_port=-1, protocol="x")) == "protocol should be kcp or quic"


NAME = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
    "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
ANNOTATIONS = [
    ("owner", []),
    ("Example.com/Te_a.m-1", []),
    ("a" * 63, []),
    ("", ["name part must be non-empty", "name part " + NAME]),
    ("a" * 64, ["name part must be no more than 63 characters"]),
    ("-a", ["name part " + NAME]),
    ("a b", ["name part " + NAME]),
    ("ü", ["name part " + NAME]),
    ("a\n", ["name part " + NAME]),
    ("/a", ["prefix part must be non-empty"]),
    ("x/", ["name part must be non-empty", "name part " + NAME]),
    (
        "a_b/c",
        [
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
            "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ],
    ),
    ("a" * 254 + "/b", ["prefix part must be no more than 253 characters"]),
    ("a/b/c", [f"a qualified name {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]),
]


@pytest.mark.parametrize(("key", "reasons"), ANNOTATIONS, ids=range(len(ANNOTATIONS)))
def test_annotation_keys(key: str, reasons: list[str]) -> None:
    assert annotations_fault({key: "x"}) == "\n".join(f"annotation key {key} is invalid: {reason}" for reason in reasons)


def test_the_size_of_annotations() -> None:
    assert annotations_fault({"a": "é" * 131071 + "x"}) == ""
    assert annotations_fault({"a": "é" * 131072}) == "annotations size 262145 is larger than limit 262144"


def test_warnings() -> None:
    tls = {"enable": False, "certFile": "c", "keyFile": "k", "trustedCaFile": "t", "serverName": "s"}
    config = client_from_dict({"transport": {"tls": tls}})
    expected = [f"transport.tls.{key} is invalid when transport.tls.enable is false" for key in ("certFile", "keyFile", "trustedCaFile")]
    assert warnings_of(config) == expected
    assert warnings_of(client_from_dict({"transport": {"tls": {**tls, "enable": True}}})) == []
    assert warnings_of(server_from_dict({})) == []


def test_what_findings_say_to_people() -> None:
    (finding,) = check_client(decode_client(Document({"log": {"level": "debg"}}, "toml", "x")))
    assert finding.key == "log.level"
    assert finding.expected == 'must be one of trace, debug, info, warn, error, not "debg"; did you mean "debug"?'
    (finding,) = check_server(decode_server(Document({"tcpmuxHTTPConnectPort": -1}, "toml", "x")))
    assert (finding.key, finding.expected) == ("tcpmuxHTTPConnectPort", "must be from 0 to 65535, not -1")


def test_a_password_of_tcpmux_alone_is_warned_of() -> None:
    proxies = [
        {"name": name, "type": kind, "localPort": 1, "customDomains": ["a"], "multiplexer": "httpconnect", "httpPassword": "p", **more}
        for name, kind, more in (("bad", "tcpmux", {}), ("good", "tcpmux", {"httpUser": "u"}))
    ]
    web = {"name": "web", "type": "http", "localPort": 1, "customDomains": ["a"], "httpPassword": "p"}
    assert warnings_of(client_from_dict({"proxies": [*proxies, web]})) == ["proxy bad: httpPassword protects nothing without httpUser"]
