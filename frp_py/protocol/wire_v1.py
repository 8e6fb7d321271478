"""Frames of wire v1: type byte, length, JSON body (wire.md 3.1)."""

from struct import Struct

from frp_py.errors import FrpError, PeerError
from frp_py.protocol.messages import OF_TYPE_BYTE, TYPE_BYTE, Message, decode, encode

MAX_BODY = 10240
"""Bytes; a peer refuses more."""

HEADER_SIZE = 9

_HEADER = Struct(">Bq")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from


def pack(message: Message) -> bytes:
    """The frame of a message. Raises FrpError if its body is over MAX_BODY, because the peer would end the link."""
    body = encode(message)
    if len(body) > MAX_BODY:
        raise FrpError(f"{type(message).__name__} message of {len(body)} bytes is over the {MAX_BODY} of wire v1")
    return _pack(TYPE_BYTE[type(message)], len(body)) + body


def take_message(buffer: bytes | bytearray | memoryview, start: int = 0) -> tuple[Message, int] | None:
    """The message whose frame begins at `start`, and the offset behind it; None as long as the frame isn't whole.

    What stands behind the frame is not looked at: payload may follow. Raises PeerError as soon as type or length are wrong.
    """
    size = len(buffer) - start
    if size <= 0:
        return None
    cls = OF_TYPE_BYTE.get(buffer[start])
    if cls is None:
        raise PeerError(f"unknown message type byte 0x{buffer[start]:02x}")
    if size < HEADER_SIZE:
        return None
    length: int = _unpack_from(buffer, start)[1]
    if not 0 <= length <= MAX_BODY:
        raise PeerError(f"{cls.__name__} message length {length} is not within 0 to {MAX_BODY}")
    begin = start + HEADER_SIZE
    end = begin + length
    if len(buffer) < end:
        return None
    return decode(cls, buffer[begin:end]), end


class Reader:
    """Takes a stream of frames in pieces of any size and gives the messages."""

    __slots__ = ("_buffer",)

    _take = staticmethod(take_message)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages completed by `data`. Raises PeerError; the stream can't be read on then."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while (taken := self._take(buffer, start)) is not None:
            message, start = taken
            messages.append(message)
        if start:
            del buffer[:start]
        return messages

    def unread(self) -> bytes:
        """The bytes that are not yet a whole frame."""
        return bytes(self._buffer)
