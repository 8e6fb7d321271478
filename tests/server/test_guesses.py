"""How many wrong keys are looked at."""

from __future__ import annotations

from typing import Any

import pytest

from frp_py.server import guesses
from frp_py.server.guesses import OF_NETWORK, OF_ONE, Guesses
from frp_py.server.penalties import Penalties


class World:
    def __init__(self, *exempt: str) -> None:
        self.guesses = Guesses(Penalties(600, exempt))

    def guess(self, proxy: str = "p", run_id: str = "r", host: str = "192.0.2.1", now: float = 0.0, times: int = 1) -> int:
        """How many of so many wrong keys are looked at."""
        looked_at = 0
        for _ in range(times):
            if self.guesses.may_try(proxy, run_id, host, now):
                self.guesses.wrong(proxy, run_id, host, now)
                looked_at += 1
        return looked_at


@pytest.mark.parametrize("run_id", ["r", ""])
def test_so_many_at_once_and_later_on_some_more(run_id: str) -> None:
    world = World()
    assert world.guess(run_id=run_id, times=100) == OF_ONE
    assert world.guess(run_id=run_id, now=5) == 0
    assert world.guess(run_id=run_id, now=7, times=5) == 1
    assert world.guess(run_id=run_id, now=67, times=100) == 10
    assert world.guess(run_id=run_id, now=3600, times=100) == OF_ONE


def test_one_wrong_configuration_hinders_nobody_else() -> None:
    world = World()
    for second in range(600):
        world.guess(now=second, times=5)
    others: list[dict[str, Any]] = [{"proxy": "q"}, {"run_id": "s"}, {"run_id": ""}, {"run_id": "t", "host": "192.0.2.2"}]
    assert [world.guess(now=600, **other) for other in others] == [1, 1, 1, 1]


def test_sessions_of_one_network_share_the_larger_budget() -> None:
    world = World()
    assert sum(world.guess(run_id=str(n), host=f"2001:db8::{n}", times=5) for n in range(50)) == OF_NETWORK
    assert world.guess(run_id="s", host="2001:db8:0:1::1") == 1
    assert world.guess(run_id="", host="2001:db8::1") == 1
    assert world.guess(run_id="s", host="2001:db8::1", now=2) == 1


def test_where_all_seem_to_come_from_one_address_they_share_nothing() -> None:
    world = World("192.0.2.1")
    assert sum(world.guess(run_id=str(n), times=100) for n in range(50)) == 50 * OF_ONE


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "MOST", 3)
    world = World()
    for n in range(5):
        world.guess(run_id=str(n), times=OF_ONE)
    assert [world.guess(run_id=str(n)) for n in reversed(range(5))] == [0, 0, 0, 1, 1]
