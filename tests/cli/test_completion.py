"""The scripts complete what the programs take."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from frp_py.cli import frpc, frps
from frp_py.cli.completion import SHELLS, fish


def completed(line: str, program: str = "frpc") -> set[str]:
    """What bash offers for the last word of `line`."""
    words = line.split(" ")
    script = SHELLS["bash"]({"frps": frps, "frpc": frpc}[program].ROOT)
    script += f"COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _{program}; echo ${{COMPREPLY[@]}}\n"
    done = subprocess.run(["bash", "-u"], input=script, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("frpc v", {"verify"}),
        ("frpc s", {"stcp", "sudp", "status", "stop", "service", "schema"}),
        ("frpc n", {"nathole"}),
        ("frpc nathole discover --nat", {"--nat-hole-local-addr", "--nat-hole-stun-server"}),
        ("frpc service in", {"install"}),
        ("frpc service install --pr", {"--print"}),
        ("frpc stcp v", {"visitor"}),
        ("frpc -c x stcp visitor --server-", {"--server-addr", "--server-name", "--server-port", "--server-user"}),
        ("frpc tcp --rem", {"--remote-port"}),
        ("frpc stcp --rem", set()),
        ("frpc verify --str", {"--strict-config"}),
        (
            "frpc completion ",
            {"bash", "fish", "zsh", "--allow-unsafe", "--config", "--config-dir", "--help", "--strict-config", "--version"},
        ),
        ("frpc -c v", set()),  # a file name
    ],
)
def test_bash(line: str, expected: set[str]) -> None:
    assert completed(line) == expected


def test_bash_for_the_server() -> None:
    assert completed("frps --bind", "frps") == {"--bind-addr", "--bind-port"}


def test_zsh_uses_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert frps.main(["completion", "bash"]) == 0
    bash = capsys.readouterr().out
    assert frps.main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef frps\n")
    assert "complete -o default -F _frps frps\n" in bash


def test_fish() -> None:
    lines = fish(frpc.ROOT).splitlines()
    assert all(re.fullmatch(r"complete -c frpc -n '[^']*' .* -d '([^'\\]|\\.)*'", line) for line in lines)
    condition = "__fish_seen_subcommand_from stcp; and __fish_seen_subcommand_from visitor"
    assert f"complete -c frpc -n '{condition}' -l bind-port -r -d 'port to listen on'" in lines


def test_completion_alone_shows_the_shells(capsys: pytest.CaptureFixture[str]) -> None:
    assert frpc.main(["completion"]) == 0
    assert re.findall(r"^  (\w+) +Write", capsys.readouterr().out, re.MULTILINE) == ["bash", "zsh", "fish"]


class Shell:
    """A shell at a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def type(self, text: str, until: str) -> str:
        """What appears, up to `until`."""
        os.write(self._fd, text.encode())
        seen = ""
        while until not in seen:
            assert select.select([self._fd], [], [], 20)[0], f"no {until!r} after {seen!r}"
            seen += os.read(self._fd, 65536).decode(errors="replace")
        return seen


@contextmanager
def shell(command: list[str], home: Path) -> Iterator[Shell]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "dumb", "ZDOTDIR": str(home), "HOME": str(home)}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=home, env=environ, start_new_session=True)
    os.close(slave)
    try:
        yield Shell(master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_real_zsh(tmp_path: Path) -> None:
    (tmp_path / "_frpc").write_text(SHELLS["zsh"](frpc.ROOT))
    with shell(["zsh", "-f", "-i"], tmp_path) as it:
        it.type("fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; echo re''ady\n", "ready\r\n")
        it.type("frpc tcp --remo\t", "--remote-port")  # the first completion loads the script
        it.type("\x15frpc nath\t", "nathole ")


def test_a_real_fish(tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "frpc.fish").write_text(SHELLS["fish"](frpc.ROOT))
    script = 'source frpc.fish; complete -C"frpc nath"; complete -C"frpc tcp --remo"'
    done = subprocess.run(
        ["fish", "-N", "-c", script], cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["nathole", "--remote-port"]
