"""Reading YAML 1.1 as Go's reader does (config.md 1.4).

PyYAML only finds the nodes; what a plain scalar means is decided here, because a typical reader differs on `y`, `0o10`, `1e3`
and `1:30`.
"""

import math
import re
from typing import Any, NoReturn

import yaml

from ..errors import ConfigError

_TOO_DEEP = "exceeded maximum nesting depth"  # libyaml's own words, since PyYAML 6.0.4
_FRAME = "error converting YAML to JSON: "
_LONGEST = 24  # digits of an integer; longer ones fit no key, and Python refuses very long ones
_LARGEST = 2_000_000  # nodes after aliases are replaced by what they stand for

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_VERSION = re.compile(r"(?:[^\S\n]*+(?:#.*+)?\n)*+%YAML\s++(?!1\.1\b)")
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"


def read_yaml(text: str, source: str) -> Any:
    """Return the first document in `text`. Raises ConfigError with the texts of config.md 1.4."""
    if _VERSION.match(text):
        _refuse("yaml: found incompatible YAML document", source, "only YAML 1.1 is understood")
    try:
        loader = _LOADER(text.removeprefix("\ufeff"))
        try:
            return _Builder(loader, source).document()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        if error.problem == _TOO_DEEP:
            _refuse("yaml: exceeded max depth", source, "nested too deeply")
        raise ConfigError(_message(error, source)) from None
    except (yaml.YAMLError, UnicodeEncodeError):
        _refuse("yaml: control characters are not allowed", source, "the file holds characters that YAML doesn't allow, or is no UTF-8")
    except RecursionError:
        _refuse("yaml: exceeded max depth", source, "nested too deeply")


def _refuse(reason: str, source: str, what: str) -> NoReturn:
    raise ConfigError(f"{_FRAME}{reason}\n  in {source}: {what}")


def _message(error: yaml.MarkedYAMLError, source: str) -> str:
    # Go's reader counts lines from 0 for the parser's errors and from 1 for the scanner's, and shows no line 0.
    problem, context = error.problem_mark, error.context_mark
    line = problem.line + isinstance(error, yaml.scanner.ScannerError) if problem and problem.line else context.line if context else 0
    reason = error.problem or "unknown problem parsing YAML content"
    where = f": line {problem.line + 1}, column {problem.column + 1}" if problem else ""
    return f"{_FRAME}yaml: {f'line {line}: ' if line else ''}{reason}\n  in {source}{where}: {reason}"


class _Builder:
    """Makes values of events: nodes would be composed by recursion in C, which a deeply nested file overflows."""

    def __init__(self, loader: Any, source: str) -> None:
        self._next = loader.get_event
        self._source = source
        self._anchors: dict[str, tuple[Any, int]] = {}  # the value, and how many nodes it stands for
        self._open: set[str] = set()
        self._count = 0

    def document(self) -> Any:
        """Return the value of the first document, None when there is none."""
        while not isinstance(event := self._next(), yaml.DocumentStartEvent):
            if isinstance(event, yaml.StreamEndEvent):
                return None
        return self._value(self._next())

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            self._count += 1
            value = plain_scalar(event.value) if event.tag is None and event.implicit[0] else self._scalar(event)
            if event.anchor:
                self._anchors[event.anchor] = value, 1
            return value
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        anchor, before = event.anchor, self._count
        self._count += 1
        if anchor:
            self._open.add(anchor)
        value = self._sequence() if isinstance(event, yaml.SequenceStartEvent) else self._mapping()
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = value, self._count - before
        return value

    def _alias(self, event: Any) -> Any:
        name = event.anchor
        if name in self._open:
            self._refuse_at(event, f"yaml: anchor '{name}' value contains itself")
        if name not in self._anchors:
            self._refuse_at(event, f"yaml: unknown anchor '{name}' referenced")
        value, size = self._anchors[name]
        self._count += size
        if self._count > _LARGEST:
            self._refuse_at(event, "yaml: document contains excessive aliasing")
        return value

    def _sequence(self) -> list[Any]:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event))
        return items

    def _mapping(self) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                merged = {**self._merged(self._next()), **merged}
            else:
                key = self._key(event)
                own[key] = self._value(self._next())
        return {**merged, **own} if merged else own

    def _merged(self, event: Any) -> dict[str, Any]:
        value = self._value(event)
        result: dict[str, Any] = {}
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                self._refuse_at(event, "yaml: map merge requires map or sequence of maps as the value")
            result = {**part, **result}
        return result

    def _key(self, event: Any) -> str:
        value = self._value(event)
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float):
            from .gotext import go_float

            return go_float(value)
        shown = "slice" if isinstance(value, list) else "map" if isinstance(value, dict) else "<nil>"
        return self._refuse_at(event, f"Unsupported map key of type: {shown}")

    def _scalar(self, event: Any) -> Any:
        """Return a scalar that is quoted or tagged."""
        text = str(event.value)
        kind = (event.tag or "").removeprefix(_TAG)
        if kind == "binary":
            import base64

            try:
                return base64.b64decode(text).decode("utf-8", "replace")
            except ValueError:
                self._refuse_at(event, "yaml: !!binary value contains invalid base64 data")
        if kind not in ("int", "float", "bool", "null"):
            return text
        value = plain_scalar(text)
        if kind == "float" and type(value) is int:
            return float(value)
        if type(value) is not {"int": int, "float": float, "bool": bool, "null": type(None)}[kind]:
            self._refuse_at(event, f"yaml: cannot decode !!str `{text}` as a !!{kind}")
        return value

    def _refuse_at(self, event: Any, reason: str) -> NoReturn:
        mark = event.start_mark
        _refuse(reason, self._source, f"line {mark.line + 1}, column {mark.column + 1}")


def plain_scalar(text: str) -> Any:
    """Return what an unquoted scalar means: null, a boolean, a number or text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    digits = text.replace("_", "")
    if len(digits) <= _LONGEST and _INTEGER.fullmatch(digits):
        plain = digits.lstrip("+-")
        value = int(plain, 8 if len(plain) > 1 and plain[0] == "0" and plain[1] in "01234567" else 0)
        return -value if digits[0] == "-" else value
    number = float(digits) if _FLOAT.fullmatch(digits) else math.inf
    return number if math.isfinite(number) else text
