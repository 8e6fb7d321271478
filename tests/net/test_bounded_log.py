"""Lines that others bring about are bounded, and what is left out is counted."""

from __future__ import annotations

from trio.testing import MockClock

from frp_py.net.bounded_log import BoundedLog, Budget
from tests.support.inside import logged


def taken(budget: Budget, n: int, now: float) -> int:
    return sum(budget.take(now) for _ in range(n))


def test_a_budget_is_full_at_first_and_refills() -> None:
    budget = Budget(5, 2.0)
    assert taken(budget, 10, 0.0) == 5
    assert budget.kept_back == 5
    assert taken(budget, 10, 0.4) == 0
    assert taken(budget, 10, 1.0) == 2
    assert taken(budget, 10, 100.0) == 5


def test_a_budget_within_another() -> None:
    whole = Budget(6, 1.0)
    a, b = Budget(4, 100.0, whole), Budget(4, 100.0, whole)
    assert taken(a, 9, 0.0) == 4
    assert whole.kept_back == 0  # it isn't asked in vain
    assert taken(b, 9, 0.0) == 2
    assert b.kept_back == 7
    assert taken(a, 9, 3.0) == 3


def test_what_was_left_out_is_said_now_and_then() -> None:
    budget = Budget(1, 1.0)
    taken(budget, 3, 0.0)
    assert budget.notice(0.0) == 2
    assert budget.notice(1.0) == 0
    taken(budget, 3, 1.0)
    assert budget.notice(9.9) == 0
    assert budget.notice(10.0) == 2


async def test_lines(mock_clock: MockClock) -> None:
    budget = Budget(3, 1.0)
    log = BoundedLog("", budget, about="this client", longest=20).with_prefix("run").with_prefix("p" * 1000)
    prefix = f"[run] [{'p' * 300}] "
    with logged() as lines:
        log.info("%s", "x" * 100)
        log.warning("two")
        log.error("three")
        log.info("left out")
        log.debug("always")
        assert lines.texts == [f"{prefix}{'x' * 20}...", f"{prefix}two", f"{prefix}three", f"{prefix}always"]
        mock_clock.jump(20)
        log.info("%s %%", "%d")
        assert lines.texts[4:] == [f"{prefix}1 lines about this client were left out", f"{prefix}%d %"]
        other = log.with_budget(Budget(1, 1.0), "other", "users")
        other.info("one")
        other.info("two")
        assert lines.texts[6:] == [f"{prefix}[other] one"]
