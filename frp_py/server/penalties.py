"""Sources that did wrong are shut out for a while, and longer each time (docs/security.md).

As sshd's PerSourcePenalties: each offence costs some seconds, the seconds of one source add up and pass by, and while more than a
threshold of them are left, its connections are refused. Each time a source is shut out again its offences count double, up to a
maximum. A source from which a client has logged in lately is never shut out: its owner may have one wrong configuration among ten
right ones, and a tunnel that works must not die of that.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Sequence

FAILED_LOGIN = 5.0
"""Seconds for a wrong token."""
NO_LOGIN = 1.0
"""Seconds for a connection that was no client's: rubbish, or nothing at all until its time was up."""
THRESHOLD = 14.0
"""Seconds that a source may have against it before it is shut out."""
TRUSTED_FOR = 3600.0
"""Seconds that a login speaks for its source after the session's end."""
MOST_SOURCES = 65_536
"""Sources that are kept in mind; those that did least have to make room."""
_FORGIVEN = 3600.0  # s without an offence until a source is a stranger again
_MOST_DOUBLINGS = 6


def network_of(host: str) -> bytes:
    """What one attacker has as a rule: an IPv4 address, or 64 bits of IPv6. `host` is numeric."""
    try:
        if ":" not in host:
            return host.encode()
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        if packed[:12] == b"\x00" * 10 + b"\xff\xff":  # IPv4 on a socket that takes both
            return socket.inet_ntop(socket.AF_INET, packed[12:]).encode()
        return packed[:8]
    except OSError:
        return host.encode()


class _Record:
    """What one source has against it."""

    __slots__ = ("doublings", "out_until", "seconds", "seen")

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self.seen = now
        self.doublings = 0
        self.out_until = 0.0


class Penalties:
    """The offences of all sources. `longest` is the most seconds that a source is shut out for; 0: nobody ever is."""

    def __init__(self, longest: float, exempt: Sequence[str] = ()) -> None:
        self.configure(longest, exempt)
        self._records: dict[bytes, _Record] = {}
        self._present: Counter[bytes] = Counter()  # sessions that run
        self._trusted: dict[bytes, float] = {}  # until when, those that have no session
        self.refused = 0
        """Connections that were refused so far."""

    def configure(self, longest: float, exempt: Sequence[str]) -> None:
        """New rules, for what happens from now on."""
        self.longest = longest
        self._exempt = [ipaddress.ip_network(text, strict=False) for text in exempt]

    def shuts_out(self, host: str, now: float) -> bool:
        """Whether a connection from `host` is to be refused."""
        if not self._records:
            return False
        record = self._records.get(network_of(host))
        if record is None or record.out_until <= now or self.is_trusted(host, now):
            return False
        self.refused += 1
        return True

    def offend(self, host: str, cost: float, now: float) -> float:
        """A connection from `host` did wrong. Returns for how many seconds that shuts it out, if it does so just now; else 0."""
        if self.longest <= 0 or self.is_trusted(host, now) or self.is_exempt(host):
            return 0.0
        network = network_of(host)
        record = self._records.get(network)
        if record is None:
            if len(self._records) >= MOST_SOURCES:
                self._make_room(now)
            record = self._records[network] = _Record(now)
        if now - record.seen > _FORGIVEN:
            record.doublings = 0
        left = self._left(record, now) + cost * (1 << record.doublings)
        record.seconds = left = min(left, self.longest)
        record.seen = now
        was_out = record.out_until > now
        if not was_out and left < min(THRESHOLD, self.longest):
            return 0.0
        record.out_until = now + left
        if was_out:  # by one of its connections that were there before
            return 0.0
        record.doublings = min(record.doublings + 1, _MOST_DOUBLINGS)
        return left

    def came(self, host: str) -> None:
        """A session begins with a client there."""
        self._present[network_of(host)] += 1

    def went(self, host: str, now: float) -> None:
        """It is over."""
        network = network_of(host)
        self._present[network] -= 1
        if self._present[network] <= 0:
            del self._present[network]
        self.trust(host, now)

    def trust(self, host: str, now: float) -> None:
        """Somebody there has just logged in, or had been logged in until now."""
        network = network_of(host)
        self._trusted.pop(network, None)
        self._trusted[network] = now + TRUSTED_FOR
        self._records.pop(network, None)
        while len(self._trusted) > MOST_SOURCES:
            del self._trusted[next(iter(self._trusted))]

    def is_trusted(self, host: str, now: float) -> bool:
        """Whether a client there is logged in, or was lately."""
        network = network_of(host)
        until = self._trusted.get(network)
        return (until is not None and until > now) or network in self._present

    def is_exempt(self, host: str) -> bool:
        """Whether nobody there is to suffer for others."""
        if not self._exempt:
            return False
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return True  # no address: a unix socket
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._exempt)

    @staticmethod
    def _left(record: _Record, now: float) -> float:
        return max(0.0, record.seconds - (now - record.seen))

    def _make_room(self, now: float) -> None:
        """Forget the half of them that did least."""
        by_guilt = sorted(self._records, key=lambda network: self._left(self._records[network], now))
        for network in by_guilt[: MOST_SOURCES // 2]:
            del self._records[network]
