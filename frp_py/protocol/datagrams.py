"""UDPPacket streams: datagrams in the payload of a link connection (wire.md 8.1).

A frame is made and read here without a struct per datagram. `{"c":"`, base64, and a *tail* that depends on the user's address alone:
whoever sends keeps the tail of each user, and whoever reads looks the tail up as it stands in the frame. A frame of any other layout, or
with a tail not seen before, takes the general decoder.
"""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from struct import Struct
from typing import Generic, TypeVar

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import TYPE_BYTE, TYPE_ID, Message, Ping, UDPAddress, UDPPacket, encode
from frp_py.protocol.wire import WIRES

T = TypeVar("T")

_OPEN = b'{"c":"'
_pack_v1 = Struct(">BQ6s").pack
_pack_v2 = Struct(">HHIH6s").pack
_KIND_V1 = TYPE_BYTE[UDPPacket]
_KIND_V2 = TYPE_ID[UDPPacket]

# How a frame under 64 KiB begins: fixed bytes, two bytes of length, fixed bytes; what counts from behind the length.
_LAYOUT = {
    "v1": (bytes((_KIND_V1, 0, 0, 0, 0, 0, 0)), _OPEN, wire_v1.MAX_BODY),
    "v2": (bytes((0, wire_v2.MESSAGE, 0, 0, 0, 0)), bytes((0, _KIND_V2)) + _OPEN, wire_v2.MAX_PAYLOAD),
}


def tail_of(user: UDPAddress) -> bytes:
    """What follows the content in each frame from or for `user`."""
    return b'","r":%b}' % encode(user)


def pack_v1(content: bytes, tail: bytes) -> bytes:
    """The frame of one datagram in wire v1; nothing when it is too long for one."""
    if not content:
        return _without_content("v1", tail)
    text = b2a_base64(content, newline=False)
    size = 6 + len(text) + len(tail)
    return _pack_v1(_KIND_V1, size, _OPEN) + text + tail if size <= wire_v1.MAX_BODY else b""


def pack_v2(content: bytes, tail: bytes) -> bytes:
    """The frame of one datagram in wire v2; nothing when it is too long for one."""
    if not content:
        return _without_content("v2", tail)
    text = b2a_base64(content, newline=False)
    size = 8 + len(text) + len(tail)
    return _pack_v2(wire_v2.MESSAGE, 0, size, _KIND_V2, _OPEN) + text + tail if size <= wire_v2.MAX_PAYLOAD else b""


def _without_content(wire: str, tail: bytes) -> bytes:
    body = b"{" + tail[2:]
    if wire == "v1":
        return Struct(">BQ").pack(_KIND_V1, len(body)) + body
    return Struct(">HHIH").pack(wire_v2.MESSAGE, 0, 2 + len(body), _KIND_V2) + body


PACK: dict[str, Callable[[bytes, bytes], bytes]] = {"v1": pack_v1, "v2": pack_v2}
"""By the name of the wire: pack(content, tail)."""


class PacketReader(Generic[T]):
    """Takes a stream of frames in pieces of any size and gives the datagrams, each with what its user's tail stands for.

    That is looked up in `known`. For a tail that isn't there, `meet(user, tail)` is asked, which may put it there; None: drop the datagram.
    Other messages than UDPPacket go to `other`.
    """

    __slots__ = ("_due", "_known", "_layout", "_meet", "_other", "_rest", "_take")

    def __init__(
        self,
        wire: str,
        known: dict[bytes, T],
        meet: Callable[[UDPAddress, bytes], T | None],
        other: Callable[[Message], None] = lambda message: None,
    ) -> None:
        self._known = known
        self._meet = meet
        self._other = other
        self._layout = _LAYOUT[wire]
        self._take = WIRES[wire].take_message
        self._rest = bytearray()  # the beginning of a frame, at most one
        self._due = 0  # bytes of it, once that is known

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[tuple[T, bytes]]:
        """The datagrams completed by `data`. Raises PeerError; the stream can't be read on then."""
        prefix, suffix, most = self._layout
        length_at = len(prefix)
        body_at = length_at + 2
        content_at = body_at + len(suffix)
        look_up = self._known.get
        rest = self._rest
        if len(rest) + len(data) < self._due:
            rest += data  # which is not looked at a byte at a time
            return []
        buffer = b"".join((rest, data)) if rest else bytes(data)
        packets: list[tuple[T, bytes]] = []
        pos, end = 0, len(buffer)
        while pos < end:
            if end - pos > content_at and buffer.startswith(prefix, pos) and buffer.startswith(suffix, pos + body_at):
                length = buffer[pos + length_at] << 8 | buffer[pos + length_at + 1]
                stop = pos + body_at + length
                if stop <= end and length <= most:
                    quote = buffer.find(b'"', pos + content_at, stop)
                    target = look_up(buffer[quote:stop])
                    if target is not None:
                        try:
                            packets.append((target, a2b_base64(buffer[pos + content_at : quote], strict_mode=True)))
                        except NotBase64:
                            pass  # in Go's eyes it may be: see below
                        else:
                            pos = stop
                            continue
            taken = self._take(buffer, pos)
            if taken is None:
                break
            message, pos = taken
            if not isinstance(message, UDPPacket):
                self._other(message)
            elif message.user_address is not None:
                tail = tail_of(message.user_address)
                target = look_up(tail)
                if target is None:
                    target = self._meet(message.user_address, tail)
                if target is not None:
                    packets.append((target, message.content))
        self._rest = rest = bytearray(buffer[pos:])
        self._due = body_at + int.from_bytes(rest[body_at - 4 : body_at], "big") if len(rest) >= body_at else 0
        return packets


PING = {name: wire.pack(Ping()) for name, wire in WIRES.items()}
"""By the name of the wire: what keeps a packet stream alive (wire.md 8.2)."""
