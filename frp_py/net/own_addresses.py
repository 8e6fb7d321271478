"""The IPv4 addresses of this machine (nat.md 1.4)."""

from __future__ import annotations

import ctypes
import socket
import sys
from ipaddress import IPv4Address

from frp_py.errors import FrpError

_MOST = 10  # that others are told


class _Interface(ctypes.Structure):
    """struct ifaddrs, as far as it is the same everywhere."""


_Interface._fields_ = [
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
]


def own_addresses() -> list[str]:
    """The first ten in the system's order, without loopback and link-local ones. Raises FrpError."""
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_Interface)()
    if libc.getifaddrs(ctypes.byref(first)):
        raise FrpError(f"the addresses of this machine can't be read: errno {ctypes.get_errno()}")
    found: list[str] = []
    try:
        interface = first
        while interface and len(found) < _MOST:
            entry = interface.contents
            if entry.address:
                address = _ipv4(entry.address)
                if address is not None and not (address.is_loopback or address.is_link_local):
                    found.append(str(address))
            interface = entry.next
    finally:
        libc.freeifaddrs(first)
    return found


def _ipv4(sockaddr: int) -> IPv4Address | None:
    family = ctypes.string_at(sockaddr, 2)
    is_ipv4 = family[1] == socket.AF_INET if sys.platform == "darwin" else int.from_bytes(family, sys.byteorder) == socket.AF_INET
    return IPv4Address(ctypes.string_at(sockaddr, 8)[4:]) if is_ipv4 else None
