"""Connections that have not yet shown that they may be here: bounded in number, the oldest making room for the newest.

Under a flood the ones that really log in do so within a round trip or two, so they are through before it is their turn to be put out.
Whose network has the most waiting has to make room first: one flooder puts out himself, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable

from frp_py.server.penalties import network_of

LIMIT = 512


class Lobby:
    """Those who wait at the door."""

    def __init__(self, limit: int = LIMIT, of_one_network: int = LIMIT) -> None:
        self.limit = limit
        self.of_one_network = of_one_network
        self.put_out = 0
        """How many had to leave, so far."""
        self._count = 0
        self._crowds: dict[bytes, dict[Guest, None]] = {}  # by network; oldest first

    def enter(self, put_out: Callable[[], None], host: str = "") -> Guest:
        """Let one more in, who came from `host` (numeric); `put_out()` is called when it has to leave for others."""
        guest = Guest(self, put_out, network_of(host))
        crowd = self._crowds.get(guest.network)
        if crowd is not None and len(crowd) >= self.of_one_network:
            self._make_room(crowd)
        elif self._count >= self.limit:
            self._make_room(max(self._crowds.values(), key=len))
        self._crowds.setdefault(guest.network, {})[guest] = None
        self._count += 1
        return guest

    def _make_room(self, crowd: dict[Guest, None]) -> None:
        oldest = next(iter(crowd))
        self.leave(oldest)
        self.put_out += 1
        oldest.put_out()

    def __len__(self) -> int:
        return self._count

    def leave(self, guest: Guest) -> None:
        """It is known now, or gone."""
        crowd = self._crowds.get(guest.network)
        if crowd is not None and crowd.pop(guest, False) is None:
            self._count -= 1
            if not crowd:
                del self._crowds[guest.network]


class Guest:
    """One of them."""

    __slots__ = ("_lobby", "network", "put_out")

    def __init__(self, lobby: Lobby, put_out: Callable[[], None], network: bytes) -> None:
        self._lobby = lobby
        self.put_out = put_out
        self.network = network

    def leave(self) -> None:
        """It is known now, or gone; the second time does nothing."""
        self._lobby.leave(self)
