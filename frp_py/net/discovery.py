"""Asks a STUN server by which address others see a socket (nat.md 1)."""

from __future__ import annotations

import math
import os
import socket
from typing import TYPE_CHECKING

import trio

from frp_py.errors import FrpError
from frp_py.net.addresses import host_and_port, host_port
from frp_py.protocol.stun import TRANSACTION_SIZE, Address, Answer, binding_request, read_answer

if TYPE_CHECKING:
    from trio.socket import SocketType

_LOOK_UP = 5  # s
_WAIT = 3  # s for an answer
_AGAIN = (0.5, 1, math.inf)  # s after each transmission; a lost datagram is not to cost the whole attempt
_DATAGRAM = 2048  # bytes; more than any that are sent


async def open_socket(local: str = "") -> SocketType:
    """An IPv4 UDP socket, at `host:port` if there is that. Raises FrpError."""
    address = await _resolved(local, default_host="0.0.0.0") if local else ("0.0.0.0", 0)
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        await sock.bind(address)
    except OSError as error:
        sock.close()
        raise FrpError(f"listen udp4 {host_port(address)}: {error.strerror}") from None
    return sock


async def discover(sock: SocketType, server: str) -> list[Address]:
    """The addresses of the socket as two addresses of the STUN server at `host:port` see it, or as one does, when it hasn't more.

    The socket can be used for something else afterwards: what others see is then still the same. Raises FrpError.
    """
    address = await _resolved(server)
    try:
        answer = await _ask(sock, address)
        mapped = answer.mapped
        if mapped is None:
            raise FrpError("no external address found")
        found = [mapped]
        other = answer.other
        if other is not None:
            mapped = (await _ask(sock, other)).mapped
            if mapped is not None:
                found.append(mapped)
    except OSError as error:
        raise FrpError(f"asking the stun server: {error.strerror}") from None
    return found


async def _ask(sock: SocketType, server: Address) -> Answer:
    transaction = os.urandom(TRANSACTION_SIZE)
    request = binding_request(transaction)
    with trio.move_on_after(_WAIT):
        for pause in _AGAIN:
            await sock.sendto(request, server)
            with trio.move_on_after(pause):
                while True:
                    datagram, source = await sock.recvfrom(_DATAGRAM)
                    if source == server:
                        answer = read_answer(datagram, transaction)
                        if answer is not None:
                            return answer
    raise FrpError("wait response from stun server timeout")


async def _resolved(text: str, *, default_host: str = "127.0.0.1") -> Address:
    host, port = host_and_port(text, default_host=default_host)
    try:
        with trio.fail_after(_LOOK_UP):
            entries = await trio.socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
    except trio.TooSlowError:
        raise FrpError(f"lookup {host}: i/o timeout") from None
    except (OSError, UnicodeError) as error:
        raise FrpError(f"lookup {host}: {error.strerror if isinstance(error, OSError) else error}") from None
    found = entries[0][4]
    return str(found[0]), int(found[1])
