"""STUN as far as it tells one's own public address: Binding requests and their answers (nat.md 1; RFC 8489, RFC 5780)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import pack, unpack_from

from frp_py.errors import PeerError

Address = tuple[str, int]
"""Numeric host, port."""

TRANSACTION_SIZE = 12

_COOKIE = 0x2112A442
_HEADER = 20
_REQUEST, _SUCCESS, _ERROR = 0x0001, 0x0101, 0x0111
_MAPPED, _CHANGED, _ERROR_CODE, _XOR_MAPPED, _OTHER = 0x0001, 0x0005, 0x0009, 0x0020, 0x802C
_REASON_SIZE = 763  # bytes
_REASON_LENGTH = 127  # characters


def binding_request(transaction: bytes) -> bytes:
    """The request; `transaction` is TRANSACTION_SIZE random bytes, the same ones when it is sent again."""
    return pack(">HHI", _REQUEST, 0, _COOKIE) + transaction


class Answer:
    """What a server says to a request. An attribute is looked at when it is needed: a malformed one that isn't does no harm."""

    __slots__ = ("_attributes", "_mask")

    def __init__(self, attributes: dict[int, bytes], mask: bytes) -> None:
        self._attributes = attributes
        self._mask = mask

    @property
    def mapped(self) -> Address | None:
        """Where the request came from, as the server sees it. Raises PeerError."""
        masked = self._attributes.get(_XOR_MAPPED)
        if masked is not None:
            return _address(masked, self._mask)
        return self._plain(_MAPPED)

    @property
    def other(self) -> Address | None:
        """Another address of the server. Raises PeerError."""
        return self._plain(_OTHER) or self._plain(_CHANGED)

    def _plain(self, attribute: int) -> Address | None:
        value = self._attributes.get(attribute)
        return None if value is None else _address(value, bytes(16))


def read_answer(datagram: bytes, transaction: bytes) -> Answer | None:
    """The answer to the request with this transaction; None when the datagram is something else, which is to be skipped.

    Raises PeerError for one that is malformed, or says that the request failed.
    """
    mask = pack(">I", _COOKIE) + transaction
    if len(datagram) < _HEADER or datagram[4:_HEADER] != mask:
        return None
    kind, size = unpack_from(">HH", datagram)
    if kind not in (_SUCCESS, _ERROR):
        return None
    if size != len(datagram) - _HEADER or size % 4:
        raise PeerError("malformed STUN message: its length is wrong")
    attributes: dict[int, bytes] = {}
    at = _HEADER
    while at < len(datagram):
        attribute, length = unpack_from(">HH", datagram, at)  # both there: everything is a multiple of 4
        at += 4
        if at + length > len(datagram):  # then the padding fits as well
            raise PeerError("malformed STUN message: an attribute doesn't fit")
        attributes.setdefault(attribute, datagram[at : at + length])
        at += -(-length // 4) * 4
    if kind == _ERROR:
        raise PeerError(_error(attributes.get(_ERROR_CODE, b"")))
    return Answer(attributes, mask)


def _address(value: bytes, mask: bytes) -> Address:
    family = value[1] if len(value) > 1 else 0
    host_size = {1: 4, 2: 16}.get(family)
    if host_size is None or len(value) != 4 + host_size:
        raise PeerError("malformed STUN message: an address is invalid")
    port = int.from_bytes(value[2:4], "big") ^ int.from_bytes(mask[:2], "big")
    host = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
    return str(IPv4Address(host) if family == 1 else IPv6Address(host)), port


def _error(value: bytes) -> str:
    malformed = "malformed STUN message: the error code is invalid"
    if not 4 <= len(value) <= 4 + _REASON_SIZE:
        return malformed
    hundreds, number = value[2] & 7, value[3]
    try:
        reason = value[4:].decode()
    except UnicodeDecodeError:
        return malformed
    if not 3 <= hundreds <= 6 or number > 99 or len(reason) > _REASON_LENGTH:
        return malformed
    return f"STUN binding error {hundreds * 100 + number}: {reason}"
