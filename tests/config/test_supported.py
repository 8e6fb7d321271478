from typing import Any

import pytest

from frp_py.config import client_from_dict, server_from_dict
from frp_py.config.supported import not_yet_supported, unset_secrets


def test_what_is_there() -> None:
    assert not_yet_supported(server_from_dict({"bindPort": 7001, "auth": {"token": "t"}, "allowPorts": [{"single": 1}]})) == []
    transport = {"useEncryption": True, "bandwidthLimit": "1MB", "bandwidthLimitMode": "server", "proxyProtocolVersion": "v2"}
    proxy = {"name": "a", "type": "tcp", "transport": transport, "healthCheck": {"type": "tcp"}, "loadBalancer": {"group": "g"}}
    assert not_yet_supported(client_from_dict({"proxies": [proxy]}, environ={})) == []


@pytest.mark.parametrize(
    ("tree", "environ", "expected"),
    [
        ({"transport": {"protocol": "kcp"}}, {}, 'transport.protocol = "kcp" is not supported yet'),
        ({"transport": {"proxyURL": "ntlm://p"}}, {}, "transport.proxyURL with this scheme is not supported yet"),
        ({}, {"http_proxy": "https://p"}, "transport.proxyURL with this scheme is not supported yet"),
        ({"proxies": [{"name": "a", "type": "xtcp"}]}, {}, 'proxy a: type = "xtcp" is not supported yet'),
    ],
)
def test_what_is_refused_is_named(tree: dict[str, Any], environ: dict[str, str], expected: str) -> None:
    # Each of these lines goes when its feature arrives.
    assert not_yet_supported(client_from_dict(tree, environ=environ)) == [expected]


def test_a_secret_that_a_template_left_without_value_is_named() -> None:
    unset = "{<no value>}"
    proxies = [
        {"name": "a", "type": "stcp", "secretKey": unset, "plugin": {"type": "socks5", "password": unset}},
        {"name": "b", "type": "http", "subdomain": "b", "httpPassword": unset, "loadBalancer": {"groupKey": unset}},
        {"name": "c", "type": "tcp", "metadatas": {"x": unset}},
    ]
    visitors = [{"name": "v", "type": "stcp", "serverName": "a", "secretKey": unset, "bindPort": 1}]
    tree = {"user": unset, "auth": {"token": unset}, "webServer": {"password": unset}, "proxies": proxies, "visitors": visitors}
    named = [sentence.split(" contains ")[0] for sentence in unset_secrets(client_from_dict(tree, environ={}))]
    assert sorted(named) == [
        "auth.token",
        "proxy a: plugin.password",
        "proxy a: secretKey",
        "proxy b: httpPassword",
        "proxy b: loadBalancer.groupKey",
        "visitor v: secretKey",
        "webServer.password",
    ]
    assert unset_secrets(server_from_dict({"auth": {"token": unset}, "subDomainHost": unset})) == [
        "auth.token contains <no value>: a variable that its template names is not set in the environment"
    ]
