"""Statistics that outlive the program: an SQLite database of traffic by hour and by day, and of the server's figures over time.

Every ten seconds the server's thread takes a batch of what is new from `Statistics`, and a thread of the pool writes it. With a write-ahead
log a killed process loses at most the last batch. Without a path the database is in memory. A database that is damaged is moved aside, one
that can't be opened is reported and replaced by one in memory, and what can't be written is kept for the next time: the server goes on.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
import trio

from frp_py.log import get_logger
from frp_py.server.statistics import AGE, DAYS, MOST_OFFLINE, PROXY, SERVER, Batch, Days, Known, Statistics, Subject

if TYPE_CHECKING:
    from frp_py.config.server import StatisticsConfig

log = get_logger()

T = TypeVar("T")

_EACH = 10  # s between two batches, and between two samples
_SAMPLES = 360  # of the last hour
_SLOT = 300  # s that a point of the longer series stands for
_KEPT_POINTS = 32 * 86400  # s
_PRUNE = 3600  # s between two looks for what is too old
_MOST_NAMES = 50_000  # proxies and clients in the database
_MOST_ROWS = 2_000_000  # hours in it: some 60 MB
_PATIENCE = 2  # s to wait for another program that has the database locked
_MAGIC = b"SQLite format 3"
_SUFFIXES = (".db", ".db3", ".sqlite", ".sqlite3")
_APPLICATION = 0x66727073
_VERSION = 1
_SCHEMA = """
CREATE TABLE subjects (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL,
    user TEXT NOT NULL DEFAULT '', client TEXT NOT NULL DEFAULT '', start REAL NOT NULL DEFAULT 0, close REAL NOT NULL DEFAULT 0,
    seen INTEGER NOT NULL, UNIQUE (kind, first, second));
CREATE TABLE hours (
    id INTEGER NOT NULL, at INTEGER NOT NULL, incoming INTEGER NOT NULL, outgoing INTEGER NOT NULL, PRIMARY KEY (id, at)) WITHOUT ROWID;
CREATE TABLE days (
    id INTEGER NOT NULL, at INTEGER NOT NULL, incoming INTEGER NOT NULL, outgoing INTEGER NOT NULL, PRIMARY KEY (id, at)) WITHOUT ROWID;
CREATE TABLE points (
    at INTEGER PRIMARY KEY, incoming INTEGER NOT NULL, outgoing INTEGER NOT NULL, connections INTEGER NOT NULL, clients INTEGER NOT NULL);
"""
_SUBJECT = "INSERT INTO subjects (kind, first, second, seen) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen"
_KNOWN = """
INSERT INTO subjects (kind, first, second, user, client, start, close, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    user = excluded.user, client = excluded.client, start = excluded.start, close = excluded.close, seen = excluded.seen"""
_ID = "(SELECT id FROM subjects WHERE kind = ? AND first = ? AND second = ?)"
_ADD = "INSERT INTO {} SELECT id, ?, ?, ? FROM subjects WHERE kind = ? AND first = ? AND second = ? ON CONFLICT DO UPDATE SET \
incoming = incoming + excluded.incoming, outgoing = outgoing + excluded.outgoing"
_ADD_HOURS, _ADD_DAYS = _ADD.format("hours"), _ADD.format("days")
_ADD_POINT = """
INSERT INTO points VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET incoming = incoming + excluded.incoming,
    outgoing = outgoing + excluded.outgoing,
    connections = max(connections, excluded.connections), clients = max(clients, excluded.clients)"""


class Point(msgspec.Struct, frozen=True, rename="camel"):
    """What the whole server did in one step of a series."""

    time: int
    """Unix seconds of its beginning."""
    traffic_in: int
    traffic_out: int
    connections: int
    clients: int


class Sample(NamedTuple):
    """What the server has done since it started, and has now."""

    traffic_in: int
    traffic_out: int
    connections: int
    clients: int


class Range(NamedTuple):
    """A stretch of time that can be asked for: so many steps of so many seconds."""

    step: int
    steps: int


RANGES = {"hour": Range(_EACH, _SAMPLES), "day": Range(_SLOT, 288), "week": Range(1800, 336), "month": Range(7200, 372)}


class Unusable(Exception):
    """A database that isn't ours to use; it is left alone."""


class Database:
    """The database itself: used by one thread at a time. Methods raise sqlite3.Error."""

    def __init__(self, path: str) -> None:
        self.path = path or ":memory:"
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open it, or make it. Raises Unusable when it belongs to another program, or to a later version of this one."""
        if self.path != ":memory:":
            os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
            if not os.path.exists(self.path):
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if not application and not version and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION}; COMMIT")
            elif application != _APPLICATION:
                raise Unusable("it is the database of another program")
            elif version != _VERSION:
                raise Unusable("it was written by another version of this program")
            else:
                fault = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if fault != "ok":
                    raise sqlite3.DatabaseError(fault)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA journal_size_limit = 16000000")
        except BaseException:
            db.close()
            raise
        self._db = db

    @property
    def db(self) -> sqlite3.Connection:
        """The connection; it was opened."""
        if self._db is None:
            raise sqlite3.OperationalError("the database is not open")
        return self._db

    def close(self) -> None:
        """Close it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def move_aside(self) -> str:
        """Give a damaged one another name; returns that. The one that was moved before goes. Raises OSError, and Unusable for a file that
        never was a database: its path is a mistake.
        """
        with open(self.path, "rb") as file:
            head = file.read(16)
        if head.strip(b"\0") and not head.startswith(_MAGIC) and not self.path.endswith(_SUFFIXES):
            raise Unusable("it is no database")
        aside = f"{self.path}.damaged"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.replace(self.path + suffix, aside + suffix)
        return aside

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def write(self, batch: Batch, points: list[Point], now: int) -> None:
        """Add a batch, all of it or nothing."""
        traffic = batch.traffic
        with self._transaction() as db:
            for table in ("hours", "days"):
                db.executemany(f"DELETE FROM {table} WHERE id = {_ID}", ((PROXY, *key) for key in batch.forgotten))
            db.executemany("DELETE FROM subjects WHERE kind = ? AND first = ? AND second = ?", ((PROXY, *key) for key in batch.forgotten))
            db.executemany(
                _KNOWN,
                ((PROXY, k.name, k.type, k.user, k.client_id, k.last_start, k.last_close, now) for k in batch.known),
            )
            db.executemany(_SUBJECT, ((*subject, now) for subject in traffic))
            for statement, which in ((_ADD_HOURS, 1), (_ADD_DAYS, 0)):
                db.executemany(
                    statement,
                    ((spell[which], n, m, *subject) for subject, spells in traffic.items() for spell, (n, m) in spells.items()),
                )
            db.executemany(_ADD_POINT, ((p.time, p.traffic_in, p.traffic_out, p.connections, p.clients) for p in points))

    def prune(self, now: int, today: int, keep_hours: int, keep_days: int) -> None:
        """Delete what is too old, and more than there may be."""
        with self._transaction() as db:
            hour = now // 3600
            db.execute("DELETE FROM hours WHERE at <= ?", (hour - keep_hours,))
            db.execute("DELETE FROM days WHERE at <= ?", (today - keep_days,))
            db.execute("DELETE FROM points WHERE at <= ? OR at > ?", (now - _KEPT_POINTS, now + _KEPT_POINTS))
            surplus = db.execute("SELECT count(*) FROM subjects").fetchone()[0] - _MOST_NAMES
            db.execute(
                "DELETE FROM subjects WHERE kind != ? AND (id IN (SELECT id FROM subjects ORDER BY seen LIMIT ?) OR seen < ?"
                " AND NOT EXISTS (SELECT 1 FROM days WHERE days.id = subjects.id)"
                " AND NOT EXISTS (SELECT 1 FROM hours WHERE hours.id = subjects.id))",
                (SERVER, max(0, surplus), now - DAYS * 86400),
            )
            for table in ("hours", "days"):
                db.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM subjects)")
                while (surplus := db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - _MOST_ROWS) > 0:
                    oldest, newest = db.execute(f"SELECT min(at), max(at) FROM {table}").fetchone()
                    if oldest < newest:
                        db.execute(f"DELETE FROM {table} WHERE at = ?", (oldest,))
                    else:
                        some = "SELECT id FROM subjects WHERE kind != ? ORDER BY seen LIMIT ?"
                        db.execute(f"DELETE FROM {table} WHERE id IN ({some})", (SERVER, surplus))
                        break

    def load(self, now: float, today: int, most: int) -> tuple[list[tuple[Known, Days]], Days]:
        """At most `most` proxies that were there lately, with their traffic of the last days, and that of the whole server."""
        days: dict[int, Days] = {}
        for number, day, n, m in self.db.execute("SELECT id, at, incoming, outgoing FROM days WHERE at > ? ORDER BY at", (today - DAYS,)):
            days.setdefault(number, Days()).add(day, n, m)
        with self._transaction() as db:  # what ran when the program was killed was closed then
            db.execute(
                "UPDATE subjects SET close = max(seen, start + 0.001, (SELECT ifnull(max(at), 0) FROM points))"
                " WHERE kind = ? AND start > 0 AND close <= start",
                (PROXY,),
            )
        rows = self.db.execute(
            "SELECT id, first, second, user, client, start, close FROM subjects"
            " WHERE kind = ? AND start > 0 AND close >= ? ORDER BY seen DESC LIMIT ?",
            (PROXY, now - AGE, most),
        )
        known = [(Known(*columns), days.get(number, Days())) for number, *columns in rows]
        row = self.db.execute("SELECT id FROM subjects WHERE kind = ?", (SERVER,)).fetchone()
        return known, days.get(row[0], Days()) if row else Days()

    def traffic(self, subject: Subject, table: str, since: int) -> dict[int, tuple[int, int]]:
        """Bytes in and out by hour (since 1970; `table` is hours) or day (ordinal; days), from `since` on."""
        found = self.db.execute(f"SELECT at, incoming, outgoing FROM {table} WHERE id = {_ID} AND at >= ?", (*subject, since))
        return {at: (n, m) for at, n, m in found}

    def series(self, step: int, since: int, until: int) -> list[Point]:
        """What is known of the steps from `since` to `until`, both included; in s and multiples of `step`, which is one of _SLOT."""
        rows = self.db.execute(
            "SELECT at / :step * :step, sum(incoming), sum(outgoing), max(connections), max(clients) FROM points"
            " WHERE at >= :since AND at < :until + :step GROUP BY 1 ORDER BY 1",
            {"step": step, "since": since, "until": until},
        )
        return [Point(*row) for row in rows]


class History:
    """Keeps a database up to date with `statistics`; `sample()` says what the server does now."""

    def __init__(self, config: StatisticsConfig, statistics: Statistics, sample: Callable[[], Sample]) -> None:
        self.configure(config)
        self.problem = ""
        """Why statistics are not kept; for operators."""
        self._wanted = config.path
        self._statistics = statistics
        self._database = Database(config.path)
        self._one_at_a_time = trio.Lock()
        self._sample = sample
        self._last = Sample(0, 0, 0, 0)
        self._points: list[Point] = []  # not written yet
        self._recent: deque[Point] = deque(maxlen=_SAMPLES)

    def configure(self, config: StatisticsConfig) -> None:
        """How long figures are kept, from the next look on."""
        self._keep_hours, self._keep_days = config.keep_hours, config.keep_days

    async def open(self) -> None:
        """Go on with what is in the database; before anything is counted."""
        statistics = self._statistics
        stored = await self._in_thread(partial(self._open, time.time(), statistics.today))
        statistics.restore(*stored)
        statistics.keeps_batch = True

    async def run(self) -> None:
        """Write what is new, every now and then, until cancelled."""
        pruned = -float(_PRUNE)
        while True:
            try:
                self.take_sample(time.time())
                await self.write()
                if trio.current_time() - pruned >= _PRUNE:
                    pruned = trio.current_time()
                    await self._prune()
            except Exception:
                log.exception("bug in the statistics")
            await trio.sleep(_EACH - time.time() % _EACH)

    def finish(self) -> None:
        """The end: write the last batch."""
        if not self._statistics.keeps_batch:
            return  # it was never opened
        self.take_sample(time.time())
        self._statistics.collect(time.time())
        batch, points = self._statistics.take_batch(), self._points
        try:
            self._database.write(batch, points, int(time.time()))
        except sqlite3.Error as error:
            self._report(f"the last statistics are lost: {error}")
        self._database.close()

    # samples

    def take_sample(self, now: float) -> None:
        """Add a point to the series."""
        sample, last = self._sample(), self._last
        self._last = sample
        n, m = max(0, sample.traffic_in - last.traffic_in), max(0, sample.traffic_out - last.traffic_out)
        at, slot = int(now) // _EACH * _EACH, int(now) // _SLOT * _SLOT
        if self._recent and at < self._recent[-1].time:
            self._recent.clear()  # the clock was set back
        _extend(self._recent, Point(at, n, m, sample.connections, sample.clients))
        _extend(self._points, Point(slot, n, m, sample.connections, sample.clients))

    async def series(self, name: str, now: float) -> list[Point]:
        """All steps of the range `name`, the oldest first; those of which nothing is known are 0."""
        step, steps = RANGES[name]
        self.take_sample(now)
        until = int(now) // step * step
        since = until - (steps - 1) * step
        if name == "hour":
            found = list(self._recent)
        else:
            await self.write()
            found = await self._read(partial(self._database.series, step, since, until), [])
        known = {point.time: point for point in found}
        return [known.get(at) or Point(at, 0, 0, 0, 0) for at in range(since, until + step, step)]

    # the database

    async def traffic(self, subject: Subject, granularity: str, since: int) -> dict[int, tuple[int, int]]:
        """Bytes in and out by hour (since 1970) or day (ordinal), from `since` on; what is 0 may be missing."""
        await self.write()
        return await self._read(partial(self._database.traffic, subject, f"{granularity}s", since), {})

    async def write(self) -> None:
        """Write what is new."""
        async with self._one_at_a_time:
            now = time.time()
            self._statistics.collect(now)
            batch, points = self._statistics.take_batch(), self._points
            if not (batch.traffic or batch.known or batch.forgotten or points):
                return
            self._points = []
            try:
                await self._in_thread(partial(self._write, batch, points, int(now)))
            except (sqlite3.Error, OSError, Unusable) as error:
                self._give_back(batch, points)
                self._report(str(error))
            except trio.Cancelled:  # while all threads were busy: whoever asked has gone, the batch was not begun
                self._give_back(batch, points)
                raise
            else:
                if self.problem and self._database.path == (self._wanted or ":memory:"):
                    log.info("statistics are written to %s again", self._database.path)
                    self.problem = ""

    def _give_back(self, batch: Batch, points: list[Point]) -> None:
        self._statistics.give_back(batch)
        self._points = points + self._points
        del self._points[: -_KEPT_POINTS // _SLOT]

    async def _read(self, question: Callable[[], T], otherwise: T) -> T:
        async with self._one_at_a_time:
            try:
                return await self._in_thread(question)
            except sqlite3.Error as error:
                self._report(str(error))
                return otherwise

    async def _prune(self) -> None:
        statistics = self._statistics
        question = partial(self._database.prune, int(time.time()), statistics.today, self._keep_hours, self._keep_days)
        await self._read(question, None)

    @staticmethod
    async def _in_thread(work: Callable[[], T]) -> T:
        # not to be cancelled: the database is never used by two at a time
        return await trio.to_thread.run_sync(work, abandon_on_cancel=False)

    def _open(self, now: float, today: int) -> tuple[list[tuple[Known, Days]], Days]:
        database = self._database
        try:
            try:
                database.open()
                return database.load(now, today, MOST_OFFLINE)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._renew(error)
                return [], Days()
        except (sqlite3.Error, OSError, Unusable) as error:
            database.close()
            self._report(str(error))
            database.path = ":memory:"
            database.open()
            return [], Days()

    def _write(self, batch: Batch, points: list[Point], now: int) -> None:
        try:
            self._database.write(batch, points, now)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error) or self._database.path == ":memory:":
                raise
            self._renew(error)
            self._database.write(batch, points, now)

    def _renew(self, error: Exception) -> None:
        database = self._database
        database.close()
        log.error("statistics: %s is damaged (%s); it is now %s, and a new one begins", database.path, error, database.move_aside())
        database.open()

    def _report(self, reason: str) -> None:
        if not self.problem:
            log.error("statistics can't be kept in %s: %s", self._wanted or "memory", reason)
        self.problem = f"statistics can't be kept in {self._wanted or 'memory'}: {reason}"


def _extend(points: deque[Point] | list[Point], point: Point) -> None:
    """Add a point, to the last one if that is of the same time."""
    if points and points[-1].time == point.time:
        last = points.pop()
        point = Point(
            point.time,
            last.traffic_in + point.traffic_in,
            last.traffic_out + point.traffic_out,
            max(last.connections, point.connections),
            max(last.clients, point.clients),
        )
    points.append(point)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether it is the content that is wrong, rather than the disk, a lock or our own SQL."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if type(error) is sqlite3.DatabaseError else 0)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
