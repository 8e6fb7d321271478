"""Commands that both programs have, and what holds for all of them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from frp_py.cli import frpc, frps
from frp_py.cli.command import Command

ROOT = Path(__file__).parents[2]


def commands(command: Command) -> Iterator[Command]:
    yield command
    for child in command.children:
        yield from commands(child)


COMMANDS = [command for root in (frps.ROOT, frpc.ROOT) for command in commands(root)]


@pytest.mark.parametrize(("main", "key"), [(frps.main, "bindPort"), (frpc.main, "serverAddr")])
def test_the_schema(main: object, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(main)
    assert main(["schema"]) == 0
    assert key in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.run], ids=lambda c: c.path)
def test_every_command_explains_itself_with_an_example(command: Command) -> None:
    assert command.example
    for line in command.example.splitlines():
        words = line.removeprefix("sudo ").split()
        assert words[: len(command.path.split())] == command.path.split() or command.parent is None, line
    lines = command.help().splitlines()
    assert lines[0] == command.summary
    assert max(map(len, lines)) <= 140
    assert f'Use "{command.path} [command] --help"' in command.help() or not command.children


@pytest.mark.parametrize("program", ["frps", "frpc"])
def test_help_comes_at_once(program: str) -> None:
    """Within 200 ms; what counts is the processor's time, because other tests may run on this machine."""

    def seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    took = []
    for _ in range(3):
        before = seconds()
        done = subprocess.run([sys.executable, "-m", "frp_py", program, "--help"], cwd=ROOT, capture_output=True, check=True)
        took.append(seconds() - before)
        assert done.stdout.startswith(program.encode())
    assert min(took) < 0.2


def test_a_reader_that_has_seen_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "frp_py", "frpc", "schema"], cwd=ROOT, stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")
