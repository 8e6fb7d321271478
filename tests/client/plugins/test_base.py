from __future__ import annotations

from importlib import import_module

import pytest

from frp_py.client.plugins import PLUGINS
from frp_py.client.plugins.base import Plugin, host_and_port
from frp_py.config.plugins import PLUGINS as CONFIGURED
from frp_py.errors import FrpError


@pytest.mark.parametrize(
    ("address", "default", "result"),
    [
        ("host:80", None, ("host", 80)),
        ("127.0.0.1:0", None, ("127.0.0.1", 0)),
        ("[::1]:8080", None, ("::1", 8080)),
        (":8080", None, ("127.0.0.1", 8080)),
        ("host", 80, ("host", 80)),
        ("[::1]", 443, ("::1", 443)),
        ("::1", 443, ("::1", 443)),
    ],
)
def test_addresses(address: str, default: int | None, result: tuple[str, int]) -> None:
    assert host_and_port(address, default) == result


@pytest.mark.parametrize("address", ["host", "host:x", "host:65536", "host:-1", "host:", "::1", "[::1]", "", "host:\u0661"])
def test_no_addresses(address: str) -> None:
    with pytest.raises(FrpError, match="address"):
        host_and_port(address)


def test_every_configured_type_has_its_plugin() -> None:
    assert set(PLUGINS) == set(CONFIGURED) - {"virtual_net"}
    for place in PLUGINS.values():
        module, _, name = place.partition(".")
        assert issubclass(getattr(import_module(f"frp_py.client.plugins.{module}"), name), Plugin)
