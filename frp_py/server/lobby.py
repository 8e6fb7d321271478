"""Connections that have not yet shown that they may be here: bounded in number, the oldest making room for the newest.

Under a flood the ones that really log in do so within a round trip or two, so they are through before it is their turn to be put out.
"""

from __future__ import annotations

from collections.abc import Callable

LIMIT = 512


class Lobby:
    """Those who wait at the door."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.put_out = 0
        """How many had to leave, so far."""
        self._guests: dict[Guest, None] = {}

    def enter(self, put_out: Callable[[], None]) -> Guest:
        """Let one more in; `put_out()` is called when it has to leave for others."""
        if len(self._guests) >= self.limit:
            oldest = next(iter(self._guests))
            del self._guests[oldest]
            self.put_out += 1
            oldest.put_out()
        guest = Guest(self, put_out)
        self._guests[guest] = None
        return guest

    def __len__(self) -> int:
        return len(self._guests)

    def leave(self, guest: Guest) -> None:
        """It is known now, or gone."""
        self._guests.pop(guest, None)


class Guest:
    """One of them."""

    __slots__ = ("_lobby", "put_out")

    def __init__(self, lobby: Lobby, put_out: Callable[[], None]) -> None:
        self._lobby = lobby
        self.put_out = put_out

    def leave(self) -> None:
        """It is known now, or gone; the second time does nothing."""
        self._lobby.leave(self)
