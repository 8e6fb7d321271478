"""The demo shows a request through a real tunnel, or says why there is none."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from frp_py.cli import demo


def test_one_request_through_the_tunnel() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "frp_py", "demo"],
        env={**os.environ, "DEMO_ONCE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nhello from behind the tunnel\n" in done.stdout


@pytest.mark.parametrize(("script", "reason"), [("echo broken; exit 3", "frps ended"), ("exec sleep 60", "frps waited too long")])
def test_programs_that_do_not_work(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(demo, "_PATIENCE", 0.3)
    before = threading.enumerate()
    assert demo.main() == 1
    assert threading.enumerate() == before
    assert capsys.readouterr().err == f"demo: {reason} before it wrote 'frps started successfully'\n"
