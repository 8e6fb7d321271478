from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from frp_py.errors import Refused
from frp_py.protocol.messages import NewProxy
from frp_py.server.groups import Group, Groups
from frp_py.server.proxies.base import PublicProxy


def member(name: str, group: str = "g", key: str = "k") -> PublicProxy:
    return cast(PublicProxy, SimpleNamespace(name=name, wish=NewProxy(name, group=group, group_key=key)))


class Counting:
    """Makes groups, and counts the ones that are closed."""

    def __init__(self) -> None:
        self.groups: Groups[Group] = Groups()
        self.closed = 0

    def _close(self) -> None:
        self.closed += 1

    def join(self, proxy: PublicProxy, params: object = "p", *, once: bool = False, turn: int = 0) -> Group:
        return self.groups.join(proxy, params, lambda: Group(proxy, params, close=self._close, turn=turn), once=once)


def test_turns_are_in_the_order_of_joining() -> None:
    book = Counting()
    a, b, c = (member(name) for name in "abc")
    group = book.join(a)
    assert group.next() is a
    assert book.join(b) is book.join(c) is group
    assert [cast(PublicProxy, group.next()).name for _ in range(6)] == list("bcabca")
    assert group.first is a
    book.groups.leave(a, group)
    assert {cast(PublicProxy, group.next()).name for _ in range(2)} == {"b", "c"}
    assert group.first is b


def test_a_group_for_requests_begins_with_its_second_member() -> None:
    book = Counting()
    group = book.join(member("a"), turn=1)
    book.join(member("b"))
    book.join(member("c"))
    assert [cast(PublicProxy, group.next()).name for _ in range(4)] == list("bcab")


def test_a_group_goes_with_its_last_member_and_can_come_again() -> None:
    book = Counting()
    a, b = member("a"), member("b", key="other")
    group = book.join(a)
    book.groups.leave(b, group)  # no member
    assert (len(book.groups), book.closed) == (1, 0)
    book.groups.leave(a, group)
    assert (len(book.groups), book.closed) == (0, 1)
    assert group.next() is group.first is None
    book.groups.leave(a, group)
    assert book.closed == 1
    assert book.join(b, "other") is not group


def test_who_may_not_join() -> None:
    book = Counting()
    a = member("a")
    group = book.join(a)
    for proxy, params, once, text in (
        (member("b", key="x"), "q", False, "group params invalid"),
        (member("b", key="x"), "p", False, "group auth failed"),
        (member("b", key="ü"), "p", False, "group auth failed"),
        (a, "p", True, "group proxy repeated"),
    ):
        with pytest.raises(Refused, match=text):
            book.join(proxy, params, once=once)
    with pytest.raises(Refused, match="same port"):
        book.groups.join(member("b"), "q", lambda: group, mismatch="same port")
    assert group.members == [a]


def test_a_group_that_cannot_be_made_is_not_there() -> None:
    book = Counting()

    def make() -> Group:
        raise Refused("port unavailable")

    with pytest.raises(Refused, match="port unavailable"):
        book.groups.join(member("a"), "p", make)
    assert len(book.groups) == 0


def test_a_member_that_joined_twice_has_to_leave_twice() -> None:
    book = Counting()
    a = member("a")
    group = book.join(a)
    book.join(a)
    book.groups.leave(a, group)
    assert book.closed == 0
    book.groups.leave(a, group)
    assert book.closed == 1
