"""The bandwidth limit through both programs, measured."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from tests.support.ports import free_port
from tests.support.programs import World, connect, eventually, exchange, proxy, receive_exactly, reset

RATE = 1 << 20
BURST = RATE  # the bucket is full at first
ENCRYPTED = "transport.useEncryption = true\n"


def limited(mode: str, extra: str = "", rate: str = "1MB") -> str:
    return f'transport.bandwidthLimit = "{rate}"\ntransport.bandwidthLimitMode = "{mode}"\n{extra}'


def pour(connection: socket.socket) -> None:
    """Send without end."""
    while True:
        connection.sendall(bytes(1 << 16))


def swallow(connection: socket.socket) -> None:
    """Read all there is, then say how much."""
    n = 0
    while data := connection.recv(1 << 16):
        n += len(data)
    connection.sendall(b"%d" % n)


def receive_for(sock: socket.socket, seconds: float, skip: int) -> tuple[float, float]:
    """Bytes per second after the first `skip` bytes, and the longest time in which nothing came."""
    receive_exactly(sock, skip)
    began = last = time.monotonic()
    total, stall = 0, 0.0
    while last - began < seconds:
        total += len(sock.recv(1 << 16))
        now = time.monotonic()
        stall = max(stall, now - last)
        last = now
    return total / (last - began), stall


@pytest.mark.parametrize("mode", ["client", "server"])
@pytest.mark.parametrize("extra", ["", ENCRYPTED], ids=["plain", "encrypted"])
def test_a_download_is_even_and_as_fast_as_it_may_be(world: World, mode: str, extra: str) -> None:
    tunnel = world.tunnel(world.service(pour).port, proxy_extra=limited(mode, extra))
    with connect(tunnel.port) as user:
        rate, stall = receive_for(user, 1.5, BURST + (1 << 18))
    assert abs(rate / RATE - 1) < 0.15
    assert stall < 0.2
    assert tunnel.server.figures.rss < 80
    assert tunnel.client.figures.rss < 80


@pytest.mark.parametrize("mode", ["client", "server"])
@pytest.mark.parametrize("mux", ["", "transport.tcpMux = false\n"], ids=["mux", "nomux"])
def test_an_upload_is_as_fast_as_it_may_be_and_arrives_whole(world: World, mode: str, mux: str) -> None:
    tunnel = world.tunnel(world.service(swallow).port, server=mux, client=mux, proxy_extra=limited(mode))
    size = 5 * RATE // 2
    with connect(tunnel.port, 20) as user:
        began = time.monotonic()
        user.sendall(bytes(size))
        user.shutdown(socket.SHUT_WR)
        answer = user.recv(100)
    took = time.monotonic() - began
    assert answer == b"%d" % size
    assert abs(took / ((size - BURST) / RATE) - 1) < 0.15


@pytest.mark.parametrize("mode", ["client", "server"])
def test_all_users_and_directions_share_one_limit(world: World, mode: str) -> None:
    tunnel = world.tunnel(world.service().port, proxy_extra=limited(mode))
    rates: list[float] = []

    def send(user: socket.socket) -> None:
        with contextlib.suppress(OSError):
            user.sendall(bytes(4 * RATE))

    def use() -> None:
        with connect(tunnel.port, 20) as user:
            sender = threading.Thread(target=send, args=(user,))
            sender.start()
            rates.append(receive_for(user, 2, 1 << 17)[0])
            user.shutdown(socket.SHUT_RDWR)
            sender.join()

    began = time.monotonic()
    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    # An echo costs twice; what the full bucket gave at first is in the figures too.
    most = (RATE * took + BURST) / 2 / took
    assert len(rates) == 2
    assert 0.5 * most < sum(rates) < 1.15 * most
    assert min(rates) > 0.5 * max(rates)  # neither starves


@pytest.mark.parametrize("mode", ["client", "server"])
def test_users_who_stay_for_a_moment_are_limited_too(world: World, mode: str) -> None:
    tunnel = world.tunnel(world.service().port, proxy_extra=limited(mode, rate="200KB"))
    began = time.monotonic()
    end = began + 1.5
    moved: list[int] = []

    def come_and_go() -> None:
        while time.monotonic() < end:
            moved.append(2 * len(exchange(tunnel.port, bytes(2000))))

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = 200 * 1024
    assert rate * 0.7 < sum(moved) - rate < rate * (time.monotonic() - began) * 1.1
    began = time.monotonic()
    assert exchange(tunnel.port, bytes(20_000)) == bytes(20_000)
    assert time.monotonic() - began < 1  # who comes later doesn't pay for them


def test_a_slow_user_of_a_limited_proxy_costs_no_memory(world: World) -> None:
    tunnel = world.tunnel(world.service(pour).port, proxy_extra=limited("server", rate="100KB"))
    users = [connect(tunnel.port) for _ in range(40)]
    time.sleep(1.5)
    for program in (tunnel.server, tunnel.client):
        assert program.figures.rss < 80
    for user in users:
        user.close()


def test_a_limit_that_makes_no_sense(world: World) -> None:
    _, server_port = world.frps()
    port = free_port()
    frpc = world.frpc(server_port, "", proxy("it", world.service().port, port, limited("server", rate="0KB")))
    frpc.wait_for("[it] start proxy success")
    with connect(port) as user:
        user.sendall(bytes(1 << 20))
        assert len(receive_exactly(user, 1 << 20)) == 1 << 20


@pytest.mark.parametrize("mode", ["client", "server"])
def test_users_who_break_off_leave_nothing_behind(world: World, mode: str) -> None:
    service = world.service(pour)
    tunnel = world.tunnel(service.port, proxy_extra=limited(mode, ENCRYPTED, rate="200KB"))
    works = [program.figures.descriptors for program in (tunnel.server, tunnel.client)]
    users = [connect(tunnel.port) for _ in range(20)]
    for user in users:
        assert user.recv(100)
    for user in users:
        reset(user)
    eventually(lambda: service.open == 0, "the service is rid of all")
    eventually(lambda: [p.figures.descriptors for p in (tunnel.server, tunnel.client)] == works, "no descriptor is left")
