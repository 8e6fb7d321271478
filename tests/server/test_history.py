"""Statistics that outlive the program."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio

from frp_py.config.server import StatisticsConfig
from frp_py.server import history
from frp_py.server.history import RANGES, Database, History, Point, Sample, Unusable
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.statistics import CLIENT, PROXY, WHOLE, Batch, Days, Known, Record, Spell, Statistics, Subject

NOW = 1_800_014_400
HOUR = NOW // 3600
DAY = 740_000
P = Subject(PROXY, "p", "tcp")
HOSTILE = "x'; DROP TABLE hours; --\0\n\u202e😀"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "deeper" / "statistics.db")


@pytest.fixture
def database(path: str) -> Iterator[Database]:
    it = Database(path)
    it.open()
    yield it
    it.close()


def batch(
    *entries: tuple[Subject, int, int, int, int], known: tuple[Known, ...] = (), forgotten: tuple[tuple[str, str], ...] = ()
) -> Batch:
    """Of (subject, day, hour, bytes in, bytes out)."""
    traffic: dict[Subject, dict[Spell, list[int]]] = {}
    for subject, day, hour, n, m in entries:
        traffic.setdefault(subject, {})[Spell(day, hour)] = [n, m]
    return Batch(traffic, [*known], [*forgotten])


def known(name: str = "p", start: float = 1.0, close: float = 0.0) -> Known:
    return Known(name, "tcp", "u", "c", start, close)


def rows(database: Database, table: str) -> int:
    return int(database.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# the database


def test_figures_add_up_by_hour_and_by_day(database: Database) -> None:
    for _ in range(2):
        database.write(batch((P, DAY, HOUR, 1, 2), (WHOLE, DAY, HOUR, 5, 6)), [], NOW)
    database.write(batch((P, DAY, HOUR + 1, 10, 20)), [], NOW)
    assert database.traffic(P, "hours", 0) == {HOUR: (2, 4), HOUR + 1: (10, 20)}
    assert database.traffic(P, "hours", HOUR + 1) == {HOUR + 1: (10, 20)}
    assert database.traffic(P, "days", 0) == {DAY: (12, 24)}
    assert database.traffic(WHOLE, "days", 0) == {DAY: (10, 12)}
    assert database.traffic(Subject(PROXY, "p", "udp"), "days", 0) == {}


def test_it_is_read_again_as_it_was(path: str, database: Database) -> None:
    two = [known("p", 5.25, 9.5), Known(HOSTILE, "udp", HOSTILE, HOSTILE, 3, 4)]
    subject = Subject(PROXY, HOSTILE, "udp")
    database.write(batch((P, DAY, HOUR, 1, 2), (subject, DAY - 1, HOUR, 3, 4), (WHOLE, DAY, HOUR, 9, 9), known=tuple(two)), [], NOW)
    database.write(batch((P, DAY - 7, HOUR, 7, 7)), [], NOW)  # too long ago
    database.close()
    again = Database(path)
    again.open()
    restored, whole = again.load(0, DAY, 10)
    again.close()
    assert dict(restored) == {two[0]: {DAY: [1, 2]}, two[1]: {DAY - 1: [3, 4]}}
    assert whole == {DAY: [9, 9]}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_proxies_that_ran_when_the_program_was_killed_were_closed_then(database: Database) -> None:
    database.write(batch(known=(known("p", NOW - 50.5, NOW - 60),)), [], NOW)
    assert database.load(NOW, DAY, 10)[0] == [(known("p", NOW - 50.5, NOW), Days())]
    database.write(batch(known=(known("p", NOW - 50.5, NOW - 60),)), [Point(NOW + 600, 0, 0, 1, 1)], NOW)  # until then it lived
    for _ in range(2):
        assert database.load(NOW + 5000, DAY, 10)[0] == [(known("p", NOW - 50.5, NOW + 600), Days())]
        database.write(batch(), [Point(NOW + 1200, 0, 0, 1, 1)], NOW + 1300)


def test_proxies_that_were_gone_for_a_week_are_not_shown_again(database: Database) -> None:
    database.write(batch((P, DAY, HOUR, 1, 2), known=(known("p", NOW - 50, NOW),)), [], NOW)
    week = 7 * 86400
    assert len(database.load(NOW + week, DAY, 10)[0]) == 1
    assert database.load(NOW + week + 1, DAY, 10)[0] == []
    assert database.traffic(P, "days", 0) == {DAY: (1, 2)}  # but their history stays


def test_what_is_forgotten_is_gone_and_may_come_again(database: Database) -> None:
    database.write(batch((P, DAY, HOUR, 1, 2), known=(known(),)), [], NOW)
    database.write(batch((P, DAY, HOUR, 4, 8), known=(known(start=7),), forgotten=(("p", "tcp"), ("never", "there"))), [], NOW)
    assert database.traffic(P, "days", 0) == {DAY: (4, 8)}
    database.write(batch(forgotten=(("p", "tcp"),)), [], NOW)
    assert [rows(database, table) for table in ("subjects", "hours", "days")] == [0, 0, 0]


def test_a_batch_is_written_whole_or_not_at_all(database: Database) -> None:
    broken = batch((P, DAY, HOUR, 1, 2))
    broken.traffic[WHOLE] = {Spell(DAY, HOUR): [None, 1]}  # type: ignore[list-item]
    with pytest.raises(sqlite3.IntegrityError):
        database.write(broken, [], NOW)
    assert rows(database, "hours") == rows(database, "subjects") == 0
    database.write(batch((P, DAY, HOUR, 1, 2)), [], NOW)
    assert rows(database, "hours") == 1


def test_points_of_a_series(database: Database) -> None:
    database.write(batch(), [Point(NOW, 1, 2, 3, 4), Point(NOW + 300, 10, 20, 1, 1)], NOW)
    database.write(batch(), [Point(NOW, 1, 2, 2, 9)], NOW)
    assert database.series(300, NOW, NOW + 300) == [Point(NOW, 2, 4, 3, 9), Point(NOW + 300, 10, 20, 1, 1)]
    assert database.series(300, NOW + 300, NOW + 600) == [Point(NOW + 300, 10, 20, 1, 1)]
    assert database.series(1800, NOW, NOW) == [Point(NOW, 12, 24, 3, 9)]


def test_what_is_too_old_goes(database: Database) -> None:
    old = Subject(CLIENT, "u", "old")
    database.write(batch((P, DAY, HOUR, 1, 1), (old, DAY - 10, HOUR - 240, 1, 1)), [Point(NOW - 40 * 86400, 1, 1, 1, 1)], NOW - 10 * 86400)
    database.write(batch((P, DAY - 3, HOUR - 50, 1, 1)), [Point(NOW, 1, 1, 1, 1)], NOW)
    database.prune(NOW, DAY, keep_hours=48, keep_days=5)
    assert database.traffic(P, "hours", 0) == {HOUR: (1, 1)}
    assert set(database.traffic(P, "days", 0)) == {DAY, DAY - 3}
    assert (rows(database, "subjects"), rows(database, "hours"), rows(database, "days"), rows(database, "points")) == (1, 1, 2, 1)


def test_it_doesn_t_grow_for_ever(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MOST_NAMES", 20)
    monkeypatch.setattr(history, "_MOST_ROWS", 30)
    database.write(batch((WHOLE, DAY, HOUR, 1, 1)), [], NOW)
    for n in range(50):
        subject = Subject(PROXY, f"{n}", "tcp")
        database.write(batch((subject, DAY, HOUR, 1, 1), (subject, DAY - 1, HOUR - 1, 1, 1)), [], NOW + n)
    database.prune(NOW + 50, DAY, 1000, 1000)
    assert rows(database, "subjects") <= 21
    assert rows(database, "hours") <= 30
    assert database.traffic(WHOLE, "days", 0) == {DAY: (1, 1)}
    assert database.traffic(Subject(PROXY, "49", "tcp"), "hours", 0)[HOUR] == (1, 1)
    monkeypatch.setattr(history, "_MOST_ROWS", 5)  # fewer than there are in the newest hour
    database.prune(NOW + 50, DAY, 1000, 1000)
    assert rows(database, "hours") <= 5
    assert database.traffic(WHOLE, "days", 0) == {DAY: (1, 1)}


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE mine (x)", "PRAGMA application_id = 7", f"PRAGMA application_id = {0x66727073}; PRAGMA user_version = 99"]
)
def test_the_database_of_somebody_else_is_left_alone(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as theirs:
        theirs.executescript(f"CREATE TABLE IF NOT EXISTS t (x); {statement}")
    theirs.close()
    before = path.read_bytes()
    it = Database(str(path))
    with pytest.raises(Unusable):
        it.open()
    assert path.read_bytes() == before


# keeping it up to date


def overwrite(path: str, data: bytes) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(data)


def content(path: str) -> bytes:
    return Path(path).read_bytes()


class World:
    """Statistics, and their history in `path`."""

    def __init__(self, path: str = "") -> None:
        self.statistics = Statistics(time.time(), remember=True)
        self.sample = Sample(0, 0, 0, 0)
        self.history = History(StatisticsConfig(path=path), self.statistics, lambda: self.sample)

    def use(self, name: str = "p", n: int = 1, m: int = 2, client: str = "c") -> Record:
        record = self.statistics.records.get(name)
        if record is None or record.proxy is None:
            proxy = cast(PublicProxy, SimpleNamespace(name=name, kind="tcp"))
            record = self.statistics.opened(proxy, "u", client, time.time())
        record.traffic_in += n
        record.traffic_out += m
        self.statistics.dirty.add(record)
        return record

    async def today(self, subject: Subject = P) -> tuple[int, int]:
        found = await self.history.traffic(subject, "day", self.statistics.today)
        return found.get(self.statistics.today, (0, 0))


async def opened(path: str = "") -> World:
    it = World(path)
    await it.history.open()
    return it


async def test_a_restart_goes_on_with_the_figures_of_before(path: str) -> None:
    first = await opened(path)
    first.use(n=100, m=200)
    first.history.finish()
    second = await opened(path)
    record = second.statistics.records["p"]
    assert (record.proxy, record.user, record.client_id) == (None, "u", "c")
    second.use(n=10, m=20)
    assert await second.today() == (110, 220)
    assert await second.today(Subject(CLIENT, "u", "c")) == (110, 220)
    assert record.days.of(second.statistics.today) == (110, 220)
    assert second.statistics.days.of(second.statistics.today) == (110, 220)
    second.history.finish()
    assert not second.history.problem


async def test_a_program_that_is_killed_loses_the_last_batch_only(path: str) -> None:
    first = await opened(path)
    first.use()
    await first.history.write()
    first.use(n=1000)
    second = await opened(path)  # the first one is still there: its file is as kill -9 would leave it
    assert second.statistics.records["p"].days.of(second.statistics.today) == (1, 2)
    second.history.finish()
    first.history.finish()


async def test_in_memory_without_a_path() -> None:
    it = await opened()
    it.use()
    assert await it.today() == (1, 2)
    it.use()
    assert await it.today() == (2, 4)
    it.history.finish()


async def test_what_was_pruned_is_gone_from_the_database(path: str) -> None:
    it = await opened(path)
    it.statistics.closed(it.use(), time.time() + 1)
    await it.history.write()
    assert it.statistics.prune() == 1
    assert await it.today() == (0, 0)
    assert await it.today(WHOLE) == (1, 2)
    it.history.finish()
    assert (await opened(path)).statistics.records == {}


@pytest.mark.parametrize("damage", [b"rubbish" * 100, b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_database_is_moved_aside(path: str, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    overwrite(path, damage)
    it = await opened(path)
    it.use()
    await it.history.write()
    it.history.finish()
    assert content(path + ".damaged") == damage
    assert f"{path} is damaged" in caplog.text
    assert (await opened(path)).statistics.records["p"].days != {}


async def test_a_database_that_gets_damaged_while_it_is_used(path: str, caplog: pytest.LogCaptureFixture) -> None:
    it = await opened(path)
    for n in range(300):
        it.use(f"{n}")
    await it.history.write()
    it.history._database.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    healthy = content(path)
    overwrite(path, healthy[:4096] + b"\xa5" * (len(healthy) - 4096))
    it.history._database.db.execute("PRAGMA shrink_memory")
    for n in range(300):
        it.use(f"{n}")
    await it.history.write()
    assert "is damaged" in caplog.text
    assert await it.today(Subject(PROXY, "7", "tcp")) == (1, 2)
    it.history.finish()


async def test_a_file_that_is_no_database_at_all_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0:root:/root:/bin/bash\n" * 50)
    it = await opened(str(path))
    assert path.read_text().startswith("root:")
    assert "it is no database" in it.history.problem
    assert "it is no database" in caplog.text
    it.use()
    assert await it.today() == (1, 2)  # in memory
    it.history.finish()


async def test_a_path_that_can_t_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    it = await opened(str(tmp_path / "file" / "x.db"))
    assert it.history.problem.startswith(f"statistics can't be kept in {tmp_path}")
    it.use()
    assert await it.today() == (1, 2)
    it.history.finish()


async def test_what_can_t_be_written_now_is_written_later(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history, "_PATIENCE", 0.01)
    caplog.set_level(logging.INFO, "frp_py")
    it = await opened(path)
    it.use()
    await it.history.write()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    it.use(n=10, m=20)
    for _ in range(3):
        await it.history.write()
    assert "database is locked" in it.history.problem
    assert caplog.text.count("database is locked") == 1
    it.use(n=100, m=200)
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await it.today() == (111, 222)
    assert not it.history.problem
    it.history.finish()


async def test_who_asks_and_leaves_while_all_threads_are_busy_takes_nothing_along(path: str) -> None:
    it = await opened(path)
    it.use()
    it.history.take_sample(time.time())
    limiter = trio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    try:
        async with limiter:
            with trio.move_on_after(0.01) as asking:
                await it.today()
            assert asking.cancelled_caught
    finally:
        limiter.total_tokens = before
    assert await it.today() == (1, 2)
    assert it.history._points == []
    assert rows(it.history._database, "points") == 1
    it.history.finish()


async def test_the_end_can_t_be_written(path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(history, "_PATIENCE", 0.01)
    it = await opened(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    it.use()
    it.history.finish()
    blocker.close()
    assert "the last statistics are lost" in caplog.text


async def test_it_is_written_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock) -> None:
    it = await opened()
    writes: list[float] = []

    async def write() -> None:
        writes.append(trio.current_time())

    monkeypatch.setattr(it.history, "write", write)
    monkeypatch.setattr(history, "time", SimpleNamespace(time=lambda: NOW + 3.5 + trio.current_time()))
    monkeypatch.setattr(it.history, "_prune", trio.lowlevel.checkpoint)  # the clock would not wait for a thread
    with trio.move_on_after(100):
        await it.history.run()
    assert writes == [0, *(6.5 + 10 * n for n in range(10))]


async def test_a_bug_is_not_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    it = await opened()
    calls = 0

    async def write() -> None:
        nonlocal calls
        calls += 1
        raise ZeroDivisionError

    monkeypatch.setattr(it.history, "write", write)
    with trio.move_on_after(60):
        await it.history.run()
    assert calls > 3
    assert "bug in the statistics" in caplog.text


async def test_one_that_was_never_opened_has_nothing_to_write(path: str, caplog: pytest.LogCaptureFixture) -> None:
    World(path).history.finish()
    assert not caplog.text


# series


async def test_the_last_hour_in_steps_of_ten_seconds() -> None:
    it = await opened()
    now = float(NOW)
    for n in range(1, 10):
        it.sample = Sample(n * 100, n * 1000, n, 2 * n)
        it.history.take_sample(now + n * 10)
    points = await it.history.series("hour", now + 95)
    assert len(points) == 360
    assert points[-1] == Point(NOW + 90, 100, 1000, 9, 18)
    assert points[-10:-8] == [Point(NOW, 0, 0, 0, 0), Point(NOW + 10, 100, 1000, 1, 2)]
    assert [point.time for point in points] == list(range(NOW - 3500, NOW + 100, 10))
    it.history.finish()


async def test_a_clock_that_is_set_back() -> None:
    it = await opened()
    it.sample = Sample(100, 100, 1, 1)
    it.history.take_sample(NOW + 5000)
    it.sample = Sample(150, 150, 1, 1)
    it.history.take_sample(NOW)
    points = await it.history.series("hour", NOW)
    assert points[-1].traffic_in == 50
    it.sample = Sample(100, 100, 1, 1)  # never less than nothing
    it.history.take_sample(NOW + 10)
    assert (await it.history.series("hour", NOW + 10))[-1].traffic_in == 0
    it.history.finish()


@pytest.mark.parametrize("name", ["day", "week", "month"])
async def test_longer_series(name: str, path: str) -> None:
    it = await opened(path)
    step, steps = RANGES[name]
    begin = NOW // step * step
    for n in range(3):
        it.sample = Sample(100 * (n + 1), 0, 5 - n, n)
        it.history.take_sample(begin + n * step + 1)
    await it.history.write()
    points = await it.history.series(name, begin + 2 * step + 2)
    assert len(points) == steps
    assert [point.time for point in points][-3:] == [begin, begin + step, begin + 2 * step]
    assert [(point.traffic_in, point.connections, point.clients) for point in points][-4:] == [
        (0, 0, 0),
        (100, 5, 0),
        (100, 4, 1),
        (100, 3, 2),
    ]
    it.history.finish()
