"""What hostile users of HTTP/2 are allowed (behaviour.md 3). How others are served is tested with real programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frp_py.server.vhost import h2
from tests.support.inside import connect, ending, free_port, logged, running_server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GO_AWAY, WINDOW = 0, 1, 2, 3, 4, 6, 7, 8
CALM, FRAME_SIZE = 11, 6


def frame(kind: int, body: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


GET = b"\x82\x84\x86\x01\x01a"  # GET / of http://a


@asynccontextmanager
async def user() -> AsyncIterator[trio.SocketStream]:
    port = free_port()
    async with running_server({"vhostHTTPPort": port}):
        stream = await connect(port)
        yield stream
        await stream.aclose()


async def answers(stream: trio.SocketStream, data: bytes) -> list[tuple[int, bytes]]:
    """The frames that come until the end, after `data` was sent; the settings come first."""
    got = bytearray()

    async def send() -> None:
        try:
            await stream.send_all(PREFACE + frame(SETTINGS) + data)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.fail_after(5):
            try:
                while more := await stream.receive_some():
                    got += more
            except trio.BrokenResourceError:
                pass
        nursery.cancel_scope.cancel()
    frames = []
    while got:
        size = 9 + int.from_bytes(got[:3], "big")
        frames.append((got[3], bytes(got[9:size])))
        del got[:size]
    return frames


def reason(frames: list[tuple[int, bytes]]) -> int:
    """Why the connection was ended."""
    assert frames[-1][0] == GO_AWAY
    return int.from_bytes(frames[-1][1][4:8], "big")


async def test_a_frame_that_is_too_long_is_not_waited_for() -> None:
    with logged():
        async with user() as stream:
            assert reason(await answers(stream, b"\x00\x40\x01" + bytes(6))) == FRAME_SIZE


@pytest.mark.parametrize(
    "asked",
    [
        frame(SETTINGS),
        frame(PING, bytes(8)),
        frame(PRIORITY, b"\0\0\0\0\1", stream=1),
        frame(0x77, b"?"),
        frame(DATA, stream=1),
    ],
    ids=["settings", "ping", "priority", "unknown", "empty data"],
)
async def test_who_keeps_us_busy_with_nothing_is_sent_away(asked: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2, "_IDLE_FRAMES", 100)
    monkeypatch.setattr(h2.H2Stream, "requested", lambda self, headers, *, ended: None)
    with logged():
        async with user() as stream:
            opened = frame(HEADERS, GET, stream=1, flags=4)
            assert reason(await answers(stream, opened + asked * 300)) == CALM


async def test_who_opens_streams_only_to_reset_them_is_sent_away() -> None:
    with logged():
        async with user() as stream:
            pairs = b"".join(frame(HEADERS, GET, stream=n, flags=5) + frame(RST, bytes(4), stream=n) for n in range(1, 2001, 2))
            assert reason(await answers(stream, pairs)) == CALM


async def test_window_updates_are_dealt_with_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pumped: list[int] = []
    monkeypatch.setattr(h2.H2Connection, "_pump", lambda self: pumped.append(1))
    with logged():
        async with user() as stream:
            await answers(stream, frame(WINDOW, b"\0\0\0\1") * 2000 + b"\x00\x40\x01" + bytes(6))
    assert 1 <= len(pumped) < 100


frames = st.builds(
    frame,
    st.sampled_from([DATA, HEADERS, PRIORITY, RST, SETTINGS, 5, PING, GO_AWAY, WINDOW, 9, 0x77]),
    st.binary(max_size=20) | st.just(GET) | st.just(GET + b"\x40\x01x\x01\r"),
    stream=st.integers(0, 7),
    flags=st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x25]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(frames, max_size=12).map(b"".join))
async def test_any_frames(data: bytes) -> None:
    """Whatever comes, nothing is taken for a bug, and others are served."""
    with logged():
        async with user() as stream:
            await stream.send_all(PREFACE + frame(SETTINGS) + data)
            await stream.send_eof()
            assert await ending(stream) in ("eof", "reset")
