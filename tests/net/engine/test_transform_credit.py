"""Ends whose bytes are changed: every byte received is credited once, in the size in which it came, whoever is slow."""

from __future__ import annotations

import pytest
import trio

from frp_py.net.engine.ends import End
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.stream import EndStream, Holder
from frp_py.net.engine.transform import TransformedEnd, wrapped
from frp_py.protocol.cipher import Encryptor
from frp_py.protocol.snappy import Compressor
from frp_py.protocol.yamux import BLOCKED, Session
from tests.support.net import Link, noise, quiet, running_engine, tcp_pair, until

KEY, OTHER_KEY = b"k" * 16, b"o" * 16


class Inner:
    """An end that does as it is told."""

    def __init__(self) -> None:
        self.sink: object = None
        self.owner: object = None
        self.keeps = 0  # of what it is fed from now on
        self.kept = 0
        self.credited: list[int] = []
        self.calls: list[str] = []

    def feed(self, data: memoryview) -> int:
        kept = min(self.keeps, len(data))
        self.keeps -= kept
        self.kept += kept
        return kept

    def drain(self, n: int) -> None:
        self.kept -= n
        self.owner.drained(self, n)  # type: ignore[attr-defined]

    def consumed(self, n: int) -> None:
        self.credited.append(n)

    def __getattr__(self, name: str) -> object:
        return lambda: self.calls.append(name)


class Outer:
    """Sink and owner."""

    def __init__(self) -> None:
        self.kept = 0
        self.keeps = False
        self.data = bytearray()
        self.events: list[object] = []

    def feed(self, data: memoryview) -> int:
        self.data += data
        return len(data) if self.keeps else 0

    def broke(self, end: End, reason: str) -> None:
        self.events.append(f"broke: {reason}")

    def drained(self, end: End, n: int) -> None:
        self.events.append(n)


def made() -> tuple[TransformedEnd, Inner, Outer]:
    inner, outer = Inner(), Outer()
    engine = Engine()
    holder = Holder(engine)
    holder.end = inner  # type: ignore[assignment]
    end = wrapped(engine, holder, key=KEY, compress=True)
    assert isinstance(end, TransformedEnd)
    end.sink, end.owner = outer, outer  # type: ignore[assignment]
    return end, inner, outer


def secret(data: bytes) -> bytes:
    """What `data` is on the wire."""
    return Encryptor(KEY, bytes(16)).update(Compressor().update(data))


def feed(inner: Inner, data: bytes) -> int:
    return inner.sink.feed(memoryview(data))  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 100, 10_000])
async def test_any_cut_is_undone(cut: int) -> None:
    end, inner, outer = made()
    data = noise(3000)
    wire = secret(data)
    assert [feed(inner, wire[at : at + cut]) for at in range(0, len(wire), cut)] == [0] * -(-len(wire) // cut)
    assert outer.data == data
    assert end.received_total == len(data)
    assert inner.credited == []  # the answers have said it


async def test_what_the_sink_keeps_is_credited_when_it_is_gone_as_it_came() -> None:
    end, inner, outer = made()
    wire = secret(noise(10_000) + bytes(50_000))
    outer.keeps = True
    assert feed(inner, wire[:16]) == 0  # nothing of it is for the sink
    assert feed(inner, wire[16:]) == len(wire) - 16
    assert inner.sink.kept == 60_000  # type: ignore[attr-defined]
    assert inner.sink.pull(lambda room: pytest.fail("the sink keeps something")) == BLOCKED  # type: ignore[attr-defined]
    end.consumed(59_999)
    assert inner.credited == []
    end.consumed(1)
    assert inner.credited == [len(wire) - 16]
    end.consumed(0)
    assert sum(inner.credited) == len(wire) - 16


async def test_what_the_inner_end_keeps_is_told_as_what_it_was() -> None:
    end, inner, outer = made()
    inner.keeps = 100
    assert end.feed(memoryview(noise(5000))) == 5000
    assert end.feed(memoryview(noise(70))) == 0  # taken and sent behind it: that is the inner end's affair
    assert end.kept == 100
    assert end.pull(lambda room: pytest.fail("older bytes go first")) == BLOCKED
    inner.drain(60)
    assert outer.events == []
    inner.drain(40)
    inner.drain(0)
    assert outer.events == [5000, 0]


async def test_what_cannot_be_undone_breaks_both_sides_once() -> None:
    end, inner, outer = made()
    assert feed(inner, noise(5000)) == 0
    assert [str(event)[:13] for event in outer.events] == ["broke: snappy"]
    assert inner.calls == ["abort"]
    feed(inner, noise(5000))
    inner.owner.broke(inner, "again")  # type: ignore[attr-defined]
    assert len(outer.events) == 1
    assert outer.data == b""
    assert end.received_total == 0


@pytest.mark.parametrize("compress", [False, True])
async def test_two_links_joined_with_other_keys_give_their_windows_back_whole(compress: bool) -> None:
    """Stream to stream, as the server joins visitors."""
    async with running_engine() as engine:
        holders: list[Holder] = []

        def hold(link: MuxLink, session: Session, stream_id: int) -> MuxEnd:
            holder = Holder(engine)
            holder.end = end = MuxEnd(session, stream_id, link, holder, holder)
            holders.append(holder)
            return end

        links = [Link(engine, tcp_pair(16384), on_open=hold) for _ in range(2)]
        outside = []
        for link, key in zip(links, (KEY, OTHER_KEY), strict=True):
            holder = Holder(engine)
            holder.end = link.client.open(holder, holder)
            stream = EndStream(engine).attach(wrapped(engine, holder, key=key, compress=compress))
            await stream.send_all(b"!")
            outside.append(stream)
            await until(lambda: len(holders) == len(outside))
        ends = [wrapped(engine, holder, key=key, compress=compress) for holder, key in zip(holders, (KEY, OTHER_KEY), strict=True)]
        relay = Relay(engine, ends[0], ends[1], half_close=True)
        for holder in holders:
            holder.hand_over()
        relay.start()
        for stream in outside:
            assert await stream.receive_some(1) == b"!"
        data = noise(3_000_000)
        got = bytearray()

        async def receive() -> None:
            while len(got) < len(data):
                got.extend(await outside[1].receive_some(100_000))
                if len(got) < 1_000_000:
                    await trio.sleep(0.001)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outside[0].send_all, data)
                nursery.start_soon(receive)
        assert got == data
        await quiet(engine)
        for link in links:
            for side in (link.client, link.server):
                for each in side.session.streams.values():
                    assert each.recv_window + each._owed == each._window
            link.close()


def test_a_sink_that_says_consumed_within_its_feed_is_credited() -> None:
    inner = Inner()

    class Eager(Outer):
        """Keeps all it is fed, and is rid of it at once."""

        def feed(self, data: memoryview) -> int:
            end.consumed(len(data))
            return len(data)

    eager = Eager()
    end = TransformedEnd(Engine(), inner, (), (), eager, eager)  # type: ignore[arg-type]
    passed_on = inner.sink.feed  # type: ignore[attr-defined]
    for size in (3, 5, 7):
        assert passed_on(memoryview(bytes(size))) == size  # reported as kept, because the credit has been given already
    assert inner.credited == [3, 5, 7]
