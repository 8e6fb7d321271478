"""The way to the server through a proxy of the client's own network: here, a client plugin of ours."""

from __future__ import annotations

import pytest

from tests.support.ports import free_port
from tests.support.programs import World, exchange, proxy, works

PLUGINS = {
    "http": 'plugin = { type = "http_proxy", httpUser = "ann", httpPassword = "p@ss" }\n',
    "socks5": 'plugin = { type = "socks5", username = "ann", password = "p@ss" }\n',
}


@pytest.mark.parametrize("mux", ["", "transport.tcpMux = false\n"], ids=["mux", "nomux"])
@pytest.mark.parametrize("scheme", PLUGINS)
def test_through_a_proxy(world: World, scheme: str, mux: str) -> None:
    far, far_port = world.frps(mux)
    near_proxy, public = free_port(), free_port()
    _, near_port = world.frps()
    world.frpc(near_port, "", proxy("upstream", 0, near_proxy, PLUGINS[scheme])).wait_for("[upstream] start proxy success")
    way = f'transport.proxyURL = "{scheme}://ann:p%40ss@127.0.0.1:{near_proxy}"\n'
    client = world.frpc(far_port, way + mux, proxy("echo", world.service().port, public))
    client.wait_for("[echo] start proxy success")
    assert works(public)
    assert exchange(public, b"x" * 300_000) == b"x" * 300_000
    assert "p@ss" not in client.output
    assert far.runs


def test_a_proxy_that_refuses_is_named(world: World) -> None:
    near_proxy = free_port()
    _, near_port = world.frps()
    world.frpc(near_port, "", proxy("upstream", 0, near_proxy, PLUGINS["http"])).wait_for("[upstream] start proxy success")
    client = world.frpc(near_port, f'transport.proxyURL = "http://ann:wrong@127.0.0.1:{near_proxy}"\n')
    assert client.wait() == 1
    assert f"login to the server failed: proxy 127.0.0.1:{near_proxy} refused the connection: HTTP/1.1 407" in client.output
    assert "wrong" not in client.output
