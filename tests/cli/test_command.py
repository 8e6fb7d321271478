"""Which command is meant, help, and misuse."""

from __future__ import annotations

import pytest

from frp_py.cli.command import Command, execute
from frp_py.cli.flags import BOOL, INT, STRING, Flag, UsageError, Values

calls: list[tuple[str, Values]] = []


def make() -> Command:
    calls.clear()

    def command(name: str, *, flags: tuple[Flag, ...] = (), children: tuple[Command, ...] = ()) -> Command:
        def run(values: Values) -> int:
            calls.append((name, values))
            return 7

        return Command(name, f"Do {name}", run, flags=flags, children=children)

    return Command(
        "prog",
        "prog is a program.",
        command("prog").run,
        inherited=(Flag("config", STRING, "", "a file", short="c"), Flag("strict", BOOL, True, "be strict")),
        children=(
            command("tcp", flags=(Flag("port", INT, 0, "a port", short="l"),), children=(command("visitor"),)),
            command("verify"),
            Command("group", "Commands", children=(command("leaf"),)),
        ),
        example="prog -c x",
    )


@pytest.mark.parametrize(
    ("args", "name", "config"),
    [
        ([], "prog", ""),
        (["-c", "x"], "prog", "x"),
        (["verify", "-c", "x"], "verify", "x"),
        (["-c", "x", "verify"], "verify", "x"),
        (["-c", "verify"], "prog", "verify"),
        (["tcp", "-l", "22", "-c", "x", "surplus"], "tcp", "x"),
        (["-l", "22", "tcp"], "tcp", ""),
        (["tcp", "-l", "1", "visitor", "-c", "x"], "visitor", "x"),
        (["--strict", "tcp", "visitor", "-c=x"], "visitor", "x"),
        (["group", "leaf"], "leaf", ""),
    ],
)
def test_the_command_that_is_meant(args: list[str], name: str, config: str) -> None:
    root = make()
    if name == "visitor" and "-l" in args:  # a flag of `tcp` alone
        assert execute(root, args) == 1
        return
    assert execute(root, args) == 7
    assert [(n, v["config"]) for n, v in calls] == [(name, config)]


def test_help_of_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(make(), ["--help"]) == 0
    assert capsys.readouterr() == (
        """prog is a program.

Usage:
  prog [flags]
  prog [command]

Examples:
  prog -c x

Available Commands:
  tcp     Do tcp
  verify  Do verify
  group   Commands

Flags:
  -c, --config string   a file
  -h, --help            help for prog
      --strict          be strict (default true)

Use "prog [command] --help" for more information about a command.
""",
        "",
    )
    assert calls == []


@pytest.mark.parametrize("args", [["tcp", "visitor", "-h"], ["help", "tcp", "visitor"], ["-h", "tcp", "visitor"]])
def test_help_of_a_command(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(make(), args) == 0
    assert capsys.readouterr().out == (
        """Do visitor

Usage:
  prog tcp visitor [flags]

Flags:
  -h, --help   help for visitor

Global Flags:
  -c, --config string   a file
      --strict          be strict (default true)
"""
    )


def test_a_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(make(), ["group"]) == 0
    assert "prog group [command]" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["nope"], ["-c", "x", "nope"], ["help", "nope"]])
def test_an_unknown_command(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(make(), args) == 1
    assert capsys.readouterr() == ("", 'Error: unknown command "nope" for "prog"\nRun \'prog --help\' for usage.\n')


def test_a_misspelt_command_is_put_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(make(), ["verfiy"]) == 1
    assert capsys.readouterr().err == (
        'Error: unknown command "verfiy" for "prog"\n\nDid you mean this?\n\tverify\n\nRun \'prog --help\' for usage.\n'
    )


def test_a_usage_error_shows_the_usage_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(make(), ["verify", "--nope"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: unknown flag: --nope\nUsage:\n  prog verify [flags]\n")


def test_help_may_say_more_and_show_words(capsys: pytest.CaptureFixture[str]) -> None:
    root = Command("prog", "prog is a program.", lambda values: len(values.words), words="[file]", more="It takes a file.")
    assert execute(root, ["-h"]) == 0
    assert capsys.readouterr().out.startswith("prog is a program.\n\nIt takes a file.\n\nUsage:\n  prog [file] [flags]\n")


def test_a_command_may_refuse_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    def run(values: Values) -> int:
        raise UsageError(f"not {values.words[0]}")

    root = Command("prog", "prog is a program.", children=(Command("sub", "Do it", run),))
    assert execute(root, ["sub", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: not x\nUsage:\n  prog sub [flags]\n")
