"""A link: one connection for many streams. Keep-alive and time limits, broken peers, endings, and any order of what its users do."""

from __future__ import annotations

import fcntl
import socket
import ssl
import sys
from collections.abc import Callable
from random import Random

import pytest
import trio

from frp_py.errors import PeerError
from frp_py.log import get_logger
from frp_py.net.engine import link as link_module
from frp_py.net.engine.ends import Drop, End, SocketEnd
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.stream import EndStream
from frp_py.protocol import yamux
from frp_py.protocol.yamux import ACK, DATA, FIN, GO_AWAY, HEADER, PING, RST, SYN, WINDOW_UPDATE, Session
from tests.support.net import Link, Peer, alive, noise, quiet, running_engine, tcp_pair, tls_pair, until

Pair = Callable[..., tuple[socket.socket, socket.socket]]
kinds = pytest.mark.parametrize("pair", [tcp_pair, tls_pair], ids=["tcp", "tls"])


class Heard:
    """Sink and owner of a stream."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.data = bytearray()
        self.events: list[str] = []

    @property
    def kept(self) -> int:
        return len(self.data) if self.keeps else 0

    def pull(self, recv_into: yamux.PullFrom) -> int:
        raise NotImplementedError

    def feed(self, data: memoryview) -> int:
        self.data += data
        return len(data) if self.keeps else 0

    def ended(self, end: End) -> None:
        self.events.append("ended")

    def broke(self, end: End, reason: str) -> None:
        self.events.append(f"broke: {reason}")

    def drained(self, end: End, n: int) -> None:
        self.events.append("drained")

    def flushed(self, end: End) -> None:
        self.events.append("flushed")


class Half:
    """A link whose other side is the test."""

    def __init__(
        self, engine: Engine, pair: Pair = tcp_pair, *, keepalive: int = 0, client: bool = True, buffer: int | None = None
    ) -> None:
        a, b = pair(buffer)
        self.lost: list[str] = []
        self.opened: dict[int, tuple[MuxEnd, Heard]] = {}
        self.link = MuxLink(
            engine, a, client=client, keepalive=keepalive, log=get_logger(), on_open=self.on_open, on_lost=self.lost.append, max_streams=50
        )
        self.peer = Peer(b)

    def on_open(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd | None:
        if stream_id == 666:
            raise RuntimeError("bug")
        heard = Heard()
        end = MuxEnd(session, stream_id, link, heard, heard)
        self.opened[stream_id] = end, heard
        return end

    def open(self, *, keeps: bool = False) -> tuple[MuxEnd, Heard]:
        heard = Heard(keeps=keeps)
        return self.link.open(heard, heard), heard

    async def say(self, word: int, stream_id: int, what: int | bytes = 0) -> None:
        body = what if isinstance(what, bytes) else b""
        await self.peer.send(HEADER.pack(word, stream_id, len(what) if isinstance(what, bytes) else what) + body)

    async def hear(self) -> tuple[int, int, int, bytes]:
        word, stream_id, length = HEADER.unpack(await self.peer.receive_exactly(12))
        return word, stream_id, length, await self.peer.receive_exactly(length) if word & 0xFFFF0000 == DATA else b""

    def ticks(self, n: int) -> None:
        for _ in range(n):
            self.link._tick()


# keep-alive and time limits


async def test_a_peer_that_answers_is_asked_once_in_each_interval() -> None:
    async with running_engine() as engine:
        half = Half(engine, keepalive=30)
        for value in range(3):
            half.ticks(29 if value == 0 else 28)
            await quiet(engine)
            half.ticks(1)
            assert await half.hear() == (PING | SYN, 0, value, b"")
            await half.say(PING | ACK, 0, value)
            await until(lambda: half.link.session.ping_seen == half.link.session.ping_sent)
            half.ticks(1)
        assert half.link.is_open
        half.link.close()
        half.peer.close()


async def test_a_silent_peer_is_lost_ten_seconds_after_the_ping() -> None:
    async with running_engine() as engine:
        half = Half(engine, keepalive=30)
        _, heard = half.open()
        half.ticks(30)
        half.ticks(9)
        assert half.link.is_open
        half.ticks(1)
        assert half.lost == ["keep-alive not answered within 10 s"]
        assert heard.events == ["broke: keep-alive not answered within 10 s"]
        assert not half.link.is_open
        with pytest.raises(PeerError, match="closed"):
            half.open()
        half.ticks(100)
        half.link.close()
        assert len(half.lost) == 1
        half.peer.close()


async def test_a_peer_that_shows_signs_of_life_is_not_lost_for_a_late_answer() -> None:
    """On a slow line the answer waits behind megabytes; what counts is that something moves."""
    async with running_engine() as engine:
        half = Half(engine, keepalive=30)
        half.ticks(30)
        for _ in range(5):
            half.ticks(9)
            await half.say(WINDOW_UPDATE, 99, 1)
            await until(lambda: half.link._heard)
            half.ticks(1)
            assert half.link.is_open
        half.ticks(9)
        assert half.link.is_open
        half.ticks(1)
        assert half.lost
        half.peer.close()


async def test_without_keep_alive_nobody_is_asked() -> None:
    async with running_engine() as engine:
        half = Half(engine, keepalive=-1)
        half.ticks(10_000)
        await quiet(engine)
        with pytest.raises(BlockingIOError):
            half.peer.sock.recv(1)
        assert half.link.is_open
        half.link.close()
        half.peer.close()


async def test_a_stream_that_is_not_accepted_in_75_s_ends_the_link() -> None:
    async with running_engine() as engine:
        half = Half(engine)
        half.ticks(100)
        first, _ = half.open()
        first.feed(memoryview(b"x"))
        half.ticks(40)
        half.open()[0].feed(memoryview(b"x"))
        half.ticks(35)
        assert half.link.is_open
        await half.say(WINDOW_UPDATE | ACK, 1, 0)
        await until(lambda: 1 not in half.link.session.unacknowledged)
        half.ticks(40)
        assert half.link.is_open
        half.ticks(1)
        assert half.lost == ["stream 3 not accepted within 75 s"]
        half.peer.close()


async def test_a_closed_stream_has_its_time_from_when_it_was_closed() -> None:
    async with running_engine() as engine:
        half = Half(engine)
        half.link.half_close = True
        ends = [half.open()[0] for _ in range(3)]
        for end in ends:
            end.feed(memoryview(b"x"))
        await quiet(engine)
        for stream_id in (1, 3, 5):
            await half.say(WINDOW_UPDATE | ACK, stream_id, 0)
        await until(lambda: not half.link.session.unacknowledged)
        half.ticks(299)
        ends[0].close()
        ends[1].close()
        half.ticks(299)
        ends[2].close()
        assert set(half.link.closed) == {1, 3, 5}
        await half.say(WINDOW_UPDATE | FIN, 3)
        await until(lambda: 3 not in half.link.closed)
        half.ticks(1)
        assert set(half.link.closed) == {5}
        assert set(half.link.session.streams) == {5}
        half.ticks(299)
        assert not half.link.closed
        words = [(await half.hear())[:2] for _ in range(8)]
        assert words[3:] == [(WINDOW_UPDATE | FIN, n) for n in (1, 3, 5)] + [(WINDOW_UPDATE | RST, n) for n in (1, 5)]
        half.link.close()
        half.peer.close()


async def test_closed_streams_that_a_peer_never_finishes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_MOST_CLOSED", 2)
    async with running_engine() as engine:
        half = Half(engine)
        half.link.half_close = True
        ends = [half.open()[0] for _ in range(4)]
        for end in ends:
            end.close()
        assert set(half.link.closed) == set(half.link.session.streams) == {5, 7}
        half.link.close()
        half.peer.close()


@pytest.mark.parametrize("half_close", [False, True])
async def test_what_comes_for_a_closed_stream(half_close: bool) -> None:
    """A peer that keeps half-closed connections learns by RST that nobody reads any more; frp must not be told so (wire.md 2.5)."""
    async with running_engine() as engine:
        half = Half(engine)
        half.link.half_close = half_close
        end, heard = half.open()
        end.feed(memoryview(b"x"))
        end.close()
        assert await half.hear() == (DATA | SYN, 1, 1, b"x")
        assert await half.hear() == (WINDOW_UPDATE | FIN, 1, 0, b"")
        await half.say(WINDOW_UPDATE | ACK, 1, 0)
        await half.say(DATA, 1, b"late")
        await half.say(PING | SYN, 0, 5)
        if half_close:
            assert await half.hear() == (WINDOW_UPDATE | RST, 1, 0, b"")
        assert await half.hear() == (PING | ACK, 0, 5, b"")
        assert (bytes(heard.data), heard.events) == (b"", [])
        assert not half.link.session.streams
        assert not half.link.closed
        half.link.close()
        half.peer.close()


async def test_a_relay_that_ends_takes_what_still_comes_and_does_not_reset() -> None:
    """frp would lose by RST what it has not read yet (wire.md 2.5)."""
    async with running_engine() as engine:
        half = Half(engine)
        end, heard = half.open()
        a, b = tcp_pair()
        done: list[Relay] = []
        Relay(engine, SocketEnd(engine, a, heard, heard), end, half_close=False, on_done=done.append).start()
        service = Peer(b)
        await service.send(b"answer")
        service.finish()
        assert await half.hear() == (DATA | SYN, 1, 6, b"answer")
        assert await half.hear() == (WINDOW_UPDATE | FIN, 1, 0, b"")
        assert await service.receive() == b""
        assert not half.link.session.streams
        await half.say(DATA | ACK, 1, b"more")
        await half.say(PING | SYN, 0, 9)
        assert await half.hear() == (PING | ACK, 0, 9, b"")
        assert len(done) == 1
        service.close()
        half.link.close()
        half.peer.close()


# peers that misbehave


@kinds
async def test_who_breaks_a_rule_is_told_and_put_out(pair: Pair) -> None:
    async with running_engine() as engine:
        half = Half(engine, pair)
        _, heard = half.open()
        await half.say(0x01000000, 1)
        assert await half.hear() == (GO_AWAY, 0, 1, b"")
        assert await half.peer.receive() == b""
        assert "version 1" in half.lost[0]
        assert "version 1" in heard.events[0]
        half.peer.close()


async def test_who_asks_and_does_not_read_is_put_out() -> None:
    async with running_engine() as engine:
        half = Half(engine, buffer=8192)
        flood = HEADER.pack(PING | SYN, 0, 1) * 10_000
        with trio.fail_after(5), pytest.raises(OSError):  # noqa: PT012
            while True:
                await half.peer.send(flood)
        await until(lambda: half.lost)
        assert half.lost == ["asks for more answers than it reads"]
        half.peer.close()


async def test_more_streams_than_may_be_are_refused_and_the_others_go_on() -> None:
    async with running_engine() as engine:
        half = Half(engine, client=False)
        for i in range(60):
            await half.say(DATA | SYN, 2 * i + 1, b"x")
        words = [(await half.hear())[0] for _ in range(60)]
        assert words == [WINDOW_UPDATE | ACK] * 50 + [WINDOW_UPDATE | RST] * 10
        assert len(half.opened) == len(half.link.session.streams) == 50
        half.link.close()
        assert all(heard.events == ["broke: link closed"] for _, heard in half.opened.values())
        half.peer.close()


async def test_after_a_go_away_the_link_is_given_up_when_a_stream_is_wanted() -> None:
    async with running_engine() as engine:
        half = Half(engine)
        _, heard = half.open()
        await half.say(GO_AWAY, 0, 0)
        await until(lambda: half.link.session.gone_away == 0)
        assert half.link.is_open
        with pytest.raises(PeerError, match="no new streams"):
            half.open()
        await until(lambda: half.lost)
        assert heard.events
        half.peer.close()


# bugs are contained


async def test_a_bug_in_the_use_of_a_stream_costs_that_stream() -> None:
    class Fails(Heard):
        def feed(self, data: memoryview) -> int:
            raise RuntimeError("bug")

        def drained(self, end: End, n: int) -> None:
            raise RuntimeError("bug")

    async with running_engine() as engine:
        half = Half(engine)
        good, good_heard = half.open()
        for what in ("received", "finished", "writable"):
            fails = Fails()
            end = half.link.open(fails, fails)
            if what == "finished":
                fails.ended = lambda end: 1 / 0  # type: ignore[method-assign, assignment]
            end.feed(memoryview(b"x"))
            if what == "received":
                await half.say(DATA | ACK, end.id, b"x")
            elif what == "finished":
                await half.say(WINDOW_UPDATE | FIN, end.id)
            else:
                while end.send_window:
                    end.feed(memoryview(bytes(end.send_window)))
                    await quiet(engine, 1)
                    half.peer.sock.recv(1 << 20)
                end.feed(memoryview(b"more"))
                await half.say(WINDOW_UPDATE | ACK, end.id, 1)
            await until(lambda fails=fails: fails.events)  # type: ignore[misc]
            assert fails.events == ["broke: internal error"]
            assert end.id not in half.link.session.streams
        assert half.link.is_open
        good.feed(memoryview(b"x"))
        await half.say(DATA | ACK, good.id, b"goes on")
        await until(lambda: good_heard.data)
        half.link.close()
        half.peer.close()


async def test_a_bug_in_taking_a_stream_or_in_being_told_does_not_leave_a_dead_link() -> None:
    class Fails(Heard):
        def broke(self, end: End, reason: str) -> None:
            raise RuntimeError("bug")

    async with running_engine() as engine:
        half = Half(engine, client=False)
        fails = Fails()
        half.link.open(fails, fails)
        _, heard = half.open()
        await half.say(DATA | SYN, 666, b"x")
        await until(lambda: half.lost)
        assert half.lost == ["internal error"]
        assert heard.events == ["broke: internal error"]
        assert await half.peer.receive() == b""
        half.peer.close()


async def test_a_link_closed_in_the_midst_of_its_input_opens_nothing_more() -> None:
    async with running_engine() as engine:
        half = Half(engine, client=False)

        class Closes(Heard):
            def feed(self, data: memoryview) -> int:
                half.link.close()
                return 0

        closes = Closes()
        end = half.link.open(closes, closes)
        end.feed(memoryview(b"x"))
        await half.peer.send(HEADER.pack(DATA, end.id, 1) + b"x" + HEADER.pack(DATA | SYN, 1, 1) + b"y")
        await until(lambda: half.lost)
        await quiet(engine)
        assert not half.opened
        assert not half.link.session.streams
        half.peer.close()


# endings


@kinds
async def test_closing_sends_what_waits(pair: Pair) -> None:
    async with running_engine() as engine:
        half = Half(engine, pair)
        end, heard = half.open()
        end.feed(memoryview(b"last words"))
        half.link.close()
        assert (await half.hear())[3] == b"last words"
        assert await half.peer.receive() == b""
        assert heard.events == ["broke: link closed"]
        assert end.feed(memoryview(b"x")) == 0
        assert end.pull(lambda room: pytest.fail("it is closed")) == yamux.BLOCKED
        end.finish()
        end.abort()
        end.close()
        half.peer.close()


@kinds
async def test_a_peer_that_is_gone_is_noticed_by_reading_and_by_writing(pair: Pair) -> None:
    async with running_engine() as engine:
        for act in ("reset", "close"):
            half = Half(engine, pair)
            end, heard = half.open()
            getattr(half.peer, act)()
            end.feed(memoryview(b"x"))
            await until(lambda half=half: half.lost)  # type: ignore[misc]
            assert len(half.lost) == len([e for e in heard.events if e.startswith("broke")]) == 1


async def test_a_full_socket_holds_only_a_buffer_and_goes_on_in_order() -> None:
    """Writes of TLS records that fit in part only, with control frames between them."""
    for pair in (tcp_pair, tls_pair):
        async with running_engine() as engine:
            half = Half(engine, pair, buffer=8192)
            end, heard = half.open()
            end.send_window = 10_000_000
            data = noise(2_000_000)
            done = 0
            while done < len(data) and end.kept < 100_000:
                end.feed(memoryview(data)[done : done + 33_333])
                done += 33_333
                half.link.session.ping()
            assert half.link.session.end <= yamux.BUFFER_SIZE
            end.feed(memoryview(data)[done:])
            end.finish()
            got = bytearray()
            pings = []
            with trio.fail_after(10):
                while True:
                    word, stream_id, length, body = await half.hear()
                    if word & 0xFFFF0000 == DATA:
                        got += body
                    elif word == PING | SYN:
                        pings.append(length)
                    else:
                        assert (word, stream_id) == (WINDOW_UPDATE | FIN, 1)
                        break
            assert got == data
            assert pings == list(range(len(pings))) == list(range(half.link.session.ping_sent))
            assert heard.events[-1] == "flushed"
            assert end.sent_total == len(data)
            half.link.close()
            half.peer.close()


async def test_the_window_is_not_given_back_for_what_the_sink_keeps() -> None:
    async with running_engine() as engine:
        half = Half(engine)
        end, heard = half.open(keeps=True)
        end.feed(memoryview(b"x"))
        await half.hear()
        await half.say(DATA | ACK, 1, bytes(200_000))
        await until(lambda: len(heard.data) == 200_000)
        await quiet(engine)
        with pytest.raises(BlockingIOError):
            half.peer.sock.recv(1)
        del heard.data[:150_000]
        half.link.session.ticks += 5
        end.consumed(150_000)
        assert await half.hear() == (WINDOW_UPDATE, 1, 150_000, b"")
        assert end.recv_window == 262144 - 50_000
        half.link.close()
        half.peer.close()


async def test_no_stream_is_kept_alive_by_a_link_that_goes_on() -> None:
    async with running_engine() as engine:
        pair = Link(engine, tcp_pair())
        before = alive()
        for i in range(30):
            ours, theirs = await pair.streams()
            await ours.send_all(bytes(1000))
            if i % 3 == 0:
                end = ours.end
                end.abort()
                await until(lambda theirs=theirs: theirs._broken is not None)  # type: ignore[misc]
                del end
            else:
                await theirs.receive_some(1000)
                ours.close()
                assert await theirs.receive_some() == b""
                theirs.close()
            await theirs.aclose()
        del ours, theirs
        await until(lambda: not pair.client.session.streams and not pair.server.session.streams)
        assert not pair.client.closed
        assert not pair.server.closed
        assert {kind: n for kind, n in alive().items() if n > before.get(kind, 0)} == {}
        assert engine.window_budget.left == 256 << 20
        pair.close()


# any order


class Model:
    """One direction of a stream, as it should be."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self.finished = False
        self.seen_end = False


@pytest.mark.parametrize("pair", [tcp_pair, tls_pair], ids=["tcp", "tls"])
@pytest.mark.parametrize("seed", range(6))
async def test_any_order_of_what_users_do(pair: Pair, seed: int) -> None:
    """Random acts of several users of a pair of links; each direction is compared with what was said into it."""
    random = Random(seed)
    print(f"seed {seed}")
    async with running_engine() as engine:
        link = Link(engine, pair(random.choice([None, 16384])))
        streams = [(await link.streams(), (Model(), Model())) for _ in range(4)]
        gone: set[int] = set()
        for _ in range(150):
            i = random.randrange(len(streams))
            if i in gone:
                continue
            sides, models = streams[i]
            way = random.randrange(2)
            source, model = sides[way], models[way]
            act = random.random()
            if act < 0.5 and not model.finished:
                data = random.randbytes(random.choice([1, 100, 20_000, 150_000]))
                model.sent += data
                source.end.feed(memoryview(data))
            elif act < 0.85:
                with trio.move_on_after(0.002):
                    got = await sides[1 - way].receive_some(random.choice([1, 1000, None]))
                    model.received += got
                    model.seen_end = model.seen_end or not got
            elif act < 0.9:
                model.finished = True
                source.end.finish()
            elif act < 0.93:
                link.client.session.ticks += 1
                link.server.session.ping()
            elif act < 0.95:
                gone.add(i)
                sides[way].end.abort()
                sides[way].close()
                with pytest.raises(trio.BrokenResourceError), trio.fail_after(3):  # noqa: PT012
                    while True:
                        got = await sides[1 - way].receive_some()
                        if not got:
                            assert models[way].finished
                            raise trio.BrokenResourceError
                        model.received += got
                assert models[way].sent.startswith(models[way].received)
                sides[1 - way].close()
            assert model.sent.startswith(model.received)
            assert not model.seen_end or model.finished
        with trio.fail_after(10):
            for i, (sides, models) in enumerate(streams):
                for way in range(2):
                    if i in gone:
                        continue
                    sides[way].end.finish()
                    while more := await sides[1 - way].receive_some():
                        models[way].received += more
                    assert models[way].received == models[way].sent
        await until(lambda: not link.client.session.streams and not link.server.session.streams)
        assert engine.window_budget.left == 256 << 20
        assert link.client.is_open
        assert link.server.is_open
        link.close()


async def test_a_drop_as_sink_lets_the_peer_send_for_ever() -> None:
    async with running_engine() as engine:
        half = Half(engine, client=False)
        await half.say(DATA | SYN, 1, b"x")
        await until(lambda: half.opened)
        half.opened[1][0].sink = Drop(engine)
        assert (await half.hear())[:2] == (WINDOW_UPDATE | ACK, 1)
        granted = 262143
        for _ in range(30):
            await half.say(DATA, 1, bytes(granted))
            granted = 0
            while granted < 131072:
                word, _, length, _ = await half.hear()
                assert word == WINDOW_UPDATE
                granted += length
        assert isinstance(half.peer.sock, socket.socket)
        assert not isinstance(half.peer.sock, ssl.SSLSocket)
        half.link.close()
        half.peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the system has to tell what it has not sent")
async def test_the_system_is_not_given_megabytes_to_send_later() -> None:
    """An ssh session beside an upload would wait behind them."""
    async with running_engine() as engine, trio.open_nursery() as nursery:
        here, there = tcp_pair()
        link = MuxLink(
            engine,
            here,
            client=True,
            keepalive=0,
            log=get_logger(),
            on_open=lambda link, session, number: None,
            on_lost=lambda reason: None,
        )
        streams = [EndStream(engine) for _ in range(64)]
        for stream in streams:
            stream.attach(link.open(stream, stream))
            nursery.start_soon(stream.send_all, bytes(256 * 1024))
        await until(lambda: link._blocked)
        unsent = int.from_bytes(fcntl.ioctl(here, 0x894B, bytes(4)), sys.byteorder)  # SIOCOUTQNSD
        assert unsent <= 1 << 20
        nursery.cancel_scope.cancel()
        link.close()
        there.close()


async def test_on_a_slow_way_what_comes_next_waits_behind_milliseconds_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(link_module, "perf_counter", lambda: now)
    async with running_engine() as engine:
        half = Half(engine, buffer=8192)
        link = half.link
        end, heard = half.open()
        end.send_window = 1 << 30

        def queued() -> tuple[int, int]:
            return link.session.most_queued, link._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

        usual = queued()
        assert usual == (yamux.MOST_QUEUED, 131072)
        end.feed(memoryview(bytes(3_000_000)))
        link.flush()
        assert link._blocked
        for sent, seconds, expected in (
            (10_000_000, 1.0, (40_000, 40_000)),
            (10_000, 1.0, (yamux.LEAST_QUEUED, yamux.LEAST_QUEUED)),
            (1_000_000, 0.3, (yamux.LEAST_QUEUED, yamux.LEAST_QUEUED)),  # in between: as it was
            (1_000_000_000, 0.6, usual),
            (1_000_000, 0.6, (yamux.LEAST_QUEUED, yamux.LEAST_QUEUED)),
        ):
            now += seconds
            link._sent = sent
            half.ticks(1)
            assert queued() == expected
        half.ticks(1)
        assert queued() == usual  # it doesn't hinder any more
        now += 1
        while end.kept or link._blocked:
            await half.hear()
        assert heard.events[-1] == "drained"
        link.close()
        half.peer.close()


@kinds
async def test_a_link_whose_bytes_take_long_gives_few_at_a_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that are much work and few bytes: the others wait until what was taken has been dealt with."""
    now = 0.0
    cost = 0.0  # s a byte
    monkeypatch.setattr(link_module, "perf_counter", lambda: now)
    async with running_engine() as engine:
        link = Link(engine, pair())
        ours, theirs = await link.streams()
        pieces: list[int] = []
        receive_data = Session.receive_data

        def dealt_with(session: Session, data: memoryview) -> None:
            nonlocal now
            if session is link.server.session:
                pieces.append(len(data))
                now += cost * len(data)
            receive_data(session, data)

        monkeypatch.setattr(Session, "receive_data", dealt_with)
        data = noise(3 << 20)

        async def sent() -> None:
            await ours.send_all(data)

        async def received() -> None:
            got = bytearray()
            while len(got) < len(data):
                got += await theirs.receive_some()
            assert got == data

        for each, most in ((1e-6, 16384), (1e-9, 1 << 20)):
            cost = each
            pieces.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sent)
                nursery.start_soon(received)
            assert max(pieces[len(pieces) // 2 :]) <= most
        assert max(pieces) > 100_000
        link.close()
