from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.net.http.heads import CHUNKED, UNTIL_CLOSE, HeadTooLarge
from frp_py.net.serving.reading import Reading


class Pieces:
    """A stream that gives these, and then its end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""


def reading(*pieces: bytes) -> Reading:
    return Reading(cast(Any, Pieces(list(pieces))))


async def whole_body(reading: Reading, length: int) -> bytes:
    reading.begin_body(length)
    data = b""
    while piece := await reading.body():
        data += piece
    assert reading.body_is_over
    return data


MESSAGES = (
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n"
    b"GET /last HTTP/1.1\r\n\r\nrest to the end"
)


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(MESSAGES)), max_size=12))
def test_messages_are_the_same_wherever_they_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(MESSAGES)]
    pieces = [MESSAGES[begin:end] for begin, end in pairwise(edges)]

    async def check() -> None:
        it = reading(*pieces)
        assert await it.something()
        assert await it.head() == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        assert await whole_body(it, 0) == b""
        assert await it.head() == b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
        assert await whole_body(it, 5) == b"hello"
        assert (await it.head() or b"").endswith(b"chunked\r\n\r\n")
        assert await whole_body(it, CHUNKED) == b"abcde"
        assert it.trailers == [(b"X-Trailer", b"t")]
        assert await it.head() == b"GET /last HTTP/1.1\r\n\r\n"
        assert await whole_body(it, UNTIL_CLOSE) == b"rest to the end"
        assert await it.head() is None
        assert not await it.something()

    trio.run(check)


async def test_what_is_cut_off_is_an_error() -> None:
    with pytest.raises(PeerError, match="in a head"):
        await reading(b"GET / HT").head()
    it = reading(b"abc")
    it.begin_body(4)
    assert await it.body() == b"abc"
    with pytest.raises(PeerError, match="in a body"):
        await it.body()
    it = reading(b"5\r\nab")
    it.begin_body(CHUNKED)
    assert await it.body() == b"ab"
    with pytest.raises(PeerError, match="in a body"):
        await it.body()


@pytest.mark.parametrize("size", [65536, 70000, 200000])
async def test_heads_are_bounded(size: int) -> None:
    with pytest.raises(HeadTooLarge):
        await reading(*[b"x" * 1000] * (size // 1000 + 1), b"\r\n\r\n").head()
    with pytest.raises(HeadTooLarge):
        await reading(b"x" * size + b"\r\n\r\n").head()


async def test_empty_lines_without_end_are_no_message() -> None:
    assert not await reading(*[b"\r\n"] * 100, b"\r").something()
    assert await reading(b"\r", b"\n", b"\r\nG").something()


async def test_the_rest_is_for_whoever_takes_over() -> None:
    it = reading(b"GET / HTTP/1.1\r\n\r\nraw bytes")
    await it.head()
    assert it.has_more
    assert it.take_rest() == b"raw bytes"
    assert not it.has_more
