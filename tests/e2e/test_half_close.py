"""How a user's connection ends, through both programs: half-closed, whole, broken off."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading

import pytest

from tests.support.ports import free_port
from tests.support.programs import World, connect, eventually, exchange, proxy, receive_all, receive_exactly, reset

NO_MUX = "transport.tcpMux = false\n"
PLAIN = "transport.tls.enable = false\n"
BOTH = "transport.useEncryption = true\ntransport.useCompression = true\n"
V2 = 'transport.wireProtocol = "v2"\n'
WAYS = {
    "mux-tls": ("", "", ""),
    "mux-plain": ("", PLAIN, ""),
    "mux-changed": ("", "", BOTH),
    "nomux-tls": (NO_MUX, NO_MUX, ""),
    "nomux-plain": (NO_MUX, NO_MUX + PLAIN, ""),
    "nomux-changed": (NO_MUX, NO_MUX, BOTH),
    "mux-encrypted-v2": ("", V2, "transport.useEncryption = true\n"),
    "nomux-compressed-v2": (NO_MUX, NO_MUX + V2, "transport.useCompression = true\n"),
}
every_way = pytest.mark.parametrize("way", WAYS)
BIG = random.Random(1).randbytes(3_000_000)


def digest_at_end(connection: socket.socket) -> None:
    """Answers only when all is there: needs the end of the one direction while the other one is open."""
    data = receive_all(connection)
    connection.sendall(hashlib.sha256(data).digest())


def end_first(connection: socket.socket) -> None:
    """Says its whole text and ends; then listens on."""
    connection.sendall(BIG)
    connection.shutdown(socket.SHUT_WR)
    heard.append(receive_all(connection))


def send_and_end(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


heard: list[bytes] = []


@every_way
def test_the_user_ends_first_and_still_gets_the_answer(world: World, way: str) -> None:
    service = world.service(digest_at_end)
    server, client, extra = WAYS[way]
    tunnel = world.tunnel(service.port, server=server, client=client, proxy_extra=extra)
    for data in (BIG, b"", b"x"):
        with connect(tunnel.port) as user:
            user.sendall(data)
            user.shutdown(socket.SHUT_WR)
            assert receive_all(user) == hashlib.sha256(data).digest()


@every_way
def test_the_service_ends_first_and_still_hears_the_user(world: World, way: str) -> None:
    service = world.service(end_first)
    server, client, extra = WAYS[way]
    tunnel = world.tunnel(service.port, server=server, client=client, proxy_extra=extra)
    heard.clear()
    with connect(tunnel.port) as user:
        assert receive_all(user) == BIG
        user.sendall(BIG[::-1])
        user.shutdown(socket.SHUT_WR)
        eventually(lambda: bool(heard), "the service has heard the end")
    assert heard == [BIG[::-1]]


@every_way
def test_bytes_both_ways_at_once_arrive_unchanged(world: World, way: str) -> None:
    service = world.service()
    server, client, extra = WAYS[way]
    tunnel = world.tunnel(service.port, server=server, client=client, proxy_extra=extra)
    data = BIG * 5
    with connect(tunnel.port, 20) as user:
        sender = threading.Thread(target=send_and_end, args=(user, data))
        sender.start()
        assert receive_all(user) == data
        sender.join()
    eventually(lambda: service.open == 0, "the service sees the end")


@every_way
def test_a_connection_that_is_reset_is_reset_on_the_other_side(world: World, way: str) -> None:
    ended = []

    def listen(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        try:
            ended.append(receive_all(connection))
        except ConnectionResetError:
            ended.append(b"reset")

    service = world.service(listen)
    server, client, extra = WAYS[way]
    tunnel = world.tunnel(service.port, server=server, client=client, proxy_extra=extra)
    user = connect(tunnel.port)
    assert receive_exactly(user, 5) == b"hello"
    reset(user)
    eventually(lambda: bool(ended), "the service has noticed")
    assert ended == [b"reset"]


def test_a_service_that_resets_is_a_reset_for_its_user_and_for_nobody_else(world: World) -> None:
    def answer(connection: socket.socket) -> None:
        if connection.recv(5) == b"reset":
            reset(connection)
        else:
            connection.sendall(b"fine.")

    service = world.service(answer)
    tunnel = world.tunnel(service.port)
    with connect(tunnel.port) as user, connect(tunnel.port) as other:
        user.sendall(b"reset")
        with pytest.raises(ConnectionResetError):
            receive_all(user)
        other.sendall(b"hello")
        assert receive_all(other) == b"fine."


def test_a_user_who_does_not_read_stops_nobody_else(world: World) -> None:
    service = world.service(lambda connection: connection.sendall(BIG * 30))
    echo = world.service()
    tunnel = world.tunnel(service.port)
    other_port = free_port()
    other = world.frpc(tunnel.server_port, "", proxy("other", service.port, free_port()) + proxy("echo", echo.port, other_port))
    other.wait_for("[echo] start proxy success")
    lazy = [connect(tunnel.port) for _ in range(5)]
    eventually(lambda: service.connections == 5, "they are served")
    before = tunnel.server.figures.rss, tunnel.client.figures.rss
    data = os.urandom(1_000_000)
    for _ in range(5):
        assert exchange(other_port, data) == data
        with connect(tunnel.port) as eager:
            assert receive_exactly(eager, len(BIG) * 2) == BIG * 2
    after = tunnel.server.figures.rss, tunnel.client.figures.rss
    assert after[0] - before[0] < 40
    assert after[1] - before[1] < 40
    assert receive_exactly(lazy[0], len(BIG) * 30) == BIG * 30  # nothing was lost while it slept
    for user in lazy:
        user.close()
