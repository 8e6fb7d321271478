"""Which proxy a name leads to (behaviour.md 3.2): one table for http, one for https, one for tcpmux.

A key is a domain, the beginning of a path, and the name of an HTTP user; a domain may begin with `*.`, or be `*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from frp_py.errors import Refused

T = TypeVar("T")

MOST_LOCATIONS = 1000
"""Of one domain and user: a request is compared with each of them."""

_LONGEST_HOST = 255  # a longer name is nobody's, and would only cost time
_HOSTS = 512  # whose domains are kept ready
_NOBODY = ("",)


def candidates(host: str) -> Iterator[str]:
    """The domains that may stand for `host`, best first."""
    yield host
    if len(host) <= _LONGEST_HOST:
        dots = host.count(".")
        at = 0
        while dots >= 2:
            at = host.index(".", at)
            yield "*" + host[at:]
            at += 1
            dots -= 1
    yield "*"


class _Locations(Generic[T]):
    """Those of one domain and user. They are put in order when somebody asks, not each time one is added."""

    __slots__ = ("_ordered", "targets")

    def __init__(self) -> None:
        self.targets: dict[str, T] = {}
        self._ordered: list[tuple[str, T]] | None = None

    def changed(self) -> None:
        """There is one more, or less."""
        self._ordered = None

    @property
    def ordered(self) -> list[tuple[str, T]]:
        """The longest first."""
        ordered = self._ordered
        if ordered is None:
            self._ordered = ordered = sorted(self.targets.items(), key=lambda item: -len(item[0]))
        return ordered


class Routes(Generic[T]):
    """The table. Finding takes a few dict look-ups, and one comparison for each location of the domain that fits."""

    def __init__(self) -> None:
        self._domains: dict[str, dict[str, _Locations[T]]] = {}  # domain -> user -> locations
        self._fitting: dict[str, list[dict[str, _Locations[T]]]] = {}  # host -> what the domains have that may stand for it, best first

    def __len__(self) -> int:
        return sum(len(locations.targets) for users in self._domains.values() for locations in users.values())

    def add(self, domain: str, location: str, user: str, target: T) -> None:
        """Lead there. Raises Refused when the key leads somewhere already."""
        locations = self._domains.get(domain.lower(), {}).get(user)
        if locations is None:
            locations = self._domains.setdefault(domain.lower(), {})[user] = _Locations()
        elif location in locations.targets:
            raise Refused("router config conflict")
        elif len(locations.targets) >= MOST_LOCATIONS:
            raise Refused(f"the domain has {MOST_LOCATIONS} locations already")
        locations.targets[location] = target
        locations.changed()
        self._fitting.clear()

    def remove(self, domain: str, location: str, user: str) -> None:
        """Lead nowhere any more; a key that isn't there is fine."""
        users = self._domains.get(domain.lower(), {})
        locations = users.get(user)
        if locations is None:
            return
        locations.targets.pop(location, None)
        locations.changed()
        self._fitting.clear()
        if not locations.targets:
            del users[user]
        if not users:
            del self._domains[domain.lower()]

    def find(self, host: str, path: str = "", user: str = "") -> T | None:
        """Where `host` (lower-cased, without port), `path` and HTTP `user` lead."""
        fitting = self._fitting.get(host)
        if fitting is None:
            fitting = self._fit(host)
        for users in fitting:
            for name in (user, "") if user else _NOBODY:
                locations = users.get(name)
                if locations is not None:
                    for location, target in locations.ordered:
                        if path.startswith(location):
                            return target
        return None

    def _fit(self, host: str) -> list[dict[str, _Locations[T]]]:
        domains = self._domains
        fitting = [domains[domain] for domain in candidates(host) if domain in domains]
        if len(host) <= _LONGEST_HOST:
            if len(self._fitting) >= _HOSTS:
                self._fitting.clear()
            self._fitting[host] = fitting
        return fitting
