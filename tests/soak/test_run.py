"""The soak itself, for some seconds; `make soak` takes its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.run import Soak
from tests.soak.stage import Stage


@pytest.mark.slow
def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=57, seconds=12, clients=2, users=4)  # one that begins with what is soon over
    assert soak.run() == []
    assert soak.faults.events
    assert soak.visits.total() > 20


@pytest.mark.slow
def test_a_soak_notices_who_is_cut_off_without_a_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak = Soak(tmp_path, seed=7, seconds=20, clients=2, users=4)
    stages: list[Stage] = [soak._stage]
    monkeypatch.setattr(soak.faults, "happen", lambda event, server_too: stages[0].slots[1].wire.cut())
    faults = soak.run()
    assert faults
    assert all("s1_" in fault for fault in faults)
    assert "which nothing disturbs" in faults[0]
