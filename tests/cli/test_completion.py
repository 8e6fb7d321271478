"""The scripts complete what the programs take."""

from __future__ import annotations

import re
import subprocess

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
