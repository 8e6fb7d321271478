"""The long runs do run, and end with what they find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import blind, processes, targets
from tests.fuzz.corpus import ROOT
from tests.fuzz.targets import TARGETS


@pytest.mark.slow
def test_a_second_of_two_targets() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "stun", "upstream", "--seconds", "1", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert [line.split()[:2] for line in sorted(done.stdout.splitlines()[1:])] == [["stun", "ok"], ["upstream", "ok"]]


def test_a_fault_is_told_and_its_input_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(data: bytes) -> None:
        assert len(data) < 20

    monkeypatch.setitem(TARGETS, "stun", wrong)
    monkeypatch.setattr(targets, "FAULTS", tmp_path)
    with pytest.raises(AssertionError) as found:
        blind.blindly("stun", 10, seed=1)
    [path] = (tmp_path / "stun").iterdir()
    assert found.value.__notes__ == [f"input: {path}"]
    with pytest.raises(AssertionError):
        wrong(path.read_bytes())


def test_processes_run_side_by_side_and_say_how_they_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOGS", tmp_path)

    def run(name: str) -> None:
        print(f"here is {name}")
        assert name != "b"

    assert sorted(processes.side_by_side(2, ["a", "b", "c"], run)) == [("a", 0), ("b", 1), ("c", 0)]
    assert (tmp_path / "c").read_text() == "here is c\n"
    assert "AssertionError" in (tmp_path / "b").read_text()
