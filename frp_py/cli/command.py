"""A tree of commands: finding the one that is meant, its help, and how misuse is told (config.md 5.1)."""

from __future__ import annotations

import os
import sys

from frp_py.cli.flags import BOOL, Flag, UsageError, Values, first_word, parse, usages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Run = Callable[[Values], int]  # -> the exit code


class Command:
    """A program or one of its commands.

    `flags` belong to the command alone, `inherited` also to those below it. `words` is how help shows what else it takes, and
    `more` what help says besides the summary. Without `run` it only shows its help.
    """

    __slots__ = ("children", "example", "flags", "inherited", "more", "name", "parent", "run", "summary", "words")

    def __init__(
        self,
        name: str,
        summary: str,
        run: Run | None = None,
        *,
        flags: Sequence[Flag] = (),
        inherited: Sequence[Flag] = (),
        children: Sequence[Command] = (),
        words: str = "",
        more: str = "",
        example: str = "",
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.flags = tuple(flags)
        self.inherited = tuple(inherited)
        self.children = tuple(children)
        self.words = words
        self.more = more
        self.example = example
        self.parent: Command | None = None
        for child in self.children:
            child.parent = self

    @property
    def path(self) -> str:
        """The words that call the command: `frpc stcp visitor`."""
        return f"{self.parent.path} {self.name}" if self.parent else self.name

    @property
    def own_flags(self) -> tuple[Flag, ...]:
        """The flags that this command introduces."""
        return (*self.flags, *self.inherited, Flag("help", BOOL, False, f"help for {self.name}", short="h"))

    @property
    def global_flags(self) -> tuple[Flag, ...]:
        """The flags that come from the commands above."""
        return (*self.parent.inherited, *self.parent.global_flags) if self.parent else ()

    def child(self, name: str) -> Command | None:
        """The command of that name directly below this one."""
        return next((c for c in self.children if c.name == name), None)

    def usage(self) -> str:
        """The block that follows a usage error."""
        text = "Usage:\n"
        if self.run:
            text += f"  {self.path} {f'{self.words} ' if self.words else ''}[flags]\n"
        if self.children:
            text += f"  {self.path} [command]\n"
        if self.example:
            text += "\nExamples:\n" + "".join(f"  {line}\n" for line in self.example.splitlines())
        if self.children:
            width = max(len(c.name) for c in self.children) + 2
            text += "\nAvailable Commands:\n" + "".join(f"  {c.name:<{width}}{c.summary}\n" for c in self.children)
        text += f"\nFlags:\n{usages(self.own_flags)}"
        if self.global_flags:
            text += f"\nGlobal Flags:\n{usages(self.global_flags)}"
        if self.children:
            text += f'\nUse "{self.path} [command] --help" for more information about a command.\n'
        return text

    def help(self) -> str:
        """What `--help` prints."""
        more = f"{self.more}\n\n" if self.more else ""
        return f"{self.summary}\n\n{more}{self.usage()}"


def _find(root: Command, args: Sequence[str]) -> tuple[Command, list[str]]:
    command, rest = root, list(args)
    while (at := first_word((*command.own_flags, *command.global_flags), rest)) is not None:
        child = command.child(rest[at])
        if child is None:
            if command is root:
                raise _UnknownCommand(_unknown(root, rest[at]))
            break
        del rest[at]
        command = child
    return command, rest


class _UnknownCommand(Exception):
    """The first word is no command; `str()` is the whole message."""


def _unknown(root: Command, word: str) -> str:
    near = [c.name for c in root.children if c.name.startswith(word.lower()) or _distance(c.name, word.lower()) <= 2]
    hint = "\n\nDid you mean this?\n" + "".join(f"\t{n}\n" for n in near) if near else ""
    return f'unknown command "{word}" for "{root.name}"{hint}\nRun \'{root.name} --help\' for usage.'


def _distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def execute(root: Command, args: Sequence[str]) -> int:
    """Do what the command line asks and return the exit code: misuse is told on standard error with 1."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # names of files are bytes, and need not be text
    if args[:1] == ["help"]:
        return _help(root, args[1:])
    try:
        command, rest = _find(root, args)
    except _UnknownCommand as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    try:
        values = parse((*command.own_flags, *command.global_flags), rest)
        if values["help"] or command.run is None:
            sys.stdout.write(command.help())
            return 0
        code = command.run(values)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"Error: {error}\n{command.usage()}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed at exit
        return 1


def _help(root: Command, args: Sequence[str]) -> int:
    try:
        command, _ = _find(root, [a for a in args if a not in ("-h", "--help")])
    except _UnknownCommand as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(command.help())
    return 0
