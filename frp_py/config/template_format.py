"""Values of templates as Go prints them, and `printf` (config.md 1.9)."""

import math
import re
from collections.abc import Sequence
from typing import Any

from .gotext import go_float, quote
from .ranges import NumberPair


class Data:
    """The dot of a whole template: one field, `Envs`."""

    __slots__ = ("Envs",)

    def __init__(self, environ: dict[str, str]) -> None:
        self.Envs = environ


class Missing:
    """What an unset key gives: it prints as `<no value>`, is false, and equals nothing."""


MISSING = Missing()


def type_name(value: Any) -> str:
    """Return a value's type as errors name it."""
    if isinstance(value, Data):
        return "*config.Values"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, NumberPair):
        return "config.NumberPair"
    if isinstance(value, list):
        return "[]config.NumberPair" if value and isinstance(value[0], NumberPair) else "[]int64"
    if isinstance(value, dict):
        return "map[string]string"
    return {int: "int", float: "float64", str: "string"}.get(type(value), "nil")


def sprint(value: Any) -> str:
    """Return a value as `{{ value }}` shows it."""
    return "<no value>" if isinstance(value, Missing) else plain(value)


def plain(value: Any) -> str:
    """Return a value as `%v` shows it."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, Missing):
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    if isinstance(value, NumberPair):
        return f"{{{value.First} {value.Second}}}"
    if isinstance(value, list):
        return f"[{' '.join(map(plain, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{value[key]}' for key in sorted(value))}]"
    if isinstance(value, Data):
        return f"&{{{plain(value.Envs)}}}"
    return str(value)


def print_all(values: Sequence[Any]) -> str:
    """Return what `print` gives: a blank only between two values of which none is a string."""
    parts = []
    for i, value in enumerate(values):
        if i and not isinstance(value, str) and not isinstance(values[i - 1], str):
            parts.append(" ")
        parts.append(plain(value))
    return "".join(parts)


_VERB = re.compile(r"%([-+# 0]*)(\*|\d*)(?:\.(\*|\d*))?(.)?", re.DOTALL)
_WIDEST = 1_000_000  # characters of one value
_PADDED = 64_000_000  # of all values in one text, as far as they are asked for


def printf(template: str, values: Sequence[Any]) -> str:
    """Return `template` with its verbs replaced; a wrong verb shows as `%!d(string=x)`, as in Go."""
    rest = list(values)
    room = _PADDED

    def star(text: str | None) -> int | None:
        if text == "*":
            value = rest.pop(0) if rest else 0
            return max(-_WIDEST, min(value, _WIDEST)) if type(value) is int else 0
        return min(int(text[:18]), _WIDEST) if text else None if text is None else 0

    def verb(match: re.Match[str]) -> str:
        nonlocal room
        flags, width_text, precision_text, letter = match.groups()
        width, precision = star(width_text) or 0, star(precision_text)
        room -= abs(width) + abs(precision or 0)
        if room < 0:
            raise ValueError("the result is too long")
        if letter is None:
            return "%!(NOVERB)"
        if letter == "%":
            return "%"
        if not rest:
            return f"%!{letter}(MISSING)"
        if width < 0:
            flags, width = flags + "-", -width
        return _formatted(letter, flags, width, precision, rest.pop(0))

    text = _VERB.sub(verb, template)
    if rest:
        text += f"%!(EXTRA {', '.join(map(_typed, rest))})"
    return text


def _formatted(letter: str, flags: str, width: int, precision: int | None, value: Any) -> str:
    if isinstance(value, list) and letter not in "Tp":
        return f"[{' '.join(_formatted(letter, flags, width, precision, item) for item in value)}]"
    if isinstance(value, NumberPair) and letter not in "Tp":
        return f"{{{' '.join(_formatted(letter, flags, width, precision, item) for item in value)}}}"
    text = _verb(letter, flags, precision, value)
    if text is None:
        text, flags = f"%!{letter}({_typed(value)})", flags.replace("0", "")
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and isinstance(value, int | float) and not isinstance(value, bool) and letter != "c":
        sign = text[:1] if text[:1] in ("-", "+", " ") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width, "0" if "0" in flags else " ")


def _typed(value: Any) -> str:
    return "<nil>" if value is None or value is MISSING else f"{type_name(value)}={plain(value)}"


def _verb(letter: str, flags: str, precision: int | None, value: Any) -> str | None:
    if letter == "T":
        return type_name(value)
    if value is None or value is MISSING:
        return "<nil>" if letter == "v" else None
    if isinstance(value, bool):
        return plain(value) if letter in "vt" else None
    if isinstance(value, str):
        return _string_verb(letter, flags, precision, value)
    if isinstance(value, int):
        return _int_verb(letter, flags, precision, value)
    if isinstance(value, float):
        return _float_verb(letter, flags, precision, value)
    return plain(value) if letter == "v" else None


def _string_verb(letter: str, flags: str, precision: int | None, value: str) -> str | None:
    if precision is not None and letter in "vsqxX":
        value = value[:precision]
    if letter == "v":
        return quote(value) if "#" in flags else value
    if letter == "s":
        return value
    if letter == "q":
        return f"`{value}`" if "#" in flags and "`" not in value and value.isprintable() else quote(value)
    if letter in "xX":
        octets = value.encode("utf-8", "surrogateescape")
        digits = octets.hex(" ") if " " in flags else octets.hex()
        digits = ("0x" if "#" in flags and digits else "") + digits
        return digits.upper() if letter == "X" else digits
    return None


def _int_verb(letter: str, flags: str, precision: int | None, value: int) -> str | None:
    base = {"d": "d", "v": "d", "x": "x", "X": "X", "o": "o", "O": "o", "b": "b"}.get(letter)
    if base:
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(letter, "") if "#" in flags else "0o" if letter == "O" else ""
        digits = format(abs(value), base).rjust(precision or 0, "0")
        return _sign(value < 0, flags) + prefix + digits
    if letter in "cqU":
        char = chr(value) if 0 <= value <= 0x10FFFF else "\ufffd"
        return char if letter == "c" else quote(char, "'") if letter == "q" else f"U+{value:04X}"
    return None


def _float_verb(letter: str, flags: str, precision: int | None, value: float) -> str | None:
    if letter not in "vgGeEfF":
        return None
    sign = _sign(math.copysign(1, value) < 0, flags)
    value = abs(value)
    if not math.isfinite(value):
        return (sign or "+") + plain(value).lstrip("+-")
    if letter in "vgG" and precision is None:
        text = go_float(value)
        if letter != "v" and value >= 1e21:
            text = repr(value).replace(".0e", "e")
    elif letter in "vgG":
        text = format(value, f".{precision}g")
    else:
        text = format(value, f".{6 if precision is None else precision}{letter.lower()}")
    return sign + (text.upper() if letter in "GE" else text)


def _sign(negative: bool, flags: str) -> str:
    return "-" if negative else "+" if "+" in flags else " " if " " in flags else ""
