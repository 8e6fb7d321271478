"""What is counted: connections and bytes of each proxy and client (behaviour.md 14).

A connection adds what it carried when it ends, as frp has it, and that costs two additions and a set entry. Which day and hour the bytes
belong to is worked out later, by `collect`: once a second, and before anybody looks.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from frp_py.server.proxies.base import PublicProxy

DAYS = 7
"""How many daily figures there are; the first is today's."""
AGE = 7 * 86400
"""Seconds after which the record of a proxy that is offline goes."""
_SWEEP = 12 * 3600  # s between two looks for such records
MOST_OFFLINE = 20_000
"""Records of proxies that are gone: their names are the clients' to make up."""
MOST_PENDING = 100_000
"""Figures, each of one subject and hour, that wait for a database that can't be written; and names to be forgotten."""

SERVER, PROXY, CLIENT = range(3)


class Subject(NamedTuple):
    """Whose traffic it is: of the server, of the proxy `first` of type `second`, or of user `first`'s client with the id `second`."""

    kind: int
    first: str = ""
    second: str = ""


WHOLE = Subject(SERVER)


class Spell(NamedTuple):
    """When it flowed."""

    day: int
    """As `date.toordinal` has it, of the local date."""
    hour: int
    """Since 1970."""


Traffic: TypeAlias = "dict[Subject, dict[Spell, list[int]]]"
"""Bytes in and out."""


class Known(NamedTuple):
    """What is kept of a proxy beside its traffic; times in Unix seconds, 0: never."""

    name: str
    type: str
    user: str
    client_id: str
    last_start: float
    last_close: float


class Batch(NamedTuple):
    """What the database doesn't know yet."""

    traffic: Traffic
    """To be added."""
    known: list[Known]
    forgotten: list[tuple[str, str]]
    """Names and types of proxies whose statistics were removed."""


class Days(dict[int, list[int]]):
    """Bytes in and out by day. The days written last are kept, wherever the clock was in between."""

    def add(self, day: int, n: int, m: int) -> None:
        """n bytes in and m out on `day`."""
        counts = self.get(day)
        if counts is None:
            if len(self) >= DAYS:
                del self[next(iter(self))]
            self[day] = [n, m]
        else:
            counts[0] += n
            counts[1] += m

    def of(self, day: int) -> tuple[int, int]:
        """Bytes in and out on `day`."""
        n, m = self.get(day, (0, 0))
        return n, m

    def latest(self, today: int) -> list[tuple[int, int]]:
        """Those of today, yesterday, and so on."""
        return [self.of(today - n) for n in range(DAYS)]


class Record:
    """The statistics of one proxy, by name and type; they go on when it comes back."""

    __slots__ = (
        "_collected_in",
        "_collected_out",
        "client_id",
        "connections",
        "days",
        "last_close",
        "last_start",
        "name",
        "proxy",
        "traffic_in",
        "traffic_out",
        "type",
        "user",
        "was_used",
    )

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.type = kind
        self.user = ""
        self.client_id = ""
        """The explicit one, or else the run id."""
        self.proxy: PublicProxy | None = None
        """None: it is offline."""
        self.connections = 0
        self.was_used = False
        """There was a connection."""
        self.traffic_in = 0
        """Bytes from users to the client, since the program started."""
        self.traffic_out = 0
        self.last_start = 0.0
        """Unix seconds, 0: never; so is the next."""
        self.last_close = 0.0
        self.days = Days()
        self._collected_in = self._collected_out = 0

    def collect(self) -> tuple[int, int]:
        """Bytes in and out since the last time."""
        n, m = self.uncollected
        self._collected_in, self._collected_out = self.traffic_in, self.traffic_out
        return n, m

    @property
    def uncollected(self) -> tuple[int, int]:
        """Bytes in and out that `collect` would give."""
        return self.traffic_in - self._collected_in, self.traffic_out - self._collected_out

    @property
    def key(self) -> tuple[str, str]:
        """Name and type."""
        return self.name, self.type

    @property
    def known(self) -> Known:
        """What is kept of it."""
        return Known(self.name, self.type, self.user, self.client_id, self.last_start, self.last_close)


class Statistics:
    """All records. With `remember`, what has gone stays; without, nobody will ask."""

    def __init__(self, now: float, *, remember: bool) -> None:
        self.remember = remember
        self.records: dict[str, Record] = {}
        """By name, as operators see them."""
        self.children: dict[tuple[str, str], Record] = {}
        """By name and type: all there were, for Prometheus, whose counters don't go back."""
        self.dirty: set[Record] = set()
        """Those with traffic since the last collection."""
        self.clients = 0
        self.connections = 0
        self.types: dict[str, int] = {}
        """Proxies of each type; a type stays when its last one has closed."""
        self.days = Days()
        self.traffic_in = 0
        """Bytes collected since the program started."""
        self.traffic_out = 0
        self.clients_changes = 0
        """How often a client came or went."""
        self.proxies_changes = 0
        self.keeps_batch = False
        """A database wants to know."""
        self._pending: Traffic = {}
        self._figures = 0  # in it
        self._news: dict[Record, None] = {}
        self._forgotten: dict[tuple[str, str], None] = {}
        self._offline: dict[Record, None] = {}  # those that left first at the beginning
        self._swept = now
        self.today: int
        self._spell: Spell
        self._set_clock(now)

    # what happens

    def client_came(self) -> None:
        """One client more."""
        self.clients += 1
        self.clients_changes += 1

    def client_went(self) -> None:
        """One client less."""
        self.clients -= 1
        self.clients_changes += 1

    def opened(self, proxy: PublicProxy, user: str, client_id: str, now: float) -> Record:
        """A proxy runs: its record, that of before if it has the same type."""
        name, kind = proxy.name, proxy.kind
        record = self.records.get(name)
        if record is not None and record.type != kind:
            self._forget(record)
            record = None
        if record is None:
            record = self.children.get((name, kind))
            if record is None:
                record = self.children[name, kind] = Record(name, kind)
            self.records[name] = record
        elif (record.user, record.client_id) != (user, client_id) and record in self.dirty:
            self.collect(now)
        self._offline.pop(record, None)
        record.user, record.client_id = user, client_id
        record.proxy = proxy
        record.last_start = now
        self.types[kind] = self.types.get(kind, 0) + 1
        self.proxies_changes += 1
        self._is_news(record)
        return record

    def closed(self, record: Record, now: float) -> None:
        """It runs no more."""
        record.proxy = None
        record.last_close = max(now, math.nextafter(record.last_start, math.inf))  # the clock may have been set back
        self.types[record.type] -= 1
        self.proxies_changes += 1
        self._is_news(record)
        if not self.remember:
            self._drop(record)
            return
        self._offline[record] = None
        if len(self._offline) > MOST_OFFLINE:
            self._drop(next(iter(self._offline)))

    def tick(self, now: float) -> None:
        """See to what is due; to be called each second. `now` in Unix seconds."""
        self.collect(now)
        if abs(now - self._swept) >= _SWEEP:
            self._swept = now
            self._sweep(now - AGE)

    def collect(self, now: float) -> None:
        """Put what was counted where it belongs: to the hour and day that the clock showed last."""
        if self.dirty:
            total_in = total_out = 0
            clients: dict[tuple[str, str], tuple[int, int]] = {}
            for record in self.dirty:
                n, m = record.collect()
                total_in += n
                total_out += m
                record.days.add(self.today, n, m)
                if self.keeps_batch:
                    self._pend(Subject(PROXY, record.name, record.type), n, m)
                    client = record.user, record.client_id
                    received, sent = clients.get(client, (0, 0))
                    clients[client] = received + n, sent + m
            for client, (n, m) in clients.items():
                self._pend(Subject(CLIENT, *client), n, m)
            self.dirty.clear()
            self._count_whole(total_in, total_out)
        self._set_clock(now)

    def _count_whole(self, n: int, m: int) -> None:
        self.traffic_in += n
        self.traffic_out += m
        self.days.add(self.today, n, m)
        if self.keeps_batch:
            self._pend(WHOLE, n, m)

    def _set_clock(self, now: float) -> None:
        self.today = date.fromtimestamp(now).toordinal()
        self._spell = Spell(self.today, int(now) // 3600)

    # what goes

    def prune(self) -> int:
        """Remove the records of proxies that are offline, and what the database has of them; returns how many."""
        gone = [record for record in self.records.values() if record.proxy is None]
        for record in gone:
            self._forget(record)
        if gone:
            self.proxies_changes += 1
        return len(gone)

    def _sweep(self, before: float) -> None:
        """Remove the records of proxies that were closed before that; the database keeps them for as long as it keeps anything."""
        gone = [record for record in self.records.values() if record.proxy is None and record.last_close < before]
        for record in gone:
            self._hide(record)
        if gone:
            self.proxies_changes += 1

    def _forget(self, record: Record) -> None:
        self._hide(record)
        if self.keeps_batch:
            self._news.pop(record, None)
            self._is_to_be_forgotten(record.key)
            self._figures -= len(self._pending.pop(Subject(PROXY, *record.key), ()))

    def _hide(self, record: Record) -> None:
        """Its figures go, but for those of Prometheus."""
        if record in self.dirty:
            self.dirty.discard(record)
            self._count_whole(*record.collect())
        record.days.clear()
        record.last_start = record.last_close = 0
        if self.records.get(record.name) is record:
            del self.records[record.name]

    def _drop(self, record: Record) -> None:
        self._offline.pop(record, None)
        if self.records.get(record.name) is record:
            del self.records[record.name]
        del self.children[record.key]

    # looking

    def history(self, record: Record, today: int) -> Iterator[tuple[date, int, int]]:
        """The day, and bytes in and out, of each of the last days; the oldest first."""
        for n in reversed(range(DAYS)):
            yield date.fromordinal(today) - timedelta(n), *record.days.of(today - n)

    # the database

    def restore(self, known: Iterable[tuple[Known, Days]], whole: Days) -> None:
        """Go on with what an earlier run has left; before anything happens."""
        self.days.update(whole)
        for each, days in known:
            record = Record(each.name, each.type)
            record.user, record.client_id = each.user, each.client_id
            record.last_start, record.last_close = each.last_start, each.last_close
            record.days.update(days)
            other = self.records.get(each.name)
            if other is None or other.last_start < record.last_start:
                if other is not None:
                    self._drop(other)
                self.records[record.name] = self.children[record.key] = record
                self._offline[record] = None

    def take_batch(self) -> Batch:
        """What the database doesn't know yet; from now on it is taken to know."""
        batch = Batch(self._pending, [record.known for record in self._news], [*self._forgotten])
        self._pending, self._news, self._forgotten = {}, {}, {}
        self._figures = 0
        return batch

    def give_back(self, batch: Batch) -> None:
        """It could not be written."""
        newer, self._pending = self._pending, batch.traffic
        self._figures = sum(map(len, batch.traffic.values()))
        newly_forgotten, self._forgotten = self._forgotten, dict.fromkeys(batch.forgotten)
        for key in newly_forgotten:
            self._is_to_be_forgotten(key)
        for known in batch.known:
            record = self.children.get((known.name, known.type))
            if record is not None and self.records.get(known.name) is record:
                self._is_news(record)
        for subject, spells in newer.items():
            for spell, (n, m) in spells.items():
                self._add(subject, spell, n, m)

    def _pend(self, subject: Subject, n: int, m: int) -> None:
        self._add(subject, self._spell, n, m)

    def _add(self, subject: Subject, spell: Spell, n: int, m: int) -> None:
        counts = self._pending.setdefault(subject, {}).get(spell)
        if counts is None:
            self._pending[subject][spell] = [n, m]
            self._figures += 1
            if self._figures > MOST_PENDING:
                self._drop_oldest()
        else:
            counts[0] += n
            counts[1] += m

    def _drop_oldest(self) -> None:
        subject, spells = next(iter(self._pending.items()))
        del spells[next(iter(spells))]
        self._figures -= 1
        if not spells:
            del self._pending[subject]

    def _is_to_be_forgotten(self, key: tuple[str, str]) -> None:
        self._forgotten[key] = None
        if len(self._forgotten) > MOST_PENDING:
            del self._forgotten[next(iter(self._forgotten))]

    def _is_news(self, record: Record) -> None:
        if self.keeps_batch:
            self._news[record] = None
