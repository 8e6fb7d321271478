"""The lengths of HTTP/2 frames (RFC 9113 4.2)."""

from __future__ import annotations


class Lengths:
    """Looks at the lengths of frames. The library does so only when a frame is complete: it would keep up to 16 MiB until then."""

    __slots__ = ("_header", "_left")

    _LARGEST = 16384  # the value of SETTINGS_MAX_FRAME_SIZE that we leave as it is

    def __init__(self) -> None:
        self._header = b""
        self._left = 24  # the preface

    def allow(self, data: bytes) -> bool:
        """Whether all frames that begin in `data`, the next piece of what a user sends, have an allowed length."""
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
                self._header = b""
                if self._left > self._LARGEST:
                    return False
        return True
