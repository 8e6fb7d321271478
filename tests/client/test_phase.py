"""The table of a proxy's states (behaviour.md 7.3)."""

from __future__ import annotations

from itertools import product

import pytest

from frp_py.client.phase import NEXT, Phase, Signal, after

TABLE = """
new           ASKED      wait start
new           STOPPED    closed
wait start    ASKED      wait start
wait start    ACCEPTED   running
wait start    REFUSED    start error
wait start    UNHEALTHY  check failed
wait start    STOPPED    closed
start error   ASKED      wait start
start error   STOPPED    closed
running       UNHEALTHY  check failed
running       STOPPED    closed
check failed  ASKED      wait start
check failed  STOPPED    closed
"""

EXPECTED = {(Phase(line[:14].strip()), Signal[line[14:25].strip()]): Phase(line[25:].strip()) for line in TABLE.strip().splitlines()}


def test_the_words_are_those_of_the_status() -> None:
    assert [phase.value for phase in Phase] == ["new", "wait start", "start error", "running", "check failed", "closed"]


@pytest.mark.parametrize(("phase", "signal"), list(product(Phase, Signal)), ids=str)
def test_every_pair(phase: Phase, signal: Signal) -> None:
    expected = EXPECTED.get((phase, signal))
    if expected is None:
        with pytest.raises(RuntimeError, match=f"a proxy in phase '{phase.value}' can't take {signal.name}"):
            after(phase, signal)
    else:
        assert after(phase, signal) is expected


def test_there_is_nothing_else_in_the_table() -> None:
    assert NEXT == EXPECTED


def test_every_phase_can_be_reached_and_only_closed_is_final() -> None:
    reached, todo = {Phase.NEW}, [Phase.NEW]
    while todo:
        phase = todo.pop()
        for (before, _), then in NEXT.items():
            if before is phase and then not in reached:
                reached.add(then)
                todo.append(then)
    assert reached == set(Phase)
    assert {phase for phase in Phase if not any(before is phase for before, _ in NEXT)} == {Phase.CLOSED}
