"""Which proxy a name leads to (behaviour.md 3.2): one table for http, one for https, one for tcpmux.

A key is a domain, the beginning of a path, and the name of an HTTP user; a domain may begin with `*.`, or be `*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from frp_py.errors import Refused

T = TypeVar("T")

_LONGEST_HOST = 255  # a longer name is nobody's, and would only cost time


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


class Routes(Generic[T]):
    """The table. Finding takes a few dict look-ups, and one comparison for each location of the domain that fits."""

    def __init__(self) -> None:
        self._domains: dict[str, dict[str, dict[str, T]]] = {}  # domain -> user -> location, the longest first

    def __len__(self) -> int:
        return sum(len(locations) for users in self._domains.values() for locations in users.values())

    def add(self, domain: str, location: str, user: str, target: T) -> None:
        """Lead there. Raises Refused when the key leads somewhere already."""
        users = self._domains.get(domain.lower(), {})
        locations = users.get(user, {})
        if location in locations:
            raise Refused("router config conflict")
        self._domains[domain.lower()] = users
        users[user] = dict(sorted({**locations, location: target}.items(), key=lambda item: -len(item[0])))

    def remove(self, domain: str, location: str, user: str) -> None:
        """Lead nowhere any more; a key that isn't there is fine."""
        users = self._domains.get(domain.lower(), {})
        locations = users.get(user, {})
        locations.pop(location, None)
        if not locations:
            users.pop(user, None)
        if not users:
            self._domains.pop(domain.lower(), None)

    def find(self, host: str, path: str = "", user: str = "") -> T | None:
        """Where `host` (lower-cased, without port), `path` and HTTP `user` lead."""
        domains = self._domains
        for domain in candidates(host):
            users = domains.get(domain)
            if users is None:
                continue
            for name in (user, "") if user else ("",):
                for location, target in users.get(name, {}).items():
                    if path.startswith(location):
                        return target
        return None
