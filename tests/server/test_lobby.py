"""Strangers: how many may wait, and who has to leave."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.server.lobby import Guest, Lobby


class Door:
    def __init__(self, limit: int) -> None:
        self.lobby = Lobby(limit)
        self.out: list[str] = []

    def enter(self, name: str, host: str = "192.0.2.1") -> Guest:
        return self.lobby.enter(lambda: self.out.append(name), host)


def test_the_oldest_makes_room_for_the_newest() -> None:
    door = Door(2)
    for name in "abcd":
        door.enter(name)
    assert door.out == ["a", "b"]
    assert len(door.lobby) == 2
    assert door.lobby.put_out == 2


def test_of_one_network_the_oldest_makes_room_sooner() -> None:
    door = Door(4)
    door.lobby.of_one_network = 2
    for name, host in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.1"), ("d", "192.0.2.1"), ("e", "192.0.2.2")):
        door.enter(name, host)
    assert door.out == ["a"]
    assert len(door.lobby) == 4


def test_a_network_that_is_known_has_no_more_places_than_others() -> None:
    door = Door(100)
    door.lobby.of_one_network = 10
    for n in range(30):
        door.lobby.enter(lambda n=n: door.out.append(f"{n}"), "192.0.2.1", is_known=n < 20)  # type: ignore[misc]
    assert len(door.lobby) == 10
    assert door.out[:3] == ["8", "9", "10"]


def test_a_flood_from_everywhere_leaves_places_to_those_who_are_known() -> None:
    door = Door(20)
    home = [door.lobby.enter(lambda n=n: door.out.append(f"home {n}"), "192.0.2.1", is_known=True) for n in range(10)]  # type: ignore[misc]
    for n in range(40):
        door.enter(str(n), f"198.51.100.{n}")
    assert len(door.lobby) == 20
    assert [name for name in door.out if name.startswith("home")] == ["home 8", "home 9"]
    for guest in home:
        guest.leave()
    assert len(door.lobby) == 12
    for n in range(100):  # where all are known, the biggest crowd goes first, and a stranger gets in
        door.lobby.enter(lambda: None, f"203.0.113.{n}", is_known=True)
    door.enter("last", "198.51.100.1")
    assert len(door.lobby) == 20
    assert "last" not in door.out


def test_who_has_left_is_not_put_out() -> None:
    door = Door(2)
    a, _b = door.enter("a"), door.enter("b")
    a.leave()
    a.leave()
    assert len(door.lobby) == 1
    door.enter("c")
    assert door.out == []
    door.enter("d")
    assert door.out == ["b"]


def test_who_was_put_out_may_still_leave() -> None:
    door = Door(1)
    a = door.enter("a")
    door.enter("b")
    a.leave()
    assert len(door.lobby) == 1


def test_leaving_while_being_put_out() -> None:
    lobby = Lobby(1)
    guests: list[Guest] = []
    guests.append(lobby.enter(lambda: guests[0].leave()))
    guests.append(lobby.enter(lambda: None))
    assert len(lobby) == 1


def test_a_flooder_puts_out_himself() -> None:
    door = Door(5)
    door.enter("good", "198.51.100.1")
    for n in range(1000):
        door.enter(f"bad {n}", "192.0.2.1")
    assert door.out == [f"bad {n}" for n in range(996)]
    door.enter("good too", "198.51.100.2")
    assert door.out[-1] == "bad 996"


def test_of_many_who_came_alone_the_oldest_leaves() -> None:
    door = Door(3)
    for n in range(5):
        door.enter(f"{n}", f"192.0.2.{n}")
    assert door.out == ["0", "1"]


@pytest.mark.parametrize(
    ("hosts", "alike"),
    [
        (("2001:db8::1", "2001:db8::2"), True),
        (("2001:db8::1", "2001:db8:0:1::1"), False),
        (("fe80::1%eth0", "fe80::2%eth1"), True),
        (("192.0.2.1", "192.0.2.2"), False),
        (("no address", "no:address"), False),
    ],
)
def test_who_is_taken_for_one(hosts: tuple[str, str], alike: bool) -> None:
    door = Door(3)
    door.enter("first", "198.51.100.1")
    for host in hosts:
        door.enter(host, host)
    door.enter("newest", "198.51.100.2")
    assert door.out == [hosts[0] if alike else "first"]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=40))
def test_never_more_than_the_limit_and_nobody_twice(limit: int, schedule: list[int | None]) -> None:
    """None: somebody comes; a number: that one leaves."""
    door = Door(limit)
    guests: list[Guest] = []
    inside: list[int] = []
    out: list[str] = []
    for step in schedule:
        if step is None:
            if len(inside) == limit:
                out.append(str(inside.pop(0)))
            inside.append(len(guests))
            guests.append(door.enter(str(len(guests))))
        elif step < len(guests):
            guests[step].leave()
            if step in inside:
                inside.remove(step)
        assert len(door.lobby) == len(inside) <= limit
        assert door.out == out
