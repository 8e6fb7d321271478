"""Proxies that a store file names beside the configuration file."""

from __future__ import annotations

import json

from tests.support.ports import free_port
from tests.support.programs import World, proxy, works


def test_a_store_is_read_at_start_and_its_entries_win(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    mine, replaced, stored = free_port(), free_port(), free_port()
    entries = [
        {"name": "dyn", "type": "tcp", "localPort": service.port, "remotePort": stored},
        {"name": "off", "type": "tcp", "enabled": False, "localPort": service.port},
    ]
    (world.directory / "store.json").write_text(json.dumps({"proxies": entries, "visitors": []}))
    common = proxy("mine", service.port, mine) + proxy("dyn", 1, replaced) + proxy("off", service.port, 0)
    client = world.frpc(port, 'store.path = "store.json"\n', common)
    for name in ("mine", "dyn", "off"):
        client.wait_for(f"[{name}] start proxy success")
    assert works(mine)
    assert works(stored)


def test_a_broken_store_is_an_error_at_start(world: World) -> None:
    (world.directory / "store.json").write_text("{")
    client = world.frpc(free_port(), 'store.path = "store.json"\n')
    assert client.wait() == 1
    assert "failed to create store source: failed to load existing data: failed to parse JSON: " in client.output
