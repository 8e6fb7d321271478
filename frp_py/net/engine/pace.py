"""An end that moves no more bytes per second than its proxy may (behaviour.md 6.1).

Whoever has moved a slice waits as long as the bucket says, and stops its source meanwhile. So what waits here is what the source
had sent before it heard of it: nothing from a socket, at most a window from a stream.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from frp_py.net.engine.ends import Kept, keep
from frp_py.net.engine.link import MuxEnd
from frp_py.protocol.yamux import BLOCKED, PullFrom

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End, Owner, Sink
    from frp_py.net.engine.loop import Engine
    from frp_py.protocol.pace import Both, Bucket

_WORTH_WAITING = 0.005  # s; shorter waits are saved up


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
    """An end seen through a bucket, which it shares with the other connections of its proxy. Both directions take from it."""

    __slots__ = (
        "_bucket",
        "_credit",
        "_engine",
        "_finishing",
        "_has_ended",
        "_inner",
        "_inward",
        "_open",
        "_outward",
        "_receiving_waits",
        "_sending_waits",
        "_sink_keeps",
        "owner",
        "received_total",
        "sent_total",
        "sink",
    )

    def __init__(self, engine: Engine, inner: End, bucket: Bucket | Both, sink: Sink, owner: Owner) -> None:
        self._engine = engine
        self._inner = inner
        self._bucket = bucket
        self._outward = _Queue()
        self._inward = _Queue()
        self._sending_waits = False
        self._receiving_waits = False
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

    def _wait(self, size: int) -> float:
        """After `size` bytes were moved: how long to move no more."""
        wait = self._bucket.take(size, trio.current_time())
        return wait if wait >= _WORTH_WAITING else 0.0

    # towards `inner`

    @property
    def kept(self) -> int:
        """Bytes taken and not sent yet."""
        return self._outward.size + self._inner.kept

    def pull(self, recv_into: PullFrom) -> int:
        """Receive a slice, and send it."""
        if self._sending_waits or self._outward.size or self._inner.kept:
            return BLOCKED
        scratch = self._engine.scratch
        n = recv_into(scratch[: self._bucket.slice_size])
        if n:
            self._send(scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Send as much as may go now, and keep the rest."""
        kept = 0
        size = self._bucket.slice_size
        while data and not self._sending_waits and not self._outward.size and self._open:
            kept += self._send(data[:size])
            data = data[size:]
        if not self._open:
            return 0
        if data:
            self._outward.put(data)
        return kept + len(data)

    def _send(self, data: memoryview) -> int:
        self.sent_total += len(data)
        kept = self._inner.feed(data)
        wait = self._wait(len(data))
        if wait:
            self._sending_waits = True
            self._engine.at(trio.current_time() + wait, self._send_again)
        return kept

    def _send_again(self) -> None:
        self._sending_waits = False
        gone = 0
        while self._outward.size and not self._sending_waits and self._open:
            piece = self._outward.take(self._bucket.slice_size)
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
        self._outward.clear()
        self._inward.clear()

    # from `inner`

    @property
    def receiving_blocked(self) -> bool:
        """Whether nothing may be received now."""
        return self._receiving_waits or self.undelivered > 0

    @property
    def undelivered(self) -> int:
        """Bytes received that are kept here or by the sink."""
        return self._inward.size + self._sink_keeps

    def pull_from_inner(self, recv_into: PullFrom) -> int:
        """Receive a slice, and pass it on."""
        scratch = self._engine.scratch
        n = recv_into(scratch[: self._bucket.slice_size])
        if n:
            self._deliver(scratch[:n])
        return n

    def arrived(self, data: memoryview) -> int:
        """Pass on as much as may go now; returns how much of `data` isn't through yet."""
        kept = 0
        size = self._bucket.slice_size
        while data and not self.receiving_blocked and self._open:
            kept += self._deliver(data[:size])
            data = data[size:]
        if not self._open:
            return 0
        if data:
            self._inward.put(data)
        return kept + len(data)

    def _deliver(self, data: memoryview) -> int:
        self.received_total += len(data)
        kept = self.sink.feed(data)
        self._sink_keeps += kept
        wait = self._wait(len(data))
        if wait:
            self._receiving_waits = True
            self._engine.at(trio.current_time() + wait, self._receive_again)
        return kept

    def _receive_again(self) -> None:
        self._receiving_waits = False
        self._pass_on(0)

    def consumed(self, n: int) -> None:
        """The sink is rid of n bytes it had kept."""
        self._sink_keeps = max(0, self._sink_keeps - n)
        self._pass_on(n)

    def _pass_on(self, gone: int) -> None:
        """What waits, as far as it may go; then the source may go on. `gone`: bytes it isn't told of yet."""
        while self._inward.size and not self._receiving_waits and not self._sink_keeps and self._open:
            piece = self._inward.take(self._bucket.slice_size)
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
        if n or not (self._sending_waits or self.kept):
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
        return BLOCKED if self._outer.receiving_blocked else self._outer.pull_from_inner(recv_into)

    def feed(self, data: memoryview) -> int:
        """Pass on, or keep."""
        return self._outer.arrived(data)
