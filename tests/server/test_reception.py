"""First messages, and what strangers may do before they have sent one (wire.md 0.2, behaviour.md 1.3 and 1.4)."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from frp_py.log import LineFormatter, get_logger
from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import Login, LoginResp, Message, NewVisitorConn, NewVisitorConnResp, NewWorkConn, Ping, StartWorkConn
from frp_py.protocol.yamux import OWED_LIMIT
from frp_py.server.app import Server
from frp_py.server.lobby import Lobby
from frp_py.server.reception import STRANGERS_BYTES, STRANGERS_OWED, Caller, Reception
from tests.support.inside import (
    Clock,
    Lines,
    Peer,
    Peers,
    Talk,
    connect,
    ending,
    logged,
    peers_of,
    receive_exactly,
    running_server,
    started,
)
from tests.support.net import contexts, until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])


class FakeTimeouts:
    def __init__(self) -> None:
        self.added: set[Any] = set()

    def add(self, expire: Any) -> None:
        self.added.add(expire)

    def discard(self, expire: Any) -> None:
        self.added.discard(expire)


class FakeServer:
    def __init__(self) -> None:
        self.engine = self
        self.lingering, self.first_messages, self.strangers = FakeTimeouts(), FakeTimeouts(), FakeTimeouts()
        self.callers: set[Caller] = set()
        self.received: list[Message] = []
        self.costs: list[float] = []
        self.strangers_log = get_logger()
        self.log_of_client = get_logger

    def receive(self, message: Message, reception: Reception) -> None:
        self.received.append(message)

    def offended(self, address: object, cost: float) -> None:
        self.costs.append(cost)


class FakeEnd:
    def __init__(self) -> None:
        self.sent = b""
        self.credited = 0
        self.is_closed = False

    def feed(self, data: memoryview) -> int:
        self.sent += data
        return 0

    def consumed(self, n: int) -> None:
        self.credited += n

    def finish(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


class Arrival:
    """A link connection that receives `pieces`."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.server = FakeServer()
        self.lobby = Lobby()
        self.caller = Caller(cast(Server, self.server), ("192.0.2.1", 1), self.lobby.enter(lambda: None))
        self.reception = Reception(self.caller)
        self.end = FakeEnd()
        self.reception.end = cast(Any, self.end)
        self.most_held = 0
        for piece in pieces:
            if self.end.is_closed or self.server.received:
                break
            self.reception.feed(memoryview(piece))
            if not (self.end.is_closed or self.server.received):
                self.most_held = max(self.most_held, len(self.reception.data))

    @property
    def outcome(self) -> tuple[list[Message], bool, int]:
        answered = len(self.end.sent)  # the hello in it is random
        return self.server.received, self.end.is_closed, answered


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


HELLO = wire_v2.pack_frame(wire_v2.CLIENT_HELLO, wire_v2.offer("tcp", tls=True, tcp_mux=True, client_random=bytes(32)))
LOGIN = Login(user="u", timestamp=1, privilege_key="k", metas={"a": "b"})
GOOD = {
    "v1": wire_v1.pack(LOGIN),
    "v1 work": wire_v1.pack(NewWorkConn("r")),
    "v2": wire_v2.MAGIC + HELLO + wire_v2.pack(LOGIN),
    "v2 without hello": wire_v2.MAGIC + wire_v2.pack(NewWorkConn("r")),
}


@pytest.mark.parametrize("name", GOOD)
@given(cuts=st.lists(st.integers(0, 400), max_size=5), rest=st.binary(max_size=5))
@settings(max_examples=30, deadline=None)
def test_any_cut_of_a_good_beginning(name: str, cuts: list[int], rest: bytes) -> None:
    data = GOOD[name] + rest
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    arrival = Arrival([data[a:b] for a, b in pairwise(edges)])
    assert arrival.server.received == [NewWorkConn("r") if "work" in name or "without" in name else LOGIN]
    assert not arrival.end.is_closed
    assert arrival.server.first_messages.added == set()
    assert arrival.caller.waiting == 0
    assert (arrival.reception.wire_name, arrival.reception.agreed is not None) == (name[:2], name == "v2")
    assert rest.startswith(arrival.reception.data)
    assert arrival.end.credited == len(GOOD[name])


FRAMES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda kind, size: struct.pack(">Bq", kind, size), st.integers(0, 255), st.integers(-(2**63), 2**63 - 1)),
    st.builds(
        lambda kind, body: struct.pack(">Bq", kind, len(body)) + body,
        st.sampled_from(b"o1p2cwrsv3h4uinm56"),
        st.one_of(st.binary(max_size=40), st.text(max_size=20).map(lambda text: f'{{"run_id":{text}}}'.encode("utf-8", "surrogatepass"))),
    ),
    st.builds(
        lambda kind, flags, body: wire_v2.MAGIC + struct.pack(">HHI", kind, flags, len(body)) + body,
        st.integers(0, 20),
        st.sampled_from([0, 0, 0, 1]),
        st.binary(max_size=60),
    ),
    st.sampled_from([wire_v2.MAGIC, HELLO, wire_v2.MAGIC + HELLO, b"[" * 9000, b'{"a":' * 2000]),
)


@given(pieces=st.lists(FRAMES, max_size=6))
@example(pieces=[struct.pack(">Bq", ord("o"), 10240), b"[" * 10240])
@example(pieces=[wire_v2.MAGIC, struct.pack(">HHI", 1, 0, 65536), b"[" * 65536])
@example(pieces=[wire_v2.MAGIC, struct.pack(">HHIH", 16, 0, 65536, 1), b'{"a":' * 14000])
@example(pieces=[struct.pack(">Bq", ord("o"), 12), b'{"metas":[]}'])
@example(pieces=[b"", wire_v2.MAGIC])  # an empty frame of data is allowed
@settings(max_examples=200, deadline=None)
def test_garbage_never_fails_and_costs_one_line(pieces: list[bytes]) -> None:
    with logged() as lines:
        arrival = Arrival(pieces)
        whole = Arrival([b"".join(pieces)])
    assert whole.outcome == arrival.outcome
    assert arrival.most_held <= len(wire_v2.MAGIC) + 2 * (wire_v2.HEADER_SIZE + wire_v2.MAX_PAYLOAD)
    for one in (arrival, whole):
        assert len(one.server.received) <= 1
        if one.end.is_closed:
            assert one.server.received == []
            assert one.caller.waiting == 0
            assert one.server.first_messages.added == set()
    assert len(lines.texts) <= 4  # a reason, and at `debug` that the connection is gone
    assert all(len(text) < 700 for text in lines.texts)


def test_the_end_before_the_message(lines: Lines) -> None:
    arrival = Arrival([GOOD["v1"][:-1]])
    arrival.reception.ended(cast(Any, arrival.end))
    assert arrival.end.is_closed
    assert arrival.server.received == []


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\r2026-01-02 15:04:05.678 [I] [a/b.py:1] forged", "\u202e\u2028"])
def test_what_a_stranger_says_can_not_forge_a_line(text: str) -> None:
    record = logging.LogRecord("frp_py", logging.INFO, "a/b.py", 1, f"client login info: hostname [{text}]", (), None)
    line = LineFormatter().format(record)
    assert line.isprintable()


# with a server


def counts(server: Server) -> tuple[int, ...]:
    return len(server.lobby), len(server.callers), len(server.strangers), len(server.first_messages)


async def good_one_works(peers: Peers) -> None:
    """Somebody who may be here is served."""
    peer = await peers.logged_in(pool_count=0)
    answer = await peer.register("it", remote_port=(port := free_port()))
    assert answer.error == ""
    user = await connect(port)
    work = await peers.work_of(peer)
    await started(work)
    await user.send_all(b"x")
    assert await receive_exactly(work.stream, 1) == b"x"
    await user.aclose()
    await work.stream.aclose()
    await peer.control.stream.aclose()


@pytest.mark.parametrize("sent", [b"", b"o", b"\x16", b"\x17\x16\x03\x01\x00", b"123456789"])
async def test_too_little_to_know_who_it_is(sent: bytes, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running_server() as server:
            slow, done = await connect(server.config.bind_port), await connect(server.config.bind_port)
            for stream in (slow, done):
                if sent:
                    await stream.send_all(sent)
            await done.send_eof()
            assert await ending(done) in ("eof", "reset")
            await clock.forward(9)
            assert counts(server)[0] == 1
            await clock.forward(2)
            assert await ending(slow) in ("eof", "reset")
            await until(lambda: counts(server) == (0, 0, 0, 0))


@BOTH
async def test_a_message_that_does_not_come_to_its_end(mux: bool, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            talk = (await peers.connect()).open()
            await talk.send_raw(GOOD["v1"][:-1])
            await until(lambda: len(server.first_messages))
            await clock.forward(9)
            assert counts(server)[3] == 1
            await clock.forward(2)
            assert await talk.ending() in ("eof", "reset")
            await until(lambda: counts(server) == (0, 0, 0, 0))
            assert lines.warnings == []


async def test_a_link_on_which_nobody_logs_in(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.tcpMuxKeepaliveInterval": -1}) as server, peers_of(server) as peers:
            idle, good = await peers.connect(), await peers.logged_in()
            assert idle.link is not None
            idle.link.session.ping()
            await until(lambda: counts(server)[2] == 1)
            await clock.forward(9)
            assert idle.lost == []
            await clock.forward(2)
            await until(lambda: idle.lost)
            assert "no login within 10 s" in "".join(lines.texts)
            assert good.lost == []


async def test_slow_handshakes(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running_server() as server:
            stream = await connect(server.config.bind_port)
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")
            await clock.forward(9)
            assert counts(server)[0] == 1
            await clock.forward(2)
            assert await ending(stream) in ("eof", "reset")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x00\x05hello, hello", "checkAndEnableTLSServerConnWithTimeout error:"),
        (b"\x17GET / HTTP/1.1\r\n\r\n", "checkAndEnableTLSServerConnWithTimeout error: http request"),
        (b"GET /~!frp HTTP/1.1\r\n\r\n", "websocket"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "yamux version 83 is not known"),
    ],
)
async def test_strangers_who_want_something_else(sent: bytes, reason: str) -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            stream = await connect(server.config.bind_port)
            await stream.send_all(sent)
            assert await ending(stream) in ("eof", "reset")
            await lines.wait_for(reason)
            await until(lambda: counts(server) == (0, 0, 0, 0))
            await good_one_works(peers)


async def test_a_link_without_tls_where_tls_is_a_must() -> None:
    with logged() as lines:
        async with running_server({"transport.tls.force": True}) as server:
            stream = await connect(server.config.bind_port)
            await stream.send_all(GOOD["v1"])
            assert await ending(stream) in ("eof", "reset")
            await lines.wait_for("checkAndEnableTLSServerConnWithTimeout error: non-TLS connection received on a TlsOnly server")


@BOTH
@pytest.mark.parametrize("message", [Ping(), LoginResp(), StartWorkConn("x")], ids=lambda message: type(message).__name__)
async def test_a_message_that_is_no_first_one(mux: bool, message: Message) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            talk = (await peers.connect()).open()
            await talk.send(message)
            assert await talk.ending() in ("eof", "reset")
            await lines.wait_for(f"{type(message).__name__} is no first message")
            await until(lambda: len(server.first_messages) == 0)
            if not mux:
                await until(lambda: counts(server) == (0, 0, 0, 0))


@BOTH
@pytest.mark.parametrize("wire", ["v1", "v2"])
@pytest.mark.parametrize("details", [True, False])
async def test_a_wrong_token(mux: bool, wire: str, details: bool, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux, "detailedErrorsToClient": details}) as server, peers_of(server) as peers:
            peer = await peers.connect(wire=wire)
            answer = await peer.log_in(privilege_key="0" * 32)
            text = "token in login doesn't match token from configuration"
            assert answer.error == (text if details else "register control error")
            assert answer.run_id == ""
            await lines.wait_for(f"client login from [127.0.0.1] refused: {text}")
            await peer.control.stream.aclose()
            await clock.forward(3)
            await until(lambda: counts(server) == (0, 0, 0, 0))  # it gets no second try


async def test_a_stranger_has_one_try(mock_clock: MockClock) -> None:
    """However many messages he puts on his link: one line, and he is out."""
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            stranger = await peers.connect()
            talks: list[Talk] = []
            for _ in range(50):
                talks.append(stranger.open())
                await talks[-1].send_raw(b"?" * 100)
            for talk in talks:
                assert await talk.ending() in ("eof", "reset")
            assert lines.count("closed: unknown message type") == 1
            await clock.forward(3)
            await until(lambda: stranger.lost)
            await good_one_works(peers)


async def test_many_logins_at_once_are_one_try() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            stranger = await peers.connect()
            talks = [stranger.open() for _ in range(50)]
            for talk in talks:  # all of them go out together
                talk.stream.end.feed(memoryview(talk.wire.pack(stranger.login(privilege_key="wrong"))))
            for talk in talks:
                assert await talk.ending() in ("eof", "reset")
            assert lines.count("refused: token in login") == 1


async def test_after_garbage_there_is_no_login() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            stranger = await peers.connect()
            talk = stranger.open()
            await talk.send_raw(b"?" * 100)
            await lines.wait_for("closed: unknown message type")
            talk = stranger.open()
            await talk.send(stranger.login())
            assert await talk.ending() == "reset"
            assert "client login info" not in lines


async def test_a_client_that_is_known_has_many(mock_clock: MockClock) -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            for _ in range(5):
                talk = peer.open()
                await talk.send_raw(b"?" * 100)
                assert await talk.ending() in ("eof", "reset")
            assert lines.count("closed: unknown message type") == 5
            assert (await peer.register("it")).error == ""


async def test_what_a_stranger_may_make_us_keep(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.server.entrance.STRANGERS_BYTES", 1 << 40)
    clock = Clock(mock_clock)
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            stranger = await peers.connect()
            unfinished = (
                wire_v2.MAGIC + struct.pack(">HHI", wire_v2.CLIENT_HELLO, 0, wire_v2.MAX_PAYLOAD) + b" " * (wire_v2.MAX_PAYLOAD - 1)
            )
            talks = [stranger.open() for _ in range(20)]
            for talk in talks:
                with trio.move_on_after(0.2):
                    await talk.send_raw(unfinished)
            caller = next(iter(server.callers))
            assert caller.link is not None
            await until(lambda: len(server.first_messages) == 2)
            held = sum(len(cast(Any, stream).sink.data) for stream in caller.link.session.streams.values())
            assert held <= 2 * (wire_v2.MAX_PAYLOAD + 100)
            await clock.forward(11)
            await until(lambda: counts(server) == (0, 0, 0, 0))


async def test_what_a_stranger_may_leave_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.server.entrance.STRANGERS_BYTES", 1 << 40)
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            stranger, good = await peers.connect(), await peers.logged_in()
            assert stranger.link is not None
            stranger.link.session.ping()
            await until(lambda: len(server.callers) == 2)
            owed = [caller.link.session.owed_limit for caller in server.callers if caller.link is not None]
            assert sorted(owed) == [STRANGERS_OWED, OWED_LIMIT]
            stranger.close()
            rude = await connect(server.config.bind_port)
            with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
                await rude.send_all(struct.pack(">III", 2 << 16 | 1, 0, 0) * 2_000_000)
            await lines.wait_for("asks for more answers than it reads")
            assert (await good.register("it")).error == ""


@pytest.mark.parametrize("under_tls", [True, False])
async def test_pings_by_the_million_are_no_login(under_tls: bool) -> None:
    """Somebody who reads the answers, too. Who has logged in may go on for as long as he likes."""
    pings = struct.pack(">III", 2 << 16 | 1, 0, 0) * 1000
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            good = await peers.logged_in()
            stream: trio.abc.Stream = await connect(server.config.bind_port)
            if under_tls:
                stream = trio.SSLStream(stream, contexts()[0])

            async def read() -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while await stream.receive_some():
                        pass

            async def send() -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    for _ in range(50 * STRANGERS_BYTES // len(pings)):
                        await stream.send_all(pings)
                        await trio.sleep(0.001)

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read)
                    nursery.start_soon(send)
            await lines.wait_for("link ended, the other side broke the protocol: sends more than it may")
            assert good.link is not None
            for _ in range(30):
                await good.control.send(*[Ping()] * 1000)
            assert (await good.register("it")).error == ""


async def test_a_flood_of_strangers_is_bounded_and_stops_nobody() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            server.lobby.limit = 20
            silent = [await connect(server.config.bind_port) for _ in range(50)]
            links: list[Peer] = []
            for _ in range(50):
                links.append(await peers.connect())
                links[-1].open()
            await until(lambda: server.lobby.put_out >= 80)
            assert len(server.lobby) <= 20
            assert len(server.callers) <= 20
            await good_one_works(peers)
            for stream in silent:
                assert await ending(stream) in ("eof", "reset")
            assert sum(not peer.lost for peer in links) <= 20


@BOTH
async def test_who_comes_back_under_a_flood_gets_in(mux: bool) -> None:
    """However many come from everywhere before he has logged in."""
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            server.lobby.limit = 20
            await (await peers.logged_in()).control.stream.aclose()
            slow = await peers.connect()
            await until(lambda: len(server.lobby) == 1)
            flood = []
            for n in range(2, 62):
                sock = socket.socket()
                sock.bind((f"127.0.0.{n}", 0))
                sock.connect(("127.0.0.1", server.config.bind_port))
                flood.append(sock)
                await trio.lowlevel.checkpoint()
            await until(lambda: server.lobby.put_out >= 41)
            assert (await slow.log_in()).error == ""
            for sock in flood:
                sock.close()


@BOTH
async def test_who_has_logged_in_is_not_put_out(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            server.lobby.limit = 5
            good = await peers.logged_in(pool_count=0)
            others = [await connect(server.config.bind_port) for _ in range(20)]
            await until(lambda: server.lobby.put_out >= 15)
            assert (await good.register("it")).error == ""
            for stream in others:
                await stream.aclose()


@BOTH
@pytest.mark.parametrize(
    ("message", "kind"),
    [(NewWorkConn("<" * 3000), StartWorkConn), (NewVisitorConn("", "p" * 9000), NewVisitorConnResp)],
    ids=["work", "visitor"],
)
async def test_words_that_fit_no_answer(mux: bool, message: Message, kind: type[Message], mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            talk = (await peers.connect()).open()
            body = wire_v1.pack(message)[wire_v1.HEADER_SIZE :] if kind is not StartWorkConn else b'{"run_id":"' + b"<" * 3000 + b'"}'
            first = b"w" if kind is StartWorkConn else b"v"
            await talk.send_raw(first + struct.pack(">q", len(body)) + body)
            assert await talk.ending() in ("eof", "reset")
            line = await lines.wait_for("refused: ")
            assert len(line) <= 403
            await clock.forward(3)
            await until(lambda: counts(server) == (0, 0, 0, 0))


async def test_a_login_of_which_everything_is_too_long() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.connect(wire="v2")
            answer = await peer.log_in(hostname="h" * 20000, version="v" * 20000, os="o" * 5000, privilege_key="k" * 5000)
            assert answer.error
            assert max(len(line) for line in lines.texts) <= 700


async def test_wire_v2_without_a_hello() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.connect(wire="v2")
            talk = peer.open()
            await talk.send_raw(wire_v2.MAGIC + wire_v2.pack(peer.login()))
            answer = await talk.receive()
            assert isinstance(answer, LoginResp)
            assert answer.error == "missing v2 crypto negotiation"


async def test_a_hello_that_can_not_be_met_is_answered() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            talk = (await peers.connect(wire="v2")).open()
            hello = wire_v2.offer("tcp", tls=False, tcp_mux=True, client_random=bytes(32), algorithms=("rot13",))
            await talk.send_raw(wire_v2.MAGIC + wire_v2.pack_frame(wire_v2.CLIENT_HELLO, hello))
            kind, payload = await talk.frame()
            assert kind == wire_v2.SERVER_HELLO
            assert b"no supported crypto algorithm" in payload
            assert await talk.ending() == "eof"
            await lines.wait_for("link connection from [127.0.0.1] closed: no supported crypto algorithm")
