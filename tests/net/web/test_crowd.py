from __future__ import annotations

import trio

from frp_py.net.web.crowd import Crowd


def scopes(n: int) -> list[trio.CancelScope]:
    return [trio.CancelScope() for _ in range(n)]


async def test_a_source_with_many_makes_room_before_others() -> None:
    crowd = Crowd(12)
    first, *flood = scopes(22)
    crowd.enter(first, b"a")
    for scope in flood:
        crowd.enter(scope, b"b")
    assert [scope.cancel_called for scope in flood] == [True] * 10 + [False] * 11
    assert not first.cancel_called
    assert len(crowd) == 12


async def test_else_the_oldest_goes_even_if_others_have_more() -> None:
    crowd = Crowd(10)
    strangers, users, late = scopes(4), scopes(6), scopes(4)
    for n, scope in enumerate(strangers):
        crowd.enter(scope, b"%d" % n)
    for scope in users:
        crowd.enter(scope, b"u")
    for n, scope in enumerate(late):
        crowd.enter(scope, b"late %d" % n)
    assert all(scope.cancel_called for scope in strangers)
    assert not any(scope.cancel_called for scope in (*users, *late))
    crowd.enter(trio.CancelScope(), b"x")
    assert [scope.cancel_called for scope in users] == [True, False, False, False, False, False]


async def test_who_has_left_isnt_counted_and_may_come_again() -> None:
    crowd = Crowd(2)
    one, two, three = scopes(3)
    crowd.enter(one, b"a")
    crowd.leave(one, b"a")
    crowd.leave(one, b"a")
    assert len(crowd) == 0
    crowd.enter(two, b"a")
    crowd.enter(one, b"a")
    crowd.enter(three, b"a")
    assert (one.cancel_called, two.cancel_called, len(crowd)) == (False, True, 2)
    crowd.leave(two, b"a")
    assert len(crowd) == 2
