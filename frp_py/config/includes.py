"""Which files a client's `includes` name (config.md 1.11)."""

import os
import re
from collections.abc import Iterable, Iterator

from ..errors import ConfigError
from .files import errno_text


def included_files(entries: Iterable[str], source: str) -> Iterator[str]:
    """Yield the absolute paths of the files that match, entry by entry, in name order.

    Raises ConfigError, naming the file `source`, when the directory of an entry doesn't exist.
    """
    for i, entry in enumerate(entries):
        pattern = os.path.abspath(entry)
        directory = os.path.dirname(pattern)
        try:
            os.stat(directory)
            with os.scandir(directory) as items:
                names = sorted(item.name for item in items if not item.is_dir(follow_symlinks=False))
        except OSError as error:
            operation = "stat" if isinstance(error, FileNotFoundError) else "open"
            raise ConfigError(
                f"{operation} {directory}: {errno_text(error)}\n  in {source}: includes[{i}] names no directory that exists"
            ) from None
        except ValueError:  # a null byte in the path
            raise ConfigError(f"stat {directory}: invalid argument\n  in {source}: includes[{i}] names no directory that exists") from None
        # The whole path is the pattern, so a directory whose name looks like one matches nothing.
        expression = pattern_expression(pattern)
        if expression is not None:
            yield from (path for name in names if expression.fullmatch(path := os.path.join(directory, name)))


def directory_exists(entry: str) -> bool:
    """Return whether the directory part of an entry exists."""
    return os.path.exists(os.path.dirname(os.path.abspath(entry)))


_CLASS = re.compile(r"\[(\^?+)((?:(?:\\.|[^\\\]-])(?:-(?:\\.|[^\\\]-]))?)+)\]", re.DOTALL)
_RANGE = re.compile(r"(\\.|[^\\-])(?:-(\\.|[^\\-]))?", re.DOTALL)


def pattern_expression(pattern: str) -> re.Pattern[str] | None:
    """Return a regular expression for a shell-like pattern (`*`, `?`, `[a-z]`, `[^a]`, backslash), or None when it is malformed."""
    parts, pos = [], 0
    while pos < len(pattern):
        char = pattern[pos]
        pos += 1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\":
            if pos == len(pattern):
                return None
            parts.append(re.escape(pattern[pos]))
            pos += 1
        elif char == "[":
            match = _CLASS.match(pattern, pos - 1)
            if not match:
                return None
            ranges = [(low[-1], (high or low)[-1]) for low, high in _RANGE.findall(match[2])]
            body = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
            parts.append(f"[{match[1]}{body}]" if body else "[^/]" if match[1] else "(?!)")
            pos = match.end()
        else:
            parts.append(re.escape(char))
    return re.compile("".join(parts), re.DOTALL)
