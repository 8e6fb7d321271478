"""Whether a text would do as the configuration file, and where it would not."""

from __future__ import annotations

import re

import msgspec

from frp_py.client.sources import ConfigFile
from frp_py.errors import ConfigError

_DEFAULT = ConfigFile("frpc.toml")
_PLACE = re.compile(r"line (\d+)(?:, column (\d+))?")
_KEY = re.compile(r"([\w.\[\]-]+) ")
_ENTRY = re.compile(r"\s*\[\[\s*\w+\s*\]\]")
_INDEXED = re.compile(r"(\w+)\[(\d+)\]")


class Check(msgspec.Struct):
    """Whether it is right; else what is wrong, the line and column (from 1) as far as they are known, and the key."""

    ok: bool
    error: str = ""
    line: int | None = None
    column: int | None = None
    key: str | None = None


def check(data: bytes, file: ConfigFile | None) -> Check:
    """Check what would be in `file`; it is neither read nor written. May block."""
    file = file or _DEFAULT
    try:
        file.load(data=data)
    except ConfigError as error:
        text = str(error)
        head, found, place = text.rpartition(f"\n  in {file.path}: ")
        if not found:
            return Check(False, text)
        if match := _PLACE.match(place):
            return Check(False, head, int(match[1]), int(match[2]) if match[2] else None)
        key = match[1] if (match := _KEY.match(place)) else None
        return Check(False, f"{head}\n{place}", line_of(data.decode(errors="replace"), key) if key else None, None, key)
    return Check(True)


def line_of(text: str, key: str) -> int | None:
    """The line (from 1) of a key such as `proxies[1].transport.useEncryption`, or near which it should be; None: unknown."""
    lines = text.lower().splitlines()
    begin, path = 0, key.lower().split(".")
    while (match := _INDEXED.fullmatch(path[0])) is not None:
        headers = [n for n in range(begin, len(lines)) if re.match(rf"\s*\[\[\s*([\w.]+\.)?{match[1]}\s*\]\]", lines[n])]
        if len(headers) <= int(match[2]):
            return None  # not TOML, or not written in tables
        begin, path = headers[int(match[2])], path[1:]
        if not path:
            return begin + 1
        del lines[next((n for n in range(begin + 1, len(lines)) if _ENTRY.match(lines[n])), len(lines)) :]
    # the further down the table's header, the shorter the key behind it
    for depth in range(len(path)):
        start = begin
        if depth:
            header = re.compile(rf"\s*\[([\w.]+\.)?{re.escape('.'.join(path[:depth]))}\]")
            start = next((n for n in range(begin, len(lines)) if header.match(lines[n])), len(lines))
        wanted = re.compile(rf"\s*[\"']?{re.escape('.'.join(path[depth:]))}[\"']?\s*[=:]")
        found = [n + 1 for n in range(start, len(lines)) if wanted.match(lines[n])]
        if found and (depth or begin or len(found) == 1):
            return found[0]
    return begin + 1 if begin else None
