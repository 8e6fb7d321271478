"""Sockets, links and engines for the tests of the data plane."""

from __future__ import annotations

import gc
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from random import Random

import trio

from frp_py.config.common import TlsFiles
from frp_py.log import get_logger
from frp_py.net.engine import loop
from frp_py.net.engine.ends import Drop, SocketEnd, socket_end
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.relay import Lingering, Relay
from frp_py.net.engine.stream import EndStream, Holder
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.net.engine.transform import TransformedEnd, wrapped
from frp_py.net.transports import tls
from frp_py.protocol.yamux import Session, Stream


def tcp_pair(buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Two connected, non-blocking sockets; with `buffer` (bytes) their system buffers are small (for receiving less so: TCP stalls)."""
    with socket.socket() as listener:
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        a = socket.socket()
        if buffer is not None:
            a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * buffer)
        a.connect(listener.getsockname())
        b, _ = listener.accept()
    for each in (a, b):
        each.setblocking(False)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return a, b


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a client that verifies nothing, and a server."""
    return tls.client_context(TlsFiles()), tls.server_context(TlsFiles())


def tls_pair(buffer: int | None = None) -> tuple[TlsSocket, TlsSocket]:
    """Two sockets under TLS, client and server, whose handshakes are done."""
    a, b = tcp_pair(buffer)
    client, server = tls.wrap_client(contexts()[0], a, "test"), tls.wrap_server(contexts()[1], b)
    todo = [client, server]
    while todo:
        for each in todo.copy():
            try:
                each.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            todo.remove(each)
    try:
        client.recv(1)  # the session tickets of TLS 1.3
    except BlockingIOError:
        pass
    return client, server


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait for something that the engine is about to do."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.0005)


async def quiet(engine: Engine, turns: int = 3) -> None:
    """Let the engine do what it can do now."""
    for _ in range(turns):
        engine.soon(lambda: None)
        await trio.sleep(0.002)


@asynccontextmanager
async def running_engine() -> AsyncIterator[Engine]:
    """An engine that doesn't wait long for more events: the peers of the tests are tasks of the same loop."""
    loop._LINGER = 0.0002
    engine = Engine()
    async with engine.running():
        yield engine


class Link:
    """Two links over a pair of sockets, in one engine. What the client opens, `on_open` gets on the other side."""

    def __init__(
        self,
        engine: Engine,
        socks: tuple[socket.socket, socket.socket],
        *,
        half_close: bool = True,
        keepalive: int = 0,
        on_open: Callable[[MuxLink, Session, int], MuxEnd | None] | None = None,
    ) -> None:
        self.engine = engine
        self.accepted: list[EndStream] = []
        self.lost: list[str] = []
        self.client = self.link(socks[0], client=True, keepalive=keepalive, on_open=self.accept)
        self.server = self.link(socks[1], client=False, keepalive=keepalive, on_open=on_open or self.accept)
        self.client.half_close = self.server.half_close = half_close

    def link(
        self, sock: socket.socket, *, client: bool, keepalive: int, on_open: Callable[[MuxLink, Session, int], MuxEnd | None]
    ) -> MuxLink:
        return MuxLink(self.engine, sock, client=client, keepalive=keepalive, log=get_logger(), on_open=on_open, on_lost=self.lost.append)

    def accept(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
        stream = EndStream(self.engine)
        end = MuxEnd(session, stream_id, link, stream, stream)
        self.accepted.append(stream.attach(end))
        return end

    def open(self) -> EndStream:
        stream = EndStream(self.engine)
        return stream.attach(self.client.open(stream, stream))

    async def streams(self) -> tuple[EndStream, EndStream]:
        """Both sides of a new stream."""
        ours = self.open()
        await ours.send_all(b"!")
        await until(lambda: self.accepted)
        theirs = self.accepted.pop()
        assert await theirs.receive_some(1) == b"!"
        return ours, theirs

    def close(self) -> None:
        self.client.close()
        self.server.close()


class Peer:
    """The far side of a socket end: plain trio over a socket, plain or under TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def _do(self, act: Callable[[], int | bytes]) -> int | bytes:
        while True:
            try:
                return act()
            except (ssl.SSLWantReadError, BlockingIOError):
                await trio.lowlevel.wait_readable(self.sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.sock)

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view[: 256 * 1024]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await trio.lowlevel.wait_writable(self.sock)
            await trio.lowlevel.checkpoint()

    def stuff(self) -> int:
        """Send zeros as long as they are taken at once; how many."""
        n = 0
        try:
            while True:
                n += self.sock.send(bytes(65536))
        except (BlockingIOError, ssl.SSLWantWriteError):
            return n

    async def receive(self, n: int = 65536) -> bytes:
        data = await self._do(lambda: self.sock.recv(n))
        assert isinstance(data, bytes)
        return data

    async def receive_exactly(self, n: int) -> bytes:
        data = bytearray()
        while len(data) < n:
            more = await self.receive(min(n - len(data), 1 << 18))
            assert more, f"the end came after {len(data)} of {n} bytes"
            data += more
        return bytes(data)

    async def receive_all(self) -> bytes:
        data = bytearray()
        while more := await self.receive(1 << 18):
            data += more
        return bytes(data)

    def finish(self) -> None:
        socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Tunnel:
    """user - relay - (link | socket) - relay - service: what a connection goes through, in one engine.

    `how` names what is between the relays: "mux", "mux+tls", "tcp", "tls", each with "+changed" for encryption and compression.
    """

    def __init__(self, engine: Engine, how: str, *, half_close: bool, buffer: int | None = None) -> None:
        self.engine = engine
        self.half_close = half_close
        self.changed = "changed" in how
        self.buffer = buffer
        self.done: list[Relay] = []
        self.services: list[Peer] = []
        self.link: Link | None = None
        self.secure = "tls" in how
        if "mux" in how:
            pair = tls_pair(buffer) if self.secure else tcp_pair(buffer)
            self.link = Link(engine, pair, half_close=half_close, on_open=self._accept)

    def _join(self, sock: socket.socket, holder: Holder) -> None:
        nobody = Drop(self.engine)
        local = SocketEnd(self.engine, sock, nobody, holder)
        end = wrapped(self.engine, holder, key=b"k" * 16 if self.changed else None, compress=self.changed)
        relay = Relay(self.engine, local, end, half_close=self.half_close, on_done=self.done.append)
        holder.hand_over()
        relay.start()

    def _accept(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
        holder = Holder(self.engine)
        holder.end = end = MuxEnd(session, stream_id, link, holder, holder)
        self._serve(holder)
        return end

    def _serve(self, holder: Holder) -> None:
        ours, theirs = tcp_pair(self.buffer)
        self.services.append(Peer(theirs))
        self._join(ours, holder)

    async def user(self) -> tuple[Peer, Peer]:
        """A new user, and the service that he was joined to."""
        holder = Holder(self.engine)
        if self.link is not None:
            holder.end = self.link.client.open(holder, holder)
        else:
            a, b = tls_pair(self.buffer) if self.secure else tcp_pair(self.buffer)
            holder.end = socket_end(self.engine, a, holder, holder)
            there = Holder(self.engine)
            there.end = socket_end(self.engine, b, there, there)
            self._serve(there)
        ours, theirs = tcp_pair(self.buffer)
        peer = Peer(theirs)
        await peer.send(b"?")
        self._join(ours, holder)
        await until(lambda: self.services)
        service = self.services.pop()
        assert await service.receive_exactly(1) == b"?"
        return peer, service

    def close(self) -> None:
        if self.link is not None:
            self.link.close()


KINDS = (MuxEnd, SocketEnd, Relay, TransformedEnd, Holder, EndStream, Lingering, Stream, MuxLink, Session, TlsSocket)


def alive(*, collect: bool = True) -> dict[str, int]:
    """How many objects of the data plane there are."""
    if collect:
        gc.collect()
    found: dict[str, int] = {}
    for each in gc.get_objects():
        if isinstance(each, KINDS):
            found[type(each).__name__] = found.get(type(each).__name__, 0) + 1
    return found


def descriptors() -> int:
    """How many are open; what earlier tests have left to the collector isn't counted."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def noise(n: int, seed: int = 1) -> bytes:
    return Random(seed).randbytes(n)
