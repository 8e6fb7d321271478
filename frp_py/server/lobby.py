"""Connections that have not yet shown that they may be here: bounded in number, the oldest making room for the newest.

Under a flood the ones that really log in do so within a round trip or two, so they are through before it is their turn to be put out.
Whose network has the most waiting has to make room first: one flooder puts out himself, and nobody else. A flood from everywhere at once
leaves a few places to each network from which somebody has logged in lately, so that those who were lost come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from frp_py.server.penalties import network_of

LIMIT = 512

_RESERVED = 8  # who are not put out for strangers, of a network that is known


class Lobby:
    """Those who wait at the door."""

    def __init__(self, limit: int = LIMIT, of_one_network: int = LIMIT) -> None:
        self.limit = limit
        self.of_one_network = of_one_network
        self.put_out = 0
        """How many had to leave, so far."""
        self._count = 0
        self._strangers: Crowds = {}
        self._known: Crowds = {}

    def enter(self, put_out: Callable[[], None], host: str = "", *, is_known: bool = False) -> Guest:
        """Let one more in, who came from `host` (numeric); `put_out()` is called when it has to leave for others.

        `is_known`: somebody has logged in from there.
        """
        network = network_of(host)
        crowds = self._known if is_known and len(self._known.get(network, ())) < _RESERVED else self._strangers
        guest = Guest(self, crowds, put_out, network)
        theirs = [each[network] for each in (self._strangers, self._known) if network in each]
        if sum(map(len, theirs)) >= self.of_one_network:
            self._make_room(theirs[0], network)
        elif self._count >= self.limit:
            self._make_room(max((self._strangers or self._known).values(), key=len), network)
        crowds.setdefault(network, {})[guest] = None
        self._count += 1
        return guest

    def _make_room(self, crowd: dict[Guest, None], network: bytes) -> None:
        oldest = next(iter(crowd))
        self.leave(oldest)
        self.put_out += 1
        oldest.made_room_for_others = oldest.network != network
        oldest.put_out()

    def __len__(self) -> int:
        return self._count

    def leave(self, guest: Guest) -> None:
        """It is known now, or gone."""
        crowd = guest.crowds.get(guest.network)
        if crowd is not None and crowd.pop(guest, False) is None:
            self._count -= 1
            if not crowd:
                del guest.crowds[guest.network]


class Guest:
    """One of them."""

    __slots__ = ("_lobby", "crowds", "made_room_for_others", "network", "put_out")

    def __init__(self, lobby: Lobby, crowds: Crowds, put_out: Callable[[], None], network: bytes) -> None:
        self._lobby = lobby
        self.crowds = crowds
        self.put_out = put_out
        self.network = network
        self.made_room_for_others = False
        """It was put out for somebody from elsewhere, who may be one of a flood: that is no fault of its own."""

    def leave(self) -> None:
        """It is known now, or gone; the second time does nothing."""
        self._lobby.leave(self)
        self.put_out = _stay  # which would hold on to who it was


def _stay() -> None: ...


Crowds: TypeAlias = dict[bytes, dict[Guest, None]]
"""By network; of each, the oldest first."""
