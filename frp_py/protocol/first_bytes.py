"""Who a new connection on the server's port is for, told from its first bytes (wire.md 1.1 and 1.2, behaviour.md 1.3)."""

from enum import Enum, auto

SIZE = 10
"""Bytes that `destination` needs; every real client sends more. They stay part of the stream."""

TLS_CUSTOM = 0x17
"""A client may send this byte, once and in plain, before its TLS; it is dropped."""
TLS_HANDSHAKE = 0x16
"""First byte of every TLS ClientHello."""

_WEBSOCKET = b"GET /~!frp"
_METHODS = frozenset((b"GET", b"HEA", b"POS", b"PUT", b"DEL", b"CON", b"OPT", b"TRA", b"PAT", b"PRI"))


class Destination(Enum):
    """What serves a connection."""

    WEBSOCKET = auto()
    VHOST_HTTP = auto()
    VHOST_HTTPS = auto()
    LINK = auto()
    """A link of a client; `tls_start` says whether TLS comes first."""


class TLSStart(Enum):
    """How a link begins."""

    AFTER_THIS_BYTE = auto()
    WITH_THIS_BYTE = auto()
    NONE = auto()


def destination(first: bytes, *, http_shares: bool, https_shares: bool) -> Destination:
    """Where a connection with these first SIZE bytes goes; the flags say which vhost ports are this same port."""
    if first == _WEBSOCKET:
        return Destination.WEBSOCKET
    if https_shares and first[0] == TLS_HANDSHAKE:
        return Destination.VHOST_HTTPS
    if http_shares and first[:3] in _METHODS:
        return Destination.VHOST_HTTP
    return Destination.LINK


def tls_start(first: int) -> TLSStart:
    """Whether a link whose first byte is this has TLS (wire.md 1.2). On TCP, KCP and inside WebSocket alike, never on QUIC."""
    if first == TLS_CUSTOM:
        return TLSStart.AFTER_THIS_BYTE
    if first == TLS_HANDSHAKE:
        return TLSStart.WITH_THIS_BYTE
    return TLSStart.NONE
