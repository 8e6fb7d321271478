"""What an end under transforms says of the bytes that it keeps: in the figures of those who fed it."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest

from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import Holder
from frp_py.net.engine.transform import TransformedEnd, wrapped
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.snappy import Compressor, Decompressor
from tests.net.engine.test_pace import FakeEnd


class Double:
    """Makes each byte two."""

    def update(self, data: bytes | bytearray | memoryview, /) -> bytes:
        return bytes(byte for byte in bytes(data) for _ in range(2))


class Hide:
    """Takes bytes in and gives none out."""

    def update(self, data: bytes | bytearray | memoryview, /) -> bytes:
        return b""


def between(engine: Engine, keep: Callable[[int], int], *outward: Double | Hide) -> tuple[TransformedEnd, FakeEnd, FakeEnd]:
    inner, outer = FakeEnd(keep), FakeEnd()
    return TransformedEnd(engine, inner, outward, (), outer, outer), inner, outer  # type: ignore[arg-type]


async def test_all_that_was_kept_is_reported_gone_and_in_the_size_it_came_in() -> None:
    end, inner, outer = between(Engine(), lambda n: n // 2, Double())
    assert end.feed(memoryview(b"12345")) == 5
    assert end.feed(memoryview(b"678")) == 3
    first = inner.kept - 1
    inner.kept = 1
    end.drained(inner, first)  # type: ignore[arg-type]
    assert outer.drained_n == 0
    inner.kept = 0
    end.drained(inner, 1)  # type: ignore[arg-type]
    assert outer.drained_n == 8
    assert inner.taken == b"1122334455667788"
    end.drained(inner, 0)  # type: ignore[arg-type]
    assert outer.drained_n == 8
    assert outer.events == ["drained", "drained"]


async def test_what_becomes_nothing_is_not_kept() -> None:
    end, inner, _ = between(Engine(), lambda n: n, Hide())
    assert end.feed(memoryview(b"12345")) == 0
    assert inner.taken == b""


class Holding(Holder):
    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.end = FakeEnd()  # type: ignore[assignment]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("key", [None, derive_key("t")])
async def test_both_programs_sides_undo_each_other(compress: bool, key: bytes | None) -> None:
    engine = Engine()
    works = [Holding(engine) for _ in range(2)]
    ends = [wrapped(engine, work, key=key, compress=compress) for work in works]
    if key is None and not compress:
        assert ends == [work.end for work in works]
        return
    rng = random.Random(1)
    sent = bytearray()
    for _ in range(30):
        data = rng.choice((rng.randbytes(rng.randrange(5000)), b"a" * rng.randrange(1, 5000)))
        sent += data
        ends[0].feed(memoryview(data))
    wire = bytes(works[0].end.taken)  # type: ignore[attr-defined]
    assert wire != sent
    assert (len(wire) < len(sent)) is compress
    at = 0
    while at < len(wire):
        n = rng.randrange(1, 3000)
        works[1].end.sink.feed(memoryview(wire[at : at + n]))
        at += n
    assert works[1].data == sent


class Reader:
    """A sink that takes everything and passes nothing on before it is told to; and the owner."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.kept = 0
        self.most = 0
        self.has_ended = False

    def feed(self, data: memoryview) -> int:
        self.taken += data
        self.kept += len(data)
        self.most = max(self.most, self.kept)
        return len(data)

    def ended(self, end: TransformedEnd) -> None:
        self.has_ended = True


@pytest.mark.parametrize("step", [1, 3])
async def test_compressed_bytes_do_not_become_twenty_times_as_many_in_memory(step: int) -> None:
    """A slow reader is to hold one window, not what a window of zeros becomes."""
    compressor = Compressor()
    plain = b"".join(bytes((n,)) * 60_000 for n in range(80))
    wire = b"".join(compressor.update(plain[at : at + 60_000]) for at in range(0, len(plain), 60_000))
    assert len(wire) < len(plain) // 15
    inner, reader = FakeEnd(), Reader()
    end = TransformedEnd(Engine(), inner, (), (Decompressor(),), reader, reader)  # type: ignore[arg-type]
    credit = 0
    for at in range(0, len(wire), 50_000):
        piece = memoryview(wire)[at : at + 50_000]
        credit += len(piece) - inner.sink.feed(piece)  # type: ignore[attr-defined]
    inner.owner.ended(inner)  # type: ignore[attr-defined]
    assert reader.most < 700_000
    assert credit < 50_000
    while reader.kept:
        assert not reader.has_ended or len(reader.taken) == len(plain)
        n = max(1, reader.kept // step)
        reader.kept -= n
        end.consumed(n)
    assert reader.has_ended
    assert reader.taken == plain
    assert reader.most < 700_000
    assert credit + inner.credited == len(wire)


async def test_a_sink_that_goes_on_in_the_midst_of_it_gets_the_bytes_in_order() -> None:
    compressor = Compressor()
    plain = b"".join(bytes((n,)) * 60_000 for n in range(40))
    wire = b"".join(compressor.update(plain[at : at + 60_000]) for at in range(0, len(plain), 60_000))
    inner = FakeEnd()

    class Eager(Reader):
        def feed(self, data: memoryview) -> int:
            if self.kept > 300_000:
                n, self.kept = self.kept, 0
                end.consumed(n)
            return super().feed(data)

    reader = Eager()
    end = TransformedEnd(Engine(), inner, (), (Decompressor(),), reader, reader)  # type: ignore[arg-type]
    inner.sink.feed(memoryview(wire))  # type: ignore[attr-defined]
    while reader.kept:
        n, reader.kept = reader.kept, 0
        end.consumed(n)
    assert reader.taken == plain


async def test_tiny_frames_behind_a_megabyte_do_not_copy_it_each_time() -> None:
    inner, reader = FakeEnd(), Reader()
    end = TransformedEnd(Engine(), inner, (), (), reader, reader)  # type: ignore[arg-type]
    data = random.Random(1).randbytes(1 << 21)
    inner.sink.feed(memoryview(data))  # type: ignore[attr-defined]
    tracemalloc.start()
    try:
        for _ in range(100):
            inner.sink.feed(memoryview(b"x"))  # type: ignore[attr-defined]
        n, reader.kept = reader.kept, 0
        end.consumed(n)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000  # what waits may be moved once, to a place with room for more
    while reader.kept:
        n, reader.kept = reader.kept, 0
        end.consumed(n)
    assert reader.taken == data + b"x" * 100
