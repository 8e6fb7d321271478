import sys
from pathlib import Path

import pytest

from frp_py.config.common import EnvironmentEntry, ExecSource, FileSource, ValueSource
from frp_py.config.sources import resolve_value_source
from frp_py.errors import ConfigError


def program(code: str, *args: str, env: tuple[EnvironmentEntry, ...] = ()) -> ValueSource:
    return ValueSource(type="exec", exec=ExecSource(command=sys.executable, args=("-c", code, *args), env=env))


def reason(source: ValueSource) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_value_source(source)
    return str(caught.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b" \n sesame open \r\n\n")
    assert resolve_value_source(ValueSource(type="file", file=FileSource(path=str(path)), exec=ExecSource(command="no"))) == "sesame open"
    path.write_bytes(b"\n")
    assert resolve_value_source(ValueSource(type="file", file=FileSource(path=str(path)))) == ""
    gone = str(tmp_path / "gone")
    assert (
        reason(ValueSource(type="file", file=FileSource(path=gone)))
        == f"failed to read file {gone}: open {gone}: no such file or directory"
    )


def test_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "1")
    code = "import os, sys; print(' ', *sys.argv[1:], os.environ['INHERITED'], os.environ.get('STAGE')); print('no', file=sys.stderr)"
    assert resolve_value_source(program(code, "a b", "$X")) == "a b $X 1 None"
    env = (
        EnvironmentEntry(name="STAGE", value="x"),
        EnvironmentEntry(name="STAGE", value="prod"),
        EnvironmentEntry(name="INHERITED", value="2"),
    )
    assert resolve_value_source(program(code, env=env)) == "2 prod"


def test_programs_that_fail() -> None:
    assert reason(program("raise SystemExit(3)")) == f"failed to execute command {sys.executable}: exit status 3"
    assert reason(program("import os; os.kill(os.getpid(), 9)")) == f"failed to execute command {sys.executable}: signal: killed"
    missing = ValueSource(type="exec", exec=ExecSource(command="surely-no-such-program"))
    assert reason(missing).endswith('surely-no-such-program: exec: "surely-no-such-program": executable file not found in $PATH')
    absolute = ValueSource(type="exec", exec=ExecSource(command="/nowhere/x"))
    assert reason(absolute) == "failed to execute command /nowhere/x: fork/exec /nowhere/x: no such file or directory"
    assert reason(ValueSource(type="exec", exec=ExecSource(command="a\0b"))).startswith("failed to execute command")


def test_sources_that_say_too_little() -> None:
    assert reason(ValueSource()) == "unsupported value source type:  (only 'file' and 'exec' are supported)"
    assert reason(ValueSource(type="exec", file=FileSource(path="x"))) == "exec configuration is required when type is 'exec'"
