from __future__ import annotations

import ctypes
import socket
from ipaddress import ip_address

from frp_py.net import own_addresses as module
from frp_py.net.own_addresses import own_addresses


def test_what_is_listed_can_be_bound_and_is_of_use_to_others() -> None:
    found = own_addresses()
    assert len(found) <= 10
    for host in found:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
        assert not ip_address(host).is_loopback


def test_families_are_told_apart() -> None:
    def sockaddr(family: int) -> int:
        kept.append(ctypes.create_string_buffer(family.to_bytes(2, "little") + bytes(2) + bytes((10, 0, 0, 1)) + bytes(8)))
        return ctypes.addressof(kept[-1])

    kept: list[ctypes.Array[ctypes.c_char]] = []
    assert str(module._ipv4(sockaddr(socket.AF_INET))) == "10.0.0.1"
    assert module._ipv4(sockaddr(socket.AF_INET6)) is None
