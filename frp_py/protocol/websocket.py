"""WebSocket as a carrier of links: the upgrade, and binary frames around a byte stream (wire.md 1.3, RFC 6455).

Frames mean nothing here; payload is passed on as it comes, so nothing but control frames is kept.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from importlib import import_module
from struct import pack, unpack_from

from frp_py.errors import PeerError

PATH = "/~!frp"
MAX_HEAD = 16384
"""Bytes of a request or answer with its headers."""
KEY_SIZE = 16

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_MAX_CONTROL = 125
_PROTOCOL_ERROR, _NORMAL = 1002, 1000


def upgrade_key(random: bytes) -> str:
    """The text of KEY_SIZE random bytes."""
    return b64encode(random).decode()


def accept_value(key: str) -> str:
    """What a server makes of a key."""
    return b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def upgrade_request(host: str, key: str) -> bytes:
    """The client's request. `host` is `address:port`, for wss the TLS server name alone."""
    return (
        f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Origin: http://{host.lower()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def upgrade_response(key: str, subprotocol: str = "") -> bytes:
    """The server's consent."""
    echo = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_value(key)}\r\n{echo}\r\n"
    ).encode()


def head_size(data: bytes | bytearray) -> int:
    """Bytes of the head at the beginning of `data` with its empty line; 0 as long as it isn't whole. Raises PeerError."""
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end < 0 and len(data) >= MAX_HEAD:
        raise PeerError(f"websocket upgrade is not complete after {MAX_HEAD} bytes")
    return end + 4 if end >= 0 else 0


def answer_upgrade(head: bytes) -> tuple[bytes, bool]:
    """What a server says to a request, and whether the connection is a WebSocket from there on. Raises PeerError if it is no HTTP."""
    first, headers = _parse(head)
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if not version.startswith("HTTP/1."):
        raise PeerError("websocket upgrade is no HTTP/1 request")
    if target.partition("?")[0] != PATH:
        return _refusal("404 Not Found"), False
    if method != "GET":
        return _refusal("405 Method Not Allowed"), False
    key = headers.get("sec-websocket-key", "")
    if (
        headers.get("upgrade", "").lower() != "websocket"
        or "upgrade" not in _tokens(headers.get("connection", "").lower())
        or not key
        or headers.get("sec-websocket-version") != "13"
    ):
        return _refusal("400 Bad Request"), False
    if not headers.get("origin"):
        return b"HTTP/1.1 403 Forbidden\r\n\r\n", False
    subprotocols = _tokens(headers.get("sec-websocket-protocol", ""))
    if len(subprotocols) > 1:
        return _refusal("400 Bad Request"), False
    return upgrade_response(key, *subprotocols), True


def check_upgrade(head: bytes, key: str) -> None:
    """Whether a server's answer consents to the request with this key. Raises PeerError."""
    first, headers = _parse(head)
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or rest.partition(" ")[0] != "101":
        raise PeerError(f"websocket upgrade is answered with {first[:80]!r}")
    if headers.get("upgrade", "").lower() != "websocket" or headers.get("connection", "").lower() != "upgrade":
        raise PeerError("websocket upgrade is answered without upgrade")
    if not hmac.compare_digest(headers.get("sec-websocket-accept", "").encode(), accept_value(key).encode()):
        raise PeerError("websocket upgrade is answered with another Sec-WebSocket-Accept")
    for name in ("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"):
        if name.lower() in headers:
            raise PeerError(f"websocket upgrade is answered with {name}, which was not offered")


def _refusal(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


def _tokens(value: str) -> list[str]:
    return [token for part in value.split(",") if (token := part.strip())]


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    """First line and headers, names in lower case, values of a repeated one joined by commas."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or not name.isprintable() or " " in name or any(sign in value for sign in "\r\n\0"):
            raise PeerError("websocket upgrade has a malformed header")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return first, headers


class Framing:
    """One side of an upgraded connection."""

    __slots__ = ("_control", "_header", "_left", "_mask", "_masked_in", "_masks", "_opcode", "_out", "ended")

    ended: bool
    """The peer has sent its close frame, or broke the rules."""

    def __init__(self, masks: Callable[[], bytes] | None) -> None:
        """`masks` gives 4 fresh random bytes each time for a client; None for a server, which doesn't mask."""
        self._masks = masks
        self._masked_in = masks is None
        self._header = bytearray()  # one that isn't whole
        self._left = 0  # of the frame that is being read
        self._opcode = _BINARY
        self._mask = b""  # of that frame, turned to where it is
        self._control = bytearray()  # payload of a control frame
        self._out = b""
        self.ended = False

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        """The frame for `data`; nothing for nothing."""
        return self._frame(_BINARY, data) if data else b""

    def close(self) -> bytes:
        """The last frame."""
        return self._frame(_CLOSE, pack(">H", _NORMAL))

    def data_to_send(self) -> bytes:
        """The answer to control frames, or to broken rules after an error; to be fetched after each receive_data."""
        out, self._out = self._out, b""
        return out

    def receive_data(self, data: bytes | bytearray | memoryview) -> bytes:
        """The payload in `data`, which may be cut anywhere. What follows a close frame is ignored.

        Raises PeerError for broken rules; the connection ends after `data_to_send`.
        """
        parts: list[bytes] = []
        at = 0
        if self._header:
            self._header += data
            data = bytes(self._header)
            self._header.clear()
        size = len(data)
        with memoryview(data) as view:
            while not self.ended:
                if self._left == 0:
                    begin = self._take_header(view, at)
                    if begin == 0:
                        self._header += view[at:]
                        break
                    at = begin
                take = min(self._left, size - at)
                if self._opcode >= _CLOSE:
                    self._control += view[at : at + take]
                elif take:
                    parts.append(self._unmasked(view[at : at + take], take))
                at += take
                self._left -= take
                if self._left:
                    break
                if self._opcode >= _CLOSE:
                    self._controlled()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_header(self, view: memoryview, at: int) -> int:
        """Reads the header at `at`; the offset of its payload, or 0 if it isn't whole."""
        size = len(view) - at
        if size < 2:
            return 0
        first, second = view[at], view[at + 1]
        opcode = first & 0x0F
        if first & 0x70:
            self._fail("websocket frame has reserved bits set")
        if opcode not in (_BINARY, _TEXT, _CONTINUATION, _CLOSE, _PING, _PONG):
            self._fail(f"websocket frame has unknown opcode {opcode}")
        if (second >= 0x80) is not self._masked_in:
            self._fail("websocket frame of a client is not masked" if self._masked_in else "websocket frame of a server is masked")
        length = second & 0x7F
        if opcode >= _CLOSE and (length > _MAX_CONTROL or first < 0x80):
            self._fail("websocket control frame is too long or fragmented")
        begin = 2 if length < 126 else 4 if length == 126 else 10
        end = begin + 4 if self._masked_in else begin
        if size < end:
            return 0
        if length == 126:
            (length,) = unpack_from(">H", view, at + 2)
        elif length == 127:
            (length,) = unpack_from(">Q", view, at + 2)
            if length >> 63:
                self._fail("websocket frame has a length over 63 bits")
        self._opcode = opcode
        self._left = length
        if self._masked_in:
            self._mask = bytes(view[at + begin : at + end])
        return at + end

    def _unmasked(self, data: memoryview, size: int) -> bytes:
        if not self._masked_in:
            return bytes(data)
        plain = mask(data, self._mask)
        turn = size & 3
        if turn:
            self._mask = self._mask[turn:] + self._mask[:turn]
        return plain

    def _controlled(self) -> None:
        payload = mask(self._control, self._mask) if self._masked_in else bytes(self._control)
        self._control.clear()
        if self._opcode == _CLOSE:
            self.ended = True
        elif self._opcode == _PING:
            self._out = self._frame(_PONG, payload)  # only the latest of several must be answered

    def _fail(self, why: str) -> None:
        self.ended = True
        self._out = self._frame(_CLOSE, pack(">H", _PROTOCOL_ERROR))
        raise PeerError(why)

    def _frame(self, opcode: int, data: bytes | bytearray | memoryview) -> bytes:
        size = len(data)
        bit = 0 if self._masks is None else 0x80
        if size < 126:
            header = pack(">BB", 0x80 | opcode, bit | size)
        elif size < 65536:
            header = pack(">BBH", 0x80 | opcode, bit | 126, size)
        else:
            header = pack(">BBQ", 0x80 | opcode, bit | 127, size)
        if self._masks is None:
            return b"".join((header, data))
        key = self._masks()
        return b"".join((header, key, mask(data, key)))


def mask(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """`data` XOR `key`, 4 bytes repeated."""
    return _masker()(data, key)


@cache
def _masker() -> Callable[[bytes | bytearray | memoryview, bytes], bytes]:
    """The C version of the `websockets` package where it is installed: 30 GB/s, ours 1."""
    try:
        masker: Callable[[bytes | bytearray | memoryview, bytes], bytes] = import_module("websockets.speedups").apply_mask
    except ImportError:
        return mask_plainly
    return masker


def mask_plainly(data: bytes | bytearray | memoryview, key: bytes) -> bytes:
    """As `mask`, without help."""
    size = len(data)
    if size < 512:  # as one number up to here; quicker than four times every fourth byte
        keys = (key * (size // 4 + 1))[:size]
        return (int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")
    masked = bytearray(data)
    for at, byte in enumerate(key):
        masked[at::4] = masked[at::4].translate(_xor_table(byte))
    return bytes(masked)


@cache
def _xor_table(byte: int) -> bytes:
    return bytes(number ^ byte for number in range(256))
