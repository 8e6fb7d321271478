"""Connections and bytes are counted for each proxy and each client, and the figures add up."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from frp_py.client.app import Client
from frp_py.config import client_from_dict, server_from_dict
from frp_py.server.app import Server
from frp_py.server.control import Control
from frp_py.server.proxies.base import PublicProxy
from tests.support.ports import free_port
from tests.support.programs import HOST

TUNNEL = {"useEncryption": True, "useCompression": True}


async def answer_twice(stream: trio.SocketStream) -> None:
    """Sends back twice as much as comes, then ends."""
    async for data in stream:
        await stream.send_all(data + data)
    await stream.send_eof()


def traffic(proxy: PublicProxy) -> tuple[int, int]:
    return proxy.record.traffic_in, proxy.record.traffic_out


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.01)


@asynccontextmanager
async def tunnel(proxies: Callable[[int], list[dict[str, Any]]], **settings: object) -> AsyncIterator[tuple[Server, Control]]:
    """Both programs, and the control of the one client, once all its proxies run; `proxies(port)` have the service at `port`."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer_twice, 0)
        wishes = proxies(listeners[0].socket.getsockname()[1])
        server = Server(server_from_dict({"bindAddr": HOST, "bindPort": free_port(), "auth": {"token": "t"}, **settings}))
        _, port = await nursery.start(server.run)
        client = Client(client_from_dict({"serverAddr": HOST, "serverPort": port, "auth": {"token": "t"}, "proxies": wishes}, environ={}))
        await nursery.start(client.run)
        await until(lambda: len(server.proxies) == len(wishes))
        (control,) = server.controls.all()
        yield server, control
        nursery.cancel_scope.cancel()


async def use(port: int, size: int, before: bytes = b"") -> int:
    """One user who sends `before` and `size` bytes; how many he gets."""
    got = 0
    async with await trio.open_tcp_stream(HOST, port) as stream, trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(before + random.Random(size).randbytes(size))
            await stream.send_eof()

        nursery.start_soon(send)
        async for data in stream:
            got += len(data)
    return got


async def test_each_proxy_and_the_client_that_has_them() -> None:
    mux, ports = free_port(), [free_port(), free_port()]

    def proxies(port: int) -> list[dict[str, Any]]:
        common = {"localPort": port, "localIP": HOST}
        return [
            {"name": "a", "type": "tcp", "remotePort": ports[0], "transport": TUNNEL, **common},
            {"name": "b", "type": "tcp", "remotePort": ports[1], **common},
            {"name": "c", "type": "tcpmux", "multiplexer": "httpconnect", "customDomains": ["c.example"], **common},
        ]

    async with tunnel(proxies, tcpmuxHTTPConnectPort=mux) as (server, control):
        a, b, c = (server.proxies[name] for name in "abc")
        connect = b"CONNECT c.example:1 HTTP/1.1\r\n\r\n"
        answer = len(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        for n in range(3):
            assert await use(ports[0], 100_000 + n) == 200_000 + 2 * n
        assert await use(ports[1], 7) == 14
        assert await use(mux, 1000, connect) == 2000 + answer
        await until(lambda: control.connections == 0)
        assert traffic(a) == (300_003, 600_006)
        assert traffic(b) == (7, 14)
        assert traffic(c) == (1000, 2000)  # without the request to frps, and its answer
        server.statistics.collect(time.time())
        assert (server.statistics.traffic_in, server.statistics.traffic_out) == (301_010, 602_020)


async def test_connections_while_they_last_and_after_their_proxy() -> None:
    port = free_port()
    async with tunnel(lambda local: [{"name": "a", "type": "tcp", "remotePort": port, "localPort": local}]) as (server, control):
        proxy: PublicProxy = server.proxies["a"]
        streams = [await trio.open_tcp_stream(HOST, port) for _ in range(5)]
        for stream in streams:
            await stream.send_all(b"12345")
            assert await stream.receive_some(10) == b"1234512345"
        assert proxy.connections == control.connections == 5
        assert traffic(proxy) == (0, 0)  # counted when a connection ends
        proxy.close()
        for stream in streams[:3]:
            await stream.send_eof()
            assert await stream.receive_some(10) == b""
        await until(lambda: control.connections == 2)
        assert traffic(proxy) == (15, 30)
        for stream in streams:
            await stream.aclose()
        await until(lambda: control.connections == proxy.connections == 0)
        assert traffic(proxy) == (25, 50)
