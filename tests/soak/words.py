"""What the web servers of the programs say, compared with what is."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from tests.soak.stage import Server, Slot, Stage
from tests.soak.targets import Target
from tests.soak.users import Fault, ask_json


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


def said_of_the_removed(server: Server, removed: Collection[Target]) -> Iterator[str]:
    """What a server says of proxies that are not there any more."""
    names = {target.name for target in removed}
    for kind in {target.kind for target in removed}:
        for proxy in ask_json(server.web_port, f"/api/proxy/{kind}")["proxies"]:
            if proxy["name"] in names and proxy["status"] != "offline":
                yield f"{server.name} says that {proxy['name']} is {proxy['status']}, and it is gone"


def said_of_the_gone(stage: Stage, gone: Collection[Slot]) -> Iterator[str]:
    """What servers say of clients that do not run."""
    for server in stage.servers:
        slots = [slot for slot in stage.slots if slot.server is server]
        yield from said_of_the_removed(server, [target for slot in slots if slot in gone for target in slot.targets])
        here = len([slot for slot in slots if slot not in gone])
        if (clients := ask_json(server.web_port, "/api/serverinfo")["clientCounts"]) != here:
            yield f"{server.name} says that it has {clients} clients, {here} run"
        if (online := sum(client["online"] for client in ask_json(server.web_port, "/api/clients"))) != here:
            yield f"{server.name} lists {online} clients that are online, {here} run"


def check_gone(stage: Stage, gone: Collection[Slot], bound: float) -> None:
    """Raises Fault when servers have not noticed after `bound` s that these clients are gone."""
    _check(lambda: said_of_the_gone(stage, gone), bound)


def check_removed(server: Server, removed: Collection[Target], bound: float) -> None:
    """The same for proxies."""
    _check(lambda: said_of_the_removed(server, removed), bound)


def _check(said: Callable[[], Iterator[str]], bound: float) -> None:
    end = time.monotonic() + bound
    while wrong := list(said()):
        if time.monotonic() > end:
            raise Fault("; ".join(wrong[:5]))
        time.sleep(0.05)
