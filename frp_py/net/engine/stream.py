"""Ends outside a relay: held until somebody joins them, or used by a task as a trio stream."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

import trio
from trio.abc import HalfCloseableStream

from frp_py.protocol.yamux import BLOCKED, PullFrom

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.net.engine.loop import Engine


class Holder:
    """Keeps what an end receives until it is joined to another one. A subclass says what happens when something comes.

    More than LIMIT bytes are not taken from a socket; a stream is limited by its window.
    """

    __slots__ = ("_engine", "data", "end", "has_ended", "is_lost")

    LIMIT = 64 * 1024

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.end: End  # set by whoever makes the end
        self.data = bytearray()
        self.has_ended = False
        self.is_lost = False

    def arrived(self) -> None:
        """There is something new in `data`, or the other side has finished (`has_ended`)."""

    def lost(self, reason: str) -> None:
        """The connection broke."""

    @property
    def kept(self) -> int:
        """Bytes held."""
        return len(self.data)

    def pull(self, recv_into: PullFrom) -> int:
        """Receive, and hold."""
        if len(self.data) >= self.LIMIT:
            return BLOCKED
        scratch = self._engine.scratch
        n = recv_into(scratch[: self.LIMIT])
        if n:
            self.data += scratch[:n]
            self.arrived()
        return n

    def feed(self, data: memoryview) -> int:
        """Hold."""
        self.data += data
        self.arrived()
        return len(data)

    def used(self, n: int) -> None:
        """The first n bytes held have been dealt with."""
        del self.data[:n]
        self.end.consumed(n)

    def ended(self, end: End) -> None:
        """The other side has finished."""
        self.has_ended = True
        self.arrived()

    def broke(self, end: End, reason: str) -> None:
        """It is lost."""
        self.is_lost = True
        self.lost(reason)

    def drained(self, end: End, n: int) -> None:
        """Nobody waits for that."""

    def flushed(self, end: End) -> None:
        """Nobody waits for that."""

    def hand_over(self) -> None:
        """The end was joined: its new sink and owner get what came until now, in the order in which it came."""
        data, self.data = self.data, bytearray()
        end = self.end
        if data:
            kept = end.sink.feed(memoryview(data))
            if kept < len(data):
                end.consumed(len(data) - kept)
        if self.has_ended:
            end.owner.ended(end)


class EndStream(HalfCloseableStream):
    """An end as a trio stream, for those who talk over it instead of joining it to another.

    It is made first and given to the end as its sink and owner; then `attach` says which end that is.
    """

    _LIMIT = 64 * 1024

    def __init__(self, engine: Engine) -> None:
        self.engine = self._engine = engine
        """What drives it."""
        self._end: End | None = None
        self._data = bytearray()
        self._has_ended = False
        self._finished = False
        self._closed = False
        self._broken: str | None = None
        self._reading = self._writing = False
        self._readable = trio.Event()
        self._writable = trio.Event()
        self._over: trio.Event | None = None

    def attach(self, end: End) -> EndStream:
        """Use `end`."""
        self._end = end
        end.sink = end.owner = self
        end.start()
        return self

    def take_over(self, holder: Holder) -> EndStream:
        """Use the end of `holder`, with what that has received."""
        self._data += holder.data
        holder.data = bytearray()
        self._has_ended = holder.has_ended
        if holder.is_lost:
            self._broken = "connection lost"
        return self.attach(holder.end)

    # as a sink and owner, called by the engine

    @property
    def kept(self) -> int:
        """Bytes that the task hasn't received yet."""
        return len(self._data)

    def pull(self, recv_into: PullFrom) -> int:
        """Receive, and keep for the task."""
        if len(self._data) >= self._LIMIT:
            return BLOCKED
        scratch = self._engine.scratch
        n = recv_into(scratch[: self._LIMIT])
        if n:
            self._data += scratch[:n]
            self._wake_reader()
        return n

    def feed(self, data: memoryview) -> int:
        """Keep for the task."""
        self._data += data
        self._wake_reader()
        return len(data)

    def ended(self, end: End) -> None:
        """The other side has finished."""
        self._has_ended = True
        self._wake_reader()
        if self._over is not None:
            self._over.set()

    def broke(self, end: End, reason: str) -> None:
        """It is lost."""
        self._broken = reason
        self._wake_reader()
        self._wake_writer()
        if self._over is not None:
            self._over.set()

    def drained(self, end: End, n: int) -> None:
        """A send may be complete."""
        self._wake_writer()

    def flushed(self, end: End) -> None:
        """The end was said; nobody waits for that."""

    def _wake_reader(self) -> None:
        self._engine.tasks_wait = True
        self._readable.set()

    def _wake_writer(self) -> None:
        self._engine.tasks_wait = True
        self._writable.set()

    def hand_over(self) -> None:
        """The end was joined to another one: its new sink and owner get what no task has received. This stream is done with."""
        data, self._data = self._data, bytearray()
        self._closed = True
        end = self.end
        if data:
            kept = end.sink.feed(memoryview(data))
            if kept < len(data):
                end.consumed(len(data) - kept)
        if self._has_ended:
            end.owner.ended(end)

    # as a trio stream

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke."""
        return self._broken is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was received, not even the end, that no task knows of."""
        return not self._data and not self._has_ended and self._broken is None and not self._closed

    async def wait_over(self) -> None:
        """Until the other side has finished or the connection is lost, however much is still to be received before that."""
        while not self._has_ended and self._broken is None:
            if self._over is None:
                self._over = trio.Event()
            await self._over.wait()

    @property
    def end(self) -> End:
        """What is below."""
        assert self._end is not None
        return self._end

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes` bytes; none when the other side has finished."""
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._reading:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            while not self._data and not self._closed:
                if self._has_ended:
                    return b""
                if self._broken is not None:
                    raise trio.BrokenResourceError(self._broken)
                self._readable = trio.Event()
                await self._readable.wait()
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            n = len(self._data) if max_bytes is None else min(max_bytes, len(self._data))
            data = bytes(memoryview(self._data)[:n])
            del self._data[:n]
            self.end.consumed(n)
            return data
        finally:
            self._reading = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; returns when the link or socket has taken it."""
        if self._writing:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._writing = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            if len(data):
                self.end.feed(memoryview(data))
            await self._until_sent()
        finally:
            self._writing = False

    async def wait_send_all_might_not_block(self) -> None:
        """Until what was sent before has been taken."""
        if self._writing:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._writing = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            await self._until_sent()
        finally:
            self._writing = False

    def _check_sending(self) -> None:
        if self._closed or self._finished:
            raise trio.ClosedResourceError("this stream was closed for sending")
        if self._broken is not None:
            raise trio.BrokenResourceError(self._broken)

    async def _until_sent(self) -> None:
        while self._broken is not None or self._closed or self.end.kept:
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            if self._broken is not None:
                raise trio.BrokenResourceError(self._broken)
            self._writable = trio.Event()
            await self._writable.wait()

    async def send_eof(self) -> None:
        """Say that nothing more is sent."""
        if self._writing:
            raise trio.BusyResourceError("another task is sending on this stream")
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if not self._finished:
            self._finished = True
            self.end.finish()

    async def aclose(self) -> None:
        """Close it; what was sent still goes out."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """As aclose, without the chance for other tasks to run."""
        if not self._closed:
            self._closed = True
            if self._broken is None:
                if self._data or self.end.kept:  # or a send was cancelled: what went out must not pass for the whole
                    self.end.abort()  # as TCP does with what nobody has read: who waits to send more would wait for ever
                else:
                    self.end.close()
            self._readable.set()
            self._writable.set()

    def abort(self) -> None:
        """Give it up so that the other side notices."""
        if not self._closed:
            if self._broken is None:
                self.end.abort()
            self._broken = self._broken or "given up"
            self.close()
