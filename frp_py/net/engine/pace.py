"""Ends that move no more bytes per second than their proxy or client may (behaviour.md 6.1).

Whoever is to move a slice waits for his turn, and stops his source meanwhile. So what waits here is what the source had sent before it
heard of it: nothing from a socket, at most a window from a stream.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from frp_py.net.engine.ends import Kept, keep
from frp_py.net.engine.link import MuxEnd
from frp_py.protocol.pace import Bucket
from frp_py.protocol.yamux import BLOCKED, PullFrom

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End, Owner, Sink
    from frp_py.net.engine.loop import Engine

_WORTH_WAITING = 0.005  # s; for less nobody is woken
_ROUND = 64  # turns before others than those who wait here have theirs: they may be for a byte each


class Limit:
    """A bucket, and those who wait for it in the order in which they came.

    A turn is paid for when it comes, and what wasn't moved is given back. So the bucket is never in debt for more than a slice, those
    who come wait like those who are there, and who leaves has cost the others nothing. Where another limit holds for the same bytes
    (`beyond`), they are waited for one after the other.
    """

    def __init__(self, engine: Engine, rate: float, beyond: Limit | None = None) -> None:
        """`rate` in bytes per second, above 0."""
        self._engine = engine
        self._bucket = Bucket(rate, trio.current_time())
        self._beyond = beyond
        self._waiting: OrderedDict[Turn, None] = OrderedDict()
        self._is_set = False  # `_go_round` will be called
        own = self._bucket.slice_size
        self.slice_size: int = own if beyond is None else min(own, beyond.slice_size)

    def admit(self, turn: Turn) -> bool:
        """Whether it may go at once, and has paid; if not, it waits, and hears of it."""
        now = trio.current_time()
        if self._waiting or self._bucket.take(0, now):
            self._waiting[turn] = None
            if not self._is_set:
                self._set(now)
            return False
        self._bucket.take(turn.size, now)
        return self._beyond is None or self._beyond.admit(turn)

    def give_back(self, n: int) -> None:
        """Of what was paid for, n bytes were not moved."""
        self._bucket.give_back(n)
        if self._beyond is not None:
            self._beyond.give_back(n)

    def leave(self, turn: Turn) -> None:
        """It waits no longer, and gets back what it has paid."""
        if turn in self._waiting:
            del self._waiting[turn]
        else:
            self._bucket.give_back(turn.size)
            if self._beyond is not None:
                self._beyond.leave(turn)

    def _set(self, now: float) -> None:
        self._is_set = True
        wait = self._bucket.take(0, now)
        if wait:
            self._engine.at(now + max(wait, _WORTH_WAITING), self._go_round)
        else:
            self._engine.soon(self._go_round)  # sockets are read between two rounds: they are to have as many turns as streams

    def _go_round(self) -> None:
        """Those who wait have one turn each, while there is something to be had."""
        now = trio.current_time()
        waiting, bucket, beyond = self._waiting, self._bucket, self._beyond
        try:
            for _ in range(min(len(waiting), _ROUND)):
                if not waiting or bucket.take(0, now):
                    break
                turn, _ = waiting.popitem(last=False)
                bucket.take(turn.size, now)
                if beyond is None or beyond.admit(turn):
                    turn.come()
        finally:
            self._is_set = False
            if waiting:
                self._set(now)


class Turn:
    """The right of one direction of a connection to move a slice. `go()` is called when it had to be waited for and has come."""

    __slots__ = ("_go", "_limit", "_paid", "_waits", "size")

    def __init__(self, limit: Limit, go: Callable[[], None]) -> None:
        self.size = limit.slice_size
        self._limit = limit
        self._go = go
        self._waits = self._paid = False

    def has_come(self) -> bool:
        """Whether a slice may be moved now; if not, it is waited for."""
        if self._paid:
            return True
        if self._waits:
            return False
        self._paid = self._limit.admit(self)
        self._waits = not self._paid
        return self._paid

    def come(self) -> None:
        """It was waited for."""
        self._waits = False
        self._paid = True
        self._go()

    def used(self, n: int) -> None:
        """n bytes were moved."""
        self._paid = False
        if n < self.size:
            self._limit.give_back(self.size - n)

    def leave(self) -> None:
        """It isn't wanted any more."""
        if self._waits or self._paid:
            self._waits = self._paid = False
            self._limit.leave(self)


class _Queue:
    """Bytes that wait for their turn."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: Kept = deque()
        self.size = 0

    def put(self, data: memoryview) -> None:
        keep(self._pieces, data)
        self.size += len(data)

    def take(self, most: int) -> memoryview:
        piece = memoryview(self._pieces.popleft())
        if len(piece) > most:
            self._pieces.appendleft(piece[most:])
            piece = piece[:most]
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        self._pieces.clear()
        self.size = 0


class PacedEnd:
    """An end seen through a limit, which it shares with other connections. Both directions count."""

    __slots__ = (
        "_engine",
        "_finishing",
        "_has_ended",
        "_inner",
        "_inward",
        "_open",
        "_outward",
        "_receiving",
        "_sending",
        "_sink_keeps",
        "owner",
        "received_total",
        "sent_total",
        "sink",
    )

    def __init__(self, engine: Engine, inner: End, limit: Limit, sink: Sink, owner: Owner) -> None:
        self._engine = engine
        self._inner = inner
        self._sending = Turn(limit, self._send_again)
        self._receiving = Turn(limit, self._receive_again)
        self._outward = _Queue()
        self._inward = _Queue()
        self._sink_keeps = 0
        self._has_ended = False
        self._finishing = False
        self._open = True
        self.sink = sink
        self.owner = owner
        self.received_total = 0
        self.sent_total = 0
        inner.sink = _Inward(self)
        inner.owner = self

    # towards `inner`

    @property
    def kept(self) -> int:
        """Bytes taken and not sent yet."""
        return self._outward.size + self._inner.kept

    def pull(self, recv_into: PullFrom) -> int:
        """Receive a slice, and send it."""
        turn = self._sending
        if self._outward.size or self._inner.kept or not turn.has_come():
            return BLOCKED
        scratch = self._engine.scratch
        n = recv_into(scratch[: turn.size])
        turn.used(n)
        if n:
            self._send(scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Send as much as may go now, and keep the rest."""
        kept = 0
        turn = self._sending
        while data and self._open and not self._outward.size and turn.has_come():
            piece, data = data[: turn.size], data[turn.size :]
            turn.used(len(piece))
            kept += self._send(piece)
        if not self._open:
            return 0
        if data:
            self._outward.put(data)
        return kept + len(data)

    def _send(self, data: memoryview) -> int:
        self.sent_total += len(data)
        return self._inner.feed(data)

    def _send_again(self) -> None:
        gone = 0
        turn = self._sending
        while self._outward.size and self._open and turn.has_come():
            piece = self._outward.take(turn.size)
            turn.used(len(piece))
            gone += len(piece) - self._send(piece)
        if self._open:
            if gone or not self.kept:
                self.owner.drained(self, gone)
            self._maybe_finish()

    def start(self) -> None:
        """Begin to receive, or go on."""
        self._inner.start()

    def pause(self) -> None:
        """Receive nothing for now."""
        self._inner.pause()

    def finish(self) -> None:
        """Send what is kept, then the end."""
        self._finishing = True
        self._maybe_finish()

    def _maybe_finish(self) -> None:
        if self._finishing and self._open and not self._outward.size:
            self._inner.finish()

    def close(self) -> None:
        """Give it up where it is."""
        self._forget()
        self._inner.close()

    def abort(self) -> None:
        """Give it up so that the other side notices."""
        self._forget()
        self._inner.abort()

    def _forget(self) -> None:
        self._open = False
        self._sending.leave()
        self._receiving.leave()
        self._outward.clear()
        self._inward.clear()

    # from `inner`

    @property
    def undelivered(self) -> int:
        """Bytes received that are kept here or by the sink."""
        return self._inward.size + self._sink_keeps

    def pull_from_inner(self, recv_into: PullFrom) -> int:
        """Receive a slice, and pass it on."""
        turn = self._receiving
        if self.undelivered or not turn.has_come():
            return BLOCKED
        scratch = self._engine.scratch
        n = recv_into(scratch[: turn.size])
        turn.used(n)
        if n:
            self._deliver(scratch[:n])
        return n

    def arrived(self, data: memoryview) -> int:
        """Pass on as much as may go now; returns how much of `data` isn't through yet."""
        kept = 0
        turn = self._receiving
        while data and self._open and not self.undelivered and turn.has_come():
            piece, data = data[: turn.size], data[turn.size :]
            turn.used(len(piece))
            kept += self._deliver(piece)
        if not self._open:
            return 0
        if data:
            self._inward.put(data)
        return kept + len(data)

    def _deliver(self, data: memoryview) -> int:
        self.received_total += len(data)
        kept = self.sink.feed(data)
        self._sink_keeps += kept
        return kept

    def _receive_again(self) -> None:
        self._pass_on(0)

    def consumed(self, n: int) -> None:
        """The sink is rid of n bytes it had kept."""
        self._sink_keeps = max(0, self._sink_keeps - n)
        self._pass_on(n)

    def _pass_on(self, gone: int) -> None:
        """What waits, as far as it may go; then the source may go on. `gone`: bytes it isn't told of yet."""
        turn = self._receiving
        while self._inward.size and self._open and not self._sink_keeps and turn.has_come():
            piece = self._inward.take(turn.size)
            turn.used(len(piece))
            gone += len(piece) - self._deliver(piece)
        if not self._open:
            return
        inner = self._inner
        if isinstance(inner, MuxEnd):
            inner.consumed(gone, keeps_up=False)  # or its window would grow, for bytes that have to wait anyway
        else:
            inner.consumed(gone)
        if self._has_ended and not self._inward.size:
            self._has_ended = False
            self.owner.ended(self)

    def ended(self, end: End) -> None:
        """The other side has finished; the owner hears of it behind the last byte."""
        if self._inward.size:
            self._has_ended = True
        else:
            self.owner.ended(self)

    def broke(self, end: End, reason: str) -> None:
        """It is lost."""
        if self._open:
            self._forget()
            self.owner.broke(self, reason)

    def drained(self, end: End, n: int) -> None:
        """What was kept below has gone."""
        if n or not self.kept:
            self.owner.drained(self, n)

    def flushed(self, end: End) -> None:
        """All was sent, and the end said."""
        self.owner.flushed(self)


class _Inward:
    """The sink of the inner end."""

    __slots__ = ("_outer",)

    def __init__(self, outer: PacedEnd) -> None:
        self._outer = outer

    @property
    def kept(self) -> int:
        """Bytes not passed on yet."""
        return self._outer.undelivered

    def pull(self, recv_into: PullFrom) -> int:
        """Receive and pass on, when that may be."""
        return self._outer.pull_from_inner(recv_into)

    def feed(self, data: memoryview) -> int:
        """Pass on, or keep."""
        return self._outer.arrived(data)
