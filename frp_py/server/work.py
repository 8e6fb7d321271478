"""Hands work connections to users (wire.md 7).

The client is asked for as many connections as there are users waiting and places free in the pool, less what was asked for
already. An own client whose link the server may open streams on needs none of this: see `Direct`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from frp_py.errors import PeerError
from frp_py.net.engine.stream import Holder

if TYPE_CHECKING:
    from frp_py.net.engine.link import MuxLink
    from frp_py.net.engine.loop import Engine, Timeouts

_SPARE = 10  # connections a pool takes beyond those it wants (wire.md 7.2)
_MOST_ASKED = 200  # at a time; a client opens no more than 256 streams that are not accepted
_FULL = "the client has as many users as maxUsersPerClient allows"
_PATIENCE = 3  # s after which a connection that was asked for and didn't come is asked for again


class Waiter(Protocol):
    """Somebody who needs a work connection."""

    def serve(self, work: Holder) -> bool:
        """Use it; False when it turns out to be dead, so that another one is wanted."""

    def give_up(self, reason: str) -> None:
        """None could be had."""


class Source(Protocol):
    """Where work connections come from."""

    def want(self, waiter: Waiter) -> None:
        """`waiter` gets the next one, now or later, or has to give up."""

    def leave(self, waiter: Waiter) -> None:
        """It needs none any more."""

    def close(self, reason: str) -> None:
        """There will be none: whoever waits has to give up, connections that wait are closed."""


class WorkPool:
    """The idle work connections of one client, and the users who wait for one."""

    def __init__(self, size: int, ask: Callable[[], None], timeouts: Timeouts, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room
        self._size = size
        self._ask = ask
        self._timeouts = timeouts
        self._idle: dict[Holder, None] = {}
        self._waiting: dict[Waiter, Callable[[], None]] = {}
        self._asked = 0
        self._silence = 0
        self._closed: str | None = None

    def start(self) -> None:
        """Fill the pool."""
        self._refill()

    def want(self, waiter: Waiter) -> None:
        """Serve `waiter` from the pool, or when a connection comes, if the client may have one more user."""
        if self._closed is not None:
            waiter.give_up(self._closed)
            return
        if not self._has_room(len(self._waiting)):
            waiter.give_up(_FULL)
            return
        while self._idle:
            work = next(iter(self._idle))
            del self._idle[work]
            if waiter.serve(work):
                self._refill()
                return

        def expire() -> None:
            del self._waiting[waiter]
            waiter.give_up("timeout trying to get work connection")

        self._waiting[waiter] = expire
        self._timeouts.add(expire)
        self._refill()

    def leave(self, waiter: Waiter) -> None:
        """The user is gone."""
        expire = self._waiting.pop(waiter, None)
        if expire is not None:
            self._timeouts.discard(expire)

    def offer(self, work: Holder) -> bool:
        """A work connection has come; False when there is no place for it."""
        self._asked = max(0, self._asked - 1)
        self._silence = 0
        if self._waiting:
            waiter, expire = next(iter(self._waiting.items()))
            del self._waiting[waiter]
            if waiter.serve(work):
                self._timeouts.discard(expire)
            else:
                self._waiting = {waiter: expire, **self._waiting}  # keeps its place, and its time
            self._refill()
            return True
        if self._closed is not None or len(self._idle) >= self._size + _SPARE:
            return False
        self._idle[work] = None
        return True

    def drop(self, work: Holder) -> None:
        """An idle one is gone."""
        if self._idle.pop(work, False) is None:
            self._refill()

    def each_second(self) -> None:
        """Ask again for what did not come."""
        if self._asked:
            self._silence += 1
            if self._silence > _PATIENCE:
                self._asked = self._silence = 0
                self._refill()

    def close(self, reason: str) -> None:
        """The client is gone."""
        self._closed = reason
        idle, self._idle = self._idle, {}
        for work in idle:
            work.end.close()
        for waiter in list(self._waiting):
            self.leave(waiter)
            waiter.give_up(reason)

    def _refill(self) -> None:
        if self._closed is None:
            missing = len(self._waiting) + self._size - len(self._idle)
            for _ in range(min(missing, _MOST_ASKED) - self._asked):
                self._asked += 1
                self._ask()


class Direct:
    """Work connections that the server opens itself, on the link of a client that said it takes them.

    That saves asking, and a round trip when the pool is empty.
    """

    def __init__(self, engine: Engine, link: MuxLink, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room
        self._engine = engine
        self._link = link
        self._closed: str | None = None

    def want(self, waiter: Waiter) -> None:
        """Serve `waiter` at once."""
        work = Holder(self._engine)
        try:
            if self._closed is not None:
                raise PeerError(self._closed)
            if not self._has_room(0):
                raise PeerError(_FULL)
            work.end = self._link.open(work, work)
        except PeerError as error:
            waiter.give_up(str(error))
        else:
            if not waiter.serve(work):
                waiter.give_up("link is lost")

    def leave(self, waiter: Waiter) -> None:
        """Nobody waits."""

    def close(self, reason: str) -> None:
        """The client is gone."""
        self._closed = reason
