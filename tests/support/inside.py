"""Servers, clients and hand-made peers in one trio run, over loopback."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

from frp_py import client_from_dict, server_from_dict
from frp_py.client.app import Client
from frp_py.log import get_logger
from frp_py.net.engine import loop
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.listen import Listening, tcp_listener
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import EndStream
from frp_py.net.transports import tls
from frp_py.protocol import wire_v2
from frp_py.protocol.aead import Opener, Sealer
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.cipher import Decryptor, Encryptor, derive_key
from frp_py.protocol.messages import Login, LoginResp, Message, NewProxy, NewProxyResp, NewWorkConn, Ping, ReqWorkConn, StartWorkConn
from frp_py.protocol.wire import WIRES, Wire
from frp_py.protocol.yamux import Session
from frp_py.server.app import Server
from tests.support.net import contexts, until
from tests.support.ports import free_port

HOST = "127.0.0.1"
TOKEN = "a token"

M = TypeVar("M", bound=Message)


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with `changes`, whose keys may have dots."""
    result = {**tree}
    for key, value in changes.items():
        head, dot, rest = key.partition(".")
        result[head] = merged(result.get(head, {}), {rest: value}) if dot else value
    return result


class Lines(logging.Handler):
    """What is logged, down to `debug`."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.warnings: list[str] = []
        self.bugs: list[str] = []
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())
        if record.exc_info:
            self.bugs.append(self.format(record))

    def count(self, text: str) -> int:
        return sum(text in line for line in self.texts)

    def __contains__(self, text: str) -> bool:
        return self.count(text) > 0

    async def wait_for(self, text: str, count: int = 1) -> str:
        """The `count`th line with `text`."""
        await until(lambda: self.count(text) >= count)
        return [line for line in self.texts if text in line][count - 1]


@contextmanager
def logged(*, bugs: int = 0) -> Iterator[Lines]:
    """The lines of the block; a traceback among them, or another number of them than `bugs`, fails the test."""
    logger, lines = logging.getLogger("frp_py"), Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
    assert len(lines.bugs) == bugs, "\n".join(lines.bugs)


class Clock:
    """Jumps, a second at a time, so that everything that is to happen on the way happens; otherwise time is real."""

    def __init__(self, clock: MockClock) -> None:
        clock.rate = 1.0
        self._clock = clock

    async def forward(self, seconds: float) -> None:
        while seconds > 0:
            self._clock.jump(min(seconds, 1.0))
            seconds -= 1.0
            await trio.sleep(0.002)


@contextmanager
def without_linger() -> Iterator[None]:
    """Several engines share a thread here: none of them waits for its next batch, which would keep the others waiting."""
    linger, loop._LINGER = loop._LINGER, 0.0
    try:
        yield
    finally:
        loop._LINGER = linger


@asynccontextmanager
async def running_server(changes: Mapping[str, Any] | None = None) -> AsyncIterator[Server]:
    """A server with a configuration of these keys; what it leaves behind fails the test."""
    config = server_from_dict(merged({"bindAddr": HOST, "bindPort": free_port(), "auth": {"token": TOKEN}}, changes or {}))
    server = Server(config)
    ready = contexts()[1]
    context, tls.server_context = tls.server_context, lambda files: ready  # making a certificate takes its time
    try:
        with without_linger():
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                yield server
                nursery.cancel_scope.cancel()
    finally:
        tls.server_context = context
    nothing_left(server)


def nothing_left(server: Server) -> None:
    """A server that has stopped has given back all it had."""
    assert server.controls.all() == []
    assert server.proxies == {}
    assert server.users == set()
    assert server.callers == set()
    assert server.tcp_ports.in_use == server.udp_ports.in_use == 0
    assert len(server.lobby) == len(server.strangers) == len(server.first_messages) == len(server.user_waits) == 0


@asynccontextmanager
async def running_client(
    server: Server, changes: Mapping[str, Any] | None = None, proxies: list[dict[str, Any]] | None = None
) -> AsyncIterator[Client]:
    """A client of `server` that has logged in."""
    client = Client(frpc_config(server.config.bind_port, changes, proxies))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        yield client
        nursery.cancel_scope.cancel()
    assert client.users == set()


def proxy(name: str, local_port: int, remote_port: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "tcp", "localIP": HOST, "localPort": local_port, "remotePort": remote_port, **more}


class Service:
    """A local service; its connections are in the test's hands."""

    def __init__(self, listener: trio.SocketListener, connections: trio.MemoryReceiveChannel[trio.SocketStream]) -> None:
        self.port: int = listener.socket.getsockname()[1]
        self._connections = connections

    async def accept(self) -> trio.SocketStream:
        with trio.fail_after(5):
            return await self._connections.receive()


@asynccontextmanager
async def service(host: str = HOST, port: int = 0) -> AsyncIterator[Service]:
    send, receive = trio.open_memory_channel[trio.SocketStream](1000)

    async def handler(stream: trio.SocketStream) -> None:
        await send.send(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host=host)
        nursery.start_soon(trio.serve_listeners, handler, listeners)
        yield Service(listeners[0], receive)
        nursery.cancel_scope.cancel()


async def connect(port: int, host: str = HOST) -> trio.SocketStream:
    with trio.fail_after(5):
        return await trio.open_tcp_stream(host, port)


async def receive_exactly(stream: trio.abc.ReceiveStream, n: int) -> bytes:
    data = b""
    with trio.fail_after(5):
        while len(data) < n:
            more = await stream.receive_some(n - len(data))
            assert more, f"the end came after {data!r}"
            data += more
    return data


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the end."""
    data = b""
    with trio.fail_after(5):
        while more := await stream.receive_some(65536):
            data += more
    return data


async def ending(stream: trio.abc.ReceiveStream) -> str:
    """How the stream ends, what comes before that being skipped: "eof" or "reset"."""
    with trio.fail_after(5):
        try:
            while await stream.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            return "reset"
    return "eof"


class Talk:
    """A link connection, message by message; `encrypt` begins what follows a login."""

    def __init__(self, stream: EndStream, wire: Wire) -> None:
        self.stream = stream
        self.wire = wire
        self.data = bytearray()
        self._seal: Callable[[bytes], bytes | bytearray] = bytes
        self._open: Callable[[bytes], bytes | bytearray] = bytes

    def encrypt(self, seal: Any, open_: Any) -> None:
        self._seal, self._open = seal, open_
        self.data[:] = open_(bytes(self.data)) if self.data else b""

    async def send(self, *messages: Message) -> None:
        await self.stream.send_all(self._seal(b"".join(self.wire.pack(message) for message in messages)))

    async def send_raw(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _more(self) -> None:
        with trio.fail_after(5):
            data = await self.stream.receive_some()
        assert data, "the end came where a message was due"
        self.data += self._open(data)

    async def frame(self) -> tuple[int, bytes]:
        """A frame of wire v2."""
        while (taken := wire_v2.take_frame(self.data)) is None:
            await self._more()
        kind, payload, used = taken
        del self.data[:used]
        return kind, payload

    async def receive(self) -> Message:
        while (taken := self.wire.take_message(self.data)) is None:
            await self._more()
        message, used = taken
        del self.data[:used]
        return message

    async def expect(self, kind: type[M]) -> M:
        """The next message of that kind; others are skipped."""
        while True:
            message = await self.receive()
            if isinstance(message, kind):
                return message

    async def ending(self) -> str:
        return await ending(self.stream)


class Peer:
    """The client's side of one transport connection to a server, made by hand; without `features` it is frp's."""

    def __init__(self, engine: Engine, sock: socket.socket, *, mux: bool, wire: str = "v1", half_close: bool = False) -> None:
        self.engine = engine
        self.wire_name = wire
        self.opened_by_server: list[EndStream] = []
        self.lost: list[str] = []
        self.link: MuxLink | None = None
        self._sock = sock
        self._used = False
        self.run_id = ""
        self.control: Talk
        if mux:
            self.link = MuxLink(
                engine, sock, client=True, keepalive=0, log=get_logger("peer"), on_open=self._accept, on_lost=self.lost.append
            )
            self.link.half_close = half_close

    def _accept(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
        stream = EndStream(self.engine)
        end = MuxEnd(session, stream_id, link, stream, stream)
        self.opened_by_server.append(stream.attach(end))
        return end

    def open(self) -> Talk:
        """A new link connection; without multiplexing there is just one."""
        stream = EndStream(self.engine)
        if self.link is not None:
            stream.attach(self.link.open(stream, stream))
        else:
            assert not self._used, "this transport connection is used"
            self._used = True
            stream.attach(socket_end(self.engine, self._sock, stream, stream))
        return Talk(stream, WIRES[self.wire_name])

    def login(self, **changes: Any) -> Login:
        now = int(time.time())
        fields = {"privilege_key": privilege_key(TOKEN, now), "timestamp": now, "version": "0.70.1", "hostname": "h", **changes}
        return Login(**fields)

    async def log_in(self, **changes: Any) -> LoginResp:
        """Log in, with these fields of Login changed."""
        talk, login = self.open(), self.login(**changes)
        self.control = talk
        agreed = None
        if self.wire_name == "v2":
            hello = wire_v2.offer("tcp", tls=False, tcp_mux=self.link is not None, client_random=os.urandom(32))
            await talk.send_raw(wire_v2.MAGIC + wire_v2.pack_frame(wire_v2.CLIENT_HELLO, hello) + wire_v2.pack(login))
            kind, payload = await talk.frame()
            assert kind == wire_v2.SERVER_HELLO
            agreed = wire_v2.accept(hello, payload)
        else:
            await talk.send(login)
        answer = await talk.receive()
        assert isinstance(answer, LoginResp)
        if not answer.error:
            self.run_id = answer.run_id
            if agreed is not None:
                ours, theirs = agreed.keys(TOKEN)
                nonce = os.urandom(12 if agreed.algorithm == "aes-256-gcm" else 24)
                talk.encrypt(Sealer(agreed.algorithm, ours, nonce).update, Opener(agreed.algorithm, theirs).update)
            else:
                key = derive_key(TOKEN)
                talk.encrypt(Encryptor(key, os.urandom(16), light=True).update, Decryptor(key, light=True).update)
        return answer

    async def register(self, name: str, **fields: Any) -> NewProxyResp:
        await self.control.send(NewProxy(proxy_name=name, **fields))
        return await self.control.expect(NewProxyResp)

    async def ping(self, **fields: Any) -> None:
        await self.control.send(Ping(**fields))

    async def work(self, run_id: str | None = None, **fields: Any) -> Talk:
        """A work connection, offered to the server."""
        talk = self.open()
        opening = wire_v2.MAGIC if self.wire_name == "v2" else b""
        await talk.send_raw(opening + talk.wire.pack(NewWorkConn(self.run_id if run_id is None else run_id, **fields)))
        return talk

    def close(self) -> None:
        if self.link is not None:
            self.link.close()
        elif not self._used:
            self._sock.close()
        else:
            self.control.stream.close()


class Peers:
    """Makes peers of one server, in an engine of their own."""

    def __init__(self, engine: Engine, server: Server) -> None:
        self.engine = engine
        self.server = server
        self.made: list[Peer] = []

    async def connect(self, *, wire: str = "v1", half_close: bool = False) -> Peer:
        stream = await connect(self.server.config.bind_port)
        sock = socket.socket(fileno=os.dup(stream.socket.fileno()))
        sock.setblocking(False)
        await stream.aclose()
        peer = Peer(self.engine, sock, mux=self.server.config.transport.tcp_mux, wire=wire, half_close=half_close)
        self.made.append(peer)
        return peer

    async def logged_in(self, *, wire: str = "v1", half_close: bool = False, **login: Any) -> Peer:
        peer = await self.connect(wire=wire, half_close=half_close)
        answer = await peer.log_in(**login)
        assert answer.error == ""
        return peer

    async def work_of(self, peer: Peer, run_id: str | None = None, **fields: Any) -> Talk:
        """A work connection of `peer`'s, on a transport connection of its own where there are no streams."""
        if peer.link is not None:
            return await peer.work(run_id, **fields)
        other = await self.connect(wire=peer.wire_name)
        return await other.work(peer.run_id if run_id is None else run_id, **fields)


@asynccontextmanager
async def peers_of(server: Server) -> AsyncIterator[Peers]:
    engine = Engine()
    async with engine.running():
        peers = Peers(engine, server)
        yield peers
        for peer in peers.made:
            if peer.link is not None:
                peer.link.close()


async def started(talk: Talk) -> StartWorkConn:
    message = await talk.receive()
    assert isinstance(message, StartWorkConn)
    return message


# servers made by hand


class ServerSide:
    """A session of a client with a server made by hand."""

    def __init__(self, frps: Frps, control: Talk, login: Login, link: MuxLink | None) -> None:
        self.control = control
        self.login = login
        self.link = link
        self.offered = NewWorkConn()
        self._frps = frps

    async def work(self) -> Talk:
        """The next work connection that the client opens, behind its first message."""
        talk = await self._frps.next_talk()
        message = await self._frps.first_message(talk)
        assert isinstance(message, NewWorkConn)
        self.offered = message
        return talk

    async def ask(self) -> Talk:
        """A work connection that is asked for."""
        await self.control.send(ReqWorkConn())
        return await self.work()

    def open(self) -> Talk:
        """A stream that the server opens."""
        assert self.link is not None
        stream = EndStream(self._frps.engine)
        return Talk(stream.attach(self.link.open(stream, stream)), self.control.wire)

    async def accept(self, name: str) -> NewProxy:
        """Say yes to the next wish, which must be for `name`."""
        wish = await self.control.expect(NewProxy)
        assert wish.proxy_name == name
        await self.control.send(NewProxyResp(name, ":1"))
        return wish

    def cut(self) -> None:
        """The connection is gone."""
        if self.link is not None:
            self.link.close()
        else:
            self.control.stream.close()


class Frps:
    """A server made by hand. Without `features` in its answers it is frp's."""

    def __init__(self, engine: Engine, *, mux: bool, wire: str, port: int) -> None:
        self.engine = engine
        self.mux = mux
        self.wire_name = wire
        self.links: list[MuxLink] = []
        self.refuses = False
        self._new: list[Talk] = []
        self.listening = Listening(engine, tcp_listener(HOST, port), self._on_connection)
        self.port = self.listening.address[1]

    def _on_connection(self, sock: socket.socket, address: Any) -> None:
        if self.refuses:
            sock.close()
        elif self.mux:
            self.links.append(
                MuxLink(
                    self.engine,
                    sock,
                    client=False,
                    keepalive=0,
                    log=get_logger("frps"),
                    on_open=self._on_stream,
                    on_lost=lambda reason: None,
                )
            )
        else:
            stream = EndStream(self.engine)
            self._new.append(Talk(stream.attach(socket_end(self.engine, sock, stream, stream)), WIRES[self.wire_name]))

    def _on_stream(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
        stream = EndStream(self.engine)
        end = MuxEnd(session, stream_id, link, stream, stream)
        self._new.append(Talk(stream.attach(end), WIRES[self.wire_name]))
        return end

    async def next_talk(self) -> Talk:
        """The next link connection."""
        await until(lambda: self._new)
        return self._new.pop(0)

    async def first_message(self, talk: Talk) -> Message:
        if self.wire_name == "v2":
            talk.data += await receive_exactly(talk.stream, len(wire_v2.MAGIC))
            assert talk.data.startswith(wire_v2.MAGIC)
            del talk.data[: len(wire_v2.MAGIC)]
        return await talk.receive()

    async def session(self, **answer: Any) -> ServerSide:
        """Answer the next login with these fields of LoginResp; without an `error` it succeeds."""
        talk = await self.next_talk()
        agreed: wire_v2.Agreed | None = None
        if self.wire_name == "v2":
            await receive_exactly(talk.stream, len(wire_v2.MAGIC))
            kind, payload = await talk.frame()
            assert kind == wire_v2.CLIENT_HELLO
            hello, result = wire_v2.answer(payload, os.urandom(32))
            assert not isinstance(result, str)
            agreed = result
            await talk.send_raw(wire_v2.pack_frame(wire_v2.SERVER_HELLO, hello))
        login = await talk.receive()
        assert isinstance(login, Login)
        await talk.send(LoginResp(**{"version": "0.70.1", "run_id": login.run_id or "r", **answer}))
        if not answer.get("error"):
            if agreed is not None:
                theirs, ours = agreed.keys(TOKEN)
                nonce = os.urandom(12 if agreed.algorithm == "aes-256-gcm" else 24)
                talk.encrypt(Sealer(agreed.algorithm, ours, nonce).update, Opener(agreed.algorithm, theirs).update)
            else:
                key = derive_key(TOKEN)
                talk.encrypt(Encryptor(key, os.urandom(16), light=True).update, Decryptor(key, light=True).update)
        link = self.links[-1] if self.mux else None
        if link is not None:
            link.half_close = "half-close" in answer.get("features", ())
        return ServerSide(self, talk, login, link)


@asynccontextmanager
async def frps(*, mux: bool = True, wire: str = "v1", port: int = 0) -> AsyncIterator[Frps]:
    engine = Engine()
    with without_linger():
        async with engine.running():
            made = Frps(engine, mux=mux, wire=wire, port=port)
            yield made
            made.listening.close()
            for link in made.links:
                link.close()


def frpc_config(port: int, changes: Mapping[str, Any] | None = None, proxies: list[dict[str, Any]] | None = None) -> Any:
    tree = {"serverAddr": HOST, "serverPort": port, "auth": {"token": TOKEN}, "transport": {"tls": {"enable": False}}}
    return client_from_dict(merged({**tree, "proxies": proxies or []}, changes or {}), environ={})


@asynccontextmanager
async def running_frpc(
    made: Frps, changes: Mapping[str, Any] | None = None, proxies: list[dict[str, Any]] | None = None
) -> AsyncIterator[Client]:
    """A client of a server made by hand; it may not have logged in yet."""
    wants = {"transport.tcpMux": made.mux, "transport.wireProtocol": made.wire_name, **(changes or {})}
    client = Client(frpc_config(made.port, wants, proxies))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()
    assert client.users == set()
