"""What hostile users of HTTP/2 are allowed (behaviour.md 3). How others are served is tested with real programs."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection as H2Core
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from frp_py.server.proxies.base import PublicProxy
from frp_py.server.vhost import h2, http
from frp_py.server.vhost.h2_stream import H2Stream
from tests.server.vhost.helpers import GET as GET_1
from tests.server.vhost.helpers import OK, Setting, hosts_asked_for, receive, requested, setting
from tests.support.inside import connect, ending, logged, running_server
from tests.support.ports import free_port

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
    monkeypatch.setattr(h2, "IDLE_FRAMES", 100)
    monkeypatch.setattr(H2Stream, "requested", lambda self, headers, *, ended: None)
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


class Asking:
    """A user who asks by HTTP/2 and takes what he likes; `window` is that of each stream."""

    def __init__(self, sock: socket.socket, window: int = 65535, shared: int = 65535) -> None:
        self.sock = sock
        self.core = H2Core(H2Configuration(client_side=True))
        self.core.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.core.initiate_connection()
        if shared > 65535:
            self.core.increment_flow_control_window(shared - 65535)

    def ask(self, n: int = 1) -> None:
        for _ in range(n):
            headers = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "a.test")]
            self.core.send_headers(self.core.get_next_available_stream_id(), headers, end_stream=True)
        self.say()

    def post(self, *fields: tuple[str, str], body: bytes | None = None, trailers: list[tuple[str, str]] | None = None) -> int:
        """A request with a body, if one is given."""
        stream = self.core.get_next_available_stream_id()
        headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a.test"), *fields]
        self.core.send_headers(stream, headers, end_stream=body is None and not trailers)
        if body is not None:
            self.core.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self.core.send_headers(stream, trailers, end_stream=True)
        self.say()
        return stream

    def say(self) -> None:
        self.sock.send(self.core.data_to_send())

    def hear(self) -> list[Event]:
        """What has come so far."""
        events: list[Event] = []
        try:
            while data := self.sock.recv(1 << 16):
                events += self.core.receive_data(data)
        except BlockingIOError:
            pass
        return events


async def test_before_he_asks_a_user_has_60_seconds_and_300_afterwards(autojump_clock: MockClock) -> None:
    async with setting() as it:
        silent, user = Asking(it.user()), Asking(it.user())
        silent.say()
        user.ask()
        await trio.sleep(50)
        assert len(it.vhost.h2_users) == 2
        [service] = it.client.services
        service.send(OK)
        await trio.sleep(15)
        assert len(it.vhost.h2_users) == 1
        assert isinstance(silent.hear()[-1], ConnectionTerminated)
        await trio.sleep(275)
        user.core.ping(bytes(8))  # which is nothing
        user.ask()
        await trio.sleep(340)  # the service, who is asked again, has its 60 s before
        assert isinstance(user.hear()[-1], StreamEnded)
        assert len(it.vhost.h2_users) == 1
        await trio.sleep(30)
        assert isinstance(user.hear()[-1], ConnectionTerminated)
        assert len(it.vhost.h2_users) == 0


def ending_of(events: list[Event], stream: int) -> str:
    """How a stream ended."""
    for event in events:
        if isinstance(event, StreamReset) and event.stream_id == stream:
            return ErrorCodes(event.error_code or 0).name
        if isinstance(event, StreamEnded) and event.stream_id == stream:
            return "ended"
    return "not"


@pytest.mark.parametrize("fields", [[], [("x-more", "1")]], ids=["at once", "after trailers"])
async def test_a_body_that_is_too_short_takes_nothing_from_the_next_user(fields: list[tuple[str, str]], autojump_clock: MockClock) -> None:
    """What the service still awaits would be the beginning of somebody else's request; h2 counts in frames of data only."""
    async with setting() as it:
        user, other = Asking(it.user()), it.user()
        stream = user.post(("content-length", "60"), body=b"abc" if fields else None, trailers=fields)
        await trio.sleep(0.01)
        if fields:
            assert ending_of(user.hear(), stream) == "PROTOCOL_ERROR"
            [asked] = it.client.services
            assert b"Content-Length: 60\r\n" in await receive(asked)
        else:
            assert [event.headers[0] for event in user.hear() if isinstance(event, ResponseReceived)] == [(b":status", b"400")]
            assert it.client.services == []
        assert (it.vhost.held, it.vhost.active, it.proxy.connections) == (0, {}, 0)
        other.send(GET_1)
        await trio.sleep(0.01)
        assert (await requested(it.client.services[-1])).startswith(b"GET / HTTP/1.1\r\n")
        assert len(it.client.services) == 1 + bool(fields)


async def test_a_body_that_is_too_short_when_no_service_is_there_yet(autojump_clock: MockClock) -> None:
    async with setting() as it:
        it.client.gives = False
        user = Asking(it.user())
        stream = user.post(("content-length", "4"), body=b"abc", trailers=[("x-more", "1")])
        await trio.sleep(0.01)
        assert ending_of(user.hear(), stream) == "PROTOCOL_ERROR"
        assert (it.vhost.held, it.client.waiters) == (0, [])
        balance(it)


@pytest.mark.parametrize("body", [b"", b"abc"])
async def test_a_body_that_is_too_long_ends_the_connection(body: bytes, autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = Asking(it.user())
        user.post(("content-length", b"%d" % len(body)), body=body + b"GET / HTTP/1.1")  # type: ignore[arg-type]
        await trio.sleep(0.01)
        assert isinstance(user.hear()[-1], ConnectionTerminated)
        assert it.proxy.connections == 0


async def test_bodies_that_are_as_long_as_announced_leave_the_connection_good(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = Asking(it.user())
        for fields, body, trailers in (
            ([], None, None),
            ([("content-length", "0")], None, None),
            ([("content-length", "0")], b"", None),
            ([("content-length", "0")], None, [("x-more", "1")]),
            ([("content-length", "3")], b"abc", None),
            ([("content-length", "3")], b"abc", [("x-more", "1")]),
            ([], b"abc", [("x-more", "1")]),
        ):
            stream = user.post(*fields, body=body, trailers=trailers)
            await trio.sleep(0.01)
            [service] = it.client.services
            await receive(service)
            service.send(OK)
            await trio.sleep(0.01)
            assert ending_of(user.hear(), stream) == "ended"
            assert it.site.idle[cast(PublicProxy, it.proxy)] != []


async def test_a_request_that_lasts_is_no_idleness(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = Asking(it.user())
        user.ask()
        await trio.sleep(1)
        it.client.services[0].send(b"HTTP/1.1 200 OK\r\n\r\n")
        await trio.sleep(5000)
        assert len(it.vhost.h2_users) == 1
        user.core.reset_stream(1)
        user.say()
        await trio.sleep(298)
        assert len(it.vhost.h2_users) == 1
        await trio.sleep(4)
        assert (it.vhost.h2_users, it.vhost.users, len(it.vhost.resting), len(it.vhost.slow_heads)) == ({}, {}, 0, 0)


async def answer_all(it: Setting, size: int) -> None:
    """Each service that was asked sends a response, as far as it gets rid of it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    for service in it.client.services:
        try:
            service.send(head + bytes(size))
        except BlockingIOError:
            pass
    await trio.sleep(0.01)


async def test_nothing_more_is_fetched_while_nothing_can_be_sent(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2, "_AHEAD", 100_000)
    async with setting() as it:
        user = Asking(it.user())
        user.ask(6)
        await trio.sleep(0.01)
        assert len(it.client.services) == 6
        await answer_all(it, 60_000)
        assert it.vhost.held == 6 * 60_000 - 65535
        user.ask(3)
        await trio.sleep(0.01)
        assert it.vhost.active == {}
        user.core.reset_stream(17)  # one of those that wait
        user.core.reset_stream(9)
        user.core.increment_flow_control_window(1 << 20)
        user.say()
        await trio.sleep(0.01)
        assert it.vhost.held == 0
        assert len(it.vhost.active) == 2
        await answer_all(it, 10)
        events = user.hear()
        for _ in range(20):
            await trio.sleep(0.01)
            events += user.hear()
        assert {event.stream_id for event in events if isinstance(event, StreamEnded)} == {1, 3, 5, 7, 11, 13, 15}
        it.vhost.close()
        assert it.vhost.held == 0


async def test_streams_that_are_not_read_stop_no_others(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h2, "_AHEAD", 100_000)
    async with setting() as it:
        user = Asking(it.user(), window=1000, shared=1 << 20)
        user.ask(6)
        await trio.sleep(0.01)
        await answer_all(it, 60_000)
        assert it.vhost.held == 6 * 59_000
        user.ask()
        await trio.sleep(0.01)
        it.client.services[-1].send(OK)
        await trio.sleep(0.01)
        assert isinstance(user.hear()[-1], StreamEnded)
        for stream in range(1, 12, 2):
            user.core.reset_stream(stream)
        user.say()
        await trio.sleep(0.01)
        assert it.vhost.held == 0


async def test_who_holds_most_is_sent_away_when_too_much_is_held(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_HELD", 300_000)
    async with setting() as it:
        modest, greedy = Asking(it.user(), window=0), Asking(it.user(), window=0)
        modest.ask(1)
        greedy.ask(4)
        await trio.sleep(0.01)
        await answer_all(it, 60_000)
        assert it.vhost.held == 300_000
        modest.ask()
        await trio.sleep(0.01)
        it.client.services[-1].send(OK)
        await trio.sleep(0.01)
        assert (it.vhost.held, len(it.vhost.h2_users)) == (60_002, 1)
        with pytest.raises(BrokenPipeError):
            greedy.sock.send(b"x")


async def test_requests_that_no_service_takes_are_held_too(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_HELD", 300_000)
    async with setting() as it:
        it.client.gives = False
        modest, greedy = Asking(it.user()), Asking(it.user())
        for user, streams in ((modest, 1), (greedy, 4)):
            for n in range(streams):
                headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a.test")]
                user.core.send_headers(2 * n + 1, headers)
                for _ in range(4):
                    user.core.send_data(2 * n + 1, bytes(15_000))
                user.say()
                await trio.sleep(0.01)
                user.hear()
        assert it.vhost.held == 300_000
        balance(it)
        user = modest
        user.core.send_data(1, bytes(5_000))
        user.say()
        await trio.sleep(0.01)
        assert (it.vhost.held, len(it.vhost.h2_users)) == (65_000, 1)
        it.client.gives = True
        [waiter] = it.client.waiters
        it.client.waiters.clear()
        it.client.want(waiter)
        await trio.sleep(0.01)
        assert it.vhost.held == 0
        [service] = it.client.services
        service.send(OK)
        await trio.sleep(0.01)
        assert it.vhost.held == 0
        balance(it)


async def test_uploads_that_are_given_up_leave_room_for_the_next() -> None:
    """The window of a connection that many users share, as a load balancer's, is not theirs to take along."""
    async with setting() as it:
        it.client.gives = False
        user = Asking(it.user())
        headers = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "a.test")]
        for stream in range(1, 101, 2):
            user.core.send_headers(stream, headers)
            for _ in range(4):
                user.core.send_data(stream, bytes(15_000))  # raises when there is no room
            user.say()
            await trio.sleep(0.002)
            user.core.reset_stream(stream)
            user.say()
            await trio.sleep(0.002)
            user.hear()
        assert it.vhost.held == 0
        balance(it)


async def test_what_is_held_is_forgotten_with_its_user(autojump_clock: MockClock) -> None:
    async with setting() as it:
        broken, torn, half = (Asking(it.user(), window=0) for _ in range(3))
        for user in (broken, torn, half):
            user.ask(2)
            await trio.sleep(0.01)
        await answer_all(it, 60_000)
        assert it.vhost.held == 360_000
        broken.sock.close()
        it.users.remove(broken.sock)
        await trio.sleep(300)
        half.sock.shutdown(socket.SHUT_WR)
        await trio.sleep(300)
        assert it.vhost.held == 120_000
        torn.core.close_connection()
        torn.say()
        torn.sock.shutdown(socket.SHUT_RDWR)
        await trio.sleep(300)
        assert (it.vhost.held, it.vhost.h2_users) == (0, {})


def balance(it: Setting) -> None:
    """What is counted is what there is."""
    held = {user: sum(stream.held for stream in user.streams.values()) for user in it.vhost.h2_users}
    assert {user: user.held for user in it.vhost.h2_users} == held
    assert it.vhost.held == sum(held.values())


ACTIONS = ("ask", "ask", "answer", "answer", "half", "rest", "break", "reset", "open", "open all", "read", "finish", "close")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7)), max_size=25), st.sampled_from([0, 1000, 65535]))
async def test_whatever_happens_what_is_held_is_known(steps: list[tuple[str, int]], window: int) -> None:
    async with setting() as it:
        users = [Asking(it.user(), window=window) for _ in range(2)]
        for what, n in steps:
            user = users[n % 2]
            services = it.client.services
            service = services[n % len(services)] if services else None
            try:
                if what == "ask":
                    user.ask(n)
                elif what == "answer" and service is not None:
                    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (n * 8000) + bytes(n * 8000))
                elif what == "half" and service is not None:
                    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + bytes(4000))
                elif what == "rest" and service is not None:
                    service.send(bytes(5000))
                elif what == "break" and service is not None:
                    service.shutdown(socket.SHUT_RDWR)
                elif what == "reset":
                    user.core.reset_stream(2 * n + 1)
                elif what == "open":
                    user.core.increment_flow_control_window(5000, 2 * n + 1)
                elif what == "open all":
                    user.core.increment_flow_control_window(100_000)
                elif what == "read":
                    user.hear()
                elif what == "finish":
                    user.sock.shutdown(socket.SHUT_WR)
                elif what == "close":
                    user.core.close_connection(n)
                user.say()
            except (OSError, H2Error, KeyError):
                pass  # there is no such stream, or the connection is closed
            await trio.sleep(0.001)
            balance(it)
        it.vhost.close()
        assert it.vhost.held == 0


async def test_a_flood_of_frames_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the smallest frames 16 KiB take 50 ms, and who opens windows may do so all day."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001  # a piece
        return now

    monkeypatch.setattr(h2, "perf_counter", clock)
    async with setting() as it:
        asked = hosts_asked_for(it.vhost, monkeypatch)
        greedy, modest = it.user(), it.user()
        flood = 1100 * frame(WINDOW, bytes((0, 0, 0, 1)))
        greedy.send(PREFACE + frame(SETTINGS) + flood + frame(HEADERS, GET, stream=1, flags=5))
        greedy.shutdown(socket.SHUT_WR)
        modest.send(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        while await receive(greedy):
            pass
        assert asked == ["b", "a"]
        assert len(it.vhost.users) == 1
