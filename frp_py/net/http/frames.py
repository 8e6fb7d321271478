"""The lengths of HTTP/2 frames (RFC 9113 4.2), and of the heads that are made of several (6.10)."""

from __future__ import annotations

from frp_py.net.http.heads import MAX_HEAD

_HEADERS, _CONTINUATION = 1, 9


class Lengths:
    """Looks at the lengths of frames, and of heads.

    The library does so only when a frame is complete, and would keep up to 16 MiB until then. A head it decodes in one go, 0.2 s for
    a megabyte, and finds only then that it is too large.
    """

    __slots__ = ("_head", "_header", "_left")

    _LARGEST = 16384  # the value of SETTINGS_MAX_FRAME_SIZE that we leave as it is

    def __init__(self) -> None:
        self._header = b""
        self._left = 24  # the preface
        self._head = 0  # bytes of the head that is being sent

    def allow(self, data: bytes) -> bool:
        """Whether all frames that begin in `data`, the next piece of what a user sends, have an allowed length, and so have heads."""
        pos, end = 0, len(data)
        while pos < end:
            if self._left:
                n = min(self._left, end - pos)
                self._left -= n
                pos += n
                continue
            missing = data[pos : pos + 9 - len(self._header)]
            self._header += missing
            pos += len(missing)
            if len(self._header) == 9:
                self._left = int.from_bytes(self._header[:3], "big")
                kind = self._header[3]
                self._header = b""
                if kind == _HEADERS:
                    self._head = self._left
                elif kind == _CONTINUATION:
                    self._head += self._left
                if self._left > self._LARGEST or self._head > MAX_HEAD:
                    return False
        return True
