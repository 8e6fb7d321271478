"""What is logged of clients and of users who are refused is bounded."""

from __future__ import annotations

from trio.testing import MockClock

from frp_py.net.bounded_log import Budget
from frp_py.server import bounded_log
from frp_py.server.bounded_log import Budgets, refusals_log
from tests.support.inside import logged


def taken(budget: Budget, n: int, now: float) -> int:
    return sum(budget.take(now) for _ in range(n))


def test_one_for_each_network() -> None:
    budgets = Budgets(2, 1.0)
    assert taken(budgets.of("192.0.2.1"), 9, 0.0) == 2
    assert taken(budgets.of("192.0.2.1"), 9, 0.0) == 0
    assert taken(budgets.of("192.0.2.2"), 9, 0.0) == 2
    assert taken(budgets.of("2001:db8::1"), 9, 0.0) == 2
    assert taken(budgets.of("2001:db8::2"), 9, 0.0) == 0


def test_networks_are_bounded() -> None:
    budgets = Budgets(1, 1.0)
    taken(budgets.of("192.0.2.1"), 1, 0.0)
    for n in range(bounded_log._MOST_NETWORKS + 10):
        budgets.of(f"10.0.{n >> 8}.{n & 255}")
    assert len(budgets._budgets) == bounded_log._MOST_NETWORKS


async def test_refusals(mock_clock: MockClock) -> None:
    log = refusals_log()
    with logged() as lines:
        for _ in range(2000):
            log.info("user [%s] refused", "192.0.2.1:5")
    assert lines.count("user [192.0.2.1:5] refused") == 1000
