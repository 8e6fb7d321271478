"""A STUN server with two addresses, and NATs in front of those who ask it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from struct import pack

import trio

from frp_py.errors import FrpError

Address = tuple[str, int]
Nat = Callable[[Address, int], Address]
"""By which address a socket (the first argument) is seen at the server's address number 0 or 1."""

MAPPED, CHANGED, ERROR_CODE, XOR_MAPPED, OTHER = 0x0001, 0x0005, 0x0009, 0x0020, 0x802C
COOKIE = b"\x21\x12\xa4\x42"


def no_nat(source: Address, at: int) -> Address:
    return source


def attribute(number: int, value: bytes) -> bytes:
    return pack(">HH", number, len(value)) + value + bytes(-len(value) % 4)


def address(value: Address) -> bytes:
    host = ip_address(value[0])
    return bytes((0, 1 if host.version == 4 else 2)) + value[1].to_bytes(2, "big") + host.packed


def masked(value: Address, transaction: bytes) -> bytes:
    plain, mask = address(value), COOKIE + transaction
    port = bytes(a ^ b for a, b in zip(plain[2:4], mask, strict=False))
    return plain[:2] + port + bytes(a ^ b for a, b in zip(plain[4:], mask, strict=False))


def message(transaction: bytes, attributes: Iterable[bytes], kind: int = 0x0101) -> bytes:
    body = b"".join(attributes)
    return pack(">HH", kind, len(body)) + COOKIE + transaction + body


class StunServer:
    """Answers at two addresses. `answer(transaction, mapped, other, at)` may be replaced; it returns the datagrams to send."""

    def __init__(self, sockets: list[trio.socket.SocketType], nat: Nat) -> None:
        self.nat = nat
        self.requests: list[tuple[int, bytes]] = []
        self.addresses: list[Address] = [sock.getsockname() for sock in sockets]
        self.text = "{}:{}".format(*self.addresses[0])
        self.answer: Callable[[bytes, Address, Address, int], list[bytes]] = self.usual
        self._sockets = sockets

    @staticmethod
    def usual(transaction: bytes, mapped: Address, other: Address, at: int) -> list[bytes]:
        return [message(transaction, [attribute(XOR_MAPPED, masked(mapped, transaction)), attribute(OTHER, address(other))])]

    async def run(self, at: int) -> None:
        while True:
            datagram, source = await self._sockets[at].recvfrom(2048)
            self.requests.append((at, datagram))
            for reply in self.answer(datagram[8:20], self.nat(source, at), self.addresses[1 - at], at):
                await self._sockets[at].sendto(reply, source)


@asynccontextmanager
async def stun_server(nat: Nat = no_nat, second: str = "127.0.0.2") -> AsyncIterator[StunServer]:
    sockets = []
    for host in ("127.0.0.1", second):
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await sock.bind((host, 0))
        sockets.append(sock)
    server = StunServer(sockets, nat)
    failure: FrpError | None = None
    async with trio.open_nursery() as nursery:
        for at in range(2):
            nursery.start_soon(server.run, at)
        try:
            yield server
        except FrpError as error:
            failure = error  # it comes out as it is, not in a group
        nursery.cancel_scope.cancel()
    for sock in sockets:
        sock.close()
    if failure is not None:
        raise failure
