from typing import Any

import pytest

from frp_py.config import client_from_dict, server_from_dict
from frp_py.config.supported import not_yet_supported


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
