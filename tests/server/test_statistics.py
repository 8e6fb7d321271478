"""What is counted (behaviour.md 14.1, 14.2)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from frp_py.server import statistics
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.statistics import CLIENT, PROXY, WHOLE, Days, Known, Record, Spell, Statistics, Subject

NOON = 1_800_014_400.0  # 2027-01-15 12:00 UTC
HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[ZoneInfo]:
    """The local time of this process is that of the zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield ZoneInfo(request.param)
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def proxy(name: str = "p", kind: str = "tcp") -> PublicProxy:
    return cast(PublicProxy, SimpleNamespace(name=name, kind=kind))


def make(now: float = NOON, *, remember: bool = True) -> Statistics:
    return Statistics(now, remember=remember)


def count(it: Statistics, record: Record, n: int, m: int) -> None:
    """As proxies do it."""
    record.traffic_in += n
    record.traffic_out += m
    it.dirty.add(record)


# days


def test_traffic_belongs_to_the_day_that_it_is() -> None:
    it = make()
    record = it.opened(proxy(), "u", "c", NOON)
    for n in range(10):
        now = NOON + n * DAY
        it.tick(now)
        count(it, record, 1 << n, 3 << n)
        it.collect(now + 1)
    assert record.days.latest(it.today) == it.days.latest(it.today) == [(1 << n, 3 << n) for n in range(9, 2, -1)]
    assert (it.traffic_in, it.traffic_out) == (1023, 3069)
    assert (record.traffic_in, record.traffic_out) == (1023, 3069)
    history = list(it.history(record, it.today))
    assert history[-1] == (date.fromtimestamp(NOON + 9 * DAY), 512, 1536)
    assert [day.toordinal() for day, _, _ in history] == list(range(it.today - 6, it.today + 1))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/New_York", "UTC"], indirect=True)
@pytest.mark.parametrize("when", [(2027, 3, 28), (2027, 10, 31), (2027, 3, 14), (2027, 6, 1)])
def test_a_day_begins_at_local_midnight_also_when_the_clock_changes(zone: ZoneInfo, when: tuple[int, int, int]) -> None:
    midnight = datetime(*when, tzinfo=zone).timestamp()
    following = datetime(*when[:2], when[2] + 1, tzinfo=zone).timestamp() if when[2] < 28 else midnight + 30 * HOUR
    it = make(midnight - 20)
    record = it.opened(proxy(), "", "c", midnight - 20)
    count(it, record, 1, 0)
    it.collect(midnight - 1)
    count(it, record, 2, 0)
    it.collect(midnight + 1)  # it came before
    count(it, record, 4, 0)
    it.collect(following + 1)
    count(it, record, 8, 0)
    it.collect(following + 2)
    assert [n for n, _ in record.days.latest(it.today)][:3] == [8, 4, 3]


def test_traffic_belongs_to_the_hour_in_which_it_was_counted() -> None:
    it = make(NOON - 2)
    it.keeps_batch = True
    record = it.opened(proxy(), "", "c", NOON - 2)
    it.tick(NOON - 1)
    count(it, record, 5, 0)
    it.tick(NOON + 0.5)
    count(it, record, 7, 0)
    assert record.uncollected == (7, 0)
    it.tick(NOON + 1.5)
    assert record.uncollected == (0, 0)
    hour = int(NOON) // HOUR
    spells = it.take_batch().traffic[Subject(PROXY, "p", "tcp")]
    assert {spell.hour: counts for spell, counts in spells.items()} == {hour - 1: [5, 0], hour: [7, 0]}


def test_a_clock_that_is_set_wrong_and_right_again_loses_nothing() -> None:
    it = make()
    record = it.opened(proxy(), "", "c", NOON)
    count(it, record, 1, 1)
    it.tick(NOON + 400 * DAY)
    count(it, record, 2, 2)
    it.tick(NOON + 10)
    count(it, record, 4, 4)
    it.collect(NOON + 20)
    assert record.days.of(it.today) == (5, 5)
    assert (it.traffic_in, sum(n for n, _ in it.days.values())) == (7, 7)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), max_size=40))
def test_days_are_few_and_those_written_last(written: list[tuple[int, int]]) -> None:
    days, plain = Days(), list[tuple[int, int]]()
    for day, n in written:
        days.add(day, n, 2 * n)
        if day in dict(plain):
            plain = [(each, m + n if each == day else m) for each, m in plain]
        else:
            plain = [*plain, (day, n)][-7:]
    assert {day: n for day, (n, _) in days.items()} == dict(plain)
    assert all(m == 2 * n for n, m in days.values())


# records


def test_the_same_name_and_type_go_on_with_their_record() -> None:
    it = make()
    record = it.opened(proxy(), "u", "c", NOON)
    record.connections, record.was_used = 2, True
    count(it, record, 10, 20)
    it.closed(record, NOON + 5)
    assert (record.proxy, record.last_start, record.last_close) == (None, NOON, NOON + 5)
    assert it.opened(proxy(), "v", "d", NOON + 9) is record
    assert (record.user, record.client_id, record.last_start, record.last_close) == ("v", "d", NOON + 9, NOON + 5)
    assert record.proxy is not None
    it.collect(NOON + 10)
    assert record.days.of(it.today) == (10, 20)
    assert it.types == {"tcp": 1}


def test_another_type_begins_anew_and_metrics_know_both() -> None:
    it = make()
    first = it.opened(proxy(), "u", "c", NOON)
    count(it, first, 10, 20)
    it.closed(first, NOON + 5)
    second = it.opened(proxy(kind="udp"), "u", "c", NOON + 6)
    assert it.records == {"p": second}
    assert (second.days, it.types) == ({}, {"tcp": 0, "udp": 1})
    assert set(it.children) == {("p", "tcp"), ("p", "udp")}
    assert (it.traffic_in, it.days.of(it.today)) == (10, (10, 20))
    it.closed(second, NOON + 7)
    assert it.opened(proxy(), "u", "c", NOON + 8) is first
    assert (first.days, first.last_close, first.traffic_in) == ({}, 0, 10)  # a counter doesn't go back


def test_traffic_is_the_client_s_who_had_the_proxy_then() -> None:
    it = make()
    it.keeps_batch = True
    record = it.opened(proxy(), "u", "c", NOON)
    count(it, record, 1, 2)
    it.closed(record, NOON + 1)
    it.opened(proxy(), "u", "d", NOON + 2)
    count(it, record, 4, 8)
    it.collect(NOON + 3)
    traffic = it.take_batch().traffic
    assert traffic[Subject(CLIENT, "u", "c")] == {Spell(it.today, int(NOON) // HOUR): [1, 2]}
    assert traffic[Subject(CLIENT, "u", "d")] == {Spell(it.today, int(NOON) // HOUR): [4, 8]}
    assert traffic[WHOLE] == traffic[Subject(PROXY, "p", "tcp")] == {Spell(it.today, int(NOON) // HOUR): [5, 10]}


def test_only_what_is_offline_is_pruned_and_prometheus_keeps_it() -> None:
    it = make()
    records = {name: it.opened(proxy(name), "u", "c", NOON) for name in ("on", "off", "back")}
    for name in ("off", "back"):
        it.closed(records[name], NOON + 1)
    it.opened(proxy("back"), "u", "c", NOON + 2)
    count(it, records["off"], 3, 4)
    assert it.prune() == 1
    assert set(it.records) == {"on", "back"}
    assert {name for name, _ in it.children} == {"on", "off", "back"}
    assert (it.traffic_in, it.traffic_out, it.dirty) == (3, 4, set())
    assert it.prune() == 0


def test_one_that_was_closed_in_the_moment_of_its_start_or_before_it_is_offline_too() -> None:
    it = make()
    for name, closed in (("same", NOON), ("set back", NOON - 500)):
        record = it.opened(proxy(name), "", "c", NOON)
        it.closed(record, closed)
        assert record.last_close > record.last_start
    assert it.prune() == 2


def test_twice_a_day_those_go_that_were_offline_for_a_week() -> None:
    it = make()
    it.keeps_batch = True
    old, young = (it.opened(proxy(name), "", "c", NOON) for name in ("old", "young"))
    it.closed(old, NOON + 1)
    it.closed(young, NOON + DAY)
    for hours in range(0, 7 * 24 + 13, 6):
        it.tick(NOON + hours * HOUR)
        assert ("old" in it.records) == (hours < 180), hours
    assert set(it.records) == {"young"}
    assert it.take_batch().forgotten == []  # the database keeps it


def test_names_of_proxies_that_are_gone_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_OFFLINE", 2)
    it = make()
    stays = it.opened(proxy("stays"), "", "c", NOON)
    for n in range(5):
        it.closed(it.opened(proxy(f"{n}"), "", "c", NOON + n), NOON + n + 0.5)
    assert set(it.records) == {"stays", "3", "4"} == {name for name, _ in it.children}
    assert it.records["stays"] is stays


def test_when_nobody_will_ask_nothing_is_kept() -> None:
    it = make(remember=False)
    record = it.opened(proxy(), "", "c", NOON)
    it.closed(record, NOON + 1)
    assert (it.records, it.children) == ({}, {})
    count(it, record, 1, 1)  # a connection that outlives it
    it.tick(NOON + 20)
    assert it.dirty == set()


def test_comings_and_goings_are_seen() -> None:
    it = make()
    it.client_came()
    it.client_came()
    it.client_went()
    record = it.opened(proxy(), "", "c", NOON)
    it.closed(record, NOON)
    assert (it.clients, it.clients_changes, it.proxies_changes) == (1, 3, 2)
    it.prune()
    assert it.proxies_changes == 3


# the database


def test_a_batch_that_could_not_be_written_is_not_lost() -> None:
    it = make()
    it.keeps_batch = True
    record = it.opened(proxy(), "u", "c", NOON)
    count(it, record, 1, 2)
    it.collect(NOON + 1)
    first = it.take_batch()
    assert first.known == [Known("p", "tcp", "u", "c", NOON, 0)]
    count(it, record, 4, 8)
    it.collect(NOON + 2)
    it.give_back(first)
    again = it.take_batch()
    assert again.traffic[WHOLE] == {Spell(it.today, int(NOON) // HOUR): [5, 10]}
    assert again.known == first.known
    assert it.take_batch() == ({}, [], [])


def test_what_waits_for_the_database_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_PENDING", 5)
    it = make()
    it.keeps_batch = True
    for n in range(20):
        count(it, it.opened(proxy(f"{n}"), "", f"{n}", NOON), 1, 1)
        it.collect(NOON)
    assert len(it.take_batch().traffic) == 5


def test_what_waits_is_bounded_however_long_the_database_can_t_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_PENDING", 30)
    it = make()
    it.keeps_batch = True
    record = it.opened(proxy(), "u", "c", NOON)
    for hour in range(100):
        it.tick(NOON + hour * HOUR)
        count(it, record, 1, 1)
        it.collect(NOON + hour * HOUR)
        it.give_back(it.take_batch())
    batch = it.take_batch()
    assert sum(map(len, batch.traffic.values())) == 30
    newest = int(NOON) // HOUR + 99
    assert all(newest in {spell.hour for spell in spells} for spells in batch.traffic.values())
    count(it, record, 1, 1)
    it.collect(NOON)
    assert sum(map(len, it.take_batch().traffic.values())) == 3


def test_so_are_the_names_that_are_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_PENDING", 3)
    it = make()
    it.keeps_batch = True
    for n in range(10):
        it.closed(it.opened(proxy(f"{n}"), "", "", NOON), NOON + 1)
        it.prune()
        it.give_back(it.take_batch())
    assert it.take_batch().forgotten == [("7", "tcp"), ("8", "tcp"), ("9", "tcp")]


def test_what_was_removed_is_to_be_forgotten_with_what_was_not_written_yet() -> None:
    it = make()
    it.keeps_batch = True
    record = it.opened(proxy(), "u", "c", NOON)
    count(it, record, 1, 2)
    it.collect(NOON)
    it.closed(record, NOON + 1)
    it.prune()
    batch = it.take_batch()
    assert (batch.forgotten, batch.known) == ([("p", "tcp")], [])
    assert set(batch.traffic) == {WHOLE, Subject(CLIENT, "u", "c")}


def test_an_earlier_run_is_continued() -> None:
    it = make()
    known: list[tuple[Any, Days]] = [
        (Known("p", "tcp", "u", "c", NOON - 50, NOON - 9), Days({it.today: [1, 2]})),
        (Known("p", "udp", "u", "c", NOON - 99, NOON - 60), Days({it.today: [8, 8]})),  # its type has changed
        (Known("q", "tcp", "", "d", NOON - 50, NOON - 9), Days()),
    ]
    it.restore(known, Days({it.today: [100, 200]}))
    assert {name: record.type for name, record in it.records.items()} == {"p": "tcp", "q": "tcp"}
    assert (it.types, it.traffic_in, it.days.of(it.today)) == ({}, 0, (100, 200))
    record = it.opened(proxy(), "u", "c", NOON)
    assert record is it.records["p"]
    count(it, record, 10, 20)
    it.collect(NOON)
    assert record.days.of(it.today) == (11, 22)
    assert (record.traffic_in, it.days.of(it.today)) == (10, (110, 220))
    assert it.prune() == 1


class Life(RuleBasedStateMachine):
    """Proxies come, go, change their type and are used; figures are pruned, and batches are lost on the way to the database."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.it = make(self.now)
        self.it.keeps_batch = True
        self.running: dict[str, Record] = {}
        self.counted: dict[tuple[str, str], int] = {}
        self.written = 0

    @rule(name=st.sampled_from("abc"), kind=st.sampled_from(["tcp", "udp"]), client=st.sampled_from("xy"))
    def opens(self, name: str, kind: str, client: str) -> None:
        if name not in self.running:
            self.running[name] = self.it.opened(proxy(name, kind), "u", client, self.now)

    @rule(name=st.sampled_from("abc"))
    def closes(self, name: str) -> None:
        record = self.running.pop(name, None)
        if record is not None:
            self.it.closed(record, self.now)

    @rule(name=st.sampled_from("abc"), n=st.integers(0, 100))
    def is_used(self, name: str, n: int) -> None:
        record = self.it.records.get(name)  # also by connections that outlive it
        if record is not None:
            count(self.it, record, n, 2 * n)
            self.counted[record.key] = self.counted.get(record.key, 0) + n

    @rule(seconds=st.sampled_from([1, 7, 3600, DAY, 8 * DAY, -5, -3 * DAY]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.it.tick(self.now)

    @rule()
    def is_pruned(self) -> None:
        offline = [record for record in self.it.records.values() if record.proxy is None]
        assert self.it.prune() == len(offline)

    @rule(works=st.booleans())
    def is_written(self, works: bool) -> None:
        self.it.collect(self.now)
        batch = self.it.take_batch()
        if works:
            self.written += sum(n for n, _ in batch.traffic.get(WHOLE, {}).values())
        else:
            self.it.give_back(batch)

    @invariant()
    def it_adds_up(self) -> None:
        it = self.it
        for key, n in self.counted.items():
            assert (it.children[key].traffic_in, it.children[key].traffic_out) == (n, 2 * n)
        waiting = sum(record.uncollected[0] for record in it.dirty)
        assert it.traffic_in + waiting == sum(self.counted.values())
        assert it.traffic_out == 2 * it.traffic_in
        assert {name: record for name, record in it.records.items() if record.proxy is not None} == self.running
        assert sum(it.types.values()) == len(self.running)
        assert all(it.children[record.key] is record and record.name == name for name, record in it.records.items())
        assert all(sum(n for n, _ in record.days.values()) <= record.traffic_in for record in it.records.values())

    def teardown(self) -> None:
        self.is_written(True)
        assert self.written == sum(self.counted.values())


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
