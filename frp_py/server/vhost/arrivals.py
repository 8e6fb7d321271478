"""Users of a port that many proxies share, until it is known which of them they want."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.relay import Lingering
from frp_py.net.engine.stream import Holder
from frp_py.server.bounded_log import refusals_log
from frp_py.server.groups import Group, Groups
from frp_py.server.vhost.routes import Routes
from frp_py.server.visits import HeldVisit, address_text

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine

_TIME = 30  # s for a user to say where he wants to go (behaviour.md 2.6, 2.7)
_LIMIT = 4096  # users at a time who have not said it yet; the oldest makes room for the newest
_MOST_HELD = 16 << 20  # bytes of what all of them have sent; here too


class Vhost:
    """Where the users of a shared port go."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.routes: Routes[Group] = Routes()
        self.groups: Groups[Group] = Groups()
        self.deadlines = engine.timeouts(_TIME)
        self.arrivals: dict[Arrival, None] = {}
        """The oldest first."""
        self.held = 0
        """Bytes that they have sent so far."""
        self.log = refusals_log()

    def on_connection(self, sock: socket.socket, address: Any) -> None:
        """A user has come, on a non-blocking socket that nobody watches."""
        raise NotImplementedError

    def enter(self, arrival: Arrival) -> None:
        """One more, if need be in the place of another."""
        if len(self.arrivals) >= _LIMIT:
            next(iter(self.arrivals)).drop()
        self.arrivals[arrival] = None
        self.deadlines.add(arrival.drop)

    def leave(self, arrival: Arrival) -> None:
        """It is known where he goes, or he has gone."""
        if self.arrivals.pop(arrival, False) is None:
            self.deadlines.discard(arrival.drop)
            self.held -= arrival.size

    def grown(self, n: int) -> None:
        """They have sent n bytes more."""
        self.held += n
        while self.held > _MOST_HELD:
            next(iter(self.arrivals)).drop()

    def close(self) -> None:
        """Send all away."""
        for arrival in list(self.arrivals):
            arrival.drop()


class Arrival(Holder):
    """One user. A subclass looks for his wish in what he sends."""

    __slots__ = ("_user", "_vhost", "address", "size")

    def __init__(self, vhost: Vhost, sock: socket.socket, address: Any) -> None:
        super().__init__(vhost.engine)
        self.address = address
        self.size = 0
        self._vhost = vhost
        self.end = self._user = SocketEnd(vhost.engine, sock, self, self)
        vhost.enter(self)
        self._user.start()

    def look(self) -> None:
        """More has come, all of it in `data`: go to the proxy, refuse, drop, or wait for more."""
        raise NotImplementedError

    def arrived(self) -> None:
        """More has come, or the end of it."""
        if self not in self._vhost.arrivals:
            return
        grown = len(self.data) - self.size
        self.size += grown
        self._vhost.grown(grown)
        if not self.has_ended and self in self._vhost.arrivals:
            self.look()
        if (self.has_ended or len(self.data) >= self.LIMIT) and self in self._vhost.arrivals:
            self.drop()

    def go_to(self, group: Group) -> None:
        """Wait for a work connection of the member whose turn it is."""
        self._vhost.leave(self)
        proxy = group.next()
        if proxy is None:
            self._user.abort()
            return
        proxy.users_log.info("get a user connection [%s]", address_text(self.address))
        HeldVisit(proxy, self, self._user, self.address)

    def refuse(self, answer: bytes) -> None:
        """Say so, and close."""
        self._vhost.leave(self)
        self._user.feed(memoryview(answer))
        if not self.is_lost:
            self._user.finish()
            Lingering(self._engine, self._user)

    def drop(self) -> None:
        """Close without a word."""
        self._vhost.leave(self)
        self._user.close()

    def lost(self, reason: str) -> None:
        """He has gone."""
        self._vhost.leave(self)
