"""Conditional requests and ranges for something that has a size and a version (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Collection
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple

from frp_py.net.http.heads import Field, values_of

_MOST_RANGES = 10
_RANGE = re.compile(rb"(\d*)-(\d*)")
_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Version(NamedTuple):
    """What there is; `modified` in seconds since 1970, `tag` an entity tag with its quotes, weak if it begins with W/."""

    size: int
    modified: int
    tag: bytes

    @property
    def last_modified(self) -> bytes:
        """`modified` as a field's value."""
        return formatdate(self.modified, usegmt=True).encode()


class Verdict(NamedTuple):
    """What to answer: 200, 206 with `ranges` (first byte, byte after the last), 304, 412 or 416."""

    status: int
    ranges: tuple[tuple[int, int], ...] = ()


def judge(fields: Collection[Field], version: Version) -> Verdict:
    """What a GET with these fields is answered with."""
    tags = values_of(fields, b"if-match")
    if tags:
        if not _matches(tags, version.tag, strong=True):
            return Verdict(412)
    elif (since := _date(fields, b"if-unmodified-since")) is not None and version.modified > since:
        return Verdict(412)
    tags = values_of(fields, b"if-none-match")
    if tags:
        if _matches(tags, version.tag, strong=False):
            return Verdict(304)
    elif (since := _date(fields, b"if-modified-since")) is not None and version.modified <= since:
        return Verdict(304)
    asked = values_of(fields, b"range")
    if len(asked) == 1 and _still_the_same(fields, version):
        ranges = ranges_of(asked[0], version.size)
        if ranges is not None:
            return Verdict(206, ranges) if ranges else Verdict(416)
    return Verdict(200)


def ranges_of(value: bytes, size: int) -> tuple[tuple[int, int], ...] | None:
    """The ranges of a Range field that lie in `size` bytes: none if none does, None if the field is to be ignored."""
    unit, _, text = value.partition(b"=")
    if unit.strip().lower() != b"bytes":
        return None
    if text.count(b",") > 2 * _MOST_RANGES:
        return None
    ranges = []
    specs = [spec.strip(b" \t") for spec in text.split(b",")]
    for spec in filter(None, specs):
        found = _RANGE.fullmatch(spec)
        if found is None or spec == b"-" or len(spec) > 40:
            return None
        first, last = found.groups()
        if not first:
            begin, end = max(0, size - int(last)), size
        else:
            begin, end = int(first), int(last) + 1 if last else size
            if end <= begin and last:
                return None
        if begin < size and begin < end:
            ranges.append((begin, min(end, size)))
    if not any(specs) or len(ranges) > _MOST_RANGES or sum(end - begin for begin, end in ranges) > size:
        return None
    return tuple(ranges)


def _still_the_same(fields: Collection[Field], version: Version) -> bool:
    condition = values_of(fields, b"if-range")
    if not condition:
        return True
    if _TAG.fullmatch(condition[0]):
        return _matches(condition[:1], version.tag, strong=True)
    return _date(fields, b"if-range") == version.modified


def _matches(values: Collection[bytes], tag: bytes, *, strong: bool) -> bool:
    for value in values:
        if value == b"*":
            return True
        for found in _TAG.findall(value):
            if strong and (found[:2] == b"W/" or tag[:2] == b"W/"):
                continue
            if found.removeprefix(b"W/") == tag.removeprefix(b"W/"):
                return True
    return False


def _date(fields: Collection[Field], name: bytes) -> int | None:
    values = values_of(fields, name)
    try:
        return int(parsedate_to_datetime(values[0].decode("ascii")).timestamp()) if values else None
    except (ValueError, OverflowError):
        return None


def accepts_gzip(fields: Collection[Field]) -> bool:
    """Whether the answer may be compressed."""
    for value in values_of(fields, b"accept-encoding"):
        for element in value.lower().split(b","):
            coding, _, parameter = element.partition(b";")
            if coding.strip() == b"gzip":
                return re.fullmatch(rb"\s*q=0(\.0*)?\s*", parameter) is None
    return False
