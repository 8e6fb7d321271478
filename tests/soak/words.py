"""What the web servers of the programs say, compared with what is."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.soak.stage import Stage
from tests.soak.users import ask_json


def wrong_words(stage: Stage, kept: Collection[str]) -> Iterator[str]:
    """`kept`: kinds whose connections may outlive their users."""
    for server in stage.servers:
        slots = [slot for slot in stage.slots if slot.server is server]
        wished = {(target.name, target.kind) for slot in slots for target in slot.wished()}
        for kind in {kind for _, kind in wished}:
            for proxy in ask_json(server.web_port, f"/api/proxy/{kind}")["proxies"]:
                is_wished = (proxy["name"], kind) in wished
                if proxy["status"] != ("online" if is_wished else "offline"):
                    yield f"{server.name} says that {proxy['name']} is {proxy['status']}"
                elif proxy["curConns"] and kind not in kept:
                    yield f"{server.name} says that {proxy['name']} has {proxy['curConns']} users"
                wished.discard((proxy["name"], kind))
        if wished:
            yield f"{server.name} does not know {wished}"
        if (clients := ask_json(server.web_port, "/api/serverinfo")["clientCounts"]) != len(slots):
            yield f"{server.name} says that it has {clients} clients"
    for slot in stage.slots:
        said = {each["name"]: each["status"] for group in ask_json(slot.web_port, "/api/status").values() for each in group}
        if said != dict.fromkeys((target.name for target in slot.wished()), "running"):
            yield f"{slot.name} says: {said}"
