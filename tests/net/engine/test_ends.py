"""Sockets as ends: what epoll says, what TLS holds back, writes that don't fit, and how they close."""

from __future__ import annotations

import errno
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import trio

from frp_py.net.engine.ends import Drop, End, Kept, SocketEnd, TlsEnd, keep, socket_end
from frp_py.net.engine.loop import READ, WRITE, Engine
from frp_py.protocol.yamux import BLOCKED, PullFrom
from tests.support.net import Peer, descriptors, noise, quiet, running_engine, tcp_pair, tls_pair, until


class Both:
    """Sink and owner; writes down what it hears."""

    def __init__(self, engine: Engine, *, most: int = 1 << 30) -> None:
        self.engine = engine
        self.most = most
        self.data = bytearray()
        self.events: list[str] = []
        self.kept = 0

    def pull(self, recv_into: PullFrom) -> int:
        if len(self.data) >= self.most:
            return BLOCKED
        room = self.engine.scratch[: min(5000, self.most - len(self.data))]
        n = recv_into(room)
        self.data += room[:n]
        return n

    def feed(self, data: memoryview) -> int:
        self.data += data
        return 0

    def ended(self, end: End) -> None:
        self.events.append("ended")

    def broke(self, end: End, reason: str) -> None:
        self.events.append(f"broke: {reason}")

    def drained(self, end: End, n: int) -> None:
        if n:
            self.events.append("drained")

    def flushed(self, end: End) -> None:
        self.events.append("flushed")


Pair = Callable[..., tuple[socket.socket, socket.socket]]
kinds = pytest.mark.parametrize("pair", [tcp_pair, tls_pair], ids=["tcp", "tls"])


def joined(engine: Engine, pair: Pair, buffer: int | None = None, **more: Any) -> tuple[SocketEnd, Both, Peer]:
    a, b = pair(buffer)
    both = Both(engine, **more)
    end = socket_end(engine, a, both, both)
    assert type(end) is (TlsEnd if pair is tls_pair else SocketEnd)
    return end, both, Peer(b)


def count_turns(engine: Engine) -> list[int]:
    """Counts the events that the engine handles."""
    counted = [0]
    for fd, handler in engine._handlers.items():

        def counting(events: int, handler: Callable[[int], None] = handler) -> None:
            counted[0] += 1
            handler(events)

        engine._handlers[fd] = counting
    return counted


@kinds
async def test_what_does_not_fit_is_kept_and_goes_out_in_order(pair: Pair) -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair, 8192)
        data = noise(400_000)
        kept = 0
        for at in range(0, len(data), 7000):
            kept += end.feed(memoryview(data)[at : at + 7000])
        assert 0 < kept == end.kept < len(data)
        end.finish()
        end.finish()
        assert "flushed" not in both.events
        assert await peer.receive_all() == data
        assert end.kept == 0
        assert end.sent_total == len(data)
        assert both.events[-1] == "flushed"
        assert both.events.count("flushed") == 1
        end.close()
        peer.close()


@kinds
async def test_a_socket_blocks_its_source_while_it_keeps_something(pair: Pair) -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair, 8192)

        def source(room: memoryview) -> int:
            room[:] = bytes(len(room))
            return len(room)

        assert end.pull(source) == 262144
        assert end.kept
        assert end.pull(lambda room: pytest.fail("it keeps something")) == BLOCKED
        await peer.receive_exactly(262144)
        await until(lambda: not end.kept)
        assert both.events[-1] == "drained"
        assert end.pull(lambda room: 1) == 1
        end.close()
        peer.close()


def test_what_is_kept_in_tiny_pieces_is_put_together() -> None:
    queue: Kept = deque()
    data = noise(100_000)
    at = 0
    for size in [1] * 5000 + [20_000, 3, 70_000, 1, 1]:
        keep(queue, memoryview(data)[at : at + size])
        at += size
    assert b"".join(queue) == data[:at]
    assert len(queue) < 7
    queue.appendleft(memoryview(bytes(5))[2:])
    first = memoryview(queue[0])
    keep(queue, b"more")
    assert bytes(first) == bytes(3)


@kinds
async def test_pause_and_start(pair: Pair) -> None:
    """Also with bytes that TLS has decrypted already: epoll doesn't announce them."""
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair, most=3000)
        end.start()
        data = noise(200_000)
        await peer.send(data)
        await until(lambda: len(both.data) == 3000)
        await quiet(engine)
        assert len(both.data) == 3000  # BLOCKED has paused it
        counted = count_turns(engine)
        await quiet(engine, 5)
        assert counted[0] <= 6  # the bell only
        both.most = 100_000
        end.consumed(0)
        await until(lambda: len(both.data) == 100_000)
        end.pause()
        both.most = 1 << 30
        await quiet(engine)
        assert len(both.data) == 100_000
        end.start()
        await until(lambda: len(both.data) == len(data))
        assert both.data == data
        peer.close()
        await until(lambda: both.events)
        assert both.events == ["ended"]
        end.close()


async def test_the_rest_of_a_record_is_not_forgotten_by_a_pause() -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, tls_pair, most=3000)
        end.start()
        data = noise(10_000)
        await peer.send(data)
        await until(lambda: len(both.data) == 3000)
        await quiet(engine)
        for most in (6000, 10_000):
            both.most = most
            end.consumed(0)
            await until(lambda most=most: len(both.data) == most)  # type: ignore[misc]
        assert both.data == data
        end.close()
        peer.close()


async def test_one_record_in_many_turns() -> None:
    """A TLS record is larger than what the sink takes at once: the rest has no event of its own."""
    async with running_engine() as engine:
        end, both, peer = joined(engine, tls_pair)
        both.most = 10_000_000
        end.start()
        data = noise(16_000)
        await peer.send(data)
        await until(lambda: len(both.data) == 16_000)
        assert both.data == data
        big = noise(1_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, big)
            await until(lambda: len(both.data) == 1_016_000)
        assert both.data[16_000:] == big
        end.close()
        peer.close()


@kinds
async def test_the_end_is_heard_and_costs_nothing_after_that(pair: Pair) -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair)
        end.start()
        await peer.send(b"last words")
        peer.finish()
        await until(lambda: both.events)
        assert (both.events, bytes(both.data)) == (["ended"], b"last words")
        counted = count_turns(engine)
        await quiet(engine, 5)
        assert counted[0] <= 6
        assert end.feed(memoryview(b"answer")) == 0
        end.finish()
        assert await peer.receive_all() == b"answer"
        await quiet(engine, 5)
        assert counted[0] <= 12  # both directions are shut down, which epoll would tell for ever
        end.close()
        peer.close()


@kinds
async def test_a_peer_gone_while_nothing_is_read_does_not_keep_the_engine_busy(pair: Pair) -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair)
        end.pause()
        end.feed(memoryview(b"x"))
        end.finish()
        await peer.receive_all()
        await peer.send(b"to be read later")
        peer.finish()
        await quiet(engine)
        counted = count_turns(engine)
        await quiet(engine, 10)
        assert counted[0] <= 11
        end.start()
        await until(lambda: "ended" in both.events)
        assert both.data == b"to be read later"
        end.close()
        peer.close()


@kinds
async def test_a_reset_is_noticed_also_when_nothing_is_read(pair: Pair) -> None:
    async with running_engine() as engine:
        for paused in (True, False):
            end, both, peer = joined(engine, pair)
            if paused:
                end.pause()
            else:
                end.start()
            peer.reset()
            await until(lambda both=both: both.events)  # type: ignore[misc]
            assert len(both.events) == 1
            assert both.events[0].startswith("broke: ")
            await until(lambda end=end: end.sock.fileno() < 0)  # type: ignore[misc]
            assert end.feed(memoryview(b"x")) == 0
            end.finish()
            end.abort()
            end.start()
            end.pause()
            assert len(both.events) == 1


@kinds
async def test_writing_to_who_is_gone_breaks(pair: Pair) -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair)
        end.pause()
        peer.close()
        for _ in range(3):
            assert end.feed(memoryview(b"x")) == 0
            await quiet(engine)
        assert len(both.events) == 1
        assert "broke" in both.events[0]


@kinds
async def test_abort_is_a_reset_and_close_is_not(pair: Pair) -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, pair)
        end.start()
        end.abort()
        with pytest.raises(ConnectionResetError if pair is tcp_pair else OSError):
            await peer.receive()
        end, both, peer = joined(engine, pair)
        end.feed(memoryview(b"bye"))
        end.close()
        assert await peer.receive_all() == b"bye"
        assert both.events == []


async def test_stale_events_and_numbers_that_come_back() -> None:
    """A socket that is closed in a batch is closed at its end: its number is not another socket's in the same batch."""
    async with running_engine() as engine:
        a1, b1 = tcp_pair()
        a2, b2 = tcp_pair()
        heard: list[str] = []
        made: list[socket.socket] = []

        def close_both(events: int) -> None:
            heard.append("first")
            for each in (a1, a2):
                engine.bury(each, each.fileno())
            made.extend(tcp_pair())
            engine.watch(made[0].fileno(), READ, lambda events: heard.append("new"))
            assert made[0].fileno() not in (a1.fileno(), a2.fileno())

        engine.watch(a1.fileno(), READ, close_both)
        engine.watch(a2.fileno(), READ, close_both)
        b1.send(b"x")
        b2.send(b"x")
        await until(lambda: heard)
        await quiet(engine)
        assert heard == ["first"]
        assert a1.fileno() == a2.fileno() == -1
        made[1].send(b"x")
        await until(lambda: len(heard) > 1)
        assert heard[1] == "new"
        engine.unwatch(made[0].fileno())
        for each in (*made, b1, b2):
            each.close()


async def test_closing_outside_a_batch_closes_soon() -> None:
    async with running_engine() as engine:
        before = descriptors()
        end, _, peer = joined(engine, tcp_pair)
        end.start()
        end.close()
        end.close()
        await until(lambda: end.sock.fileno() < 0)
        peer.close()
        assert descriptors() == before


@kinds
async def test_a_bug_in_its_use_costs_one_connection(pair: Pair) -> None:
    class Fails(Both):
        def pull(self, recv_into: PullFrom) -> int:
            raise RuntimeError("bug")

    async with running_engine() as engine:
        a, b = pair()
        both = Fails(engine)
        end = socket_end(engine, a, both, both)
        end.start()
        peer = Peer(b)
        await peer.send(b"x")
        await until(lambda: both.events)
        assert both.events == ["broke: internal error"]
        await until(lambda: end.sock.fileno() < 0)
        peer.close()
        other, heard, peer = joined(engine, pair)
        other.start()
        await peer.send(b"y")
        await until(lambda: heard.data)
        other.close()
        peer.close()


async def test_drop_takes_everything() -> None:
    async with running_engine() as engine:
        a, b = tcp_pair()
        both = Both(engine)
        drop = Drop(engine)
        assert drop.feed(memoryview(b"x")) == drop.kept == 0
        end = SocketEnd(engine, a, drop, both)
        end.start()
        peer = Peer(b)
        await peer.send(bytes(500_000))
        peer.finish()
        await until(lambda: both.events)
        assert end.received_total == 500_000
        end.close()
        peer.close()


async def test_tls_that_is_damaged_breaks() -> None:
    async with running_engine() as engine:
        end, both, peer = joined(engine, tls_pair)
        end.start()
        socket.socket.send(peer.sock, b"\x17\x03\x03\x00\x20" + bytes(32))
        await until(lambda: both.events)
        assert both.events[0].startswith("broke: ")
        assert len(both.events) == 1
        peer.close()


def test_the_events_are_epolls() -> None:
    assert (READ, WRITE) == (select.EPOLLIN, select.EPOLLOUT)
    assert isinstance(ssl.SSLError(errno.EIO, "x"), OSError)
