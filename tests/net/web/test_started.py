"""How long a program runs doesn't depend on the clock."""

from __future__ import annotations

import pytest

from frp_py.net.web import started


class Clock:
    """The clock on the wall, and the one that only goes on."""

    def __init__(self) -> None:
        self.now = 100.5
        self.gone = 7.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.gone

    def go_on(self, seconds: float, wrong: float = 0) -> None:
        self.now += seconds + wrong
        self.gone += seconds


def test_when_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(started, "time", clock)
    it = started.Started()
    assert it.at == 100
    clock.go_on(10_000)
    assert it.at == 100
    clock.go_on(10, wrong=3)  # corrected a little: nothing that anybody should notice
    assert it.at == 100
    clock.go_on(10, wrong=1.8e9)  # set for the first time
    assert it.at == 1_800_000_103
    assert clock.now - it.at == pytest.approx(10_020, abs=1)
    clock.go_on(100, wrong=-3600)
    assert it.at == 1_799_996_503
