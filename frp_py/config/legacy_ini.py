"""The legacy INI format: finding out whether a file is in it, and reading its sections (config.md 6.1, 6.2)."""

import re
from collections.abc import Iterator

DEFAULT = "DEFAULT"

_TRUE = frozenset(["1", "t", "T", "true", "True", "TRUE", "y", "yes", "Yes", "YES", "on", "On", "ON"])
_FALSE = frozenset(["0", "f", "F", "false", "False", "FALSE", "n", "no", "No", "NO", "off", "Off", "OFF"])
_REFERENCE = re.compile(r"%\(([^)]+)\)s")
_DEEPEST = 99
_LONGEST = 65536  # characters of a value; references to themselves would fill the memory


class IniError(ValueError):
    """Text is no INI; str() is the specification's reason."""


class Ini:
    """Sections of keys and values; keys before the first section are in DEFAULT."""

    def __init__(self, text: str, *, strict: bool = False) -> None:
        """Read `text`; `strict` refuses lines without `=` or `:`. Raises IniError."""
        self.sections: dict[str, dict[str, str]] = {DEFAULT: {}}
        self._read(text.removeprefix("\ufeff"), strict)

    def get(self, section: str, key: str) -> str | None:
        """Return a value, from the section before the last dot when the section itself lacks it; references are replaced."""
        name = section
        while True:
            value = self.sections.get(name, {}).get(key)
            if value is not None:
                return self._expanded(section, value)
            name, dot, _ = name.rpartition(".")
            if not dot:
                return None

    def own(self, section: str) -> dict[str, str]:
        """Return the keys and values that stand in a section itself; references are replaced."""
        return {key: self._expanded(section, value) for key, value in self.sections.get(section, {}).items()}

    def _expanded(self, section: str, value: str) -> str:
        for _ in range(_DEEPEST):
            match = _REFERENCE.search(value)
            if not match or len(value) > _LONGEST:
                break
            name = match[1]
            found = self.sections.get(section, {}).get(name, self.sections[DEFAULT].get(name))
            if found is None or found == value:
                break
            value = value.replace(match[0], found)
        return value

    def _read(self, text: str, strict: bool) -> None:
        lines = iter(text.replace("\r\n", "\n").split("\n"))
        section = self.sections[DEFAULT]
        for line in lines:
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            if line[0] == "[":
                name, bracket, _ = line[1:].rpartition("]")
                if not bracket:
                    raise IniError(f"unclosed section: {line}")
                section = self.sections.setdefault(name.strip(), {})
                continue
            match = re.match(r"""(?:"([^"]*)"|`([^`]*)`|([^=:]*+))\s*[=:]""", line)
            if not match:
                if strict:
                    raise IniError(f"key-value delimiter not found: {line}")
                section[line] = "true"
                continue
            key = next(part for part in match.groups() if part is not None).strip()
            if not key and strict:
                raise IniError(f"empty key name: {line}")
            section[key] = self._value(line[match.end() :].strip(), lines)

    def _value(self, value: str, lines: Iterator[str]) -> str:
        mark = '"""' if value.startswith('"""') else "`" if value.startswith("`") else ""
        if mark:
            parts = [value[len(mark) :]]
            while mark not in parts[-1]:
                more = next(lines, None)
                if more is None:
                    raise IniError(f"missing closing key quote from {value!r} to EOF")
                parts.append(more)
            parts[-1] = parts[-1][: parts[-1].index(mark)]
            return "\n".join(parts)
        while value.endswith("\\"):
            value = value[:-1] + next(lines, "").strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            return value[1:-1]
        return value


def is_legacy(data: bytes) -> bool:
    """Return whether a file's bytes, before its template is rendered, are INI with a section `common`."""
    try:
        return "common" in Ini(data.decode("utf-8", "surrogateescape"), strict=True).sections
    except IniError:
        return False


def integer(text: str) -> int | None:
    """Return the value of an integer in any of Go's notations, or None."""
    from .gotext import parse_number

    value = parse_number(text) if re.fullmatch(r"[+-]?[0-9][0-9a-zA-Z_]*", text) else None
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def boolean(text: str) -> bool | None:
    """Return true or false for one of INI's many words for them, else None."""
    return True if text in _TRUE else False if text in _FALSE else None


def words(text: str) -> list[str]:
    """Return the elements of a comma list, blanks cut, empty ones dropped."""
    return [word for part in text.split(",") if (word := part.strip())]
