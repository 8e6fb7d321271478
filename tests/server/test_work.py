"""Work connections and the users who wait for them (wire.md 7, behaviour.md 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from frp_py.errors import PeerError
from frp_py.net.engine.loop import Engine, Timeouts
from frp_py.net.engine.stream import Holder
from frp_py.server.work import Direct, WorkPool

WAIT = 10.0


class FakeTimeouts(Timeouts):
    """With a clock of its own."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        super().__init__(WAIT)
        self.now = 0.0

    def add(self, expire: Callable[[], None]) -> None:
        self._deadlines[expire] = self.now + self.seconds

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.sweep(self.now)


class FakeEnd:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Work(Holder):
    """A work connection. A dead one shows that only when it is used."""

    def __init__(self, pool: WorkPool, *, dead: bool = False) -> None:
        super().__init__(cast(Engine, None))
        self.end = cast(Any, FakeEnd())
        self.pool = pool
        self.dead = dead
        self.user: User | None = None


class User:
    def __init__(self) -> None:
        self.work: Work | None = None
        self.reason = ""

    @property
    def waits(self) -> bool:
        return self.work is None and not self.reason

    def serve(self, work: Holder) -> bool:
        assert isinstance(work, Work)
        assert self.waits, "served twice, or after giving up"
        assert work.user is None, "a work connection was given to two users"
        if work.dead:
            work.is_lost = True
            work.pool.drop(work)
            return False
        self.work, work.user = work, self
        return True

    def give_up(self, reason: str) -> None:
        assert self.waits
        self.reason = reason


class Pool:
    """A pool, and how often the client was asked."""

    def __init__(self, size: int, room: int = 1 << 20) -> None:
        self.room = room
        self.asked = 0
        self.timeouts = FakeTimeouts()
        self.pool = WorkPool(size, self._ask, self.timeouts, lambda waiting: waiting < self.room)
        self.pool.start()

    def _ask(self) -> None:
        self.asked += 1

    def user(self) -> User:
        user = User()
        self.pool.want(user)
        return user

    def comes(self, *, dead: bool = False) -> Work | None:
        work = Work(self.pool, dead=dead)
        return work if self.pool.offer(work) else None

    def seconds(self, n: int) -> None:
        for _ in range(n):
            self.timeouts.pass_time(1)
            self.pool.each_second()


@pytest.mark.parametrize("size", [0, 1, 5])
def test_at_the_beginning_the_pool_is_filled(size: int) -> None:
    assert Pool(size).asked == size


@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_pool_takes_ten_more_than_its_size(size: int) -> None:
    pool = Pool(size)
    assert [pool.comes() is not None for _ in range(size + 12)] == [True] * (size + 10) + [False] * 2


def test_a_user_gets_an_idle_connection_at_once_and_the_pool_is_refilled() -> None:
    pool = Pool(2)
    first, _second = pool.comes(), pool.comes()
    assert pool.user().work is first  # the one that has waited longest
    assert pool.asked == 3


def test_without_a_pool_each_user_costs_one_request() -> None:
    pool = Pool(0)
    users = [pool.user(), pool.user()]
    assert pool.asked == 2
    works = [pool.comes(), pool.comes()]
    assert [user.work for user in users] == works
    assert pool.asked == 2


def test_users_are_served_in_the_order_in_which_they_came() -> None:
    pool = Pool(0)
    users = [pool.user() for _ in range(5)]
    works = [pool.comes() for _ in range(5)]
    assert [user.work for user in users] == works


def test_a_user_who_waits_too_long_gives_up() -> None:
    pool = Pool(0)
    early = pool.user()
    pool.seconds(1)
    late = pool.user()
    pool.seconds(9)
    assert early.reason == "timeout trying to get work connection"
    assert late.waits
    assert pool.comes() is late.work is not None
    assert len(pool.timeouts) == 0


def test_a_user_who_has_left_gets_nothing() -> None:
    pool = Pool(0)
    gone, there = pool.user(), pool.user()
    pool.pool.leave(gone)
    pool.pool.leave(gone)
    assert pool.comes() is there.work is not None
    assert gone.waits
    assert len(pool.timeouts) == 0


def test_a_dead_connection_is_passed_over() -> None:
    pool = Pool(1)
    pool.comes(dead=True)
    good = pool.comes()
    assert pool.user().work is good


def test_however_many_are_dead_the_good_one_is_found() -> None:
    pool = Pool(1)
    for _ in range(10):
        pool.comes(dead=True)
    good = pool.comes()
    assert pool.user().work is good


def test_a_connection_that_comes_dead_leaves_the_user_waiting_for_the_next() -> None:
    pool = Pool(0)
    user = pool.user()
    pool.comes(dead=True)
    assert user.waits
    assert pool.asked == 2
    assert pool.comes() is user.work is not None


def test_dead_connections_do_not_prolong_the_wait() -> None:
    pool = Pool(0)
    user = pool.user()
    for _ in range(9):
        pool.seconds(1)
        pool.comes(dead=True)
    assert user.waits
    pool.seconds(1)
    assert user.reason == "timeout trying to get work connection"


def test_a_dead_connection_costs_no_user_his_place() -> None:
    pool = Pool(0)
    first, second = pool.user(), pool.user()
    pool.comes(dead=True)
    assert pool.comes() is first.work is not None
    assert pool.comes() is second.work is not None


def test_a_lost_idle_connection_is_replaced() -> None:
    pool = Pool(1)
    work = pool.comes()
    assert work is not None
    assert pool.asked == 1
    pool.pool.drop(work)
    pool.pool.drop(work)
    assert pool.asked == 2


def test_what_does_not_come_is_asked_for_again() -> None:
    pool = Pool(1)
    pool.seconds(3)
    assert pool.asked == 1
    pool.seconds(1)
    assert pool.asked == 2
    pool.seconds(400)
    assert pool.asked == 102  # one every four seconds
    assert pool.comes()
    pool.seconds(100)
    assert pool.asked == 102


def test_no_more_than_200_are_asked_for_at_a_time() -> None:
    pool = Pool(5)
    users = [pool.user() for _ in range(1000)]
    assert pool.asked == 200
    served = 0
    while served < 1000:
        assert pool.asked - served <= 205
        assert pool.comes()
        served += 1
    assert not any(user.waits for user in users)


def test_what_nobody_asked_for_does_not_make_the_requests_grow() -> None:
    pool = Pool(5)
    for _ in range(100):
        pool.comes()
    assert pool.asked == 5


def test_when_the_client_is_gone() -> None:
    pool = Pool(1)
    idle = pool.comes()
    pool.pool.close("control is closed")
    assert idle is not None
    assert cast(FakeEnd, idle.end).is_closed
    assert pool.user().reason == "control is closed"
    assert pool.comes() is None
    pool.seconds(100)
    assert pool.asked == 1


def test_those_who_wait_when_the_client_goes() -> None:
    pool = Pool(0)
    users = [pool.user() for _ in range(3)]
    pool.pool.close("control is closed")
    assert [user.reason for user in users] == ["control is closed"] * 3
    assert len(pool.timeouts) == 0


class Pools(RuleBasedStateMachine):
    """A client that does anything, at any time."""

    @initialize(size=st.integers(0, 5))
    def begin(self, size: int) -> None:
        self.size = size
        self.pool = Pool(size)
        self.users: list[User] = []
        self.left: set[User] = set()
        self.idle: list[Work] = []
        self.is_closed = False

    @rule(n=st.integers(1, 4))
    def users_come(self, n: int) -> None:
        self.users += [self.pool.user() for _ in range(n)]

    @rule(data=st.data())
    def user_leaves(self, data: st.DataObject) -> None:
        waiting = [user for user in self.users if user.waits and user not in self.left]
        if waiting:
            user = data.draw(st.sampled_from(waiting))
            self.pool.pool.leave(user)
            self.left.add(user)

    @rule(dead=st.booleans())
    def connection_comes(self, dead: bool) -> None:
        work = self.pool.comes(dead=dead)
        if work is not None and work.user is None and not work.is_lost:
            self.idle.append(work)

    @rule()
    def client_answers_what_it_was_asked(self) -> None:
        for _ in range(min(self.pool.pool._asked, 5)):
            self.connection_comes(False)

    @rule(data=st.data())
    def connection_is_lost(self, data: st.DataObject) -> None:
        if self.idle:
            work = data.draw(st.sampled_from(self.idle))
            work.is_lost = True
            self.pool.pool.drop(work)

    @rule(n=st.integers(1, 6))
    def time_passes(self, n: int) -> None:
        self.pool.seconds(n)

    @precondition(lambda self: not self.is_closed)
    @rule()
    def client_goes(self) -> None:
        self.is_closed = True
        self.pool.pool.close("control is closed")

    @invariant()
    def nobody_is_forgotten(self) -> None:
        if not hasattr(self, "pool"):
            return
        pool = self.pool.pool
        self.idle = [work for work in self.idle if work.user is None and not work.is_lost]
        waiting = [user for user in self.users if user.waits and user not in self.left]
        assert list(pool._waiting) == waiting
        assert len(self.pool.timeouts) == len(waiting)
        assert all(user.waits for user in self.left)
        if self.is_closed:
            assert not waiting
            assert all(cast(FakeEnd, work.end).is_closed for work in self.idle)
            return
        assert list(pool._idle) == self.idle
        assert not (waiting and self.idle)
        assert len(self.idle) <= self.size + 10
        missing = len(waiting) + self.size - len(self.idle)
        assert min(missing, 200) <= pool._asked <= 200


Pools.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestPools = Pools.TestCase


class FakeLink:
    def __init__(self, error: str = "") -> None:
        self.error = error
        self.opened: list[Holder] = []

    def open(self, sink: Holder, owner: Holder) -> FakeEnd:
        if self.error:
            raise PeerError(self.error)
        assert sink is owner
        self.opened.append(owner)
        return FakeEnd()


class AnyUser(User):
    """Is content with whatever comes, unless it `is_dead`."""

    def __init__(self, *, is_dead: bool = False) -> None:
        super().__init__()
        self.is_dead = is_dead
        self.got: Holder | None = None

    def serve(self, work: Holder) -> bool:
        self.got = work
        return not self.is_dead


def direct(link: FakeLink, *, has_room: bool = True) -> Direct:
    return Direct(cast(Engine, None), cast(Any, link), lambda waiting: has_room)


def test_direct_opens_a_stream_for_each_user() -> None:
    link = FakeLink()
    source = direct(link)
    users = [AnyUser(), AnyUser()]
    for user in users:
        source.want(user)
    assert [user.got for user in users] == link.opened
    source.leave(users[0])


def test_direct_when_the_link_takes_no_more_streams() -> None:
    user = AnyUser()
    direct(FakeLink("link is closed")).want(user)
    assert user.reason == "link is closed"


def test_direct_after_its_end() -> None:
    link = FakeLink()
    source, user = direct(link), AnyUser()
    source.close("control is closed")
    source.want(user)
    assert user.reason == "control is closed"
    assert link.opened == []


def test_direct_on_a_link_that_dies_under_the_first_bytes() -> None:
    user = AnyUser(is_dead=True)
    direct(FakeLink()).want(user)
    assert user.reason == "link is lost"


FULL = "the client has as many users as maxUsersPerClient allows"


def test_direct_when_the_client_has_its_fill_of_users() -> None:
    link, user = FakeLink(), AnyUser()
    direct(link, has_room=False).want(user)
    assert user.reason == FULL
    assert link.opened == []


def test_a_pool_whose_client_has_its_fill_of_users() -> None:
    pool = Pool(0, room=2)
    users = [pool.user() for _ in range(3)]
    assert [user.reason for user in users] == ["", "", FULL]
    pool.pool.leave(users[0])
    assert pool.user().reason == ""
