"""What an end under transforms says of the bytes that it keeps: in the figures of those who fed it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import Holder
from frp_py.net.engine.transform import TransformedEnd, wrapped
from frp_py.protocol.cipher import derive_key
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
