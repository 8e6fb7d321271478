"""Writing TOML."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def to_toml(tree: Mapping[str, Any]) -> str:
    """Return a tree of tables, lists, strings, integers, floats and booleans as TOML; a None is left out.

    Raises TypeError for a value that TOML has no form for.
    """
    return "".join(_table(tree, ())).lstrip("\n")


def _table(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    tables, lists = [], []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            tables.append((key, value))
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            lists.append((key, value))
        elif value is not None:
            yield f"{_key(key)} = {_value(value)}\n"
    for key, value in tables:
        inner = (*path, _key(key))
        # A table that only holds tables needs no header of its own.
        if not value or not all(isinstance(item, Mapping) for item in value.values()):
            yield f"\n[{'.'.join(inner)}]\n"
        yield from _table(value, inner)
    for key, items in lists:
        inner = (*path, _key(key))
        for item in items:
            yield f"\n[[{'.'.join(inner)}]]\n"
            yield from _table(item, inner)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(item)}' for key, item in value.items())} }}" if value else "{}"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _string(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return f"\\u{ord(char):04x}" if char < " " or char == "\x7f" else char
