from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from trio.testing import MockClock

from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.stream import EndStream
from frp_py.net.serving import http2
from frp_py.net.serving.exchange import Exchange
from frp_py.net.serving.http2 import serve
from tests.net.serving.helpers import Served, serving
from tests.net.serving.test_http1 import say_back
from tests.support.net import noise, running_engine, tcp_pair

HEAD = [(":method", "GET"), (":scheme", "https"), (":authority", "h"), (":path", "/")]
POST = [(":method", "POST"), *HEAD[1:]]


class User:
    """A user who speaks HTTP/2, and takes down what he hears."""

    def __init__(self, served: Served, *, lax: bool = False) -> None:
        self.served = served
        config = H2Configuration(validate_outbound_headers=not lax, normalize_outbound_headers=not lax)
        self.h2 = H2Connection(config)
        self.h2.initiate_connection()
        self.events: list[Event] = []
        self.bodies: dict[int, bytearray] = {}

    async def ask(self, headers: list[tuple[str, str]], body: bytes | None = None) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers, end_stream=body is None)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        await self.flush()
        return stream_id

    async def flush(self) -> None:
        await self.served.user.send(self.h2.data_to_send())

    async def hear(self, enough: Callable[[], object]) -> None:
        while not enough():
            data = await self.served.user.receive()
            assert data, f"the end came after {self.events}"
            for event in self.h2.receive_data(data):
                self.events.append(event)
                if isinstance(event, DataReceived):
                    self.bodies.setdefault(event.stream_id, bytearray()).extend(event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            await self.flush()

    def heard(self, kind: type[Event], stream_id: int | None = None) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", None))]

    def status(self, stream_id: int) -> int:
        (response,) = self.heard(ResponseReceived, stream_id)
        assert isinstance(response, ResponseReceived)
        return int(dict(response.headers)[b":status"])

    async def answer(self, stream_id: int) -> tuple[int, bytes]:
        await self.hear(lambda: self.heard(StreamEnded, stream_id))
        return self.status(stream_id), bytes(self.bodies.get(stream_id, b""))


def served() -> AbstractAsyncContextManager[Served]:
    return serving(serve, say_back)


async def test_requests_at_once() -> None:
    async with served() as it:
        user = User(it)
        ids = [await user.ask([*HEAD[:3], (":path", f"/{n}")]) for n in range(50)]
        assert [await user.answer(stream_id) for stream_id in ids] == [(200, b"GET h /%d|" % n) for n in range(50)]
        posted = await user.ask(POST, b"body")
        assert await user.answer(posted) == (200, b"POST h /|body")
        headed = await user.ask([(":method", "HEAD"), *HEAD[1:]])
        assert await user.answer(headed) == (200, b"")


async def ask_with_trailers(user: User, headers: list[tuple[str, str]], body: bytes, trailers: list[tuple[str, str]]) -> int:
    stream_id = user.h2.get_next_available_stream_id()
    user.h2.send_headers(stream_id, headers)
    user.h2.send_data(stream_id, body)
    user.h2.send_headers(stream_id, trailers, end_stream=True)
    await user.flush()
    return stream_id


async def test_a_body_that_is_too_short_is_no_request() -> None:
    """Else the service would take what comes next on its connection for the rest."""
    async with served() as it:
        user = User(it)
        announced = [*POST, ("content-length", "4")]
        assert await user.answer(await user.ask(announced)) == (400, b"")
        short = await ask_with_trailers(user, announced, b"abc", [("x-t", "1")])
        await user.hear(lambda: user.heard(StreamReset, short))
        [reset] = user.heard(StreamReset, short)
        assert isinstance(reset, StreamReset)
        assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
        whole = await ask_with_trailers(user, announced, b"abcd", [("x-t", "1")])
        assert await user.answer(whole) == (200, b"POST h /|abcd|x-t=1")
        for method in ("GET", "HEAD", "POST"):
            empty = await user.ask([(":method", method), *HEAD[1:], ("content-length", "0")])
            assert (await user.answer(empty))[0] == 200


async def test_what_frames_or_steers_a_request_is_no_trailer() -> None:
    async with served() as it:
        user = User(it, lax=True)
        sent = [("content-length", "9"), ("host", "x"), ("authorization", "x"), ("x-t", "1")]
        assert await user.answer(await ask_with_trailers(user, POST, b"abc", sent)) == (200, b"POST h /|abc|x-t=1")


async def test_much_goes_both_ways_within_the_windows() -> None:
    data = noise(3_000_000)

    async def echo(exchange: Exchange) -> None:
        await exchange.respond(200, [])
        while piece := await exchange.receive():
            await exchange.send(piece)
        await exchange.end([(b"X-Trailer", b"1")])

    async with serving(serve, echo) as it:
        user = User(it)
        stream_id = await user.ask(POST, b"")
        sent = 0
        while sent < len(data):
            n = min(user.h2.local_flow_control_window(stream_id), user.h2.max_outbound_frame_size, len(data) - sent)
            if n:
                user.h2.send_data(stream_id, data[sent : sent + n], pad_length=3 if n > 100 and n < 16000 else None)
                sent += n
                await user.flush()
            else:
                before = len(user.events)
                await user.hear(lambda before=before: len(user.events) > before)  # type: ignore[misc]
        user.h2.end_stream(stream_id)
        await user.flush()
        status, body = await user.answer(stream_id)
        assert status == 200
        assert body == data
        assert user.heard(TrailersReceived)


async def test_a_user_who_does_not_read_stops_his_answer_only() -> None:
    async def much(exchange: Exchange) -> None:
        if exchange.target == b"/much":
            await exchange.respond(200, [])
            while True:
                await exchange.send(bytes(100_000))
        await exchange.answer(200, body=b"little")

    async with serving(serve, much) as it:
        user = User(it)
        await user.ask([*HEAD[:3], (":path", "/much")])
        while len(user.heard(DataReceived)) < 4:
            for event in user.h2.receive_data(await it.user.receive()):
                user.events.append(event)  # nothing is acknowledged: the window closes
        user.h2.increment_flow_control_window(1 << 20)  # of the connection alone
        stream_id = await user.ask(HEAD)
        assert await user.answer(stream_id) == (200, b"little")
        assert sum(len(event.data) for event in user.heard(DataReceived) if isinstance(event, DataReceived)) <= 65535 + 6


async def test_what_a_stalled_handler_leaves_is_bounded() -> None:
    async def stall(exchange: Exchange) -> None:
        await trio.sleep_forever()

    async with serving(serve, stall) as it:
        user = User(it)
        await user.hear(lambda: user.h2.outbound_flow_control_window > 65535)
        assert user.h2.outbound_flow_control_window == 1 << 20
        first = await user.ask(POST, b"")
        assert user.h2.local_flow_control_window(first) == 512 * 1024


@pytest.mark.parametrize(
    "headers",
    [
        [*HEAD[:3], (":path", "nonsense")],
        [*HEAD[:3], (":path", "/a b")],
        [*HEAD[:3], (":path", "/%zz")],
        [*HEAD[:2], (":authority", "a b"), HEAD[3]],
        [*HEAD, ("content-length", "1"), ("content-length", "2")],
        [(":method", "GE T"), *HEAD[1:]],
        [*HEAD, ("expect", "a," * 300)],
    ],
)
async def test_what_could_not_be_passed_on_is_refused(headers: list[tuple[str, str]]) -> None:
    async with served() as it:
        user = User(it, lax=True)
        stream_id = await user.ask(headers)
        await user.hear(lambda: user.heard(StreamEnded, stream_id) or user.heard(ConnectionTerminated))
        assert user.heard(ConnectionTerminated) or user.status(stream_id) in (400, 431)


@pytest.mark.parametrize("field", [("x", "a\r\nb: c"), ("x", "a\0"), ("x y", "1"), ("connection", "close"), ("X", "1"), ("x\n", "1")])
async def test_fields_that_would_split_a_message_never_reach_a_handler(field: tuple[str, str]) -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)

    async with serving(serve, handle) as it:
        user = User(it, lax=True)
        stream_id = await user.ask([*HEAD, field])
        await user.hear(lambda: user.heard(StreamEnded, stream_id) or user.heard(ConnectionTerminated))
        assert user.heard(ConnectionTerminated) or user.status(stream_id) == 400
    assert seen == []


async def test_a_request_that_is_taken_back_is_not_served_any_longer() -> None:
    ended = trio.Event()

    async def handle(exchange: Exchange) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving(serve, handle) as it:
        user = User(it)
        stream_id = await user.ask(HEAD)
        await trio.sleep(0.01)
        user.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        await user.flush()
        await ended.wait()
        assert not it.over.is_set()


async def test_who_takes_back_too_many_is_sent_away() -> None:
    calls = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal calls
        calls += 1
        await trio.sleep_forever()

    async with serving(serve, handle) as it:
        user = User(it)
        for _ in range(1000):
            stream_id = user.h2.get_next_available_stream_id()
            user.h2.send_headers(stream_id, HEAD, end_stream=True)
            user.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        await user.flush()
        await it.over.wait()
        assert "too many" in str(it.error)
        assert calls <= 1000


@pytest.mark.parametrize(
    "asked",
    ["000000 04 00 00000000", "000008 06 00 00000000 0000000000000000", "000005 02 00 00000001 0000000000", "000000 77 00 00000000"],
    ids=["settings", "ping", "priority", "unknown"],
)
async def test_who_keeps_us_busy_with_nothing_is_sent_away(asked: str) -> None:
    async with serving(serve, say_back) as it:
        user = User(it)
        await user.flush()
        await it.user.send(bytes.fromhex(asked) * 3000)
        await it.over.wait()
        assert "asks for nothing" in str(it.error)


async def test_a_request_may_end_with_an_empty_frame() -> None:
    async with serving(serve, say_back) as it:
        user = User(it)
        for _ in range(1010):
            stream_id = user.h2.get_next_available_stream_id()
            user.h2.send_headers(stream_id, POST)
            user.h2.send_data(stream_id, b"", end_stream=True)
            await user.flush()
            assert (await user.answer(stream_id))[0] == 200


async def test_a_handler_that_fails_costs_one_request() -> None:
    async def handle(exchange: Exchange) -> None:
        if exchange.target == b"/short":
            await exchange.respond(200, [], 10)
            await exchange.send(b"short")
            await exchange.end()
        else:
            await exchange.answer(204)

    async with serving(serve, handle) as it:
        user = User(it)
        short = await user.ask([*HEAD[:3], (":path", "/short")])
        await user.hear(lambda: user.heard(StreamReset, short))
        other = await user.ask(HEAD)
        assert await user.answer(other) == (204, b"")


async def test_an_answer_before_the_body_ends_the_body() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.answer(413)

    async with serving(serve, handle) as it:
        user = User(it)
        stream_id = await user.ask(POST, b"")
        await user.hear(lambda: user.heard(StreamReset, stream_id))
        assert user.status(stream_id) == 413
        (reset,) = user.heard(StreamReset, stream_id)
        assert isinstance(reset, StreamReset)
        assert reset.error_code == ErrorCodes.NO_ERROR


async def test_informing_and_going_on() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.inform(103, [(b"Link", b"x")])
        await say_back(exchange)

    async with serving(serve, handle) as it:
        user = User(it)
        stream_id = await user.ask([*POST, ("expect", "100-continue")], b"")
        await user.hear(lambda: len(user.heard(InformationalResponseReceived)) == 2)
        user.h2.send_data(stream_id, b"now", end_stream=True)
        await user.flush()
        assert await user.answer(stream_id) == (200, b"POST h /|now")


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n" * 4, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100])
async def test_what_is_not_http2_ends_the_connection(sent: bytes) -> None:
    async with served() as it:
        await it.user.send(sent)
        await it.over.wait()
        assert "HTTP/2" in str(it.error)


@pytest.mark.parametrize("size", [1, 5, 24, 33, 1000])
async def test_a_frame_too_large_is_seen_at_once(size: int) -> None:
    async with served() as it:
        user = User(it)
        data = user.h2.data_to_send() + b"\0\x40\1" + bytes(6)  # one byte more than allowed, none of them here yet
        for at in range(0, len(data), size):
            await it.user.send(data[at : at + size])
        await it.over.wait()
        assert "too large" in str(it.error)


async def test_an_idle_user_is_sent_away_and_a_waiting_one_is_not(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.002
    done = trio.Event()

    async def handle(exchange: Exchange) -> None:
        await done.wait()
        await exchange.answer(200)

    async with serving(serve, handle) as it:
        it.deadline.deadline = float("inf")
        user = User(it)
        stream_id = await user.ask(HEAD)
        await trio.sleep(400)
        assert not it.over.is_set()
        done.set()
        assert await user.answer(stream_id) == (200, b"")
        await it.over.wait()


async def test_many_who_flood_hold_up_the_others_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten users at once, and after a piece of what one of them has sent everybody else has a turn."""
    now = 0.0
    rounds = 0
    pieces: list[int] = []
    deal = http2._Connection._deal_with

    def deal_with(self: Any, data: bytes, nursery: trio.Nursery) -> None:
        nonlocal now
        now += 0.002
        pieces.append(rounds)
        deal(self, data, nursery)

    monkeypatch.setattr(http2, "perf_counter", lambda: now)
    monkeypatch.setattr(http2._Connection, "_deal_with", deal_with)
    async with running_engine() as engine, trio.open_nursery() as nursery:
        users = []
        for _ in range(10):
            ours, theirs = tcp_pair()
            theirs.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            theirs.send(bytes.fromhex("000004 08 00 00000000 00000001") * 900)
            users.append(theirs)
            stream = EndStream(engine)
            nursery.start_soon(serve, stream.attach(SocketEnd(engine, ours, stream, stream)), say_back)
        while len(pieces) < 50:
            rounds += 1
            await trio.lowlevel.checkpoint()
        assert max(pieces.count(n) for n in set(pieces)) <= 2
        nursery.cancel_scope.cancel()
    for user in users:
        user.close()
