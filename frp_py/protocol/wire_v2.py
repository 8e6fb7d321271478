"""Wire v2: magic, frames, and the hellos that agree on the encryption of the control connection (wire.md 11).

A client sends magic, ClientHello and Login at once. Work and visitor connections have the magic but no hello.
"""

import hashlib
from struct import Struct
from typing import NamedTuple

from msgspec import field

from frp_py.errors import FrpError, PeerError
from frp_py.protocol import wire_v1
from frp_py.protocol.aead import NONCE_SIZE, derive_keys
from frp_py.protocol.messages import OF_TYPE_ID, TYPE_ID, Body, Message, decode, encode

MAGIC = b"FRP\x00\x02\r\n"
CLIENT_HELLO, SERVER_HELLO, MESSAGE = 1, 2, 16
"""Frame types."""
MAX_PAYLOAD = 65536
"""Bytes in one frame behind its header."""
HEADER_SIZE = 8
RANDOM_SIZE = 32
ALGORITHMS = tuple(NONCE_SIZE)
"""Ours, as a client with AES instructions prefers them."""

_HEADER = Struct(">HHI")
_MESSAGE_HEADER = Struct(">HHIH")
_TYPE = Struct(">H")


def pack_frame(kind: int, payload: bytes) -> bytes:
    """A frame of any type. Raises FrpError when the payload is over MAX_PAYLOAD."""
    if len(payload) > MAX_PAYLOAD:
        raise FrpError(f"payload of {len(payload)} bytes is over the {MAX_PAYLOAD} of wire v2")
    return _HEADER.pack(kind, 0, len(payload)) + payload


def pack(message: Message) -> bytes:
    """The frame of a message. Raises FrpError if it is too long for one."""
    body = encode(message)
    size = 2 + len(body)
    if size > MAX_PAYLOAD:
        raise FrpError(f"{type(message).__name__} message of {size} bytes is over the {MAX_PAYLOAD} of wire v2")
    return _MESSAGE_HEADER.pack(MESSAGE, 0, size, TYPE_ID[type(message)]) + body


def take_frame(buffer: bytes | bytearray | memoryview, start: int = 0) -> tuple[int, bytes, int] | None:
    """Type and payload of the frame that begins at `start`, and the offset behind it; None as long as it isn't whole.

    Raises PeerError from the header, before the payload is there.
    """
    begin = start + HEADER_SIZE
    if len(buffer) < begin:
        return None
    kind, flags, length = _HEADER.unpack_from(buffer, start)
    if kind not in (MESSAGE, CLIENT_HELLO, SERVER_HELLO):
        raise PeerError(f"unknown frame type {kind}")
    if flags:
        raise PeerError(f"frame has flags {flags:#06x}, must have none")
    if length > MAX_PAYLOAD:
        raise PeerError(f"frame payload of {length} bytes is over {MAX_PAYLOAD}")
    end = begin + length
    if len(buffer) < end:
        return None
    return kind, bytes(buffer[begin:end]), end


def decode_message(payload: bytes) -> Message:
    """The message in the payload of a MESSAGE frame. Raises PeerError."""
    if len(payload) < 2:
        raise PeerError("message frame has no message type")
    number: int = _TYPE.unpack_from(payload)[0]
    cls = OF_TYPE_ID.get(number)
    if cls is None:
        raise PeerError(f"unknown message type {number}")
    return decode(cls, payload[2:])


def take_message(buffer: bytes | bytearray | memoryview, start: int = 0) -> tuple[Message, int] | None:
    """As wire_v1.take_message; no other frame than a message may stand at `start`. Raises PeerError."""
    if len(buffer) - start >= 2 and _TYPE.unpack_from(buffer, start)[0] != MESSAGE:
        raise PeerError(f"frame type {_TYPE.unpack_from(buffer, start)[0]} where a message was expected")
    taken = take_frame(buffer, start)
    return None if taken is None else (decode_message(taken[1]), taken[2])


class Reader(wire_v1.Reader):
    """Takes a stream of message frames in pieces of any size and gives the messages."""

    __slots__ = ()

    _take = staticmethod(take_message)


class Bootstrap(Body, frozen=True, gc=False, rename={"tcp_mux": "tcpMux"}):
    """How the client is connected; for information only."""

    transport: str = ""
    tls: bool = False
    tcp_mux: bool = False


class MessageCapabilities(Body, frozen=True, gc=False):
    """Codecs that the client speaks."""

    codecs: tuple[str, ...] = ()


class CryptoCapabilities(Body, frozen=True, gc=False, rename={"client_random": "clientRandom"}):
    """Algorithms in the client's order of preference, and its RANDOM_SIZE random bytes."""

    algorithms: tuple[str, ...] = ()
    client_random: bytes = b""


class Capabilities(Body, frozen=True, gc=False):
    """What the client can do."""

    message: MessageCapabilities = field(default_factory=MessageCapabilities)
    crypto: CryptoCapabilities = field(default_factory=CryptoCapabilities)


class ClientHello(Body, frozen=True, gc=False):
    """First frame of a control connection (wire.md 11.4)."""

    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    capabilities: Capabilities = field(default_factory=Capabilities)


class SelectedMessage(Body, frozen=True, gc=False):
    """The codec."""

    codec: str = ""


class SelectedCrypto(Body, frozen=True, gc=False, rename={"server_random": "serverRandom"}):
    """The algorithm, and the server's RANDOM_SIZE random bytes."""

    algorithm: str = ""
    server_random: bytes = b""


class Selected(Body, frozen=True, gc=False):
    """What the server chose."""

    message: SelectedMessage = field(default_factory=SelectedMessage)
    crypto: SelectedCrypto = field(default_factory=SelectedCrypto)


class ServerHello(Body, frozen=True, gc=False):
    """Answer to ClientHello (wire.md 11.4)."""

    selected: Selected = field(default_factory=Selected)
    error: str = ""


class Agreed(NamedTuple):
    """What two hellos come to."""

    algorithm: str
    transcript: bytes
    """Hash of both hellos as they were sent."""

    def keys(self, token: str | bytes) -> tuple[bytes, bytes]:
        """The keys for `aead`, client to server and server to client."""
        return derive_keys(token, self.transcript, self.algorithm)


def transcript_hash(client_hello: bytes, server_hello: bytes) -> bytes:
    """SHA-256 over the payloads of both frames exactly as sent (wire.md 11.5)."""
    digest = hashlib.sha256(b"frp wire v2 crypto transcript")
    for label, payload in ((b"client hello", client_hello), (b"server hello", server_hello)):
        digest.update(b"\x00%b\x00%b%b" % (label, len(payload).to_bytes(8, "big"), payload))
    return digest.digest()


def offer(transport: str, *, tls: bool, tcp_mux: bool, client_random: bytes, algorithms: tuple[str, ...] = ALGORITHMS) -> bytes:
    """The payload of the client's hello. `transport` as configured, `client_random` RANDOM_SIZE bytes."""
    crypto = CryptoCapabilities(algorithms, client_random)
    return encode(ClientHello(Bootstrap(transport, tls, tcp_mux), Capabilities(MessageCapabilities(("json",)), crypto)))


def answer(client_hello: bytes, server_random: bytes) -> tuple[bytes, Agreed | str]:
    """The payload of the server's hello, and what is agreed or the text of the error in it, after which the link is closed.

    `client_hello` is the payload of the client's frame, `server_random` RANDOM_SIZE bytes. Raises PeerError if the hello
    can't be decoded; that isn't answered.
    """
    capabilities = decode(ClientHello, client_hello).capabilities
    size = len(capabilities.crypto.client_random)
    algorithm = next((name for name in capabilities.crypto.algorithms if name in NONCE_SIZE), None)
    error = ""
    if "json" not in capabilities.message.codecs:
        error = "unsupported message codec"
    elif size != RANDOM_SIZE:
        error = f"invalid crypto client random length {size}, want {RANDOM_SIZE}"
    elif algorithm is None:
        error = "no supported crypto algorithm"
    else:
        payload = encode(ServerHello(Selected(SelectedMessage("json"), SelectedCrypto(algorithm, server_random))))
        return payload, Agreed(algorithm, transcript_hash(client_hello, payload))
    return encode(ServerHello(Selected(SelectedMessage("json")), error)), error


def accept(client_hello: bytes, server_hello: bytes) -> Agreed:
    """What is agreed by the payloads of the client's own hello and of the server's. Raises PeerError."""
    hello = decode(ServerHello, server_hello)
    if hello.error:
        raise PeerError(f"the server refuses wire v2: {hello.error[:2000]}")
    selected = hello.selected
    if selected.message.codec != "json":
        raise PeerError(f"the server selected the message codec {selected.message.codec[:40]!r}, which was not offered")
    algorithm = selected.crypto.algorithm
    if algorithm not in NONCE_SIZE or algorithm not in decode(ClientHello, client_hello).capabilities.crypto.algorithms:
        raise PeerError(f"the server selected the crypto algorithm {algorithm[:40]!r}, which was not offered")
    if len(selected.crypto.server_random) != RANDOM_SIZE:
        raise PeerError(f"invalid crypto server random length {len(selected.crypto.server_random)}, want {RANDOM_SIZE}")
    return Agreed(algorithm, transcript_hash(client_hello, server_hello))
