"""Who is connected (behaviour.md 1.6, 1.7)."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from frp_py.errors import Refused
from frp_py.protocol.messages import Login
from frp_py.server import registry
from frp_py.server.control import Control
from frp_py.server.reception import Caller
from frp_py.server.registry import ClientEntry, Clients, Controls


class Fake:
    """A control as far as the registries know it."""

    def __init__(self, run_id: str, number: int, user: str = "", client_id: str = "") -> None:
        self.run_id = run_id
        self.id = number
        self.login = Login(user=user, client_id=client_id, hostname="h", version="0.70.1")
        self.ip = "192.0.2.1"
        self.wire_name = "v1"
        self.is_running = False
        self.caller = cast(Caller, object())
        self.ended = trio.Event()
        self.closed: list[str] = []

    def speaks_on(self, caller: Caller) -> bool:
        return caller is self.caller

    def close(self, reason: str) -> None:
        self.is_running = False
        self.closed.append(reason)


def control(run_id: str = "r", number: int = 1, user: str = "", client_id: str = "") -> Control:
    return cast(Control, Fake(run_id, number, user, client_id))


def fake(control: Control) -> Fake:
    return cast(Fake, control)


# the current control of a run id


async def test_a_new_run_id_needs_no_waiting() -> None:
    controls = Controls()
    one, other = control("a", 1), control("b", 2)
    with trio.fail_after(1):
        await controls.become_current(one)
        await controls.become_current(other)
    assert controls.all() == [one, other]


async def test_a_newer_one_waits_until_the_older_one_has_given_back_what_it_had() -> None:
    controls = Controls()
    old, new = control(number=1), control(number=2)
    await controls.become_current(old)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(controls.become_current, new)
        await trio.testing.wait_all_tasks_blocked()
        assert fake(old).closed == ["replaced by client [r] (control ID 2)"]
        assert controls.is_current(new)
        assert len(nursery.child_tasks) == 1
        controls.remove(old)  # may not remove the newer one
        assert controls.all() == [new]
        old.ended.set()
    controls.remove(new)
    assert controls.all() == []


async def test_the_third_supersedes_the_second_while_that_waits() -> None:
    controls = Controls()
    first, second, third = (control(number=n) for n in (1, 2, 3))
    await controls.become_current(first)
    done: list[str] = []

    async def log_in(name: str, each: Control) -> None:
        try:
            await controls.become_current(each)
            done.append(name)
        except Refused as refused:
            done.append(f"{name}: {refused}")
            each.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log_in, "second", second)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(log_in, "third", third)
        await trio.testing.wait_all_tasks_blocked()
        assert done == []
        first.ended.set()
    assert done == ["second: control was replaced during login", "third"]
    assert controls.all() == [third]


def refusal(controls: Controls, run_id: str) -> str:
    with pytest.raises(Refused) as refused:
        controls.running(run_id)
    return str(refused.value)


async def test_work_connections_belong_to_a_running_control() -> None:
    controls, one = Controls(), control("a")
    assert refusal(controls, "a") == "no client control found for run id [a]"
    await controls.become_current(one)
    assert refusal(controls, "a") == "client control for run id [a] is not running"
    one.is_running = True
    assert controls.running("a") is one
    assert controls.running_for("a", fake(one).caller) is one
    with pytest.raises(Refused, match=r"no client control found for run id \[a\]"):
        controls.running_for("a", cast(Caller, object()))
    controls.remove(one)
    assert refusal(controls, "a") == "no client control found for run id [a]"


async def test_when_the_server_stops() -> None:
    controls, one = Controls(), control("a")
    await controls.become_current(one)
    one.is_running = True
    controls.close()
    assert refusal(controls, "a") == "control manager is closed"
    with pytest.raises(Refused, match="control manager is closed"):
        await controls.become_current(control("b"))
    assert controls.all() == [one]


@pytest.mark.parametrize("seed", range(20))
async def test_any_number_of_logins_in_any_order(seed: int) -> None:
    """Whatever ends when: never do two of one run id run at a time, and the last one does in the end."""
    random = Random(seed)
    controls = Controls()
    running: dict[str, list[Fake]] = {"a": [], "b": []}
    outcome: dict[int, str] = {}

    async def session(each: Control, delay: int, clean_up: int) -> None:
        this = fake(each)
        for _ in range(delay):
            await trio.lowlevel.checkpoint()
        try:
            await controls.become_current(each)
        except Refused as refused:
            outcome[this.id] = str(refused)
            controls.remove(each)
            this.ended.set()
            return
        assert running[this.run_id] == []
        running[this.run_id].append(this)
        this.is_running = not this.closed
        while not this.closed:
            await trio.lowlevel.checkpoint()
        for _ in range(clean_up):
            assert refusal_or_none(each) is None
            await trio.lowlevel.checkpoint()
        running[this.run_id].remove(this)
        controls.remove(each)
        this.ended.set()
        outcome[this.id] = "ran"

    def refusal_or_none(each: Control) -> Control | None:
        """What work connections of its run id would get: not one that is being closed."""
        try:
            return controls.running(each.run_id) if controls.running(each.run_id) is each else None
        except Refused:
            return None

    sessions = [control(random.choice("ab"), controls.next_id()) for _ in range(12)]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for each in sessions:
                nursery.start_soon(session, each, random.randrange(30), random.randrange(6))
            while len(outcome) + sum(map(len, running.values())) < len(sessions):
                await trio.lowlevel.checkpoint()
            last = controls.all()
            assert [fake(each) for each in last] == [each for run_id in [c.run_id for c in last] for each in running[run_id]]
            assert len(last) == len({each.run_id for each in sessions})
            for each in last:
                each.close("over")
    assert controls.all() == []
    assert set(outcome.values()) <= {"ran", "control was replaced during login"}
    assert [fake(each).closed != [] for each in sessions if outcome[each.id] == "ran"].count(False) == 0


# clients, for operators


def names(clients: Clients) -> dict[str, bool]:
    return {entry.key: entry.online for entry in clients.entries.values()}


def entry(clients: Clients, key: str) -> ClientEntry:
    found = clients.find(key)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("user", "client_id", "key"), [("", "", "r"), ("u", "", "u.r"), ("", "c", "c"), ("u", "c", "u.c")], ids=["", "user", "id", "both"]
)
async def test_the_key_is_made_of_what_there_is(user: str, client_id: str, key: str) -> None:
    clients = Clients()
    clients.register(control("r", 7, user, client_id), 100.9)
    identity = user, client_id or "r"
    assert clients.entries == {
        identity: ClientEntry(
            identity=identity,
            user=user,
            client_id=client_id,
            public_id=clients.public_id(*identity),
            run_id="r",
            control_id=7,
            hostname="h",
            ip="192.0.2.1",
            version="0.70.1",
            wire_protocol="v1",
            first_connected_at=100,
            last_connected_at=100,
        )
    }
    assert entry(clients, key).key == key


async def test_another_name_for_those_who_may_not_know_the_run_id() -> None:
    clients = Clients()
    for client_id in ("", "c", ""):
        clients.register(control("r", 1, "u", client_id), 1)
        found = entry(clients, f"u.{client_id or 'r'}")
        assert found.public_id == clients.public_id("u", client_id or "r")
        assert (found.public_id == "c") == bool(client_id)
        assert entry(clients, f"u.{found.public_id}") is found
        assert clients.find(f"v.{found.public_id}") is None
    clients.unregister(control("r", 1, "u"), 2)
    assert clients.find(f"u.{found.public_id}") is None
    assert clients.public_id("u", "c") == "c"
    assert clients.public_id("u", "r") == found.public_id  # of proxies that it had
    assert Clients().public_id("u", "r") != found.public_id


async def test_clients_that_are_shown_with_the_same_key() -> None:
    clients = Clients()
    one, other = control("r", 1, "a", "b.c"), control("s", 2, "a.b", "c")
    clients.register(one, 1)
    clients.register(other, 2)
    assert [(each.key, each.user) for each in clients.entries.values()] == [("a.b.c", "a"), ("a.b.c", "a.b")]
    assert entry(clients, "a.b.c").user == "a"
    clients.unregister(one, 3)
    assert (entry(clients, "a.b.c").user, entry(clients, "a.b.c").online) == ("a.b", True)
    clients.unregister(other, 4)
    assert not entry(clients, "a.b.c").online
    assert clients.find("a.b") is None
    assert clients.find("b.c") is None


async def test_a_client_without_an_id_whose_run_id_is_the_id_of_another() -> None:
    clients = Clients()
    one, other = control("r", 1, "", "x"), control("x", 2, "", "")
    clients.register(one, 1)
    clients.register(other, 2)
    clients.unregister(one, 3)
    assert entry(clients, "x").run_id == "x"
    clients.unregister(other, 4)
    assert clients.entries == {}


async def test_one_without_an_id_disappears() -> None:
    clients, one = Clients(), control("r", 1, "u")
    clients.register(one, 1)
    clients.unregister(one, 2)
    assert clients.entries == {}


async def test_one_with_an_id_stays_as_offline() -> None:
    clients = Clients()
    clients.register(control("r", 1, "u", "c"), 10)
    clients.unregister(control("r", 1, "u", "c"), 20.5)
    gone = entry(clients, "u.c")
    assert (gone.online, gone.run_id, gone.disconnected_at, gone.first_connected_at) == (False, "", 20, 10)
    clients.register(control("other", 2, "u", "c"), 30)
    back = entry(clients, "u.c")
    assert (back.online, back.run_id, back.disconnected_at) == (True, "other", 0)
    assert (back.first_connected_at, back.last_connected_at) == (10, 30)


@pytest.mark.parametrize("what", ["user", "client_id", "run id"])
async def test_ids_have_a_limit(what: str) -> None:
    clients = Clients()

    def of(size: int) -> Control:
        text = "é" * (size // 2)
        return control(text if what == "run id" else "r", 1, text if what == "user" else "", text if what == "client_id" else "")

    with pytest.raises(Refused, match=f"^{what} is longer than 1024 bytes$"):
        clients.register(of(1026), 1)
    assert not clients.entries
    clients.register(of(1024), 1)
    assert len(clients.entries) == 1


@pytest.mark.parametrize("text", [".", ".."])
async def test_a_key_must_be_one_that_a_url_can_name(text: str) -> None:
    clients = Clients()
    for one in (control("r", 1, "", text), control(text, 1)):
        with pytest.raises(Refused, match=r"no client may be called \.+$"):
            clients.register(one, 1)
    clients.register(control("r", 1, "u", text), 1)
    assert clients.find(f"u.{text}") is not None


async def test_the_longest_key_is_found_and_longer_ones_are_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients()
    clients.register(control("r", 1, "." * 1024, "." * 1024), 1)
    assert clients.find("." * 2049) is not None

    def tried(key: str) -> None:
        raise AssertionError("a key of 60,000 dots would take seconds")

    monkeypatch.setattr(registry, "_identities", tried)
    assert clients.find("." * 2050) is None


async def test_of_what_else_clients_say_only_the_beginning_is_remembered() -> None:
    clients = Clients()
    one = control()
    fake(one).login = Login(hostname="h" * 5000, version="1" * 5000)
    clients.register(one, 1)
    (found,) = clients.entries.values()
    assert (found.hostname, found.version) == ("h" * 300, "1" * 100)


async def test_of_those_who_left_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_OFFLINE", 2)
    clients = Clients()
    here = control("here", 0, client_id="stays")
    clients.register(here, 1)
    for number, client_id in enumerate(("a", "b", "a", "c"), 1):
        clients.register(control("r", number, client_id=client_id), number)
        clients.unregister(control("r", number, client_id=client_id), number)
    assert names(clients) == {"stays": True, "a": False, "c": False}
    clients.register(control("r", 5, client_id="a"), 5)
    for number, client_id in enumerate(("d", "e"), 6):
        clients.register(control(client_id, number, client_id=client_id), number)
        clients.unregister(control(client_id, number, client_id=client_id), number)
    assert names(clients) == {"stays": True, "a": True, "d": False, "e": False}


async def test_an_id_that_is_online_under_another_run_id() -> None:
    clients = Clients()
    clients.register(control("r", 1, "u", "c"), 1)
    with pytest.raises(Refused) as refused:
        clients.register(control("s", 2, "u", "c"), 2)
    assert str(refused.value) == "client_id [c] for user [u] is already online"
    clients.register(control("s", 3, "v", "c"), 3)  # another user's
    assert names(clients) == {"u.c": True, "v.c": True}


async def test_the_refused_one_takes_nothing_along() -> None:
    clients = Clients()
    clients.register(control("r", 1, "u", "c"), 1)
    refused = control("s", 2, "u", "c")
    with pytest.raises(Refused):
        clients.register(refused, 2)
    clients.unregister(refused, 3)
    assert names(clients) == {"u.c": True}


async def test_an_older_generation_does_not_take_the_newer_one_offline() -> None:
    clients = Clients()
    old, new = control("r", 1, "u", "c"), control("r", 2, "u", "c")
    clients.register(old, 1)
    clients.register(new, 2)
    clients.unregister(old, 3)
    assert names(clients) == {"u.c": True}
    clients.unregister(new, 4)
    assert names(clients) == {"u.c": False}


@pytest.mark.parametrize(("before", "after"), [("c", {"c": False, "d": True}), ("", {"d": True})])
async def test_a_run_id_that_moves_to_another_id(before: str, after: dict[str, bool]) -> None:
    clients = Clients()
    clients.register(control("r", 1, "", before), 1)
    clients.register(control("r", 2, "", "d"), 2)
    assert names(clients) == after


class Registrations(RuleBasedStateMachine):
    """Few run ids and few client ids, coming and going."""

    @initialize()
    def begin(self) -> None:
        self.clients = Clients()
        self.online: dict[str, Control] = {}  # by run id
        self.number = 0

    def _make(self, run_id: str, client_id: str) -> Control:
        self.number += 1
        made: Any = object.__new__(Fake)  # an Event wants no trio here
        made.run_id, made.id, made.ip, made.wire_name = run_id, self.number, "", "v1"
        made.login = Login(client_id=client_id)
        return cast(Control, made)

    @rule(run_id=st.sampled_from("xyz"), client_id=st.sampled_from(["", "c", "d"]))
    def log_in(self, run_id: str, client_id: str) -> None:
        new = self._make(run_id, client_id)
        older = self.online.pop(run_id, None)
        if older is not None:
            self.clients.unregister(older, self.number)  # it has ended before the newer one is registered
        taken = [r for r, each in self.online.items() if client_id and each.login.client_id == client_id]
        try:
            self.clients.register(new, self.number)
        except Refused:
            assert taken
        else:
            assert not taken
            self.online[run_id] = new

    @rule(run_id=st.sampled_from("xyz"))
    def leaves(self, run_id: str) -> None:
        gone = self.online.pop(run_id, None)
        if gone is not None:
            self.clients.unregister(gone, self.number)

    @invariant()
    def those_online_are_known(self) -> None:
        if hasattr(self, "online"):
            found = {e.run_id: e.control_id for e in self.clients.entries.values() if e.online}
            assert found == {run_id: each.id for run_id, each in self.online.items()}
            assert all(e.client_id for e in self.clients.entries.values() if not e.online)


Registrations.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
TestRegistrations = Registrations.TestCase
