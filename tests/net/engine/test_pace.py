"""A paced end between fakes: nothing is lost, everything is credited, and no more moves than may."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.engine.pace import Limit, PacedEnd, Turn
from frp_py.protocol.yamux import BLOCKED

RATE = 100_000


class FakeEngine:
    """Keeps alarms until the test's time has come."""

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(256 * 1024))
        self.alarms: list[tuple[float, Callable[[], None]]] = []

    def at(self, when: float, callback: Callable[[], None]) -> None:
        self.alarms.append((when, callback))

    def soon(self, callback: Callable[[], None]) -> None:
        self.at(trio.current_time(), callback)

    def ring(self, now: float) -> None:
        due = sorted((alarm for alarm in self.alarms if alarm[0] <= now), key=lambda alarm: alarm[0])
        self.alarms = [alarm for alarm in self.alarms if alarm[0] > now]
        for _, callback in due:
            callback()


class FakeEnd:
    """An end, a sink and an owner in one: it writes down what happens, and keeps as much of what it is fed as it is told to."""

    def __init__(self, keep: Callable[[int], int] = lambda n: 0) -> None:
        self.sink: object = None
        self.owner: object = None
        self.taken = bytearray()
        self.kept = 0
        self.credited = 0
        self.drained_n = 0
        self.events: list[str] = []
        self._keep = keep
        self.received_total = self.sent_total = 0

    def pull(self, recv_into: Callable[[memoryview], int]) -> int:
        raise AssertionError("a paced end feeds")

    def feed(self, data: memoryview) -> int:
        self.taken += data
        kept = len(data) if self.kept else self._keep(len(data))
        self.kept += kept
        return kept

    def let_go(self) -> int:
        """What it had kept, gone."""
        gone, self.kept = self.kept, 0
        return gone

    def start(self) -> None:
        self.events.append("start")

    def pause(self) -> None:
        self.events.append("pause")

    def consumed(self, n: int) -> None:
        self.credited += n
        self.events.append("consumed")

    def finish(self) -> None:
        self.events.append("finish")

    def close(self) -> None:
        self.events.append("close")

    def abort(self) -> None:
        self.events.append("abort")

    def ended(self, end: object) -> None:
        self.events.append("ended")

    def broke(self, end: object, reason: str) -> None:
        self.events.append("broke")

    def drained(self, end: object, n: int) -> None:
        self.drained_n += n
        self.events.append("drained")

    def flushed(self, end: object) -> None:
        self.events.append("flushed")


class Bench:
    """A paced end between `inner` (the connection) and `outer` (what it is joined to)."""

    def __init__(self, clock: MockClock, keep: Callable[[int], int] = lambda n: 0, other: Bench | None = None) -> None:
        """`other`: whose limit it shares."""
        self.clock = clock
        self.engine: FakeEngine = FakeEngine() if other is None else other.engine
        self.inner = FakeEnd(keep)
        self.outer = FakeEnd(keep)
        self.limit: Limit = Limit(self.engine, RATE) if other is None else other.limit  # type: ignore[arg-type]
        self.end = PacedEnd(self.engine, self.inner, self.limit, self.outer, self.outer)  # type: ignore[arg-type]
        self.slice = self.limit.slice_size

    def arrive(self, data: bytes) -> int:
        return self.inner.sink.feed(memoryview(data))  # type: ignore[attr-defined,no-any-return]

    def ask(self, n: int) -> int:
        """Somebody at a socket has n bytes for `end`."""
        return self.end.pull(lambda room: min(n, len(room)))

    def pass_time(self, seconds: float) -> None:
        self.clock.jump(seconds)
        self.engine.ring(trio.current_time())

    def pass_all_time(self, step: float = 0.01) -> float:
        """Until nothing waits; how long that took."""
        began = trio.current_time()
        while self.engine.alarms:
            self.pass_time(step)
        return trio.current_time() - began


async def test_what_the_bucket_holds_goes_at_once_and_the_rest_at_its_rate(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    data = random.Random(1).randbytes(3 * RATE)
    kept = bench.arrive(data)
    assert len(bench.outer.taken) + kept == len(data)
    assert RATE <= len(bench.outer.taken) <= RATE + 2 * bench.slice
    took = bench.pass_all_time()
    assert bench.outer.taken == data
    assert took == pytest.approx(2, abs=0.1)
    assert bench.inner.credited == kept
    assert bench.end.received_total == len(data)


async def test_both_directions_share_the_bucket(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    data = random.Random(2).randbytes(2 * RATE)
    bench.arrive(data)
    kept = bench.end.feed(memoryview(data))
    assert kept == bench.end.kept > 0
    assert bench.pass_all_time() == pytest.approx(3, abs=0.1)
    assert bench.outer.taken == bench.inner.taken == data
    assert bench.outer.drained_n == kept
    assert bench.end.kept == 0


async def test_a_socket_is_stopped_rather_than_read(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    asked: list[int] = []

    def recv_into(room: memoryview) -> int:
        asked.append(len(room))
        return len(room)

    for sink in (bench.end, bench.inner.sink):
        while (n := sink.pull(recv_into)) != BLOCKED:  # type: ignore[attr-defined]
            assert n == bench.slice
        assert bench.end.kept == bench.inner.sink.kept == 0  # type: ignore[attr-defined]
    assert set(asked) == {bench.slice}
    assert RATE <= sum(asked) <= RATE + 2 * bench.slice
    assert bench.outer.events == bench.inner.events == []
    bench.pass_time(0.5)
    assert bench.outer.events == ["drained"]  # so both sources go on
    assert bench.inner.events == ["consumed"]
    assert bench.end.pull(recv_into) == bench.slice


async def test_ends_come_behind_the_last_byte(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    bench.arrive(bytes(2 * RATE))
    bench.end.feed(memoryview(bytes(RATE)))
    bench.end.ended(bench.inner)  # type: ignore[arg-type]
    bench.end.finish()
    assert "ended" not in bench.outer.events
    assert "finish" not in bench.inner.events
    bench.pass_all_time()
    assert len(bench.outer.taken) == 2 * RATE
    assert bench.outer.events.count("ended") == 1
    assert "finish" in bench.inner.events
    bench.end.flushed(bench.inner)  # type: ignore[arg-type]
    assert bench.outer.events[-1] == "flushed"


@pytest.mark.parametrize("direction", ["arrive", "feed"])
async def test_tiny_pieces_that_wait_cost_no_more_memory_than_their_bytes(mock_clock: MockClock, direction: str) -> None:
    """A user's segments of one byte come as frames of one byte."""
    bench = Bench(mock_clock)
    send = bench.arrive if direction == "arrive" else lambda data: bench.end.feed(memoryview(data))
    data = random.Random(3).randbytes(50_000)
    send(bytes(2 * RATE))
    tracemalloc.start()
    try:
        for at in range(len(data)):
            send(data[at : at + 1])
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 2 * len(data)
    bench.pass_all_time()
    assert (bench.outer if direction == "arrive" else bench.inner).taken == bytes(2 * RATE) + data


@pytest.mark.parametrize("how", ["close", "abort", "broke"])
async def test_after_the_end_nothing_moves(mock_clock: MockClock, how: str) -> None:
    bench = Bench(mock_clock)
    bench.arrive(bytes(2 * RATE))
    bench.end.feed(memoryview(bytes(RATE)))
    if how == "broke":
        bench.end.broke(bench.inner, "gone")  # type: ignore[arg-type]
        assert bench.outer.events == ["broke"]
    else:
        getattr(bench.end, how)()
        assert bench.inner.events[-1] == how
    before = len(bench.outer.taken), len(bench.inner.taken), list(bench.outer.events), bench.inner.credited
    bench.pass_all_time()
    assert (len(bench.outer.taken), len(bench.inner.taken), bench.outer.events, bench.inner.credited) == before
    assert bench.end.feed(memoryview(b"more")) == 0


async def test_low_rates_are_as_smooth_as_slices_allow(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    bench.arrive(bytes(3 * RATE))
    before = len(bench.outer.taken)
    for _ in range(75):
        bench.pass_time(0.025)
        now = len(bench.outer.taken)
        assert 0 < now - before <= 2 * bench.slice
        before = now


@pytest.mark.parametrize("seed", range(20))
async def test_with_slow_ends_nothing_is_lost_and_all_is_credited(mock_clock: MockClock, seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(mock_clock, keep=lambda n: rng.choice((0, 0, n, rng.randint(0, n))))
    inner, outer, end = bench.inner, bench.outer, bench.end
    inward, outward = bytearray(), bytearray()
    owed_in = owed_out = 0
    began = trio.current_time()
    for _ in range(300):
        what = rng.randrange(5)
        piece = rng.randbytes(rng.choice((1, 100, 3_000, 60_000)))
        if what == 0:
            inward += piece
            owed_in += bench.arrive(piece)
        elif what == 1:
            outward += piece
            owed_out += end.feed(memoryview(piece))
        elif what == 2 and outer.kept:
            end.consumed(outer.let_go())
        elif what == 3 and inner.kept:
            end.drained(inner, inner.let_go())  # type: ignore[arg-type]
        else:
            bench.pass_time(rng.random() / 10)
        assert len(inner.taken) + len(outer.taken) <= RATE * (1 + trio.current_time() - began) + 4 * bench.slice
        assert inward.startswith(outer.taken)
        assert outward.startswith(inner.taken)
    while bench.engine.alarms or inner.kept or outer.kept:
        if outer.kept:
            end.consumed(outer.let_go())
        if inner.kept:
            end.drained(inner, inner.let_go())  # type: ignore[arg-type]
        bench.pass_time(0.1)
    assert outer.taken == inward
    assert inner.taken == outward
    assert inner.credited == owed_in
    assert outer.drained_n == owed_out
    assert end.kept == inner.sink.kept == 0  # type: ignore[attr-defined]


# many, one after the other or at once


async def test_who_comes_for_a_moment_waits_for_his_turn_too(mock_clock: MockClock) -> None:
    """One connection after the other, each for a slice in each direction: the limit holds, and those who are there don't pay for them."""
    honest = Bench(mock_clock)
    honest.arrive(bytes(10 * RATE))
    moved = 0
    for _ in range(300):
        each = Bench(mock_clock, other=honest)
        for _ in range(2):
            each.ask(each.slice)
            each.arrive(bytes(each.slice))
            honest.pass_time(0.01)
        each.end.close()
        moved += len(each.inner.taken) + len(each.outer.taken)
    seconds = 300 * 2 * 0.01
    assert moved + len(honest.outer.taken) <= RATE * (1 + seconds) + honest.slice
    assert len(honest.outer.taken) - RATE > RATE * seconds / 4  # he is one of three who wait at a time


async def test_a_crowd_that_has_gone_has_cost_nothing(mock_clock: MockClock) -> None:
    honest = Bench(mock_clock)
    crowd = [Bench(mock_clock, other=honest) for _ in range(2000)]
    for each in crowd:
        each.ask(each.slice)
        each.arrive(bytes(each.slice))
    moved = sum(len(each.inner.taken) + len(each.outer.taken) for each in crowd)
    assert RATE <= moved <= RATE + honest.slice
    assert honest.ask(honest.slice) == BLOCKED
    for each in crowd:
        each.end.close()
    assert len(honest.engine.alarms) == 1
    honest.pass_time(0.03)
    assert honest.outer.events == ["drained"]
    assert honest.ask(honest.slice) == honest.slice


async def test_all_who_wait_have_their_turns_one_after_the_other(mock_clock: MockClock) -> None:
    first = Bench(mock_clock)
    first.arrive(bytes(2 * RATE))
    others = [Bench(mock_clock, other=first) for _ in range(10)]
    before = len(first.outer.taken)
    for each in others:
        assert each.ask(each.slice) == BLOCKED  # from a socket
        each.arrive(bytes(RATE))  # from a stream
    for _ in range(440):
        first.pass_time(0.01)
        for each in others:
            if each.outer.events:
                each.outer.events.clear()
                assert each.ask(each.slice) == each.slice
                assert each.ask(each.slice) == BLOCKED
    shares = [len(first.outer.taken) - before, *(len(side.taken) for each in others for side in (each.inner, each.outer))]
    assert sum(shares) == pytest.approx(4.4 * RATE, rel=0.02)
    assert max(shares) - min(shares) <= 2 * first.slice


async def test_a_crowd_with_a_byte_each_leaves_others_their_turn(mock_clock: MockClock) -> None:
    first = Bench(mock_clock)
    first.arrive(bytes(RATE + first.slice))
    crowd = [Bench(mock_clock, other=first) for _ in range(500)]
    for each in crowd:
        each.arrive(b"x")
    mock_clock.jump(0.1)
    rounds, served = 0, 0
    while served < len(crowd):
        first.engine.ring(trio.current_time())
        before, served = served, sum(len(each.outer.taken) for each in crowd)
        assert served - before <= 64
        rounds += 1
    assert rounds < 10


async def test_a_turn_that_finds_nothing_is_given_back(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    bench.ask(bench.slice)
    for _ in range(1000):
        assert bench.ask(0) == 0
        assert bench.inner.sink.pull(lambda room: 0) == 0  # type: ignore[attr-defined]

    def nothing_yet(room: memoryview) -> int:
        raise BlockingIOError

    for _ in range(1000):
        with pytest.raises(BlockingIOError):
            bench.end.pull(nothing_yet)
    bench.end.close()
    other = Bench(mock_clock, other=bench)
    other.arrive(bytes(2 * RATE))
    assert len(other.outer.taken) >= RATE - bench.slice


async def test_two_limits_for_the_same_bytes(mock_clock: MockClock) -> None:
    """The lower one decides, and what it keeps waiting or sends away is not lost for the others."""
    engine = FakeEngine()
    of_all = Limit(engine, RATE)  # type: ignore[arg-type]
    lower = Limit(engine, RATE / 2, of_all)  # type: ignore[arg-type]
    assert lower.slice_size == RATE / 100
    began = trio.current_time()
    moved = {lower: 0, of_all: 0}
    waiting: dict[Turn, Limit] = {}

    def go_on(turn: Turn, limit: Limit) -> None:
        while turn.has_come():
            turn.used(turn.size)
            moved[limit] += turn.size

    def start(limit: Limit) -> None:
        turn = Turn(limit, lambda: go_on(turn, limit))
        waiting[turn] = limit
        go_on(turn, limit)

    start(lower)
    assert moved[lower] == pytest.approx(RATE / 2, abs=lower.slice_size)
    start(of_all)
    assert sum(moved.values()) == pytest.approx(RATE, abs=of_all.slice_size)
    for _ in range(20):
        start(lower)
    for _ in range(200):
        mock_clock.jump(0.01)
        engine.ring(trio.current_time())
    seconds = trio.current_time() - began
    assert moved[lower] <= RATE / 2 * (1 + seconds) + lower.slice_size
    assert sum(moved.values()) == pytest.approx(RATE * (1 + seconds), rel=0.02)
    for turn, limit in list(waiting.items()):
        if limit is lower:
            turn.leave()
    assert len(of_all._waiting) + len(lower._waiting) == 1


async def test_a_bug_in_one_connection_does_not_stop_the_others(mock_clock: MockClock) -> None:
    bench = Bench(mock_clock)
    bench.arrive(bytes(2 * RATE))

    def fail() -> None:
        raise RuntimeError("a bug")

    assert not Turn(bench.limit, fail).has_come()
    with pytest.raises(RuntimeError):
        bench.pass_all_time()
    bench.pass_all_time()
    assert len(bench.outer.taken) == 2 * RATE
