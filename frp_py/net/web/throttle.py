"""Slows down whoever guesses passwords.

A wrong password is answered after a while, which grows with each one from the same source. Of one source only a few can wait at a
time; what it asks beyond that isn't even looked at, so that guessing in parallel doesn't help. Other sources are not concerned.
"""

from __future__ import annotations

import ipaddress

import trio

DELAY = 0.2
"""Seconds that the answer to a request without the right password waits (behaviour.md 11.1)."""

_FREE = 3  # wrong passwords before it gets slower
_LONGEST = 5.0  # s
_FORGOTTEN = 900  # s after the last wrong password
_EACH, _ALL = 8, 256  # who wait at a time
_SOURCES = 1024  # remembered


class _Source:
    __slots__ = ("last", "waiting", "wrong")

    def __init__(self) -> None:
        self.wrong = 0
        self.waiting = 0
        self.last = 0.0


class Throttle:
    """Who gave wrong passwords lately."""

    def __init__(self) -> None:
        self._sources: dict[bytes, _Source] = {}  # the longest silent first
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._sources)

    def may_try(self, host: str) -> bool:
        """Whether what `host` (numeric) gives as a password is looked at."""
        if not self._sources:
            return True
        source = self._sources.get(network(host))
        if source is None or trio.current_time() - source.last > _FORGOTTEN:
            return True
        return source.waiting < _EACH and self._waiting < _ALL

    async def wrong(self, host: str) -> int:
        """`host` gave a wrong password: wait. Returns how many that makes."""
        key = network(host)
        now = trio.current_time()
        source = self._sources.pop(key, None)
        if source is None or now - source.last > _FORGOTTEN:
            source = _Source()
        self._sources[key] = source
        if len(self._sources) > _SOURCES:
            del self._sources[next(iter(self._sources))]
        source.wrong += 1
        source.last = now
        wrong = source.wrong
        if self._waiting < _ALL:
            source.waiting += 1
            self._waiting += 1
            try:
                await trio.sleep(min(DELAY * 2 ** max(0, min(wrong - _FREE, 10)), _LONGEST))
            finally:
                source.waiting -= 1
                self._waiting -= 1
        else:
            await trio.sleep(DELAY)  # from ever new sources, or they would guess as fast as they can
        return wrong


def network(host: str) -> bytes:
    """The part of a numeric address that a source can't change: IPv6 hosts have 2^64 addresses of their own."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.encode()
    return address.packed if address.version == 4 else address.packed[:8]
