"""Reading JSON as Go does (config.md 1.5)."""

import json
from typing import Any, NoReturn

from ..errors import ConfigError
from .decode import Number, merged

_SPACE = " \t\r\n"
_LONGEST = 24  # digits; longer integers fit no key, and Python refuses very long ones


def read_json(text: str, source: str, *, strict: bool = True) -> Any:
    """Return the first value in `text`; without `strict`, text after it is an error. Raises ConfigError with Go's reasons."""
    start = len(text) - len(text.lstrip(_SPACE))
    text = _clean(text)
    try:
        value, end = _DECODER.raw_decode(text, start)
        if "\\u" in text:
            value = _clean_values(value)
    except json.JSONDecodeError:
        _fail(text, start, source, strict)
    except RecursionError:
        raise ConfigError(f"exceeded max depth\n  in {source}") from None
    if not strict:
        rest = text[end:].lstrip(_SPACE)
        if rest:
            _refuse(f"invalid character {_shown(rest[0])} after top-level value", text, len(text) - len(rest), source)
    return value


def _integer(literal: str) -> Any:
    return int(literal) if len(literal) <= _LONGEST else Number(literal)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        result = {}
        for key, value in pairs:
            old = result.get(key)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _no_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError(name, "", 0)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Number, parse_int=_integer, parse_constant=_no_constant)


def _clean(text: str) -> str:
    """Replace bytes that are no UTF-8."""
    return text if text.isascii() or _encodes(text) else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _clean_values(value: Any) -> Any:
    """Replace halves of surrogate pairs, which escapes can make."""
    if isinstance(value, str):
        return value if _encodes(value) else "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    if isinstance(value, list):
        return [_clean_values(item) for item in value]
    return {_clean_values(key): _clean_values(item) for key, item in value.items()} if isinstance(value, dict) else value


# Errors: the text is scanned once more, only to find Go's words for what is wrong with it


def _fail(text: str, start: int, source: str, strict: bool) -> NoReturn:
    try:
        _Scan(text).value(start)
    except RecursionError:
        raise ConfigError(f"exceeded max depth\n  in {source}") from None
    except _Fault as fault:
        reason, pos = fault.args
        if reason:
            _refuse(f"invalid character {_shown(text[pos])} {reason}", text, pos, source)
    _refuse("unexpected EOF" if strict else "unexpected end of JSON input", text, len(text), source)


def _refuse(reason: str, text: str, pos: int, source: str) -> NoReturn:
    line, column = text.count("\n", 0, pos) + 1, pos - text.rfind("\n", 0, pos)
    raise ConfigError(f"{reason}\n  in {source}: line {line}, column {column}")


def _shown(char: str) -> str:
    from .gotext import quote

    return "'\"'" if char == '"' else quote(char, "'")


class _Fault(Exception):
    """What a character is not, and where; no reason: the text ends too early."""


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text

    def _skip(self, pos: int) -> int:
        while self._text[pos : pos + 1] in tuple(_SPACE):
            pos += 1
        return pos

    def _char(self, pos: int) -> str:
        if pos >= len(self._text):
            raise _Fault("", pos)
        return self._text[pos]

    def value(self, pos: int) -> int:
        pos = self._skip(pos)
        char = self._char(pos)
        if char == "{":
            return self._object(pos + 1)
        if char == "[":
            return self._array(pos + 1)
        if char == '"':
            return self._string(pos + 1)
        if char == "-" or (char.isdigit() and char.isascii()):
            return self._number(pos)
        for word in ("true", "false", "null"):
            if char == word[0]:
                for i, expected in enumerate(word[1:], 1):
                    if self._char(pos + i) != expected:
                        raise _Fault(f"in literal {word} (expecting {expected!r})", pos + i)
                return pos + len(word)
        raise _Fault("looking for beginning of value", pos)

    def _object(self, pos: int) -> int:
        pos = self._skip(pos)
        if self._char(pos) == "}":
            return pos + 1
        while True:
            pos = self._skip(pos)
            if self._char(pos) != '"':
                raise _Fault("looking for beginning of object key string", pos)
            pos = self._skip(self._string(pos + 1))
            if self._char(pos) != ":":
                raise _Fault("after object key", pos)
            pos = self._skip(self.value(pos + 1))
            if self._char(pos) == "}":
                return pos + 1
            if self._char(pos) != ",":
                raise _Fault("after object key:value pair", pos)
            pos += 1

    def _array(self, pos: int) -> int:
        pos = self._skip(pos)
        if self._char(pos) == "]":
            return pos + 1
        while True:
            pos = self._skip(self.value(pos))
            if self._char(pos) == "]":
                return pos + 1
            if self._char(pos) != ",":
                raise _Fault("after array element", pos)
            pos += 1

    def _string(self, pos: int) -> int:
        while (char := self._char(pos)) != '"':
            if char < " ":
                raise _Fault("in string literal", pos)
            if char == "\\":
                pos += 1
                escape = self._char(pos)
                if escape == "u":
                    for _ in range(4):
                        pos += 1
                        if self._char(pos) not in "0123456789abcdefABCDEF":
                            raise _Fault("in \\u hexadecimal character escape", pos)
                elif escape not in '"\\/bfnrt':
                    raise _Fault("in string escape code", pos)
            pos += 1
        return pos + 1

    def _number(self, pos: int) -> int:
        pos += self._text[pos] == "-"
        if not self._digit(pos):
            raise _Fault("in numeric literal", pos)
        pos = pos + 1 if self._text[pos] == "0" else self._digits(pos)
        if self._text[pos : pos + 1] == ".":
            pos += 1
            if not self._digit(pos):
                raise _Fault("after decimal point in numeric literal", pos)
            pos = self._digits(pos)
        if self._text[pos : pos + 1] in ("e", "E"):
            pos += 1
            pos += self._char(pos) in "+-"
            if not self._digit(pos):
                raise _Fault("in exponent of numeric literal", pos)
            pos = self._digits(pos)
        return pos

    def _digit(self, pos: int) -> bool:
        return self._char(pos) in "0123456789"

    def _digits(self, pos: int) -> int:
        while self._text[pos : pos + 1] in tuple("0123456789"):
            pos += 1
        return pos
