"""Ends as trio streams: trio's own conformance checks over everything that can be below, and what a holder hands over."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import trio
import trio.testing

from frp_py.net.engine.ends import Drop, End, SocketEnd, socket_end
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import EndStream, Holder
from frp_py.net.engine.transform import TransformedEnd, wrapped
from frp_py.protocol.yamux import Session
from tests.support.net import Link, Peer, noise, quiet, running_engine, tcp_pair, tls_pair, until

Pair = Callable[..., tuple[socket.socket, socket.socket]]
kinds = pytest.mark.parametrize("pair", [tcp_pair, tls_pair], ids=["tcp", "tls"])


async def clogged(pair: tuple[EndStream, EndStream]) -> tuple[EndStream, EndStream]:
    """Neither side can send any more: so much waits that no system buffer takes it."""
    data = noise(1 << 20) * 8
    for each in pair:
        with trio.move_on_after(0.01):
            await each.send_all(data)
    return pair


@kinds
async def test_a_mux_stream_conforms(pair: Pair) -> None:
    async with running_engine() as engine:
        link = Link(engine, pair())

        async def make() -> tuple[EndStream, EndStream]:
            return await link.streams()

        async def make_clogged() -> tuple[EndStream, EndStream]:
            return await clogged(await link.streams())

        await trio.testing.check_half_closeable_stream(make, make_clogged)
        assert link.client.is_open
        link.close()


@kinds
async def test_a_socket_conforms(pair: Pair) -> None:
    async with running_engine() as engine:

        def streams() -> tuple[EndStream, EndStream]:
            made = []
            for sock in pair():
                stream = EndStream(engine)
                made.append(stream.attach(socket_end(engine, sock, stream, stream)))
            return made[0], made[1]

        async def make() -> tuple[EndStream, EndStream]:
            return streams()

        async def make_clogged() -> tuple[EndStream, EndStream]:
            return await clogged(streams())

        await trio.testing.check_half_closeable_stream(make, make_clogged)


def changed(engine: Engine, end: End, holder: Holder) -> EndStream:
    """A stream over the held end, encrypted and compressed."""
    holder.end = end
    stream = EndStream(engine)
    outer = wrapped(engine, holder, key=b"k" * 16, compress=True)
    assert isinstance(outer, TransformedEnd)
    return stream.attach(outer)


@kinds
async def test_a_changed_socket_conforms(pair: Pair) -> None:
    async with running_engine() as engine:

        def streams() -> tuple[EndStream, EndStream]:
            made = []
            for sock in pair():
                holder = Holder(engine)
                made.append(changed(engine, socket_end(engine, sock, holder, holder), holder))
            return made[0], made[1]

        async def make() -> tuple[EndStream, EndStream]:
            return streams()

        async def make_clogged() -> tuple[EndStream, EndStream]:
            return await clogged(streams())

        await trio.testing.check_half_closeable_stream(make, make_clogged)


@kinds
async def test_a_changed_mux_stream_conforms(pair: Pair) -> None:
    async with running_engine() as engine:
        accepted: list[EndStream] = []

        def accept(link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
            holder = Holder(engine)
            end = MuxEnd(session, stream_id, link, holder, holder)
            accepted.append(changed(engine, end, holder))
            return end

        link = Link(engine, pair(), on_open=accept)

        async def make() -> tuple[EndStream, EndStream]:
            holder = Holder(engine)
            ours = changed(engine, link.client.open(holder, holder), holder)
            await ours.send_all(b"!")
            await until(lambda: accepted)
            theirs = accepted.pop()
            assert await theirs.receive_some(1) == b"!"
            return ours, theirs

        async def make_clogged() -> tuple[EndStream, EndStream]:
            return await clogged(await make())

        await trio.testing.check_half_closeable_stream(make, make_clogged)
        link.close()


async def test_a_task_that_does_not_receive_stops_the_sender() -> None:
    async with running_engine() as engine:
        link = Link(engine, tcp_pair())
        ours, theirs = await link.streams()
        with trio.move_on_after(0.1):
            while True:
                await ours.send_all(bytes(50_000))
        assert len(theirs._data) <= 262144
        other, there = await link.streams()
        await other.send_all(b"others go on")
        assert await there.receive_some() == b"others go on"
        a, b = tcp_pair()
        stream = EndStream(engine)
        stream.attach(SocketEnd(engine, a, stream, stream))
        peer = Peer(b)
        with trio.move_on_after(0.05):
            await peer.send(bytes(20_000_000))
        assert 64 * 1024 <= len(stream._data) <= 128 * 1024
        stream.close()
        peer.close()
        link.close()


async def test_what_is_unread_when_a_stream_is_closed_is_told_by_a_reset() -> None:
    async with running_engine() as engine:
        link = Link(engine, tcp_pair())
        ours, theirs = await link.streams()
        await ours.send_all(b"nobody reads this")
        await until(lambda: theirs._data)
        theirs.close()
        with pytest.raises(trio.BrokenResourceError):
            await ours.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await ours.send_all(b"x")
        assert not link.client.session.streams
        assert not link.server.session.streams
        link.close()


async def test_data_goes_before_the_break() -> None:
    async with running_engine() as engine:
        link = Link(engine, tcp_pair())
        ours, theirs = await link.streams()
        await ours.send_all(b"last words")
        await until(lambda: theirs._data)
        link.client.close()
        await until(lambda: link.server.is_open is False)
        assert await theirs.receive_some(4) == b"last"
        assert await theirs.receive_some() == b" words"
        with pytest.raises(trio.BrokenResourceError, match="closed by the other side"):
            await theirs.receive_some()


# holders


class Told(Holder):
    __slots__ = ("told",)

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.told: list[str] = []

    def arrived(self) -> None:
        self.told.append("ended" if self.has_ended else "arrived")

    def lost(self, reason: str) -> None:
        self.told.append("lost")


@kinds
async def test_a_holder_takes_no_more_than_its_limit_from_a_socket_and_hands_all_over(pair: Pair) -> None:
    async with running_engine() as engine:
        a, b = pair()
        holder = Told(engine)
        holder.end = socket_end(engine, a, holder, holder)
        holder.end.start()
        peer = Peer(b)
        data = noise(500_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, data)
            await until(lambda: holder.kept >= Holder.LIMIT)
            await quiet(engine)
            assert holder.kept < 2 * Holder.LIMIT
            holder.used(10)
            stream = EndStream(engine).take_over(holder)
            got = bytearray(data[:10])
            while len(got) < len(data):
                got += await stream.receive_some()
            assert got == data
        peer.finish()
        assert await stream.receive_some() == b""
        stream.close()
        peer.close()


async def test_a_holder_hands_over_bytes_and_end_in_this_order_and_credits_them_once() -> None:
    async with running_engine() as engine:
        held: list[Told] = []

        def hold(link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
            holder = Told(engine)
            holder.end = end = MuxEnd(session, stream_id, link, holder, holder)
            held.append(holder)
            return end

        link = Link(engine, tcp_pair(), on_open=hold)
        ours = link.open()
        await ours.send_all(bytes(100_000))
        await ours.send_eof()
        await until(lambda: held and held[0].has_ended)
        (holder,) = held
        end = holder.end
        assert isinstance(end, MuxEnd)
        assert holder.told[-1] == "ended"
        assert end.recv_window == 162_144
        assert end._owed == 0
        heard: list[object] = []

        class Joined(Drop):
            def feed(self, data: memoryview) -> int:
                heard.append(bytes(data))
                return 40_000

            def ended(self, end: End) -> None:
                heard.append(end)

        joined = Joined(engine)
        end.sink, end.owner = joined, joined  # type: ignore[assignment]
        holder.hand_over()
        assert heard == [bytes(100_000), end]
        assert end._owed == 60_000
        end.consumed(40_000)
        assert end._owed == 100_000
        assert holder.kept == 0
        link.close()


async def test_a_holder_knows_that_its_end_is_lost() -> None:
    async with running_engine() as engine:
        a, b = tcp_pair()
        holder = Told(engine)
        holder.end = SocketEnd(engine, a, holder, holder)
        holder.end.start()
        Peer(b).reset()
        await until(lambda: holder.is_lost)
        assert holder.told == ["lost"]
        stream = EndStream(engine).take_over(holder)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        stream.close()


@kinds
async def test_a_send_that_was_cancelled_does_not_pass_for_the_whole(pair: Pair) -> None:
    async with running_engine() as engine:
        link = Link(engine, pair())
        ours, theirs = await link.streams()
        with trio.move_on_after(0.01):
            await ours.send_all(bytes(10_000_000))
        assert ours.end.kept
        await ours.aclose()
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012
            while True:
                assert await theirs.receive_some()
        theirs.close()
        link.close()
