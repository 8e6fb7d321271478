"""Ends whose bytes are changed on the way: encryption, compression (wire.md 5.5), and limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from frp_py.errors import PeerError
from frp_py.log import Logger, get_logger
from frp_py.net.engine.inward import Inward
from frp_py.net.engine.pace import Limit, PacedEnd
from frp_py.protocol.cipher import Decryptor, Encryptor
from frp_py.protocol.snappy import Compressor, Decompressor
from frp_py.protocol.yamux import BLOCKED, PullFrom

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End, Owner, Sink
    from frp_py.net.engine.loop import Engine
    from frp_py.net.engine.stream import Holder

_LOG = get_logger()

_READ = 64 * 1024  # at a time, so that what it becomes stays near
_PIECE = 16 * 1024  # bytes undone at a time: compressed ones may become 22 times as many
_AHEAD = 256 * 1024  # bytes that the sink keeps, above which nothing more is undone


class Transform(Protocol):
    """Changes a stream of bytes, in pieces."""

    def update(self, data: bytes | bytearray | memoryview, /) -> bytes | bytearray | memoryview:
        """What `data` becomes. Raises PeerError when it can't be undone."""


class TransformedEnd:
    """An end seen through transforms.

    `outward` are applied, in order, to what is sent, `inward` to what is received. `log` says so when that goes wrong.
    """

    __slots__ = (
        "_broken",
        "_has_ended",
        "_inner",
        "_inward",
        "_kept",
        "_late",
        "_log",
        "_outward",
        "_owed",
        "_undoing",
        "_unsent",
        "owner",
        "received_total",
        "scratch",
        "sent_total",
        "sink",
    )

    def __init__(
        self,
        engine: Engine,
        inner: End,
        outward: Sequence[Transform],
        inward: Sequence[Transform],
        sink: Sink,
        owner: Owner,
        log: Logger = _LOG,
    ) -> None:
        self.scratch = engine.scratch[:_READ]
        self._inner = inner
        self._outward = outward
        self._inward = inward
        self._log = log
        self._kept = 0  # bytes of what was received that the sink keeps
        self._owed = 0  # bytes of `inner` that they came from
        self._late = bytearray()  # received, and not undone yet
        self._has_ended = False
        self._unsent = 0  # bytes taken that `inner` keeps, as what they became
        self._undoing = False
        self._broken = False
        self.sink = sink
        self.owner = owner
        self.received_total = 0
        self.sent_total = 0
        inner.sink = Inward(self)
        inner.owner = self

    @property
    def kept(self) -> int:
        """Bytes taken and not sent yet, as they go out."""
        return self._inner.kept

    # towards `inner`

    def pull(self, recv_into: PullFrom) -> int:
        """Receive, change, send."""
        if self._inner.kept:
            return BLOCKED
        n = recv_into(self.scratch)
        if n:
            self.feed(self.scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Change and send."""
        self.sent_total += len(data)
        changed: bytes | bytearray | memoryview = data
        for transform in self._outward:
            changed = transform.update(changed)
        if not changed or not self._inner.feed(memoryview(changed)):
            return 0
        self._unsent += len(data)
        return len(data)

    def start(self) -> None:
        """Begin to receive, or go on."""
        self._inner.start()

    def pause(self) -> None:
        """Receive nothing for now."""
        self._inner.pause()

    def consumed(self, n: int) -> None:
        """The sink is rid of n bytes it had kept."""
        self._kept = max(0, self._kept - n)
        if self._late and not self._undoing:
            self._undo_late()
        if self._late:
            return
        if not self._kept:
            owed, self._owed = self._owed, 0
            self._inner.consumed(owed)
        if self._has_ended:
            self._has_ended = False
            self.owner.ended(self)

    def finish(self) -> None:
        """Send what is kept, then the end."""
        self._inner.finish()

    def close(self) -> None:
        """Give it up where it is."""
        self._inner.close()

    def abort(self) -> None:
        """Give it up so that the other side notices."""
        self._inner.abort()

    # from `inner`

    def arrived(self, data: memoryview) -> int:
        """Undo, and pass on; returns how much of `data` isn't through yet."""
        n = len(data)
        # counted before, because a sink may say `consumed` before its `feed` returns
        self._owed += n
        if self._late:
            self._late += data
            return n
        self._undoing = True  # of one piece after the other: a sink may say `consumed` in the midst of one
        try:
            for start in range(0, n, _PIECE):
                if self._kept > _AHEAD:
                    self._late += data[start:]
                    break
                self._undo(data[start : start + _PIECE])
        finally:
            self._undoing = False
        if self._broken:
            return 0
        if self._kept or not self._owed:
            return n
        owed, self._owed = self._owed, 0
        if owed > n:
            self._inner.consumed(owed - n)
        return 0

    def _undo_late(self) -> None:
        self._undoing = True
        try:
            while self._late and self._kept <= _AHEAD:
                piece = self._late[:_PIECE]
                del self._late[:_PIECE]
                self._undo(memoryview(piece))
        finally:
            self._undoing = False

    def _undo(self, data: memoryview) -> None:
        if self._broken:
            return
        plain: bytes | bytearray | memoryview = data
        try:
            for transform in self._inward:
                plain = transform.update(plain)
        except PeerError as error:
            self._break(error)
            return
        size = len(plain)
        if size:
            self.received_total += size
            self._kept += size
            kept = self.sink.feed(memoryview(plain))
            self._kept -= size - kept

    def _break(self, error: PeerError) -> None:
        if not self._broken:
            self._broken = True
            self._late.clear()
            self._log.warning("what the other side sent can't be read: %s", error)
            self._inner.abort()
            self.owner.broke(self, str(error))

    @property
    def undelivered(self) -> int:
        """Bytes received that the sink has not passed on."""
        return self._kept

    def ended(self, end: End) -> None:
        """The other side has finished; the owner hears of it behind the last byte."""
        if self._late:
            self._has_ended = True
        else:
            self.owner.ended(self)

    def broke(self, end: End, reason: str) -> None:
        """It is lost."""
        if not self._broken:
            self._broken = True
            self._late.clear()
            self.owner.broke(self, reason)

    def drained(self, end: End, n: int) -> None:
        """What was kept has gone."""
        if not self._inner.kept:
            unsent, self._unsent = self._unsent, 0
            self.owner.drained(self, unsent)

    def flushed(self, end: End) -> None:
        """All was sent, and the end said."""
        self.owner.flushed(self)


def wrapped(
    engine: Engine,
    work: Holder,
    *,
    key: bytes | None,
    compress: bool,
    wire_limit: Limit | None = None,
    limit: Limit | None = None,
    log: Logger = _LOG,
) -> End:
    """The held end as application bytes see it, or itself when nothing is done to them.

    They are limited, compressed, encrypted with `key` (wire.md 5.5) and then limited on the wire (behaviour.md 2.2). `log` is for what
    can't be read: it happens as often as the other side likes.
    """
    end = work.end
    if wire_limit is not None:
        end = PacedEnd(engine, end, wire_limit, work, work)
    if key is not None or compress:
        outward: list[Transform] = []
        inward: list[Transform] = []
        if compress:
            outward.append(Compressor())
            inward.append(Decompressor())
        if key is not None:
            outward.append(Encryptor(key, os.urandom(16)))
            inward.insert(0, Decryptor(key))
        end = TransformedEnd(engine, end, outward, inward, work, work, log)
    if limit is not None:
        end = PacedEnd(engine, end, limit, work, work)
    return end
