"""Connections that have not yet shown that they may be here: bounded in number, the oldest making room for the newest.

Under a flood the ones that really log in do so within a round trip or two, so they are through before it is their turn to be put out.
Whose network has the most waiting has to make room first: one flooder puts out himself, and nobody else.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

LIMIT = 512


class Lobby:
    """Those who wait at the door."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.put_out = 0
        """How many had to leave, so far."""
        self._count = 0
        self._crowds: dict[bytes, dict[Guest, None]] = {}  # by network; oldest first

    def enter(self, put_out: Callable[[], None], host: str = "") -> Guest:
        """Let one more in, who came from `host` (numeric); `put_out()` is called when it has to leave for others."""
        if self._count >= self.limit:
            crowd = max(self._crowds.values(), key=len)
            oldest = next(iter(crowd))
            self.leave(oldest)
            self.put_out += 1
            oldest.put_out()
        guest = Guest(self, put_out, _network(host))
        self._crowds.setdefault(guest.network, {})[guest] = None
        self._count += 1
        return guest

    def __len__(self) -> int:
        return self._count

    def leave(self, guest: Guest) -> None:
        """It is known now, or gone."""
        crowd = self._crowds.get(guest.network)
        if crowd is not None and crowd.pop(guest, False) is None:
            self._count -= 1
            if not crowd:
                del self._crowds[guest.network]


def _network(host: str) -> bytes:
    """What one attacker has as a rule: an IPv4 address, or 64 bits of IPv6."""
    try:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8] if ":" in host else host.encode()
    except OSError:
        return host.encode()


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
