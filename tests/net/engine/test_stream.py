"""Trio's own conformance checks, over everything that can be below an `EndStream`."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from frp_py.log import get_logger
from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import EndStream
from frp_py.protocol.yamux import Session


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
    for each in (a, b):
        each.setblocking(False)
    return a, b


class LinkPair:
    """Two links joined by a socket; `streams()` opens a stream and returns both sides of it."""

    def __init__(self, engine: Engine, a: socket.socket, b: socket.socket, *, half_close: bool = True) -> None:
        self.engine = engine
        self.accepted: list[EndStream] = []
        self.lost: list[str] = []
        self.client = self._link(a, client=True)
        self.server = self._link(b, client=False)
        self.client.half_close = self.server.half_close = half_close

    def _link(self, sock: socket.socket, *, client: bool) -> MuxLink:
        return MuxLink(
            self.engine, sock, client=client, keepalive=0, log=get_logger(), on_open=self._on_open, on_lost=self.lost.append
        )

    def _on_open(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
        stream = EndStream(self.engine)
        end = MuxEnd(session, stream_id, link, stream, stream)
        self.accepted.append(stream.attach(end))
        return end

    async def streams(self) -> tuple[EndStream, EndStream]:
        ours = EndStream(self.engine)
        ours.attach(self.client.open(ours, ours))
        await ours.send_all(b"!")
        while not self.accepted:
            await trio.sleep(0)
        theirs = self.accepted.pop()
        assert await theirs.receive_some(1) == b"!"
        return ours, theirs

    def close(self) -> None:
        self.client.close()
        self.server.close()


@asynccontextmanager
async def running_engine() -> AsyncIterator[Engine]:
    engine = Engine()
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        nursery.cancel_scope.cancel()


async def test_a_mux_stream_conforms() -> None:
    async with running_engine() as engine:
        pair = LinkPair(engine, *tcp_pair())

        async def make() -> tuple[EndStream, EndStream]:
            return await pair.streams()

        async def make_clogged() -> tuple[EndStream, EndStream]:
            ours, theirs = await pair.streams()
            with trio.move_on_after(0.05):
                while True:
                    await ours.send_all(bytes(65536))
            with trio.move_on_after(0.05):
                while True:
                    await theirs.send_all(bytes(65536))
            return ours, theirs

        await trio.testing.check_half_closeable_stream(make, make_clogged)
        pair.close()


async def test_a_socket_conforms() -> None:
    async with running_engine() as engine:

        async def make() -> tuple[EndStream, EndStream]:
            streams = []
            for sock in tcp_pair():
                stream = EndStream(engine)
                streams.append(stream.attach(SocketEnd(engine, sock, stream, stream)))
            return streams[0], streams[1]

        await trio.testing.check_half_closeable_stream(make, None)
