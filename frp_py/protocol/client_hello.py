"""The server name in a TLS ClientHello, read without taking part in the handshake (RFC 8446 4.1.2, RFC 6066 3; behaviour.md 2.6).

With Encrypted Client Hello this is the outer name, as for anybody on the way.
"""

from typing import NamedTuple

from frp_py.errors import PeerError

MAX_SIZE = 65536
"""Bytes of all records of a ClientHello; a peer that sends more without an end is refused."""

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1
_MAX_RECORD = 16384
_SERVER_NAME, _ALPN = 0, 16
_CUT = "TLS ClientHello is cut short"


class ClientHello(NamedTuple):
    """What a TLS client asks for."""

    server_name: str
    """Lower-cased, empty when there is none."""
    alpn: tuple[str, ...]
    """Protocols in the client's order."""


class Reader:
    """Takes the beginning of a TLS connection in pieces of any size. Time and memory are linear in what came."""

    __slots__ = ("_buffer", "_message", "_size")

    def __init__(self) -> None:
        self._buffer = bytearray()  # a record that isn't whole
        self._message = bytearray()  # contents of the records before it
        self._size = 0

    def receive_data(self, data: bytes | bytearray | memoryview) -> ClientHello | None:
        """The ClientHello once it is whole, else None. It may be spread over several records, and anything may follow.

        Raises PeerError for what is none, as soon as that can be seen.
        """
        buffer = self._buffer
        buffer += data
        self._size += len(data)
        size = len(buffer)
        message = self._message
        at = 0
        while size > at:
            if buffer[at] != _HANDSHAKE_RECORD:
                raise PeerError("no TLS ClientHello: not a handshake record")
            if size > at + 1 and buffer[at + 1] != 3:
                raise PeerError("no TLS ClientHello: not TLS")
            if size < at + 5:
                break
            length = buffer[at + 3] << 8 | buffer[at + 4]
            if not 0 < length <= _MAX_RECORD:
                raise PeerError(f"TLS record of {length} bytes is not within 1 to {_MAX_RECORD}")
            if not message and size > at + 5 and buffer[at + 5] != _CLIENT_HELLO:
                raise PeerError("no TLS ClientHello: another handshake message")
            if size < at + 5 + length:
                break
            message += buffer[at + 5 : at + 5 + length]
            if len(message) >= 4:
                end = 4 + int.from_bytes(message[1:4], "big")
                if end > MAX_SIZE:
                    raise PeerError(f"TLS ClientHello of {end} bytes is over {MAX_SIZE}")
                if len(message) >= end:
                    return _hello(bytes(message[4:end]))
            at += 5 + length
        if self._size >= MAX_SIZE:
            raise PeerError(f"TLS ClientHello is not complete after {MAX_SIZE} bytes")
        del buffer[:at]
        return None


def _hello(body: bytes) -> ClientHello:
    size = len(body)
    server_name = ""
    alpn: tuple[str, ...] = ()
    try:
        at = 35 + body[34]  # version, random, session id
        suites = body[at] << 8 | body[at + 1]
        at += 2 + suites
        compression = body[at]
        at += 1 + compression
    except IndexError:
        raise PeerError(_CUT) from None
    if suites < 2 or suites % 2 or not compression:
        raise PeerError("TLS ClientHello has no cipher suites or no compression methods")
    if at == size:
        return ClientHello("", ())
    if at + 2 > size:
        raise PeerError(_CUT)
    if (end := at + 2 + (body[at] << 8 | body[at + 1])) != size:
        raise PeerError(_CUT if end > size else "TLS ClientHello has bytes behind its end")
    at += 2
    seen: set[int] = set()
    while at < size:
        if at + 4 > size:
            raise PeerError(_CUT)
        kind = body[at] << 8 | body[at + 1]
        begin = at + 4
        at = begin + (body[at + 2] << 8 | body[at + 3])
        if at > size:
            raise PeerError(_CUT)
        if kind in seen:
            raise PeerError("TLS ClientHello has an extension twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            server_name = _server_name(body[begin:at])
        elif kind == _ALPN:
            alpn = _alpn(body[begin:at])
    return ClientHello(server_name, alpn)


def _server_name(content: bytes) -> str:
    if content[2:3] != b"\x00" or len(content) != 2 + (content[0] << 8 | content[1]) or len(content) != 5 + (content[3] << 8 | content[4]):
        raise PeerError("TLS server name extension is malformed")  # or has several names, which no client sends
    name = content[5:]
    if not name or not name.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in name):
        raise PeerError("TLS server name is no host name")
    return name.decode("ascii").lower()


def _alpn(content: bytes) -> tuple[str, ...]:
    protocols: list[str] = []
    at = 2
    while at < len(content):
        end = at + 1 + content[at]
        protocols.append(content[at + 1 : end].decode("latin-1"))
        at = end
    if not protocols or at != len(content) or at != 2 + (content[0] << 8 | content[1]) or "" in protocols:
        raise PeerError("TLS ALPN extension is malformed")
    return tuple(protocols)
