"""Yamux (wire.md 2): the vectors, every cut of the input, two sessions that talk, windows, endings, and peers that misbehave."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol import yamux
from frp_py.protocol.yamux import (
    ACK,
    BLOCKED,
    BUFFER_SIZE,
    DATA,
    FIN,
    FRP_FIRST_INCREMENT,
    GO_AWAY,
    HEADER_SIZE,
    HELD,
    INITIAL_WINDOW,
    MAX_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    Budget,
    Buffers,
    Session,
    Stream,
)
from tests.protocol.helpers import VECTORS

FRAMES: list[dict[str, str]] = VECTORS["yamux"]["frames"]


class Heard(Stream):
    """Writes down what it hears; what it receives waits in `data` unless it `reads`."""

    def __init__(self, session: Session, stream_id: int, reads: bool = True) -> None:
        super().__init__(session, stream_id)
        self.reads = reads
        self.data = bytearray()
        self.events: list[str] = []
        self.unread = 0

    def received(self, data: memoryview) -> None:
        self.data += data
        if self.reads:
            self.consumed(len(data))
        else:
            self.unread += len(data)

    def read(self, n: int) -> None:
        n = min(n, self.unread)
        self.unread -= n
        if n:
            self.consumed(n, keeps_up=not self.unread)

    def finished(self) -> None:
        self.events.append("finished")

    def broken(self, reason: str) -> None:
        self.events.append("broken")

    def writable(self) -> None:
        self.events.append("writable")

    def acknowledged(self) -> None:
        self.events.append("acknowledged")


class Side(Session):
    """A session whose streams write down what they hear."""

    def __init__(self, *, client: bool = False, reads: bool = True, **more: Any) -> None:
        self.seen: dict[int, Heard] = {}
        self.reads = reads
        self.refuses = False
        super().__init__(client=client, new_stream=self.make, **more)

    def make(self, session: Session, stream_id: int) -> Heard | None:
        if self.refuses:
            return None
        self.seen[stream_id] = stream = Heard(session, stream_id, self.reads)
        return stream

    def opened(self) -> Heard:
        stream = self.open(lambda session, stream_id: Heard(session, stream_id, self.reads))
        assert isinstance(stream, Heard)
        self.seen[stream.id] = stream
        return stream

    def feed(self, *frames: bytes) -> None:
        self.receive_data(memoryview(b"".join(frames)))


def frame(word: int, stream_id: int, what: int | bytes = 0) -> bytes:
    body = what if isinstance(what, bytes) else b""
    return struct.pack(">III", word, stream_id, len(what) if isinstance(what, bytes) else what) + body


def sent(session: Session, limit: int = 1 << 40) -> bytes:
    """Everything that it has to send, up to `limit`; streams that waited for it go on."""
    out = bytearray()
    while len(out) < limit and (data := session.data_to_send()) is not None:
        piece = bytes(data[: limit - len(out)])
        out += piece
        session.sent(len(piece))
    if session.data_to_send() is None:
        session.drained()
    return bytes(out)


def frames_in(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(word, stream, length, body) of each."""
    found, at = [], 0
    while at < len(data):
        word, stream_id, length = struct.unpack_from(">III", data, at)
        body = data[at + 12 : at + 12 + length] if word & 0xFFFF0000 == DATA else b""
        at += 12 + len(body)
        found.append((word, stream_id, length, body))
    assert at == len(data)
    return found


def talk(a: Session, b: Session, rounds: int = 1000) -> None:
    """Until neither has anything to say."""
    for _ in range(rounds):
        from_a, from_b = sent(a), sent(b)
        if from_a:
            b.receive_data(memoryview(from_a))
        if from_b:
            a.receive_data(memoryview(from_b))
        if not from_a and not from_b and not a.waiting and not b.waiting:
            return
    raise AssertionError("they never stop")


def pair(**more: Any) -> tuple[Side, Side]:
    return Side(client=True, **more), Side(**more)


def joined(**more: Any) -> tuple[Side, Side, Heard, Heard]:
    """Two sessions with one accepted stream."""
    a, b = pair(**more)
    ours = a.opened()
    ours.send(b"!")
    talk(a, b)
    ours.events.clear()
    return a, b, ours, b.seen[1]


# the vectors


def vector(what: str) -> bytes:
    (found,) = {bytes.fromhex(f["hex"]) for f in FRAMES if f["what"].startswith(what)}
    return found


def test_every_vector_is_understood() -> None:
    client, server = pair()
    for number in (1, 3, 5, 7):
        assert client.opened().id == number
    heard: list[str] = []
    client.ping()
    for _ in range(8):
        server.ping()
    sent(client)
    sent(server)
    for each in FRAMES:
        data = bytes.fromhex(each["hex"])
        whole = frames_in(data)
        assert len(whole) == 1
        word = whole[0][0]
        for side in (client, server) if each["from"] == "either" else (server,) if each["from"] == "client" else (client,):
            if word == GO_AWAY and whole[0][2]:
                with pytest.raises(PeerError, match=f"GoAway {whole[0][2]}"):
                    side.feed(data)
            else:
                side.feed(data)
        heard.append(each["what"])
    assert len(heard) == 19
    one, three, five, seven = (client.seen[n] for n in (1, 3, 5, 7))
    assert (bytes(one.data), one.events) == (b"ok", ["acknowledged", "finished"])
    assert three.events == ["broken"]
    assert (bytes(five.data), five.events) == (b"yo", ["acknowledged"])
    assert seven.events == ["acknowledged", "finished"]
    assert one.send_window == INITIAL_WINDOW + FRP_FIRST_INCREMENT + 3145728
    assert server.seen[1].data == b"hello"
    assert server.seen[1].events == ["finished"]
    assert server.seen[1].send_window == MAX_WINDOW == server.seen[3].send_window
    assert server.seen[5].data == b"hi"
    assert client.ping_seen == client.ping_sent == 1
    assert client.gone_away == server.gone_away == 2


def test_what_we_say_is_what_the_vectors_say() -> None:
    client, server = pair()
    client.ping()
    assert sent(client) == vector("keep-alive ping 0")
    server.feed(vector("keep-alive ping 0"))
    assert sent(server) == vector("answer to ping 0")
    client.feed(vector("its own keep-alive ping 7"))
    assert sent(client) == vector("answer to ping 7")
    stream = client.opened()
    stream.flags = 0
    stream.send(b"hello")
    assert sent(client) == vector("data on stream 1: 5 bytes")
    stream.finish()
    assert sent(client) == vector("close stream 1")
    server.refuses = True
    server.feed(vector("open stream 3"))
    assert sent(server) == vector("reject stream 3")
    for _ in range(2):
        client.opened()
    client.seen[5].send(b"hi")
    assert sent(client) == vector("legal alternative open")
    for reason, name in enumerate(("normal", "protocol error", "internal error")):
        client.go_away(reason)
        assert sent(client) == vector(f"go-away, {name}")


def test_a_clients_first_bytes_carry_its_login() -> None:
    server = Side()
    data = bytes.fromhex(VECTORS["yamux_v1_login"]["hex"])
    server.feed(data)
    assert server.seen[1].data == data[24:]
    assert server.seen[1].send_window == MAX_WINDOW
    assert frames_in(sent(server)) == [(WINDOW_UPDATE | ACK, 1, 0, b"")]


# cuts


def script(random: Random) -> bytes:
    """A legal conversation of a client that opens streams, as it would send it."""
    out = bytearray()
    alive: dict[int, bool] = {}
    next_id = 1
    for _ in range(random.randint(1, 25)):
        choice = random.random()
        if choice < 0.3 or not alive:
            flags = SYN | (FIN if random.random() < 0.1 else 0)
            if random.random() < 0.5:
                out += frame(WINDOW_UPDATE | flags, next_id, random.choice([0, 1, FRP_FIRST_INCREMENT]))
            else:
                out += frame(DATA | flags, next_id, random.randbytes(random.choice([0, 1, 40])))
            if not flags & FIN:
                alive[next_id] = True
            next_id += 2
            continue
        stream_id = random.choice(list(alive))
        if choice < 0.8:
            flags = random.choice([0, 0, 0, FIN, RST])
            out += frame(DATA | flags, stream_id, random.randbytes(random.choice([0, 1, 11, 12, 13, 300])))
            if flags:
                del alive[stream_id]
        elif choice < 0.9:
            flags = random.choice([0, 0, FIN])
            out += frame(WINDOW_UPDATE | flags, stream_id, random.randint(0, 1000))
            if flags:
                del alive[stream_id]
        elif choice < 0.95:
            out += frame(PING | SYN, 0, random.getrandbits(32))
        else:
            out += frame(random.choice([DATA, WINDOW_UPDATE | FIN, WINDOW_UPDATE | RST]), 99991)
            out += frame(DATA | random.choice([0, FIN, RST]), 99993, b"nobody's")
    return bytes(out)


def what_came_of(data: bytes, cuts: Sequence[int]) -> tuple[Any, ...]:
    side = Side()
    last = 0
    for cut in [*sorted(cuts), len(data)]:
        side.feed(data[last:cut])
        last = cut
    heard = {n: (bytes(s.data), s.events, s.send_window, s.recv_window, s.state, s._owed) for n, s in side.seen.items()}
    return heard, set(side.streams), sent(side)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_any_cut_of_the_input_gives_the_same(seed: int, data: st.DataObject) -> None:
    conversation = script(Random(seed))
    cuts = data.draw(st.lists(st.integers(0, len(conversation)), max_size=12))
    assert what_came_of(conversation, cuts) == what_came_of(conversation, [])


def test_byte_by_byte_gives_the_same() -> None:
    for seed in range(20):
        conversation = script(Random(seed))
        assert what_came_of(conversation, range(1, len(conversation))) == what_came_of(conversation, [])


@pytest.mark.parametrize("cut", range(1, 12 + 5 + 12))
def test_fin_on_a_data_frame_comes_after_its_last_byte(cut: int) -> None:
    side = Side()
    data = frame(DATA | SYN, 1, b"") + frame(DATA | FIN, 1, b"hello") + frame(DATA | SYN, 3, b"")
    side.feed(data[: 12 + cut])
    one = side.seen[1]
    assert one.data == b"hello"[: max(0, cut - 12)]
    assert one.events == (["finished"] if cut >= 17 else [])
    side.feed(data[12 + cut :])
    assert (bytes(one.data), one.events) == (b"hello", ["finished"])
    assert 3 in side.streams


def test_a_frame_of_megabytes_is_passed_on_as_it_comes() -> None:
    """Other implementations send frames of any size up to the window (wire.md 2.4)."""
    side = Side()
    side.feed(frame(DATA | SYN, 1, b""))
    stream = side.seen[1]
    stream._window = stream.recv_window = MAX_WINDOW
    size = MAX_WINDOW - 5
    payload = Random(1).randbytes(size)
    whole = memoryview(frame(DATA, 1, payload))
    for at in range(0, len(whole), 100_000):
        side.receive_data(whole[at : at + 100_000])
    assert stream.data == payload
    assert stream.recv_window == MAX_WINDOW - stream._owed
    assert stream._owed < MAX_WINDOW >> 1
    assert side._left == 0
    assert side._current is None


def test_a_session_does_not_hold_on_to_the_stream_of_its_last_frame() -> None:
    side = Side()
    side.feed(frame(DATA | SYN, 1, b"abc")[:13])
    assert side._current is side.seen[1]
    side.feed(b"bc")
    assert side._current is None


# two sessions that talk


class Talk:
    """Two sessions, what was given to each stream, and pipes that the test empties as it likes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.budget = Budget(3 << 20)
        buffers = Buffers()
        self.sides = tuple(Side(client=i == 0, reads=False, buffers=buffers, budget=self.budget) for i in range(2))
        self.pipes = (bytearray(), bytearray())
        self.given: tuple[dict[int, bytearray], ...] = ({}, {})
        self.finished: tuple[set[int], ...] = (set(), set())
        self.reset: set[int] = set()

    def stream(self, side: int) -> Heard | None:
        alive = [s for n, s in self.sides[side].seen.items() if n not in self.reset]
        return self.random.choice(alive) if alive else None

    def step(self) -> None:
        random = self.random
        side = random.randrange(2)
        act = random.random()
        if act < 0.08 and len(self.sides[side].seen) < 6:
            stream = self.sides[side].opened()
            stream.send(b"")
            stream.consumed(0)
            self.sides[side].put(WINDOW_UPDATE | stream.flags, stream.id, 0)
            stream.flags = 0
        elif act < 0.4:
            self.send(side)
        elif act < 0.55:
            self.collect(side, random.choice([1, 11, 5000, 1 << 18]))
        elif act < 0.75:
            self.deliver(side, random.choice([1, 13, 10_000, 1 << 18]))
        elif act < 0.93:
            if (s := self.stream(side)) is not None:
                s.read(random.choice([1, 1000, 200_000, 1 << 20]))
        elif act < 0.96:
            self.sides[side].ticks += 1
        elif act < 0.985:
            if (s := self.stream(side)) is not None:
                s.finish()
                self.finished[side].add(s.id)
        elif (s := self.stream(side)) is not None and not s.state & Stream.GONE:
            s.reset()
            self.reset.add(s.id)

    def send(self, side: int) -> None:
        s = self.stream(side)
        if s is None or s.id in self.finished[side]:
            return
        data = self.random.randbytes(self.random.choice([1, 100, 70_000, 300_000]))
        given = self.given[side].setdefault(s.id, bytearray())
        if self.random.random() < 0.5:
            given += data[: s.send(data)]
            return
        rooms: list[int] = []

        def recv_into(room: memoryview) -> int:
            rooms.append(len(room))
            n = min(len(room), len(data))
            room[:n] = data[:n]
            return n

        before = s.send_window
        n = s.pull(recv_into)
        if n == BLOCKED:
            assert not rooms
        else:
            assert 0 < rooms[0] <= before
            given += data[:n]

    def collect(self, side: int, limit: int) -> None:
        self.pipes[side].extend(sent(self.sides[side], limit))

    def deliver(self, side: int, limit: int) -> None:
        pipe = self.pipes[side]
        piece = bytes(pipe[:limit])
        del pipe[:limit]
        self.sides[1 - side].feed(piece)

    def check(self) -> None:
        lent = 0
        for side in self.sides:
            for s in side.streams.values():
                assert isinstance(s, Heard)
                lent += s._window - INITIAL_WINDOW
                assert 0 <= s.recv_window <= s._window <= MAX_WINDOW
                if not side._left and not s.state & 5:  # between frames every byte of the window is somewhere
                    assert s.unread + s.recv_window + s._owed == s._window
                assert s.send_window >= 0
        assert self.budget.left == (3 << 20) - lent >= 0

    def settle(self) -> None:
        for _ in range(2000):
            idle = True
            for side in range(2):
                self.collect(side, 1 << 30)
                idle = idle and not self.pipes[side]
                self.deliver(side, 1 << 30)
                for s in list(self.sides[side].seen.values()):
                    idle = idle and not s.unread
                    s.read(1 << 30)
            if idle:
                return
        raise AssertionError("they never stop")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_two_sessions_deliver_all_in_order(seed: int) -> None:
    talk = Talk(Random(seed))
    for _ in range(250):
        talk.step()
        talk.check()
    talk.settle()
    talk.check()
    for side, other in ((0, 1), (1, 0)):
        for number, told in talk.given[side].items():
            there = talk.sides[other].seen.get(number)
            came = b"" if there is None else bytes(there.data)
            if number in talk.reset:
                assert told.startswith(came)
            else:
                assert came == told
        for number in talk.finished[side] - talk.reset:
            assert talk.sides[other].seen[number].events.count("finished") == 1
    both = talk.finished[0] & talk.finished[1]
    for a_side in talk.sides:
        assert not set(a_side.streams) & (both | talk.reset)
        assert a_side.data_to_send() is None
    for s in [s for a_side in talk.sides for s in list(a_side.streams.values())]:
        s.reset()
    talk.check()
    assert talk.budget.left == 3 << 20


# windows


def test_no_more_is_sent_than_the_window_takes_and_it_goes_on_when_it_grows() -> None:
    a, _, ours, theirs = joined(reads=False)
    data = bytes(INITIAL_WINDOW + 100)
    done = ours.send(data)
    while (more := len(data) - done) and sent(a):
        done += ours.send(data[done:])
        if ours.send_window == 0:
            break
    assert done == INITIAL_WINDOW - 1
    assert more
    assert ours.send(b"x") == 0
    assert ours.pull(lambda room: pytest.fail("there is no window")) == BLOCKED
    assert ours not in a.waiting  # it waits for the peer, not for the buffer
    ours.events.clear()
    a.feed(frame(WINDOW_UPDATE, 1, 0))
    assert ours.events == []
    a.feed(frame(WINDOW_UPDATE, 1, 5))
    assert ours.events == ["writable"]
    assert ours.send(b"123456") == 5
    a.feed(frame(WINDOW_UPDATE, 1, 5))
    a.feed(frame(WINDOW_UPDATE, 1, 5))
    assert ours.events == ["writable", "writable"]
    assert theirs.recv_window == INITIAL_WINDOW - 1


def test_the_first_increments_of_frp_are_taken_whether_they_ride_on_syn_or_ack() -> None:
    a, b = pair()
    b.feed(frame(WINDOW_UPDATE | SYN, 1, FRP_FIRST_INCREMENT))
    assert b.seen[1].send_window == MAX_WINDOW
    ours = a.opened()
    assert ours.send(b"x") == 1  # the ACK isn't waited for
    a.feed(frame(WINDOW_UPDATE | ACK, 1, FRP_FIRST_INCREMENT))
    assert ours.send_window == MAX_WINDOW - 1
    assert ours.events == ["acknowledged"]


def test_half_a_window_is_given_back_at_once() -> None:
    a, b, ours, theirs = joined(reads=False)
    b.ticks = 50  # no growth
    ours.send(bytes(INITIAL_WINDOW // 2))
    b.receive_data(memoryview(sent(a)))
    theirs.read(INITIAL_WINDOW // 2 - 1)
    assert sent(b) == b""
    theirs.read(1)
    assert frames_in(sent(b)) == [(WINDOW_UPDATE, 1, INITIAL_WINDOW // 2, b"")]
    assert theirs.recv_window + theirs.unread == INITIAL_WINDOW


def fill(ours: Heard, a: Side, b: Side, n: int) -> None:
    while n:
        n -= ours.send(bytes(n))
        b.receive_data(memoryview(sent(a)))


def test_a_window_grows_when_it_is_emptied_quickly_and_not_beyond_the_most_or_the_budget() -> None:
    budget = Budget(1 << 30)
    a, b, ours, theirs = joined(budget=budget)
    sizes = []
    for _ in range(12):
        fill(ours, a, b, ours.send_window)
        a.receive_data(memoryview(sent(b)))
        sizes.append(theirs._window)
    assert sizes[:5] == [INITIAL_WINDOW << i for i in (1, 2, 3, 4, 4)] or sizes == sorted(sizes)
    assert sizes[-1] == MAX_WINDOW
    assert ours.send_window <= MAX_WINDOW
    assert budget.left == (1 << 30) - (MAX_WINDOW - INITIAL_WINDOW)
    ours.reset()
    b.receive_data(memoryview(sent(a)))
    assert budget.left == 1 << 30


def test_a_window_does_not_grow_for_a_slow_reader_nor_without_a_budget() -> None:
    a, b, ours, theirs = joined(budget=Budget(INITIAL_WINDOW - 1))
    fill(ours, a, b, INITIAL_WINDOW - 1)
    assert theirs._window == INITIAL_WINDOW
    a, b, ours, theirs = joined()
    b.ticks += 2
    fill(ours, a, b, INITIAL_WINDOW // 2)
    assert theirs._window == INITIAL_WINDOW
    a, b, ours, theirs = joined(reads=False)
    fill(ours, a, b, INITIAL_WINDOW - 1)
    theirs.read(INITIAL_WINDOW // 2)  # there is more
    assert theirs._window == INITIAL_WINDOW


def test_a_window_that_is_to_stay_small_is_given_back_but_does_not_grow() -> None:
    a, b, ours, theirs = joined()
    theirs.state |= yamux.SMALL
    for _ in range(12):
        fill(ours, a, b, ours.send_window)
        a.receive_data(memoryview(sent(b)))
    assert theirs._window == INITIAL_WINDOW
    assert INITIAL_WINDOW // 2 < ours.send_window <= INITIAL_WINDOW


@pytest.mark.parametrize("end", ["reset by us", "reset by them", "finished", "lost", "forgotten"])
def test_the_budget_comes_back_however_a_stream_ends(end: str) -> None:
    budget = Budget(1 << 30)
    a, b = Side(client=True), Side(budget=budget)
    ours = a.opened()
    fill(ours, a, b, INITIAL_WINDOW)
    theirs = b.seen[1]
    assert budget.left < 1 << 30
    if end == "reset by us":
        theirs.reset()
        theirs.reset()
    elif end == "reset by them":
        b.feed(frame(WINDOW_UPDATE | RST, 1), frame(WINDOW_UPDATE | RST, 1))
    elif end == "finished":
        theirs.finish()
        b.feed(frame(WINDOW_UPDATE | FIN, 1))
    elif end == "forgotten":
        theirs.finish()
        theirs.forget()
        theirs.forget()
    b.broken("lost")
    b.broken("lost")
    assert budget.left == 1 << 30
    assert not b.streams
    assert theirs.events.count("broken") == (end in ("reset by them", "lost"))


# what waits


def test_a_full_buffer_blocks_and_lets_go_on_when_it_is_empty() -> None:
    a = Side(client=True)
    one, two = a.opened(), a.opened()
    one.send_window = two.send_window = MAX_WINDOW
    n = one.send(bytes(1 << 20))
    assert yamux.MOST_QUEUED - HEADER_SIZE <= n + HEADER_SIZE <= yamux.MOST_QUEUED
    assert two.pull(len) == 4096  # a little for who had nothing in it
    assert two.pull(lambda room: pytest.fail("there is no room")) == BLOCKED
    assert one.pull(lambda room: pytest.fail("there is no room")) == BLOCKED
    assert two.send(b"x") == 0
    assert a.waiting == [one, two]
    a.sent(1000)
    assert one.events == two.events == []
    rest = a.data_to_send()
    assert rest is not None
    a.sent(len(rest))
    assert a.data_to_send() is None
    a.drained()
    assert one.events == two.events == ["writable"]
    assert a.waiting == []


def test_a_key_stroke_does_not_wait_for_its_turn_among_uploads() -> None:
    a = Side(client=True)
    uploads = [a.opened() for _ in range(4)]
    typing, pulling = a.opened(), a.opened()
    for _ in range(3):
        for upload in uploads:
            upload.send(bytes(200_000))
        assert [upload.pull(lambda room: pytest.fail("there is no room")) for upload in uploads] == [BLOCKED] * 4
        assert typing.send(b"x") == 1
        assert pulling.pull(lambda room: 1) == 1
        assert typing.send(b"y") == 0  # once, until all has gone
        sent(a)
        for upload in uploads:
            upload.send_window = 200_000


def test_no_more_is_queued_than_the_driver_wants() -> None:
    a = Side(client=True)
    one, two = a.opened(), a.opened()
    a.most_queued = yamux.LEAST_QUEUED
    assert one.send(bytes(100_000)) == yamux.LEAST_QUEUED - HEADER_SIZE
    assert two.send(bytes(100_000)) == 4096
    sent(a)
    assert one.pull(lambda room: len(room)) == yamux.LEAST_QUEUED - HEADER_SIZE
    assert two.pull(lambda room: len(room)) == 4096


def test_what_is_left_for_newcomers_ends_before_the_room_of_control_frames() -> None:
    a = Side(client=True)
    streams = [a.opened() for _ in range(40)]
    for stream in streams:
        stream.send_window = MAX_WINDOW
    taken = [stream.send(bytes(1 << 20)) for stream in streams]
    assert taken[1:8] == [4096] * 7
    assert taken[9:] == [0] * 31
    assert sum(taken) < BUFFER_SIZE - 8192
    a.ping()
    assert len(sent(a)) <= BUFFER_SIZE


def test_control_frames_find_room_when_data_does_not() -> None:
    a = Side(client=True)
    one = a.opened()
    one.send_window = MAX_WINDOW
    one.send(bytes(1 << 20))
    a.ping()
    a.feed(frame(PING | SYN, 0, 77))
    found = frames_in(sent(a))
    assert [f[:3] for f in found[-2:]] == [(PING | SYN, 0, 0), (PING | ACK, 0, 77)]


def test_order_is_kept_when_the_buffer_runs_over() -> None:
    """With frames in `extra` nothing may get in front of them; FIN is behind the data it ends."""
    a = Side(client=True)
    one, two = a.opened(), a.opened()
    one.send_window = MAX_WINDOW
    one.send(bytes(1 << 20))
    for i in range(8000):
        a.feed(frame(PING | SYN, 0, i))
    assert len(a.extra) > 40_000
    assert two.send(b"later") == 0
    assert two.pull(lambda room: pytest.fail("it would overtake")) == BLOCKED
    one.finish()
    found = frames_in(sent(a))
    assert [f[2] for f in found if f[0] == PING | ACK] == list(range(8000))
    assert found[-1][:2] == (WINDOW_UPDATE | FIN, 1)
    assert two.events == ["writable"]


def test_a_held_stream_pulls_nothing() -> None:
    a, _, ours, _ = joined()
    ours.state |= HELD
    assert ours.pull(lambda room: pytest.fail("older bytes go first")) == BLOCKED
    assert ours not in a.waiting
    assert ours.send(b"older") == 5
    ours.state &= ~HELD
    assert ours.pull(lambda room: 3) == 3


def test_what_the_source_raises_goes_through_and_nothing_is_sent() -> None:
    a, _, ours, _ = joined()

    def fails(room: memoryview) -> int:
        room[:5] = b"never"
        raise BlockingIOError

    with pytest.raises(BlockingIOError):
        ours.pull(fails)
    assert ours.pull(lambda room: 0) == 0
    assert sent(a) == b""
    assert ours.send_window == INITIAL_WINDOW - 1


@pytest.mark.parametrize("share", [0, 1, 1000, 1 << 20])
def test_flushing_in_the_midst_keeps_every_byte(share: int) -> None:
    """The driver may send part, all or nothing when it is asked to, and may give the buffer back by that."""
    out, given = bytearray(), bytearray()
    a = Side(client=True)

    def flush() -> None:
        if share:
            out.extend(sent(a, share))
            a.rest()

    ours = a.opened()
    ours.flags = 0
    ours.send_window = MAX_WINDOW
    a.flush = flush
    for i in range(200):
        data = Random(i).randbytes(3000)
        given += data[: ours.send(data)]

        def recv_into(room: memoryview, data: bytes = data) -> int:
            n = min(len(room), len(data))
            room[:n] = data[:n]
            return n

        given += data[: max(ours.pull(recv_into), 0)]
    out += sent(a)
    assert len(given) == 1_200_000 if share == 1 << 20 else len(given) > 200_000
    assert b"".join(body for word, number, _, body in frames_in(bytes(out)) if (word, number) == (DATA, 1)) == given
    assert ours.send_window == MAX_WINDOW - len(given)


def test_a_session_that_rests_borrows_nothing() -> None:
    buffers = Buffers()
    a, b = Side(client=True, buffers=buffers), Side(buffers=buffers)
    ours = a.opened()
    ours.send(b"x")
    a.rest()
    assert a.view is not None  # something is in it
    talk(a, b)
    ours.pull(lambda room: 0)
    a.rest()
    b.rest()
    assert a.view is b.view is None
    assert buffers.take() is not buffers.take()
    ours.finish()
    for i in range(100_000):
        if not a.extra:
            a.feed(frame(PING | SYN, 0, i))
    a.sent(a.end - a.start)
    a.rest()
    assert frames_in(sent(a))[0][0] == PING | ACK  # what ran over is still there


def test_many_sessions_at_once_hold_a_buffer_only_while_there_is_something_in_it() -> None:
    buffers = Buffers()
    sides = [Side(client=True, buffers=buffers) for _ in range(100)]
    for side in sides:
        side.ping()
    for side in sides[:84]:
        sent(side)
        assert side.view is None
    assert len(buffers._free) <= Buffers._KEPT
    for side in sides[84:]:
        sent(side)
        side.broken("lost")
        side.put(PING, 0, 0)  # takes one again, and nobody gives it back
    assert not buffers.scarce
    assert buffers._taken == 0


def test_waking_happens_once_for_all_that_is_queued() -> None:
    calls: list[int] = []
    a = Side(client=True, wake=lambda: calls.append(1))
    ours = a.opened()
    for _ in range(5):
        ours.send(b"x")
    a.ping()
    assert len(calls) == 1
    sent(a)
    ours.finish()
    assert len(calls) == 2


# opening and ending


def test_syn_rides_on_the_first_frame_and_on_it_only() -> None:
    firsts: list[tuple[Callable[[Heard], object], int]] = [
        (lambda s: s.send(b"x"), DATA | SYN),
        (lambda s: s.pull(lambda room: 1), DATA | SYN),
        (lambda s: s.finish(), WINDOW_UPDATE | SYN | FIN),
        (lambda s: s.reset(), WINDOW_UPDATE | SYN | RST),
        (lambda s: s.consumed(INITIAL_WINDOW), WINDOW_UPDATE | SYN),
    ]
    for first, word in firsts:
        a = Side(client=True)
        stream = a.opened()
        first(stream)
        stream.send(b"y")
        found = frames_in(sent(a))
        assert found[0][0] == word
        assert all(not f[0] & SYN for f in found[1:])


def test_an_accepted_stream_is_acknowledged_once() -> None:
    b = Side()
    b.feed(frame(DATA | SYN, 1, b"x"))
    b.seen[1].send(b"y")
    b.seen[1].finish()
    assert [f[0] & ACK for f in frames_in(sent(b))].count(ACK) == 1


def test_ids_are_odd_for_the_client_and_even_for_the_server_and_run_out() -> None:
    a, b = pair()
    assert [a.opened().id for _ in range(3)] == [1, 3, 5]
    assert [b.opened().id for _ in range(3)] == [2, 4, 6]
    a._next_id = 0xFFFFFFFD
    assert a.opened().id == 0xFFFFFFFD
    with pytest.raises(PeerError, match="used up"):
        a.opened()


def test_the_peer_may_use_any_parity() -> None:
    b = Side()
    b.feed(frame(WINDOW_UPDATE | SYN, 2, 0), frame(WINDOW_UPDATE | SYN, 7, 0))
    assert set(b.streams) == {2, 7}


def test_a_number_that_the_peer_uses_is_not_taken_again() -> None:
    """Or its stream would be forgotten, and nobody would tell it that the session is over."""
    b = Side()
    b.feed(frame(WINDOW_UPDATE | SYN, 2, 0), frame(WINDOW_UPDATE | SYN, 4, 0))
    theirs = b.streams[2]
    assert b.opened().id == 6
    assert b.opened().id == 8
    assert b.streams[2] is theirs


ENDINGS: dict[str, tuple[bytes, list[str], bool]] = {
    "fin": (frame(WINDOW_UPDATE | FIN, 1), ["finished"], True),
    "fin with data": (frame(DATA | FIN, 1, b"z"), ["finished"], True),
    "ack then fin": (frame(WINDOW_UPDATE | ACK, 1) + frame(WINDOW_UPDATE | FIN, 1), ["acknowledged", "finished"], True),
    "ack with fin": (frame(WINDOW_UPDATE | ACK | FIN, 1), ["acknowledged", "finished"], True),
    "fin then ack": (frame(WINDOW_UPDATE | FIN, 1) + frame(WINDOW_UPDATE | ACK, 1), ["finished", "acknowledged"], True),
    "rst": (frame(WINDOW_UPDATE | RST, 1), ["broken"], False),
    "ack with rst": (frame(WINDOW_UPDATE | ACK | RST, 1), ["acknowledged", "broken"], False),
    "rst on data": (frame(DATA | RST, 1, b"skipped"), ["broken"], False),
    "rst twice": (frame(WINDOW_UPDATE | RST, 1) * 2, ["broken"], False),
    "rst then fin": (frame(WINDOW_UPDATE | RST, 1) + frame(WINDOW_UPDATE | FIN, 1), ["broken"], False),
    "fin then rst": (frame(WINDOW_UPDATE | FIN, 1) + frame(WINDOW_UPDATE | RST, 1), ["finished", "broken"], False),
    "ack twice": (frame(WINDOW_UPDATE | ACK, 1) * 2, ["acknowledged"], True),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("finished_first", [False, True])
def test_endings_in_every_order(name: str, finished_first: bool) -> None:
    data, events, lives = ENDINGS[name]
    a = Side(client=True)
    ours = a.opened()
    ours.send(b"x")
    if finished_first:
        ours.finish()
        ours.finish()
        if "fin" in name.split() and "rst" not in name:
            lives = False
        if name == "fin then ack":
            events = ["finished"]  # with FIN both ways it is forgotten
        if name == "fin then rst":
            events = ["finished"]
    a.feed(data)
    assert ours.events == events
    assert (1 in a.streams) == lives
    assert (1 in a.unacknowledged) == (lives and "acknowledged" not in events)
    said = [f[0] for f in frames_in(sent(a))]
    assert said.count(WINDOW_UPDATE | FIN) == finished_first
    ours.finish()
    ours.finish()
    after = [f[0] for f in frames_in(sent(a))]
    assert after == ([WINDOW_UPDATE | FIN] if lives and not finished_first else [])
    assert ours.send(b"too late") == 0
    assert ours.pull(lambda room: pytest.fail("it is finished")) == BLOCKED
    assert ours not in a.waiting


def test_after_our_fin_data_is_still_taken_and_credited() -> None:
    a, b, ours, theirs = joined()
    ours.finish()
    talk(a, b)
    assert theirs.events == ["finished"]
    n = 0
    for _ in range(40):
        n += theirs.send(bytes(60_000))
        talk(a, b)
    assert n == 40 * 60_000
    assert len(ours.data) == n
    theirs.finish()
    talk(a, b)
    assert ours.events == ["finished"]
    assert not a.streams
    assert not b.streams


def test_a_frame_with_nothing_in_it_is_nothing_received(monkeypatch: pytest.MonkeyPatch) -> None:
    side, sizes = Side(), []
    side.feed(frame(DATA | SYN, 1, b""))
    monkeypatch.setattr(Heard, "received", lambda stream, data: sizes.append(len(data)))
    side.feed(frame(DATA, 1, b""), frame(DATA, 1, b"hello"), *[frame(DATA, 1, b"")] * 3, frame(DATA | FIN, 1, b""))
    assert sizes == [5]
    assert side.seen[1].events == ["finished"]


def test_frames_for_unknown_streams_are_skipped() -> None:
    a = Side(client=True)
    a.feed(
        frame(DATA, 9, bytes(100)),
        frame(DATA | FIN, 9, b"x"),
        frame(WINDOW_UPDATE | FIN, 9),
        frame(WINDOW_UPDATE | RST, 9),
        frame(WINDOW_UPDATE | ACK, 9, 5),
        frame(PING | SYN, 0, 3),
    )
    assert frames_in(sent(a)) == [(PING | ACK, 0, 3, b"")]
    assert not a.streams


def test_a_refused_stream_gets_rst_and_its_data_is_skipped() -> None:
    b = Side(max_streams=1)
    b.feed(frame(DATA | SYN, 1, b"x"), frame(DATA | SYN | FIN, 3, b"y"), frame(DATA, 1, b"z"))
    assert b.seen[1].data == b"xz"
    assert 3 not in b.seen
    assert [f[:2] for f in frames_in(sent(b))] == [(WINDOW_UPDATE | ACK, 1), (WINDOW_UPDATE | RST, 3)]
    b.feed(frame(WINDOW_UPDATE | RST, 1), frame(WINDOW_UPDATE | SYN, 5))
    assert set(b.streams) == {5}


def test_an_id_may_come_back_when_its_stream_is_gone() -> None:
    b = Side()
    for i in range(3):
        b.feed(frame(DATA | SYN, 1, bytes([i])), frame(WINDOW_UPDATE | RST, 1))
        assert b.seen[1].data == bytes([i])


def test_a_stream_that_resets_itself_in_a_callback_hears_nothing_more() -> None:
    class Resets(Heard):
        def received(self, data: memoryview) -> None:
            super().received(data)
            self.reset()

        def acknowledged(self) -> None:
            super().acknowledged()
            self.reset()

    a = Side(client=True)
    ours = a.open(Resets)
    assert isinstance(ours, Resets)
    while ours.send_window:
        ours.send(bytes(ours.send_window))
        sent(a)
    ours.send(b"more")
    assert ours._waits
    ours.events.clear()
    a.feed(frame(DATA | ACK | FIN, 1, b"abc"), frame(DATA, 1, b"d"), frame(WINDOW_UPDATE, 1, 9))
    assert (ours.events, bytes(ours.data)) == (["acknowledged"], b"")
    b = Side(client=True)
    ours = b.open(Resets)
    assert isinstance(ours, Resets)
    b.feed(frame(DATA | FIN, 1, b"abc"), frame(WINDOW_UPDATE, 1, 9))
    assert (ours.events, bytes(ours.data)) == ([], b"abc")
    c = Side(client=True)
    ours = c.open(Resets)
    assert isinstance(ours, Resets)
    ours.send_window = 0
    ours.send(b"more")
    c.feed(frame(WINDOW_UPDATE | ACK, 1, 9))  # the increment comes for one that is gone by now
    assert ours.events == ["acknowledged"]


def test_a_finished_stream_that_waited_for_window_is_not_asked_to_go_on() -> None:
    a = Side(client=True)
    ours = a.opened()
    ours.send_window = 0
    assert ours.send(b"x") == 0
    ours.finish()
    a.feed(frame(WINDOW_UPDATE | ACK, 1, 100))
    assert ours.events == ["acknowledged"]


def test_a_session_that_was_lost_in_a_callback_takes_no_new_streams() -> None:
    """Whoever tells a session in the midst of its input that it is lost gets no streams that nobody would ever end."""
    b = Side()

    class Loses(Heard):
        def received(self, data: memoryview) -> None:
            self.session.broken("lost")

    b.streams[1] = Loses(b, 1)
    b.feed(frame(DATA, 1, b"x"), frame(DATA | SYN, 3, b"y"), frame(PING | SYN, 0, 1))
    assert not b.seen
    assert not b.streams


def test_every_stream_is_told_that_the_session_is_lost_also_when_one_of_them_fails() -> None:
    class Fails(Heard):
        def broken(self, reason: str) -> None:
            raise RuntimeError("bug")

    a = Side(client=True)
    first = a.opened()
    a.open(Fails)
    last = a.opened()
    with pytest.raises(RuntimeError, match="bug"):
        a.broken("lost")
    assert first.events == last.events == ["broken"]
    assert a.view is None


# signs of life, and the end


def test_a_ping_is_answered_with_its_value_and_an_answer_to_an_old_one_does_not_count() -> None:
    a = Side(client=True)
    a.ping()
    a.ping()
    a.feed(frame(PING | ACK, 0, 0))
    assert (a.ping_seen, a.ping_sent) == (0, 2)
    a.feed(frame(PING | ACK, 0, 7), frame(PING, 0, 1))
    assert a.ping_seen == 0
    a.feed(frame(PING | ACK, 0, 1))
    assert a.ping_seen == 2
    a.feed(frame(PING | ACK, 0, 1))
    assert (a.ping_seen, a.ping_sent) == (2, 2)
    a.ping_sent = a.ping_seen = 1 << 32  # the value wraps, the count doesn't
    a.ping()
    assert frames_in(sent(a))[-1][:3] == (PING | SYN, 0, 0)
    a.feed(frame(PING | ACK, 0, 0))
    assert a.ping_seen == a.ping_sent


def test_after_a_normal_go_away_nothing_is_opened_and_what_is_open_goes_on() -> None:
    a, b, ours, theirs = joined()
    a.feed(frame(GO_AWAY, 0, 0))
    with pytest.raises(PeerError, match="no new streams"):
        a.opened()
    ours.send(b"goes on")
    talk(a, b)
    assert theirs.data == b"!goes on"


# peers that misbehave


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(0x01000000, 1), "version 1 is not known"),
        (b"\x6f\x00\x00\x00" + bytes(8), "version 111 is not known"),
        (frame(4 << 16, 1), "type 4 is not known"),
        (frame(0x00FF0000, 1), "type 255 is not known"),
        (frame(WINDOW_UPDATE | SYN, 0), "stream 0 can't be opened"),
        (frame(WINDOW_UPDATE | SYN, 1) * 2, "opened twice"),
        (frame(DATA | SYN, 1, b"x") + frame(DATA | SYN, 1, b"x"), "opened twice"),
        (frame(DATA | SYN, 1, INITIAL_WINDOW + 1), "sent into a window of 262144"),
        (frame(DATA | SYN, 1, b"x") + frame(DATA, 1, INITIAL_WINDOW + 1), "sent into a window"),
        (frame(DATA | SYN, 1, b"x") + frame(DATA, 1, 0xFFFFFFFF), "sent into a window"),
        (frame(WINDOW_UPDATE | SYN, 1) + frame(WINDOW_UPDATE | FIN, 1) * 2, "finished twice"),
        (frame(WINDOW_UPDATE | SYN | FIN, 1) + frame(DATA | FIN, 1, b"x"), "finished twice"),
        (frame(WINDOW_UPDATE | SYN, 1, 0xFFFFFFFF), "more than the protocol can count"),
        (frame(WINDOW_UPDATE | SYN, 1) + frame(WINDOW_UPDATE, 1, 1 << 31) * 2, "more than the protocol can count"),
        (frame(GO_AWAY, 0, 1), "GoAway 1"),
        (frame(GO_AWAY, 0, 77), "GoAway 77"),
    ],
)
def test_who_breaks_a_rule_is_put_out(data: bytes, text: str) -> None:
    for step in (len(data), 1, 7):
        side = Side()
        with pytest.raises(PeerError, match=text):  # noqa: PT012
            for at in range(0, len(data), step):
                side.feed(data[at : at + step])


def test_a_window_is_a_promise_over_many_frames() -> None:
    side = Side(reads=False)
    side.feed(frame(DATA | SYN, 1, b""), *[frame(DATA, 1, bytes(1024))] * 256)
    with pytest.raises(PeerError, match="1 bytes sent into a window of 0"):
        side.feed(frame(DATA, 1, b"x"))


def test_data_after_fin_is_skipped_and_still_counted() -> None:
    side = Side()
    side.feed(frame(WINDOW_UPDATE | SYN | FIN, 1), frame(DATA, 1, b"late"))
    assert side.seen[1].data == b""
    with pytest.raises(PeerError, match="sent into a window"):
        side.feed(frame(DATA, 1, INITIAL_WINDOW))


FLOODS: dict[str, Callable[[int], bytes]] = {
    "pings": lambda i: frame(PING | SYN, 0, i & 0xFFFFFFFF),
    "streams": lambda i: frame(WINDOW_UPDATE | SYN, 2 * i + 1) + frame(WINDOW_UPDATE | RST, 2 * i + 1),
    "refused streams": lambda i: frame(WINDOW_UPDATE | SYN, 2 * i + 1),
}


@pytest.mark.parametrize("name", FLOODS)
def test_who_asks_and_does_not_read_is_noticed_before_it_costs_much(name: str) -> None:
    side = Side()
    side.refuses = name == "refused streams"
    some = FLOODS[name]
    i = 0
    while not side.overflowed:
        side.feed(b"".join(some(i + k) for k in range(500)))
        side.seen.clear()
        i += 500
        assert i < 200_000
    assert len(side.extra) <= yamux.OWED_LIMIT + 12
    assert not side.streams
    left = sent(side)
    assert len(left) % 12 == 0
    assert len(left) < yamux.OWED_LIMIT + BUFFER_SIZE + 12


def test_who_asks_and_reads_is_served() -> None:
    side = Side()
    for i in range(20):
        side.feed(*[frame(PING | SYN, 0, i * 1000 + k) for k in range(1000)])
        assert len(frames_in(sent(side))) == 1000
    assert not side.overflowed


def test_window_updates_cost_nothing_however_many_they_are() -> None:
    side = Side()
    side.feed(frame(WINDOW_UPDATE | SYN, 1))
    sent(side)
    side.feed(*[frame(WINDOW_UPDATE, 1, 1)] * 10_000, *[frame(DATA, 1, b"")] * 10_000, *[frame(WINDOW_UPDATE, 3, 1)] * 1000)
    assert side.seen[1].send_window == INITIAL_WINDOW + 10_000
    assert sent(side) == b""


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 4 << 16 | 15), st.integers(0, 4), st.integers(0, 30)), max_size=20))
def test_no_input_does_anything_but_what_is_allowed(noise: bytes, frames: list[tuple[int, int, int]]) -> None:
    side = Side(client=True)
    side.opened().send(b"x")
    try:
        side.feed(*[frame(word, number, length) for word, number, length in frames], noise)
    except PeerError:
        pass
    side.broken("lost")
    assert not side.streams
    assert side.budget.left == Budget().left
    assert all(s.state & Stream.GONE for s in side.seen.values())
