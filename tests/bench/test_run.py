"""A run of the smallest size, from the command line to the page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.scenarios import SCENARIOS
from tests.support.programs import ROOT


@pytest.mark.slow
def test_a_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "OUTPUT", tmp_path)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--only", "frp_py,broken", "latency", "reconnect", "broken=false|false"])
    bench.main()
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert results.keys() == {"latency", "reconnect"}
    for result in results.values():
        assert all(figure > 0 for figure in result["figures"]["frp_py"].values())
        assert result["reasons"]["broken"].startswith("false -c ")
    assert "latency: one user who waits for each answer" in capsys.readouterr().out


def test_what_is_not_known_is_an_error() -> None:
    for words in (["no_such"], ["a=only one"]):
        done = subprocess.run([sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert "error: " in done.stderr


def test_pairs_are_told_from_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "wan", "other=/opt/frps --x|/opt/frpc"])
    _, names, contestants = bench.parsed()
    assert names == [name for name in SCENARIOS if name.startswith("wan")]
    assert list(contestants) == ["frp_py", "haproxy", "ssh -R", "other"]
