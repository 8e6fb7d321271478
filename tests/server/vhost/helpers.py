"""A vhost between users and services that are sockets of the test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from frp_py.config import ServerConfig
from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import Holder
from frp_py.protocol.messages import NewProxy
from frp_py.protocol.wire import WIRES
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.vhost.http import HttpVhost
from frp_py.server.vhost.sites import Site

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
H2_GET = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + b"\0\0\x0b\1\5\0\0\0\1\x82\x84\x86\1\6a.test"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"


class Client:
    """Stands for a client: hands out socket pairs as work connections, or none."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.services: list[socket.socket] = []
        self.waiters: list[Any] = []
        self.gives = True

    def want(self, waiter: Any) -> None:
        if not self.gives:
            self.waiters.append(waiter)
            return
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.services.append(far)
        holder = Holder(self.engine)
        holder.end = SocketEnd(self.engine, near, holder, holder)
        assert waiter.serve(holder)

    def leave(self, waiter: Any) -> None:
        self.waiters.remove(waiter)


class Proxy:
    """As much of a proxy as the vhost uses."""

    def __init__(self, client: Client) -> None:
        self.name = "it"
        self.wish = NewProxy("it", "http")
        self.control = SimpleNamespace(
            work=client, wire=WIRES["v1"], half_close=True, server=SimpleNamespace(users=set()), engine=client.engine
        )
        self.connections = 0
        self.traffic = (0, 0)

    def application_end(self, work: Holder) -> Any:
        return work.end

    def count_open(self) -> None:
        self.connections += 1

    def count_closed(self) -> None:
        self.connections -= 1

    def count(self, to_client: int, to_user: int) -> None:
        self.traffic = (self.traffic[0] + to_client, self.traffic[1] + to_user)


class Setting:
    def __init__(self, engine: Engine, timeout: int) -> None:
        self.engine = engine
        self.vhost = HttpVhost(engine, ServerConfig(vhost_http_timeout=timeout))
        self.client = Client(engine)
        self.proxy = Proxy(self.client)
        self.site = Site(cast(PublicProxy, self.proxy), None, lambda: None)
        self.site.admit(cast(PublicProxy, self.proxy))
        self.vhost.routes.add("a.test", "", "", self.site)
        self.vhost.sites[self.site] = None
        self.users: list[socket.socket] = []

    def user(self) -> socket.socket:
        user, accepted = socket.socketpair()
        user.setblocking(False)
        accepted.setblocking(False)
        self.vhost.on_connection(accepted, ("1.2.3.4", 5))
        self.users.append(user)
        return user


@asynccontextmanager
async def setting(timeout: int = 60) -> AsyncIterator[Setting]:
    engine = Engine()
    async with engine.running():
        it = Setting(engine, timeout)
        try:
            yield it
        finally:
            it.vhost.close()
            it.site.drop(cast(PublicProxy, it.proxy))
            for sock in it.users + it.client.services:
                sock.close()


async def receive(sock: socket.socket) -> bytes:
    await trio.lowlevel.wait_readable(sock)
    return sock.recv(1 << 16)


async def requested(service: socket.socket) -> bytes:
    """The next request, without what came before the first one."""
    return (await receive(service)).rpartition(b"}")[2]


def hosts_asked_for(vhost: HttpVhost, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with each request for which a route is looked up."""
    asked: list[str] = []
    find = vhost.routes.find

    def seen(host: str, path: str, user: str) -> Site | None:
        asked.append(host)
        return find(host, path, user)

    monkeypatch.setattr(vhost.routes, "find", seen)
    return asked
