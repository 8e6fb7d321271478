"""The Snappy framing format of `useCompression` (wire.md 5.4 and Appendix A).

Chunks don't depend on each other, so neither side keeps a window: a Compressor holds a flag, a Decompressor at most one
chunk that isn't whole yet. Chunks are delimited and bounded here, their content is cramjam's; a run of whole chunks goes
through in one call. Output is at most some 22 times the input, as a copy of 64 bytes takes 3.
"""

from functools import cache
from types import ModuleType

from frp_py.errors import PeerError

STREAM_IDENTIFIER = b"\xff\x06\x00\x00sNaPpY"
MAX_PLAIN = 65536
"""Bytes in one chunk before compression."""
MAX_CHUNK = 76490 + 4
"""Bytes in the body of one chunk: what the format allows MAX_PLAIN to grow to, and the checksum."""

_UNCOMPRESSED, _FIRST_SKIPPABLE, _IDENTIFIER = 0x01, 0x80, 0xFF  # 0x00 is compressed


@cache
def _codec() -> ModuleType:
    import cramjam

    return cramjam.snappy


class Compressor:
    """What one side writes."""

    __slots__ = ("_started",)

    def __init__(self) -> None:
        self._started = False

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """Complete chunks with all of `data`, the stream identifier before the first."""
        if not data:
            return b""
        chunks = memoryview(_codec().compress(data))  # starts with the identifier each time
        if self._started:
            return bytes(chunks[len(STREAM_IDENTIFIER) :])
        self._started = True
        return bytes(chunks)


class Decompressor:
    """What one side reads."""

    __slots__ = ("_buffer", "_skip", "_started")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0  # bytes of a skippable chunk that are still to come
        self._started = False

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """The plain bytes of the chunks that `data` completes; `data` may be cut anywhere. Raises PeerError."""
        buffer = self._buffer
        if buffer:
            buffer += data
            data, self._buffer = buffer, bytearray()
        with memoryview(data) as view:
            return self._chunks(view)

    def _chunks(self, view: memoryview) -> bytes:
        end = len(view)
        at = min(self._skip, end)
        self._skip -= at
        plain: list[bytes] = []
        run = at  # start of a run of data chunks
        expected = 0  # plain bytes in it
        while end - at >= 4:
            kind = view[at]
            length = view[at + 1] | view[at + 2] << 8 | view[at + 3] << 16
            body = at + 4
            if kind <= _UNCOMPRESSED and self._started:
                if not 4 <= length <= MAX_CHUNK or (kind == _UNCOMPRESSED and length > MAX_PLAIN + 4):
                    raise PeerError(f"snappy chunk of {length} bytes is out of bounds")
                if body + length > end:
                    break
                expected += length - 4 if kind == _UNCOMPRESSED else _plain_length(view[body + 4 : body + length])
                at = body + length
                continue
            if run < at:
                plain.append(_decompress(view[run:at], expected))
                expected = 0
            if kind == _IDENTIFIER:
                if length != 6:
                    raise PeerError("snappy stream identifier is wrong")
                if body + length > end:
                    run = at
                    break
                if view[at : body + length] != STREAM_IDENTIFIER:
                    raise PeerError("snappy stream identifier is wrong")
                self._started = True
                at = body + length
            elif not self._started:
                raise PeerError("snappy stream does not begin with its identifier")
            elif kind >= _FIRST_SKIPPABLE:
                at = body + length
                if at > end:
                    self._skip, at = at - end, end
            else:
                raise PeerError(f"snappy chunk type 0x{kind:02x} is not known")
            run = at
        if run < at:
            plain.append(_decompress(view[run:at], expected))
        if at < end:
            self._buffer += view[at:]
        return plain[0] if len(plain) == 1 else b"".join(plain)


def _plain_length(block: memoryview) -> int:
    """The length that a Snappy block says it has."""
    length = shift = 0
    for byte in block[:3]:
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            if length <= MAX_PLAIN:
                return length
            break
        shift += 7
    raise PeerError(f"snappy chunk has more than {MAX_PLAIN} bytes or no length")


def _decompress(chunks: memoryview, expected: int) -> bytes:
    """The plain bytes of whole data chunks, together `expected`."""
    try:
        plain = bytes(_codec().decompress(b"".join((STREAM_IDENTIFIER, chunks))))
    except Exception as error:  # cramjam has one class for all, made when it is imported
        raise PeerError(f"snappy chunk is damaged: {error}") from None
    if len(plain) != expected:
        raise PeerError("snappy chunk is damaged: it is shorter than it says")
    return plain
