"""The chunked transfer coding (RFC 9112 7.1), read strictly and in pieces cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

from frp_py.net.http.heads import BadHead, Field, fields_of, is_field

_LINE = 1024  # bytes of a chunk's first line, or of the trailer
_TRAILER = 16 * 1024
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_NOT_IN_TRAILER = frozenset(
    (
        *(b"content-length", b"transfer-encoding", b"host", b"trailer", b"connection", b"te", b"upgrade", b"content-encoding"),
        *(b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"content-type", b"content-range", b"expect"),
    )
)

_IN_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILER, _DONE = range(5)


class Chunks:
    """One chunked body."""

    __slots__ = ("_left", "_line", "_state", "_trailer_size", "trailers")

    def __init__(self) -> None:
        self._state = _IN_SIZE
        self._left = 0
        self._line = b""  # the part of a line that is there
        self._trailer_size = 0
        self.trailers: list[Field] = []

    @property
    def done(self) -> bool:
        """The last chunk and the trailer are behind us."""
        return self._state == _DONE

    def receive(self, data: memoryview) -> tuple[list[memoryview], int]:
        """Payload in `data`, and how many bytes of it belong to this body: fewer than all only when that is `done`. Raises BadHead."""
        pieces: list[memoryview] = []
        pos, end = 0, len(data)
        while pos < end and self._state != _DONE:
            if self._state == _IN_SIZE and not self._line and (found := _PLAIN_SIZE.match(data, pos)) is not None:
                begin = found.end()
                behind = begin + int(found[1], 16)
                if begin < behind < end - 1 and data[behind] == 13 and data[behind + 1] == 10:  # it is all there, as nearly every one is
                    pieces.append(data[begin:behind])
                    pos = behind + 2
                    continue
            if self._state == _IN_DATA:
                n = min(self._left, end - pos)
                pieces.append(data[pos : pos + n])
                pos += n
                self._left -= n
                if not self._left:
                    self._state = _AFTER_DATA
                continue
            pos = self._take_line(data, pos)
        return pieces, pos

    def _take_line(self, data: memoryview, pos: int) -> int:
        limit = (2 if self._state == _AFTER_DATA else _TRAILER if self._state == _IN_TRAILER else _LINE) - len(self._line)
        seen = bytes(data[pos : pos + max(limit, 1)])
        at = seen.find(b"\n")
        if at < 0:
            self._line += seen
            if len(seen) >= limit:
                raise BadHead("malformed chunk")
            if self._state == _AFTER_DATA and self._line != b"\r":
                raise BadHead("malformed chunk")
            return pos + len(seen)
        line, self._line = self._line + seen[: at + 1], b""
        if line[-2:] != b"\r\n":
            raise BadHead("malformed chunk")
        self._on_line(line)
        return pos + at + 1

    def _on_line(self, line: bytes) -> None:
        if self._state == _AFTER_DATA:
            if line != b"\r\n":
                raise BadHead("malformed chunk")
            self._state = _IN_SIZE
        elif self._state == _IN_SIZE:
            found = _SIZE.fullmatch(line, 0, len(line) - 2)
            if found is None:
                raise BadHead("malformed chunk size")
            self._left = int(found[1], 16)
            self._state = _IN_DATA if self._left else _IN_TRAILER
        elif line == b"\r\n":
            self._state = _DONE
        else:
            self._trailer_size += len(line)
            if self._trailer_size > _TRAILER:
                raise BadHead("trailer too large")
            for name, value in fields_of(line):
                if name.lower() in _NOT_IN_TRAILER:
                    raise BadHead("field not allowed in a trailer")
                self.trailers.append((name, value))


def trailers_of(fields: Iterable[Field]) -> list[Field]:
    """Those of the fields behind a body, of HTTP/2, that may be there."""
    trailers = [(bytes(name), bytes(value)) for name, value in fields]
    return [(name, value) for name, value in trailers if is_field(name, value) and name.lower() not in _NOT_IN_TRAILER]


def chunk(data: memoryview | bytes) -> bytes:
    """`data`, which isn't empty, as one chunk."""
    return b"".join((b"%x\r\n" % len(data), data, b"\r\n"))


LAST = b"0\r\n\r\n"
"""Ends a body without trailer."""
