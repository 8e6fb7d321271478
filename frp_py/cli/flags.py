"""Flags as the frp programs take them (config.md 5.1).

Long flags are the same with dashes and underscores, short ones take their value with, without or after `=`, booleans take
one only after `=`, lists and maps grow with each use. Nothing is imported before it is needed, for `--version` must answer at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Parse = Callable[[str, Any], Any]  # the text, the value so far -> the new value; raises ValueError with the reason


class UsageError(Exception):
    """The command line can't be understood; `str()` is what follows `Error: `."""


def quoted(text: str) -> str:
    """`text` in double quotes, with escapes."""
    from frp_py.config.gotext import quote

    return quote(text)


def integer(text: str) -> int:
    """A signed 64-bit number in decimal, 0x, 0o, 0 (octal) or 0b form; ValueError otherwise."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    try:
        if not digits.isascii() or not digits.replace("_", "").isalnum():  # what int() would strip
            raise ValueError
        if digits[0] == "0" and digits[1:2].isdigit():
            digits = "0o" + digits[1:]
        number = int(digits, 0)
    except ValueError:
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax") from None
    if text[0] == "-":
        number = -number
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return number


_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _boolean(text: str, _: bool) -> bool:
    if text not in _BOOLEANS:
        raise ValueError(f"strconv.ParseBool: parsing {quoted(text)}: invalid syntax")
    return _BOOLEANS[text]


def _cells(text: str) -> list[str]:
    if not text:
        return []
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _map(text: str, so_far: dict[str, str]) -> dict[str, str]:
    parts = [text.strip('"')] if text.count("=") == 1 else _cells(text) or [text]
    added = {}
    for part in parts:
        key, is_pair, value = part.partition("=")
        if not is_pair:
            raise ValueError(f"{part} must be formatted as key=value")
        added[key] = value
    return {**so_far, **added}


def _ports(text: str, _: list[dict[str, int]]) -> list[dict[str, int]]:
    ranges = []
    for part in text.split(","):
        bounds = [b.strip() for b in part.split("-")]
        if len(bounds) > 2:
            raise ValueError("range number is invalid")
        try:
            first, last = integer(bounds[0]), integer(bounds[-1])
        except ValueError as error:
            raise ValueError(f"range number is invalid, {error}") from None
        if last < first:
            raise ValueError("range number is invalid")
        ranges.append({"single": first} if len(bounds) == 1 else {"start": first, "end": last})
    return ranges


def _bandwidth(text: str, _: str) -> str:
    from frp_py.config.base import Bandwidth

    return Bandwidth(text).text


class Duration(float):
    """Seconds, which help shows with their unit."""

    def __str__(self) -> str:
        return f"{self:g}s"


_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> Duration:
    """Such as 30s, 1m30s or 500ms; ValueError otherwise."""
    import re

    invalid = ValueError(f"time: invalid duration {quoted(text)}")
    unsigned = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if unsigned == "0":
        return Duration(0)
    total, at = 0.0, 0
    while at < len(unsigned):
        number = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+").match(unsigned, at)
        if not number:
            raise invalid
        unit = re.compile(r"[^0-9.]*").match(unsigned, number.end())
        assert unit
        if not unit[0]:
            raise ValueError(f"time: missing unit in duration {quoted(text)}")
        if unit[0] not in _UNITS:
            raise ValueError(f"time: unknown unit {quoted(unit[0])} in duration {quoted(text)}")
        total += float(number[0]) * _UNITS[unit[0]]
        at = unit.end()
    if not at or total > 9e9:  # what 64 bits of nanoseconds hold
        raise invalid
    return Duration(-total if text.startswith("-") else total)


class Kind:
    """What a flag's value is: the word for it in help, how it is read, and what stands for a missing one."""

    __slots__ = ("bare", "next_if_boolean", "parse", "word")

    def __init__(self, word: str, parse: Parse, bare: str | None = None, *, next_if_boolean: bool = False) -> None:
        self.word = word
        self.parse = parse
        self.bare = bare
        self.next_if_boolean = next_if_boolean


STRING = Kind("string", lambda text, _: text)
INT = Kind("int", lambda text, _: integer(text))
BOOL = Kind("", _boolean, "true")
BOOL_WITH_VALUE = Kind("bool", _boolean, "true", next_if_boolean=True)
LIST = Kind("strings", lambda text, so_far: [*so_far, *_cells(text)])
MAP = Kind("stringToString", _map)
PORTS = Kind("string", _ports)
BANDWIDTH = Kind("string", _bandwidth)
DURATION = Kind("duration", lambda text, _: duration(text))


class Flag:
    """One flag; `key` is the path of the configuration key it stands for, if it does."""

    __slots__ = ("default", "help", "key", "kind", "name", "short")

    def __init__(self, name: str, kind: Kind, default: Any, text: str, *, short: str = "", key: str = "") -> None:
        self.name = name.replace("_", "-")
        self.kind = kind
        self.default = default
        self.help = text
        self.short = short
        self.key = key

    @property
    def label(self) -> str:
        """How the flag is named in messages: `-p, --bind-port`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Values(dict[str, "Any"]):
    """The values of a command's flags by name (with dashes); `given` are those that the command line names, `words` is what is no flag."""

    __slots__ = ("given", "words")

    def __init__(self, flags: Iterable[Flag]) -> None:
        super().__init__((f.name, f.default) for f in flags)
        self.given: set[str] = set()
        self.words: list[str] = []


def is_separate(flag: Flag | None, arg: str, following: str | None) -> bool:
    """Whether the value of `flag`, named by `arg` without `=`, is the next word; an unknown flag is taken to have one."""
    if flag is None or flag.kind.bare is None:
        return True
    return flag.kind.next_if_boolean and following in _BOOLEANS


def first_word(flags: Sequence[Flag], args: Sequence[str]) -> int | None:
    """The index of the first of `args` that is neither a flag nor a flag's value."""
    names = {f.name: f for f in flags}
    shorts = {f.short: f for f in flags if f.short}
    i = 0
    while i < len(args):
        arg = args[i]
        following = args[i + 1] if i + 1 < len(args) else None
        if arg == "--":
            return None
        if arg and not arg.startswith("-"):
            return i
        if "=" not in arg:
            if arg.startswith("--"):
                i += is_separate(names.get(arg[2:].replace("_", "-")), arg, following)
            elif len(arg) == 2:
                i += is_separate(shorts.get(arg[1]), arg, following)
        i += 1
    return None


def parse(flags: Sequence[Flag], args: Sequence[str]) -> Values:
    """The values that `args` give to `flags`, and the words that are left; UsageError with the texts of config.md 5.1."""
    names = {f.name: f for f in flags}
    shorts = {f.short: f for f in flags if f.short}
    values = Values(flags)
    words = values.words
    rest = list(args)

    def take(flag: Flag, text: str) -> None:
        try:
            values[flag.name] = flag.kind.parse(text, values[flag.name])
        except ValueError as error:
            raise UsageError(f'invalid argument {quoted(text)} for "{flag.label}" flag: {error}') from None
        values.given.add(flag.name)

    def value(flag: Flag, arg: str, missing: str) -> str:
        if not is_separate(flag, arg, rest[0] if rest else None):
            return flag.kind.bare or ""
        if not rest:
            raise UsageError(f"flag needs an argument: {missing}")
        return rest.pop(0)

    while rest:
        arg = rest.pop(0)
        if arg == "--":
            words += rest
            break
        if not arg.startswith("-") or arg == "-":
            words.append(arg)
        elif arg.startswith("--"):
            name, has_value, text = arg[2:].partition("=")
            if not name or name.startswith("-"):
                raise UsageError(f"bad flag syntax: {arg}")
            flag = names.get(name.replace("_", "-"))
            if flag is None:
                raise UsageError(f"unknown flag: --{name}")
            take(flag, text if has_value else value(flag, arg, f"--{name}"))
        else:
            letters = arg[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                flag = shorts.get(letter)
                if flag is None:
                    raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
                if letters.startswith("="):
                    take(flag, letters[1:])
                    break
                if letters and flag.kind.bare is None:
                    take(flag, letters)
                    break
                if letters:
                    take(flag, flag.kind.bare or "")
                else:
                    take(flag, value(flag, arg, f"'{letter}' in {arg}"))
    return values


def tree(flags: Iterable[Flag], values: Values) -> dict[str, Any]:
    """The configuration that the flags stand for, shaped like a file. What is empty is left out: it means the default."""
    root: dict[str, Any] = {}
    for flag in flags:
        value = values[flag.name]
        if not flag.key or value in ("", [], {}):
            continue
        *tables, key = flag.key.split(".")
        table = root
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return root


def usages(flags: Iterable[Flag]) -> str:
    """The lines that explain `flags`, sorted by name and aligned."""
    rows = []
    for flag in sorted(flags, key=lambda f: f.name):
        left = f"  -{flag.short}, " if flag.short else "      "
        left += f"--{flag.name} {flag.kind.word}".rstrip()
        default = f'"{flag.default}"' if isinstance(flag.default, str) else str(flag.default).lower()
        rows.append((left, f"{flag.help} (default {default})" if flag.default else flag.help))
    width = max(len(left) for left, _ in rows) + 3
    return "".join(f"{left:<{width}}{text}\n" for left, text in rows)
