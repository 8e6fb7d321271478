"""Who is let in, in which order that is looked at, and what happens to those who wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from frp_py.errors import Refused
from frp_py.net.bounded_log import BoundedLog, Budget
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import Holder
from frp_py.protocol import wire_v1
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import NewProxy, NewVisitorConn, NewVisitorConnResp, StartWorkConn
from frp_py.server.guesses import Guesses
from frp_py.server.penalties import FAILED_LOGIN, Penalties
from frp_py.server.proxies.stcp import StcpPublic
from frp_py.server.statistics import Statistics
from frp_py.server.visitors import receive_visitor
from tests.net.engine.test_datagrams import FakeEnd


class Work:
    """Where work connections come from, when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def want(self, waiter: Any) -> None:
        self.waiting.append(waiter)

    def leave(self, waiter: Any) -> None:
        self.waiting.remove(waiter)


class World:
    """A server with one proxy, `p`, of the user `owner`, and the controls of visitors `owner` and `bob`."""

    def __init__(self, *allowed: str, kind: str = "stcp") -> None:
        self.engine = Engine()
        self.work = Work()
        statistics = Statistics(0, remember=False)
        budget = Budget(100, 1)
        self.server: Any = SimpleNamespace(
            controls=self,
            proxies={},
            users=set(),
            callers=set(),
            statistics=statistics,
            user_lines=budget,
            guesses=Guesses(Penalties(600)),
        )
        self.control: Any = SimpleNamespace(
            login=SimpleNamespace(user="owner"),
            engine=self.engine,
            server=self.server,
            work=self.work,
            token="token",
            wire=wire_v1,
            wire_name="v1",
            half_close=True,
            log=BoundedLog("", budget, about="clients"),
            connections=0,
            limit=None,
        )
        self.proxy = StcpPublic(cast("Any", self.control), NewProxy("p", kind, sk="key", allow_users=allowed))
        self.server.proxies["p"] = self.proxy
        self.server.proxies["tcp"] = object()

    def running_for(self, run_id: str, caller: Caller) -> Any:
        if run_id not in ("owner", "bob"):
            raise Refused(f"no client control found for run id [{run_id}]")
        return SimpleNamespace(login=SimpleNamespace(user=run_id), half_close=run_id == "owner")

    def visit(self, run_id: str = "owner", name: str = "p", key: str = "key", data: bytes = b"", caller: Caller | None = None) -> Any:
        """A visitor connection, on which `data` stands behind the first message."""
        reception = Reception(self.engine, data, caller or Caller())
        wish = NewVisitorConn(run_id, name, privilege_key(key, 99), 99)
        receive_visitor(self.server, wish, cast("Any", reception), 0)
        return reception


class Caller:
    """The transport connection of a visitor."""

    address = ("192.0.2.1", 1234)
    link = None

    def __init__(self) -> None:
        self.stays = False
        self.offences: list[float] = []

    def local_address(self) -> tuple[str, int]:
        return "192.0.2.2", 7000

    def may_stay(self) -> None:
        self.stays = True

    def punish(self, cost: float) -> None:
        self.offences.append(cost)


class Reception(Holder):
    """A link connection whose first message was taken."""

    wire = wire_v1
    wire_name = "v1"

    def __init__(self, engine: Engine, data: bytes, caller: Caller) -> None:
        super().__init__(engine)
        self.data += data
        self.end: Any = FakeEnd()
        self.caller = caller


def refusal(world: World, **how: Any) -> str:
    with pytest.raises(Refused) as caught:
        world.visit(**how)
    return str(caught.value)


def test_what_is_looked_at_first() -> None:
    world = World()
    assert refusal(world, run_id="x", name="none", key="wrong") == "no client control found for run id [x]"
    assert refusal(world, run_id="bob", name="none", key="wrong") == "custom listener for [none] doesn't exist"
    assert refusal(world, run_id="bob", name="tcp", key="wrong") == "custom listener for [tcp] doesn't exist"
    assert refusal(world, run_id="bob", key="wrong") == "visitor connection of [p] auth failed"
    assert refusal(world, run_id="bob") == "visitor connection of [p] user [bob] not allowed"
    assert world.work.waiting == []


@pytest.mark.parametrize(
    ("how", "offences"),
    [
        ({"key": "wrong"}, [FAILED_LOGIN]),
        ({"run_id": "x"}, []),
        ({"name": "none"}, []),
        ({"run_id": "bob"}, []),
    ],
)
def test_only_a_wrong_key_is_an_offence(how: dict[str, Any], offences: list[float]) -> None:
    """A proxy that is away for a while must not shut its visitors out."""
    world = World()
    caller = Caller()
    with pytest.raises(Refused):
        world.visit(caller=caller, **how)
    assert caller.offences == offences


@pytest.mark.parametrize(
    ("allowed", "let_in"),
    [
        ((), {"owner"}),
        (("bob",), {"bob"}),
        (("bob", "owner"), {"bob", "owner"}),
        (("*",), {"bob", "owner", ""}),
        (("bob", "*"), {"bob", "owner", ""}),
        (("bo", "bobby", ".*"), set()),
    ],
)
def test_the_allow_list(allowed: tuple[str, ...], let_in: set[str]) -> None:
    world = World(*allowed)
    found = set()
    for user in ("owner", "bob", ""):  # without a run id there is no user
        try:
            world.visit(run_id=user)
        except Refused:
            continue
        found.add(user)
    assert found == let_in


def test_an_owner_without_a_user_lets_in_visitors_without_one() -> None:
    world = World()
    world.control.login.user = ""
    world.visit(run_id="")
    assert refusal(world, run_id="bob") == "visitor connection of [p] user [bob] not allowed"


def work_connection(world: World) -> Any:
    work: Any = Holder(world.engine)
    work.end = FakeEnd()
    return work


def test_the_answer_comes_first_and_what_came_early_is_passed_on() -> None:
    world = World()
    visitor = world.visit(data=b"early")
    assert visitor.end.fed == wire_v1.pack(NewVisitorConnResp("p"))
    assert visitor.caller.stays
    visitor.end.say(b" bird")
    work = work_connection(world)
    work.data += b"banner"
    assert world.work.waiting[0].serve(work)
    assert work.end.fed == wire_v1.pack(StartWorkConn("p", "192.0.2.1", "192.0.2.2", 1234, 7000)) + b"early bird"
    assert visitor.end.fed == wire_v1.pack(NewVisitorConnResp("p")) + b"banner"
    assert (world.proxy.connections, len(world.server.users), world.proxy.waiting) == (1, 1, set())
    world.server.users.pop().abort()
    assert world.proxy.connections == 0


@pytest.mark.parametrize(("run_id", "keeps"), [("owner", True), ("bob", False), ("", False)])
def test_half_closed_connections_need_both_sides(run_id: str, keeps: bool) -> None:
    world = World("*")
    world.visit(run_id)
    world.work.waiting[0].serve(work_connection(world))
    assert world.server.users.pop().half_close is keeps


def test_a_visitor_who_does_not_wait() -> None:
    world = World()
    visitor = world.visit()
    visitor.end.owner.broke(visitor.end, "reset")
    assert (world.work.waiting, world.proxy.waiting) == ([], set())


def test_a_work_connection_that_is_dead_is_not_used() -> None:
    world = World()
    visitor = world.visit()
    work = work_connection(world)
    work.is_lost = True
    assert not world.work.waiting[0].serve(work)
    assert visitor.end.state == "open"


async def test_too_many_are_waiting() -> None:
    world = World()
    visitors = [world.visit() for _ in range(130)]
    assert [visitor.end.state for visitor in visitors] == ["open"] * 128 + ["closed"] * 2
    assert len(world.work.waiting) == 128


async def test_those_who_wait_are_sent_away_when_the_proxy_goes() -> None:
    world = World()
    visitors = [world.visit() for _ in range(3)]
    world.proxy.close()
    assert [visitor.end.state for visitor in visitors] == ["aborted"] * 3
    assert (world.work.waiting, world.proxy.waiting) == ([], set())


async def test_no_work_connection() -> None:
    world = World()
    visitor = world.visit()
    world.work.waiting[0].give_up("timeout trying to get work connection")
    assert (visitor.end.state, world.proxy.waiting) == ("aborted", set())
