"""Connections on which nobody is being served: bounded, the oldest making room for the newest.

A source that has many of them has to make room first: one flooder puts out himself, and nobody else.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

_FAIR = 8  # connections of one source that aren't many: as browsers have them


class Crowd:
    """Those who haven't asked for anything yet, or not again."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._size = 0
        self._sources: dict[bytes, dict[trio.CancelScope, int]] = {}  # numbered in the order in which they came
        self._number = itertools.count()

    def __len__(self) -> int:
        return self._size

    def enter(self, scope: trio.CancelScope, network: bytes) -> None:
        """One more, from `network`; the scope of one that has to go is cancelled."""
        if self._size >= self.limit:
            key = max(self._sources, key=lambda source: len(self._sources[source]))
            if len(self._sources[key]) <= _FAIR:
                key = min(self._sources, key=lambda source: next(iter(self._sources[source].values())))
            oldest = next(iter(self._sources[key]))
            self.leave(oldest, key)
            oldest.cancel()
        self._sources.setdefault(network, {})[scope] = next(self._number)
        self._size += 1

    def leave(self, scope: trio.CancelScope, network: bytes) -> None:
        """It is served now, or has gone; that it had to go before is fine."""
        source = self._sources.get(network)
        if source is not None and source.pop(scope, None) is not None:
            self._size -= 1
            if not source:
                del self._sources[network]
