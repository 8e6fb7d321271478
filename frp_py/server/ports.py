"""Which ports proxies have (behaviour.md 1.10). No I/O of its own: `bind` opens the port and tells by OSError that it can't."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Collection
from typing import TypeVar

from frp_py.config.server import PortsRange
from frp_py.errors import Refused

T = TypeVar("T")

_PORTS = 65536
_KEPT = 24 * 3600  # s that a port is remembered for the proxy that had it
_TRIES = 5
_MOST_KEPT = 65536  # names that ports are remembered for
_LONGEST_KEPT = 256  # characters of such a name


class PortBook:
    """The ports of one protocol, who has them, and who had them last."""

    def __init__(self, allowed: Collection[PortsRange], rng: random.Random | None = None) -> None:
        self._used: dict[int, str] = {}
        self._reserved: dict[str, tuple[int, float]] = {}  # name -> port, when it was given back (inf: in use)
        self._rng = rng or random.Random()
        self._allowed: bytearray | None  # 1 for each that is allowed, by number; None: all
        self._free = array("H")  # those that are allowed and not in use, in any order
        self._place = array("H")  # where each of them is in it
        self.allow(allowed)

    def allow(self, allowed: Collection[PortsRange]) -> None:
        """From now on these are the ports that proxies may have; an empty list stands for all. Those in use stay in use."""
        flags = bytearray(_PORTS)
        for each in allowed:
            if each.single > 0:
                start = end = each.single
            else:
                start, end = max(each.start, 1), min(each.end, _PORTS - 1)
            if start <= end < _PORTS:
                flags[start : end + 1] = b"\1" * (end + 1 - start)
        self._free, self._place = array("H"), array("H")
        self._allowed = None
        if allowed:
            self._allowed = flags
            self._place.frombytes(bytes(2 * _PORTS))
            for port in range(_PORTS):
                if flags[port] and port not in self._used:
                    self._is_free(port)

    def _is_free(self, port: int) -> None:
        self._place[port] = len(self._free)
        self._free.append(port)

    def _is_used(self, port: int) -> None:
        """The last of those that are free takes its place."""
        last = self._free.pop()
        if last != port:
            place = self._place[port]
            self._free[place] = last
            self._place[last] = place

    @property
    def in_use(self) -> int:
        """How many there are that proxies have."""
        return len(self._used)

    def acquire(self, name: str, port: int, bind: Callable[[int], T]) -> tuple[int, T]:
        """The port for proxy `name` (0: any), and what bind(port) gave. Raises Refused with the text for the client."""
        if port == 0:
            port, bound = self._any(name, bind)
        else:
            if port in self._used:
                raise Refused("port already used")
            if not self._may(port):
                raise Refused("port not allowed")
            try:
                bound = bind(port)
            except OSError:
                raise Refused("port unavailable") from None
        self._used[port] = name
        if self._allowed is not None:
            self._is_used(port)
        self._remember(name, port, float("inf"))
        return port, bound

    def _remember(self, name: str, port: int, since: float) -> None:
        """Names are made up by clients, so both their number and their length are bounded."""
        self._reserved.pop(name, None)
        if len(name) <= _LONGEST_KEPT:
            self._reserved[name] = (port, since)
            if len(self._reserved) > _MOST_KEPT:
                del self._reserved[next(iter(self._reserved))]

    def _any(self, name: str, bind: Callable[[int], T]) -> tuple[int, T]:
        reserved = self._reserved.get(name)
        candidates = [reserved[0]] if reserved is not None and reserved[0] not in self._used and self._may(reserved[0]) else []
        candidates += self._free_ports(_TRIES)
        for port in candidates:
            try:
                return port, bind(port)
            except OSError:
                continue
        raise Refused("no available port")

    def _free_ports(self, n: int) -> list[int]:
        if self._allowed is not None:
            return self._rng.sample(self._free, min(n, len(self._free)))
        found: list[int] = []
        for _ in range(20 * n):
            port = self._rng.randint(1, _PORTS - 1)
            if port not in self._used and port not in found:
                found.append(port)
                if len(found) == n:
                    break
        return found

    def _may(self, port: int) -> bool:
        return 1 <= port < _PORTS and (self._allowed is None or self._allowed[port] == 1)

    def release(self, port: int, now: float) -> None:
        """The proxy is gone; its port is kept in mind for when it comes back. `now` in s, of any clock."""
        name = self._used.pop(port, None)
        if name is not None:
            self._remember(name, port, now)
            if self._allowed is not None and self._allowed[port]:
                self._is_free(port)

    def forget_old(self, now: float) -> None:
        """Drop what was given back more than 24 h ago; to be called once an hour."""
        self._reserved = {name: (port, since) for name, (port, since) in self._reserved.items() if now - since <= _KEPT}
