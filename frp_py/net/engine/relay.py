"""Joins two ends, and keeps the rules of how such a connection ends (behaviour.md 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from frp_py.net.engine.ends import Drop, End, SocketEnd

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine


class Relay:
    """Two ends joined: what one receives, the other sends.

    With `half_close` each direction ends on its own. Without, as frp does it, the first end of a direction is the end of
    both; what was accepted by then is still delivered. A connection that breaks on one side is broken off on the other too, so that nobody
    takes a torn transfer for a whole one. `on_done(relay)` is called once, when both sides are closed.
    """

    __slots__ = ("_closing", "_engine", "_flushed", "a", "b", "half_close", "on_done")

    def __init__(self, engine: Engine, a: End, b: End, *, half_close: bool, on_done: Callable[[Relay], None] | None = None) -> None:
        self._engine = engine
        self.a = a
        self.b = b
        self.half_close = half_close
        self.on_done = on_done
        self._flushed = 0
        self._closing: End | None = None  # who ended first, when that ends both directions
        a.sink = b
        b.sink = a
        a.owner = b.owner = self

    def start(self) -> Relay:
        """Let the bytes flow."""
        self.a.start()
        self.b.start()
        return self

    def abort(self) -> None:
        """Break both sides off."""
        self.a.abort()
        self.b.abort()
        self._done()

    def ended(self, end: End) -> None:
        """One direction is over."""
        other = self.b if end is self.a else self.a
        if self._flushed == (1 if end is self.a else 2) and type(other) is SocketEnd and self._closing is None and not other.kept:
            # The other direction has ended before, and was told so: to close the socket says the end of this one as well.
            end.close()
            other.close()
            self._done()
            return
        if not self.half_close and self._closing is None:
            self._closing = end
            other.sink = Drop(self._engine)
            end.finish()
        other.finish()

    def broke(self, end: End, reason: str) -> None:
        """One side is lost."""
        (self.b if end is self.a else self.a).abort()
        self._done()

    def drained(self, end: End, n: int) -> None:
        """What one side had kept is gone: the other may go on."""
        (self.b if end is self.a else self.a).consumed(n)

    def flushed(self, end: End) -> None:
        """All has been sent to one side."""
        self._flushed |= 1 if end is self.a else 2
        if self._flushed == 3:
            for each in (self.a, self.b):
                if self._closing not in (None, each) and type(each) is SocketEnd:
                    # Closed while it still sends, it would be answered with RST, which takes with it what it has not read yet.
                    Lingering(self._engine, each)
                else:
                    each.close()
            self._done()

    def _done(self) -> None:
        on_done, self.on_done = self.on_done, None
        if on_done is not None:
            on_done(self)


class Lingering:
    """Reads on a socket to which all was said, until its side is finished too or the time is up."""

    __slots__ = ("_end",)

    def __init__(self, engine: Engine, end: SocketEnd) -> None:
        self._end = end
        end.sink = Drop(engine)
        end.owner = self
        end.start()
        engine.lingering.add(self.expire)

    def expire(self) -> None:
        """The time is up."""
        self._end.close()

    def ended(self, end: End) -> None:
        """It is finished too."""
        self._end.engine.lingering.discard(self.expire)
        self._end.close()

    def broke(self, end: End, reason: str) -> None:
        """It is gone."""
        self._end.engine.lingering.discard(self.expire)

    def drained(self, end: End, n: int) -> None:
        """Nothing is kept."""

    def flushed(self, end: End) -> None:
        """That has been."""
