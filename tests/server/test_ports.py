"""The book of ports (behaviour.md 1.10)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from frp_py.config.server import PortsRange
from frp_py.errors import Refused
from frp_py.server import ports as ports_module
from frp_py.server.ports import PortBook

HOUR = 3600.0


def book(*allowed: PortsRange, seed: int = 1) -> PortBook:
    return PortBook(allowed, random.Random(seed))


def single(port: int) -> PortsRange:
    return PortsRange(single=port)


def bind(port: int) -> str:
    return f"socket {port}"


def none_of(*taken: int) -> Callable[[int], str]:
    """A `bind` that finds these ports in use by other programs."""

    def try_bind(port: int) -> str:
        if port in taken:
            raise OSError("in use")
        return bind(port)

    return try_bind


def refusal(ports: PortBook, name: str, port: int, bind: Callable[[int], str] = bind) -> str:
    with pytest.raises(Refused) as refused:
        ports.acquire(name, port, bind)
    return str(refused.value)


@pytest.mark.parametrize("port", [1, 80, 65535])
def test_every_port_is_allowed_where_nothing_is_said(port: int) -> None:
    assert book().acquire("a", port, bind) == (port, bind(port))


@pytest.mark.parametrize("port", [-1, -(2**63), 65536, 2**63 - 1])
def test_what_is_no_port_is_not_allowed(port: int) -> None:
    assert refusal(book(), "a", port) == "port not allowed"
    assert refusal(book(single(80)), "a", port) == "port not allowed"


def test_ranges_include_both_ends_and_single_wins() -> None:
    ports = book(PortsRange(start=10, end=12), PortsRange(start=1, end=9, single=20))
    for port in (10, 11, 12, 20):
        assert ports.acquire(f"p{port}", port, bind)[0] == port
    for port in (1, 9, 13, 19, 21):
        assert refusal(ports, "x", port) == "port not allowed"


def test_a_range_beyond_the_ports_there_are_is_cut() -> None:
    ports = book(PortsRange(start=-5, end=2), PortsRange(start=65534, end=70000))
    assert {ports.acquire(f"p{n}", 0, bind)[0] for n in range(4)} == {1, 2, 65534, 65535}
    assert refusal(ports, "x", 0) == "no available port"


def test_a_port_in_use() -> None:
    ports = book(single(80), single(81))
    ports.acquire("a", 80, bind)
    assert refusal(ports, "b", 80) == "port already used"
    assert refusal(ports, "a", 80) == "port already used"
    assert refusal(ports, "b", 81, none_of(81)) == "port unavailable"
    ports.release(80, 0)
    assert ports.acquire("b", 80, bind)[0] == 80


def test_what_could_not_be_bound_is_not_in_use() -> None:
    ports = book(single(80))
    assert refusal(ports, "a", 80, none_of(80)) == "port unavailable"
    assert refusal(ports, "a", 0, none_of(80)) == "no available port"
    assert ports.acquire("b", 80, bind)[0] == 80


def test_any_port_is_preferably_the_one_of_last_time() -> None:
    ports = book(seed=7)
    first, _ = ports.acquire("a", 0, bind)
    ports.release(first, 0)
    assert ports.acquire("b", 0, bind)[0] != first
    assert ports.acquire("a", 0, bind)[0] == first


def test_a_port_that_was_asked_for_by_number_is_remembered_too() -> None:
    ports = book()
    ports.acquire("a", 1234, bind)
    ports.release(1234, 0)
    assert ports.acquire("a", 0, bind)[0] == 1234


def test_the_preference_is_no_claim() -> None:
    ports = book()
    ports.acquire("a", 1234, bind)
    ports.release(1234, 0)
    assert ports.acquire("b", 1234, bind)[0] == 1234
    assert ports.acquire("a", 0, bind)[0] != 1234


def test_names_that_ports_are_remembered_for_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "_MOST_KEPT", 2)
    ports = book()
    for port, name in enumerate(("a", "b", "a", "c", "n" * 1000), 1):
        ports.acquire(name, port, bind)
        ports.release(port, 0)
    assert {name: port for name, (port, _) in ports._reserved.items()} == {"a": 3, "c": 4}


def test_a_preferred_port_that_another_program_has_is_not_insisted_on() -> None:
    ports = book(single(80), single(81))
    ports.acquire("a", 80, bind)
    ports.release(80, 0)
    assert ports.acquire("a", 0, none_of(80))[0] == 81


def test_five_ports_are_tried() -> None:
    tried: list[int] = []

    def fail(port: int) -> str:
        tried.append(port)
        raise OSError("in use")

    assert refusal(book(), "a", 0, fail) == "no available port"
    assert len(tried) == len(set(tried)) == 5
    tried.clear()
    assert refusal(book(single(80), single(81)), "a", 0, fail) == "no available port"
    assert sorted(tried) == [80, 81]


def test_a_preference_is_forgotten_a_day_after_its_use() -> None:
    ports = book(seed=3)
    ports.acquire("a", 1234, bind)
    ports.forget_old(100 * HOUR)
    ports.release(1234, 100 * HOUR)
    ports.forget_old(124 * HOUR)
    assert ports.acquire("a", 0, bind)[0] == 1234
    ports.release(1234, 124 * HOUR)
    ports.forget_old(148 * HOUR + 1)
    assert ports.acquire("a", 0, bind)[0] != 1234


def test_releasing_what_is_free_does_nothing() -> None:
    ports = book()
    ports.release(80, 0)
    assert ports.acquire("a", 80, bind)[0] == 80


def test_a_list_of_empty_ranges_allows_nothing() -> None:
    ports = book(PortsRange(start=9, end=1))
    assert refusal(ports, "a", 5) == "port not allowed"
    assert refusal(ports, "a", 0) == "no available port"


def test_what_is_allowed_changes() -> None:
    ports = book(PortsRange(start=1, end=5))
    assert ports.acquire("a", 1, bind)[0] == 1
    ports.allow((PortsRange(start=5, end=6),))
    assert refusal(ports, "b", 1) == "port already used"
    assert refusal(ports, "b", 2) == "port not allowed"
    ports.release(1, 0)
    assert refusal(ports, "b", 1) == "port not allowed"
    assert {ports.acquire(name, 0, bind)[0] for name in "ab"} == {5, 6}  # and not 1, though "a" had it
    assert refusal(ports, "c", 0) == "no available port"
    ports.allow(())
    assert ports.acquire("c", 9, bind)[0] == 9
    ports.allow((single(5),))
    assert refusal(ports, "d", 0) == "no available port"
    ports.release(5, 0)
    assert ports.acquire("d", 0, bind)[0] == 5


NAMES = st.sampled_from("abc")
PORTS = st.integers(0, 7)


class Books(RuleBasedStateMachine):
    """Some of the ports 1 to 5 are allowed, and other programs hold some of them from time to time."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = book(PortsRange(start=1, end=5))
        self.allowed = set(range(1, 6))
        self.used: dict[int, str] = {}
        self.last: dict[str, int] = {}
        self.foreign: set[int] = set()

    @rule(port=st.integers(1, 5))
    def other_program(self, port: int) -> None:
        self.foreign ^= {port}

    @rule(start=st.integers(1, 5), end=st.integers(1, 5))
    def allow(self, start: int, end: int) -> None:
        self.ports.allow((PortsRange(start=start, end=end),))
        self.allowed = set(range(start, end + 1))

    @rule(name=NAMES, port=PORTS)
    def acquire(self, name: str, port: int) -> None:
        free = self.allowed - self.used.keys() - self.foreign
        if port == 0:
            expected = "" if free else "no available port"
        elif port in self.used:
            expected = "port already used"
        elif port not in self.allowed:
            expected = "port not allowed"
        else:
            expected = "port unavailable" if port in self.foreign else ""
        try_bind = none_of(*self.foreign, *self.used)
        if expected:
            assert refusal(self.ports, name, port, try_bind) == expected
            return
        got, bound = self.ports.acquire(name, port, try_bind)
        assert got in free
        assert bound == bind(got)
        if port:
            assert got == port
        elif self.last.get(name) in free:
            assert got == self.last[name]
        self.last[name] = got
        self.used[got] = name

    @rule(port=st.integers(1, 5))
    def release(self, port: int) -> None:
        self.ports.release(port, 0)
        name = self.used.pop(port, None)
        if name is not None:
            self.last[name] = port

    @invariant()
    def the_used_ones_are_refused(self) -> None:
        for port in self.used:
            assert refusal(self.ports, "z", port) == "port already used"


Books.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBooks = Books.TestCase
