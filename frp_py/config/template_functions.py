"""The functions that templates can call (config.md 1.9). Each raises ValueError (CallError is one) with the text of its error."""

import html
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple

from .ranges import NumberPair, parse_numbers, parse_pairs
from .template_format import MISSING, Data, plain, print_all, printf, type_name

_JS = {"\\": r"\\", "'": r"\'", '"': r"\"", "<": r"\u003C", ">": r"\u003E", "&": r"\u0026", "=": r"\u003D"}


class CallError(ValueError):
    """A function can't do anything with its arguments."""


class Builtin(NamedTuple):
    """A function, how many arguments it takes (`most` < 0: any number), and how many of the first must be strings."""

    call: Callable[..., Any]
    least: int
    most: int
    strings: int = 0


def truth(value: Any) -> bool:
    """Return whether `if` takes a value for true: not unset, zero or empty."""
    return bool(value) and value is not MISSING if not isinstance(value, Data | NumberPair) else True


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float | str):
        return type_name(value)
    raise CallError("invalid type for comparison")


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        if first is MISSING or other is MISSING or first is None or other is None:
            if type(first) is type(other):
                return True
            continue
        if _kind(first) != _kind(other):
            raise CallError("incompatible types for comparison")
        if first == other:
            return True
    return False


def _lt(first: Any, second: Any) -> bool:
    kinds = _kind(first), _kind(second)
    if kinds[0] != kinds[1]:
        raise CallError("incompatible types for comparison")
    if kinds[0] == "bool":
        raise CallError("invalid type for comparison")
    return bool(first < second)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, list | dict):
        return len(value)
    raise CallError("len of nil pointer" if value is None or value is MISSING else f"len of type {type_name(value)}")


def _place(value: Any, length: int, limit: int) -> int:
    if type(value) is not int:
        raise CallError(
            "cannot index slice/array with nil"
            if value is MISSING or value is None
            else f"cannot index slice/array with type {type_name(value)}"
        )
    if not 0 <= value < limit:
        raise CallError(f"index out of range: {value}")
    return value


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise CallError(
                    f"value has type {type_name(key)}; should be string" if key is not MISSING else "value is nil; should be of type string"
                )
            value = value.get(key, "")
        elif isinstance(value, list):
            value = value[_place(key, len(value), len(value))]
        elif isinstance(value, str):
            octets = value.encode("utf-8", "surrogateescape")
            value = octets[_place(key, len(octets), len(octets))]
        elif value is MISSING or value is None:
            raise CallError("index of untyped nil")
        else:
            raise CallError(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if value is MISSING or value is None:
        raise CallError("slice of untyped nil")
    if not isinstance(value, str | list):
        raise CallError(f"can't slice item of type {type_name(value)}")
    if len(bounds) > (2 if isinstance(value, str) else 3):
        raise CallError("cannot 3-index slice a string" if len(bounds) == 3 else f"too many slice indexes: {len(bounds)}")
    items = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    places = [_place(bound, len(items), len(items) + 1) for bound in bounds]
    start, end = (*places, 0)[0], places[1] if len(places) > 1 else len(items)
    if start > end:
        raise CallError(f"invalid slice index: {start} > {end}")
    part = items[start:end]
    return part.decode("utf-8", "surrogateescape") if isinstance(part, bytes) else part


def _text(values: tuple[Any, ...]) -> str:
    return (
        values[0]
        if len(values) == 1 and isinstance(values[0], str)
        else print_all(["<no value>" if value is MISSING else value for value in values])
    )


def _html(*values: Any) -> str:
    return html.escape(_text(values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;").replace("\0", "\ufffd")


def _js(*values: Any) -> str:
    return "".join(_JS.get(char) or (f"\\u{ord(char):04X}" if char < " " or not char.isprintable() else char) for char in _text(values))


def _urlquery(*values: Any) -> str:
    return urllib.parse.quote_plus(_text(values).encode("utf-8", "surrogateescape"), safe="-_.~")


def _call(value: Any, *_: Any) -> Any:
    raise CallError("call of nil" if value is MISSING or value is None else f"non-function {plain(value)} of type {type_name(value)}")


def _not(value: Any) -> bool:
    return not truth(value)


BUILTINS: dict[str, Builtin] = {
    "and": Builtin(lambda *values: values[-1], 1, -1),  # evaluated by the runner, which stops early
    "call": Builtin(_call, 1, -1),
    "eq": Builtin(_eq, 1, -1),
    "ge": Builtin(lambda a, b: not _lt(a, b), 2, 2),
    "gt": Builtin(lambda a, b: not (_lt(a, b) or a == b), 2, 2),
    "html": Builtin(_html, 0, -1),
    "index": Builtin(_index, 1, -1),
    "js": Builtin(_js, 0, -1),
    "le": Builtin(lambda a, b: _lt(a, b) or a == b, 2, 2),
    "len": Builtin(_length, 1, 1),
    "lt": Builtin(_lt, 2, 2),
    "ne": Builtin(lambda a, b: not _eq(a, b), 2, 2),
    "not": Builtin(_not, 1, 1),
    "or": Builtin(lambda *values: values[-1], 1, -1),
    "print": Builtin(lambda *values: print_all(values), 0, -1),
    "printf": Builtin(lambda form, *values: printf(form, values), 1, -1, 1),
    "println": Builtin(lambda *values: " ".join(map(plain, values)) + "\n", 0, -1),
    "slice": Builtin(_slice, 1, -1),
    "urlquery": Builtin(_urlquery, 0, -1),
}

RANGES: dict[str, Builtin] = {
    "parseNumberRange": Builtin(parse_numbers, 1, 1, 1),
    "parseNumberRangePair": Builtin(parse_pairs, 2, 2, 2),
}
