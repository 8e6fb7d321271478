"""Reads HTTP/1 messages from a stream: heads whole, bodies in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.errors import PeerError
from frp_py.net.http.chunks import Chunks
from frp_py.net.http.heads import CHUNKED, MAX_HEAD, UNTIL_CLOSE, Field, HeadTooLarge, head_end

if TYPE_CHECKING:
    from frp_py.net.engine.stream import EndStream


class Reading:
    """The messages that come on one connection."""

    __slots__ = ("_chunks", "_data", "_left", "stream")

    def __init__(self, stream: EndStream) -> None:
        self.stream = stream
        self._data = bytearray()
        self._left = 0  # bytes of the body, or CHUNKED or UNTIL_CLOSE
        self._chunks = Chunks()

    async def more(self) -> bool:
        """Wait for more; False at the end. Raises PeerError."""
        try:
            data = await self.stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerError(str(error)) from None
        self._data += data
        return bool(data)

    async def something(self) -> bool:
        """Wait until a message begins; False when none will. The empty lines that may be before a request are skipped."""
        while True:
            while self._data[:2] == b"\r\n":
                del self._data[:2]
            if self._data and self._data != b"\r":
                return True
            if not await self.more():
                return False

    async def head(self) -> bytes | None:
        """The next head with its empty line; None when the connection ends before it. Raises PeerError, HeadTooLarge among them."""
        start = 0
        while (end := head_end(self._data, start)) < 0 and len(self._data) <= MAX_HEAD:
            start = max(0, len(self._data) - 3)
            if not await self.more():
                if self._data:
                    raise PeerError("connection closed in a head")
                return None
        if not 0 <= end <= MAX_HEAD:
            raise HeadTooLarge("head too large")
        head = bytes(self._data[:end])
        del self._data[:end]
        return head

    def begin_body(self, length: int) -> None:
        """A body comes next: so many bytes, CHUNKED, or UNTIL_CLOSE."""
        self._left = length
        if length == CHUNKED:
            self._chunks = Chunks()

    @property
    def body_is_over(self) -> bool:
        """Whether all of the body was received."""
        return self._left == 0 or (self._left == CHUNKED and self._chunks.done)

    @property
    def trailers(self) -> list[Field]:
        """What came behind the chunks."""
        return self._chunks.trailers if self._left == CHUNKED else []

    @property
    def has_more(self) -> bool:
        """Whether bytes wait that nobody has asked for yet."""
        return bool(self._data)

    async def body(self) -> bytes:
        """The next piece; none at the end. Raises PeerError when the body is cut off or malformed."""
        while not self.body_is_over:
            if not self._data and not await self.more():
                if self._left == UNTIL_CLOSE:
                    self._left = 0
                    break
                raise PeerError("connection closed in a body")
            data, self._data = self._data, bytearray()
            if self._left == CHUNKED:
                pieces, used = self._chunks.receive(memoryview(data))
                self._data += memoryview(data)[used:]
                if pieces:
                    return b"".join(pieces)
            else:
                if self._left >= 0:
                    if len(data) > self._left:
                        self._data += memoryview(data)[self._left :]
                        del data[self._left :]
                    self._left -= len(data)
                return bytes(data)
        return b""

    def take_rest(self) -> bytes:
        """What came behind the message, for those who go on with something else."""
        data, self._data = self._data, bytearray()
        return bytes(data)
