"""Users who have not said where they want to go: how long, and how many."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.engine.loop import Engine
from frp_py.protocol.messages import NewProxy
from frp_py.server.groups import Group
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.vhost import arrivals
from frp_py.server.vhost.arrivals import Vhost
from frp_py.server.vhost.https import HttpsVhost
from frp_py.server.vhost.tcpmux import TcpmuxVhost

HOST = "127.0.0.1"


class Waiting:
    """Stands for a client's work connections: who wants one waits for ever."""

    def __init__(self) -> None:
        self.waiters: list[Any] = []

    def want(self, waiter: Any) -> None:
        self.waiters.append(waiter)

    def leave(self, waiter: Any) -> None:
        self.waiters.remove(waiter)


def proxy(work: Waiting) -> PublicProxy:
    log = SimpleNamespace(info=lambda *args: None, warning=lambda *args: None)
    return cast(PublicProxy, SimpleNamespace(wish=NewProxy("it"), users_log=log, control=SimpleNamespace(work=work)))


async def user_of(vhost: Vhost) -> socket.socket:
    """A user's socket, whose other side the vhost has."""
    with socket.create_server((HOST, 0)) as listener:
        user = socket.create_connection(listener.getsockname())
        accepted, address = listener.accept()
    accepted.setblocking(False)
    user.setblocking(False)
    vhost.on_connection(accepted, address)
    return user


async def end_of(user: socket.socket) -> bytes:
    """What it was sent before the end."""
    got = b""
    while True:
        await trio.lowlevel.wait_readable(user)
        data = user.recv(1 << 16)
        if not data:
            return got
        got += data


def tcpmux(engine: Engine) -> TcpmuxVhost:
    return TcpmuxVhost(engine, passthrough=False, not_found=lambda log: b"nobody")


async def test_a_silent_user_is_sent_away_after_30_s(autojump_clock: MockClock) -> None:
    engine = Engine()
    async with engine.running():
        for vhost in (HttpsVhost(engine), tcpmux(engine)):
            began = trio.current_time()
            user = await user_of(vhost)
            assert await end_of(user) == b""
            assert 30 <= trio.current_time() - began <= 31.1
            assert not vhost.arrivals
            assert not vhost.deadlines
            user.close()


async def test_one_who_has_said_it_may_wait_longer(autojump_clock: MockClock) -> None:
    engine, work = Engine(), Waiting()
    async with engine.running():
        vhost = tcpmux(engine)
        vhost.routes.add("a.example", "", "", Group(proxy(work)))
        user = await user_of(vhost)
        user.send(b"CONNECT a.example:1 HTTP/1.1\r\n\r\nearly")
        await trio.lowlevel.wait_readable(user)
        assert user.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        await trio.sleep(60)
        assert not vhost.arrivals
        assert not vhost.deadlines
        (visit,) = work.waiters
        assert bytes(visit._held.data) == b"early"
        user.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        user.close()  # with RST: he doesn't wait
        await trio.sleep(1)
        assert work.waiters == []


async def test_the_oldest_makes_room_for_the_newest(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setattr(arrivals, "_LIMIT", 3)
    engine = Engine()
    async with engine.running():
        vhost = tcpmux(engine)
        users = [await user_of(vhost) for _ in range(5)]
        began = trio.current_time()
        for user in users[:2]:
            assert await end_of(user) == b""
        assert trio.current_time() - began < 1
        assert len(vhost.arrivals) == 3
        users[3].send(b"CONNECT b.example:1 HTTP/1.1\r\n\r\n")
        assert await end_of(users[3]) == b"nobody"
        assert len(vhost.arrivals) == len(vhost.deadlines) == 2
        vhost.close()
        for user in (users[2], users[4]):
            assert await end_of(user) == b""
        for user in users:
            user.close()


async def test_what_all_have_sent_is_bounded(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setattr(arrivals, "_MOST_HELD", 1000)
    engine = Engine()
    async with engine.running():
        vhost = tcpmux(engine)
        vhost.routes.add("a.example", "", "", Group(proxy(Waiting())))
        users = [await user_of(vhost) for _ in range(4)]
        for n, user in enumerate(users[:3]):
            user.send(b"CONNECT a.example:1 HTTP/1.1\r\nA: " + bytes([97 + n]) * 300)
            await trio.sleep(0.01)
        assert [arrival.size for arrival in vhost.arrivals] == [333, 333, 333, 0]
        users[3].send(b"CONNECT ")
        assert await end_of(users[0]) == b""
        assert vhost.held == 333 * 2 + 8
        users[1].send(b"\r\n\r\n")
        await trio.lowlevel.wait_readable(users[1])
        assert vhost.held == 333 + 8
        users[2].close()
        users[3].send(b"b" * 1100)
        assert await end_of(users[3]) == b""
        assert vhost.held == 0
        assert not vhost.arrivals
        users[0].close()
        users[1].close()
        users[3].close()


async def test_a_group_that_has_just_gone(autojump_clock: MockClock) -> None:
    engine, work = Engine(), Waiting()
    async with engine.running():
        vhost = tcpmux(engine)
        group = Group(proxy(work))
        group.members.clear()
        vhost.routes.add("a.example", "", "", group)
        user = await user_of(vhost)
        user.send(b"CONNECT a.example:1 HTTP/1.1\r\n\r\n")
        assert await end_of(user) == b"nobody"
        user.close()
