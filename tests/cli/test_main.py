"""`python -m frp_py`."""

from __future__ import annotations

import sys

import pytest

from frp_py.__main__ import main


@pytest.mark.parametrize("role", ["server", "client", "frps", "frpc"])
def test_a_role_and_its_arguments(role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["frp_py", role, "--version"])
    assert main() == 0
    monkeypatch.setattr(sys, "argv", ["frp_py", role, "nope"])
    assert main() == 1
    out, err = capsys.readouterr()
    assert out == "0.70.1\n"
    assert f'"{ {"server": "frps", "client": "frpc"}.get(role, role) }"' in err


@pytest.mark.parametrize("args", [[], ["nope"]])
def test_anything_else_is_misuse(args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["frp_py", *args])
    assert main() == 1
    assert capsys.readouterr().err.startswith("usage: ")
