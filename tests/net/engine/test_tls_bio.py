from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing
import trustme

from frp_py.net.engine.ends import Drop, End, SocketEnd
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.stream import EndStream, Holder
from frp_py.net.engine.tls_bio import TlsOverEnd
from tests.support.net import Link, noise, running_engine, tcp_pair, until
from tests.support.openssl import KeyChanger


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("here.example").configure_cert(server)
    server.num_tickets = 0  # which a side that closes at once would leave unread, and so reset the connection
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


@cache
def only_12() -> ssl.SSLContext:
    authority = trustme.CA()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return client


def over(engine: Engine, inner: Any, *, server_side: bool, client: ssl.SSLContext | None = None, name: str = "here.example") -> EndStream:
    stream = EndStream(engine)
    context = contexts()[0] if server_side else client or contexts()[1]
    end = TlsOverEnd(engine, inner, context, stream, stream, server_side=server_side, server_name=None if server_side else name)
    return stream.attach(end)


@asynccontextmanager
async def socket_streams(**options: Any) -> AsyncIterator[tuple[EndStream, EndStream]]:
    async with running_engine() as engine:
        a, b = tcp_pair()
        nobody = EndStream(engine)
        yield (
            over(engine, SocketEnd(engine, a, nobody, nobody), server_side=False, **options),
            over(engine, SocketEnd(engine, b, nobody, nobody), server_side=True),
        )


async def pairs_over(engine: Engine, kind: str) -> tuple[EndStream, EndStream]:
    a, b = tcp_pair()
    nobody = EndStream(engine)
    if kind == "socket":
        near: Any = SocketEnd(engine, a, nobody, nobody)
        far: Any = SocketEnd(engine, b, nobody, nobody)
    else:
        streams = await Link(engine, (a, b)).streams()
        near, far = streams[0].end, streams[1].end
    return over(engine, near, server_side=False), over(engine, far, server_side=True)


@pytest.mark.parametrize("kind", ["socket", "link"])
async def test_trio_finds_it_a_stream_with_half_close(kind: str) -> None:
    async with running_engine() as engine:

        async def pair() -> tuple[EndStream, EndStream]:
            return await pairs_over(engine, kind)

        await trio.testing.check_half_closeable_stream(pair, None)


@pytest.mark.parametrize("older", [False, True])
async def test_much_goes_both_ways_at_once(older: bool) -> None:
    data = noise(3_000_000)
    async with socket_streams(client=only_12() if older else None) as (near, far), trio.open_nursery() as nursery:
        got = {"near": bytearray(), "far": bytearray()}

        async def receive(stream: EndStream, what: str) -> None:
            while piece := await stream.receive_some():
                got[what] += piece

        async def send(stream: EndStream) -> None:
            await stream.send_all(data)
            await stream.send_eof()

        for stream, what in ((near, "near"), (far, "far")):
            nursery.start_soon(receive, stream, what)
            nursery.start_soon(send, stream)
    assert got == {"near": data, "far": data}


async def test_whoever_does_not_read_stops_the_one_who_sends_to_him() -> None:
    async with socket_streams() as (near, far):
        with trio.move_on_after(0.3) as scope:
            while True:
                await near.send_all(bytes(100_000))
        assert scope.cancelled_caught
        assert far.kept <= 128 * 1024
        far.close()
        near.close()


async def test_close_says_close_notify_and_an_end_without_it_is_an_end_too() -> None:
    async with running_engine() as engine:
        a, b = tcp_pair()
        nobody = EndStream(engine)
        far = over(engine, SocketEnd(engine, b, nobody, nobody), server_side=True)
        client = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(a)), contexts()[1], server_hostname="here.example", https_compatible=False
        )
        await client.send_all(b"x")
        assert await far.receive_some() == b"x"
        await far.send_all(b"bye")
        await far.aclose()
        assert await client.receive_some() == b"bye"
        assert await client.receive_some() == b""  # strict: it raises when close_notify is missing
        await trio.aclose_forcefully(client)


async def test_a_user_that_is_cut_off_without_close_notify_has_ended() -> None:
    async with socket_streams() as (near, far):
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        assert isinstance(near.end, TlsOverEnd)
        near.end._inner.close()
        assert await far.receive_some() == b""


async def test_half_close_keeps_the_bytes_that_are_still_to_come() -> None:
    async with socket_streams() as (near, far):
        await near.send_all(b"question")
        assert await far.receive_some() == b"question"
        far.end.feed(memoryview(bytes(50_000)))  # on its way when `near` says its end
        await near.send_eof()
        await far.send_all(b"answer")
        got = bytearray()
        while len(got) < 50_006:
            got += await near.receive_some()
        assert got[-6:] == b"answer"
        assert await far.receive_some() == b""


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"GET / HTTP/1.1\r\n\r\n", "http request"), (b"\x16\x03\x01\x00\x05hello", ""), (noise(2000).replace(b"\x16", b"x"), "")],
)
async def test_what_is_not_tls_ends_the_connection(sent: bytes, reason: str) -> None:
    async with running_engine() as engine:
        a, b = tcp_pair()
        nobody = EndStream(engine)
        far = over(engine, SocketEnd(engine, b, nobody, nobody), server_side=True)
        user = trio.SocketStream(trio.socket.from_stdlib_socket(a))
        await user.send_all(sent)
        with pytest.raises(trio.BrokenResourceError, match=f"tls: .*{reason}"):
            await far.receive_some()
        with trio.fail_after(2):
            try:
                while await user.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await user.aclose()


async def test_the_end_during_the_handshake_is_a_loss() -> None:
    async with running_engine() as engine:
        a, b = tcp_pair()
        nobody = EndStream(engine)
        far = over(engine, SocketEnd(engine, b, nobody, nobody), server_side=True)
        a.close()
        with pytest.raises(trio.BrokenResourceError, match="closed during the TLS handshake"):
            await far.receive_some()


async def test_a_wrong_name_is_refused_by_the_client() -> None:
    async with socket_streams(name="elsewhere.example") as (near, far):
        with pytest.raises(trio.BrokenResourceError, match="certificate verify failed"):
            await near.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


async def test_a_relay_joins_it_after_the_handshake() -> None:
    async with running_engine() as engine:
        user_side, b = tcp_pair()
        local, c = tcp_pair()
        nobody = Drop(engine)

        class Waiting(Holder):
            __slots__ = ()

        holder = Waiting(engine)
        ready: list[bool] = []
        inner = SocketEnd(engine, b, nobody, holder)
        end = TlsOverEnd(engine, inner, contexts()[0], holder, holder, server_side=True, on_ready=lambda: ready.append(True))
        holder.end = end
        end.start()
        user = trio.SSLStream(
            trio.SocketStream(trio.socket.from_stdlib_socket(user_side)),
            contexts()[1],
            server_hostname="here.example",
            https_compatible=True,
        )
        await user.do_handshake()
        await user.send_all(b"early")
        await until(lambda: holder.data)
        assert ready == [True]
        done: list[Relay] = []
        relay = Relay(engine, SocketEnd(engine, c, nobody, holder), end, half_close=True, on_done=done.append)
        holder.hand_over()
        relay.start()
        service = trio.SocketStream(trio.socket.from_stdlib_socket(local))
        assert await service.receive_some() == b"early"
        big = noise(1_000_000)
        got = bytearray()

        async def read() -> None:
            while piece := await user.receive_some():
                got.extend(piece)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await service.send_all(big)
            await service.send_eof()
        assert got == big
        await user.aclose()
        with trio.fail_after(5):
            assert await service.receive_some() == b""
        await service.aclose()
        await until(lambda: done)


class Below:
    """An end that takes down what is done to it, and lets a test say what comes from it."""

    kept = 0
    received_total = sent_total = 0

    def __init__(self) -> None:
        self.sink: Any = None
        self.owner: Any = None
        self.out = bytearray()
        self.gone = 0

    def feed(self, data: memoryview) -> int:
        self.out += data
        return 0

    def consumed(self, n: int) -> None:
        self.gone += n

    def __getattr__(self, name: str) -> Any:
        return lambda: None


class Sipping:
    """A sink that keeps what it gets, and drinks it now or later, by its choice."""

    def __init__(self, random: Random) -> None:
        self.end: TlsOverEnd
        self.random = random
        self.got = bytearray()
        self.kept = 0
        self.over = False

    def feed(self, data: memoryview) -> int:
        self.got += data
        how = self.random.randrange(3)
        if how == 0:
            return 0
        self.kept += len(data)
        if how == 1:
            self.drink(self.random.randint(0, self.kept))
        return len(data)

    def drink(self, n: int) -> None:
        self.kept -= n
        self.end.consumed(n)

    def ended(self, end: End) -> None:
        assert not self.over
        self.over = True

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.mark.parametrize("seed", range(30))
def test_what_came_is_credited_once_however_it_is_cut_and_kept(seed: int) -> None:
    random = Random(seed)
    below, sink = Below(), Sipping(random)
    engine: Any = SimpleNamespace(scratch=memoryview(bytearray(1 << 18)), soon=None)
    end = sink.end = TlsOverEnd(engine, cast(Any, below), contexts()[0], cast(Any, sink), cast(Any, sink), server_side=True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    user = contexts()[1].wrap_bio(incoming, outgoing, server_hostname="here.example")
    end.start()
    fed = kept = 0
    plain = noise(300_000, seed)
    said = 0
    shaken = False
    while not sink.over:
        if below.out:
            incoming.write(bytes(below.out))
            below.out.clear()
        if not shaken:
            try:
                user.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                pass
        elif said < len(plain):
            said += user.write(plain[said : said + random.randint(1, 60_000)])
        elif said == len(plain):
            said += 1
            with pytest.raises(ssl.SSLWantReadError):
                user.unwrap()
        data = outgoing.read(random.choice((1, 7, 500, 20_000, 100_000)))
        if data:
            fed += len(data)
            kept += below.sink.feed(memoryview(data))
            assert kept - below.gone <= fed
        if sink.kept and random.randrange(2):
            sink.drink(random.randint(1, sink.kept))
    if sink.kept:
        sink.drink(sink.kept)
    assert sink.got == plain
    assert below.gone == kept


async def test_pause_and_start() -> None:
    async with socket_streams() as (near, far):
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        far.end.pause()
        await near.send_all(b"y")
        await trio.sleep(0.02)
        assert far.kept == 0
        far.end.start()
        assert await far.receive_some() == b"y"


async def test_records_that_carry_nothing_are_looked_at_piece_by_piece_and_not_for_ever() -> None:
    """OpenSSL undoes all that it is given in one call; a flood of changes of keys would keep the program busy that long."""
    async with running_engine() as engine:
        a, b = tcp_pair()
        nobody = EndStream(engine)
        far = over(engine, SocketEnd(engine, b, nobody, nobody), server_side=True)
        assert isinstance(far.end, TlsOverEnd)
        client = KeyChanger()
        done, said = client.shake_hands(b"")
        raw = trio.socket.from_stdlib_socket(a)
        while not done:
            await raw.send(said)
            done, said = client.shake_hands(await raw.recv(1 << 16))
        await raw.send(said + client.changes(2000) + client.data(b"data"))
        assert await far.receive_some() == b"data"
        seen = []
        incoming = far.end._incoming

        class Counting:
            pending = property(lambda self: incoming.pending)

            def write(self, data: bytes) -> int:
                seen.append(len(data))
                return incoming.write(data)

        far.end._incoming = cast("Any", Counting())
        with contextlib.suppress(trio.BrokenResourceError):
            await trio.SocketStream(raw).send_all(client.changes(10_000))
        with pytest.raises(trio.BrokenResourceError, match="TLS records that carry nothing"):
            await far.receive_some()
        assert max(seen) <= 16384
        assert 64 * 1024 < sum(seen) < 96 * 1024
        client.close()
        raw.close()
