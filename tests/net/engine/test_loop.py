"""The engine: batches, things put off, alarms, sweeps, bugs in what it calls, and stopping."""

from __future__ import annotations

import gc
import os
import socket

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from frp_py.net.engine import loop
from frp_py.net.engine.ends import Drop, SocketEnd
from frp_py.net.engine.listen import Listening, tcp_listener
from frp_py.net.engine.loop import READ, WRITE, Engine, Timeouts
from frp_py.net.engine.relay import Lingering
from tests.support.net import Link, descriptors, quiet, running_engine, tcp_pair, until


async def test_a_bug_in_a_handler_costs_one_descriptor() -> None:
    async with running_engine() as engine:
        a, b = tcp_pair()
        calls: list[int] = []

        def fails(events: int) -> None:
            calls.append(events)
            raise RuntimeError("bug")

        engine.watch(a.fileno(), READ, fails)
        b.send(b"x")
        await until(lambda: calls)
        await quiet(engine)
        assert len(calls) == 1
        engine.watch(a.fileno(), READ | WRITE, calls.append)
        await until(lambda: len(calls) > 1)
        engine.unwatch(a.fileno())
        engine.unwatch(a.fileno())
        a.close()
        b.close()


async def test_a_bug_in_what_was_put_off_does_not_stop_the_rest() -> None:
    async with running_engine() as engine:
        done: list[str] = []

        def fails() -> None:
            raise RuntimeError("bug")

        for put_off in (engine.soon, engine.flush_later):
            put_off(fails)
            put_off(lambda: done.append("after"))
        engine.at(trio.current_time(), fails)
        engine.at(trio.current_time(), lambda: done.append("alarm"))
        await until(lambda: len(done) == 3)
        assert sorted(done) == ["after", "after", "alarm"]


async def test_soon_is_next_time_and_a_chain_of_it_does_not_starve_trio() -> None:
    async with running_engine() as engine:
        count = 0

        def again() -> None:
            nonlocal count
            count += 1
            engine.soon(again)

        engine.soon(again)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert count > 0


async def test_links_and_tasks_are_not_kept_waiting_by_slow_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred users who keep a handler busy for some milliseconds each must not add up to a link that is taken for dead."""
    now = 0.0
    monkeypatch.setattr(loop, "perf_counter", lambda: now)
    async with running_engine() as engine:
        pairs = [tcp_pair() for _ in range(101)]
        calls: list[int] = []
        soon: list[int] = []

        def slow(events: int) -> None:
            nonlocal now
            now += 0.005
            calls.append(events)
            engine.soon(lambda: put_off())

        def put_off() -> None:
            nonlocal now
            now += 0.005
            soon.append(1)

        answered: list[int] = []

        def link(events: int) -> None:
            pairs[-1][0].recv(10)
            answered.append(len(calls))

        for a, b in pairs:
            b.send(b"x")
            if a is pairs[-1][0]:
                engine.watch(a.fileno(), READ, link)
                engine.prefer(a.fileno())
            else:
                engine.watch(a.fileno(), READ, slow)
        most = seen = 0
        while len(calls) + len(soon) < 400:
            await trio.lowlevel.checkpoint()
            most = max(most, len(calls) + len(soon) - seen)
            seen = len(calls) + len(soon)
        assert answered[0] <= 16
        assert most <= 40
        while len(calls) < 500:  # nobody is forgotten: all have had a turn
            await trio.lowlevel.checkpoint()
        for a, b in pairs:
            engine.unwatch(a.fileno())
            a.close()
            b.close()


async def test_links_that_are_busy_all_the_time_do_not_keep_users_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(loop, "perf_counter", lambda: now)
    async with running_engine() as engine:
        pairs = [tcp_pair() for _ in range(80)]
        calls: list[int] = []

        def slow(n: int) -> None:
            nonlocal now
            now += 0.005
            calls.append(n)

        for n, (a, b) in enumerate(pairs):
            b.send(b"x")
            engine.watch(a.fileno(), READ, lambda events, n=n: slow(n))  # type: ignore[misc]
            if n < 40:
                engine.prefer(a.fileno())
        while len(calls) < 500:
            await trio.lowlevel.checkpoint()
        assert set(calls) == set(range(80))
        for a, b in pairs:
            engine.unwatch(a.fileno())
            a.close()
            b.close()


async def test_what_was_put_off_is_not_for_the_next_with_that_number(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(loop, "perf_counter", lambda: now)
    async with running_engine() as engine:
        pairs = [tcp_pair() for _ in range(40)]
        calls: list[int] = []
        wrong: list[int] = []

        def slow(n: int) -> None:
            nonlocal now
            now += 0.005
            calls.append(n)
            pairs[n][0].recv(10)

        for n, (a, b) in enumerate(pairs):
            b.send(b"x")
            engine.watch(a.fileno(), READ, lambda events, n=n: slow(n))  # type: ignore[misc]
        while not calls:
            await trio.lowlevel.checkpoint()
        assert len(calls) < 40
        waiting, buried = (pairs[n][0] for n in sorted(set(range(40)) - set(calls))[-2:])
        for old, forget in ((waiting, engine.unwatch), (buried, lambda fd: engine.bury(buried, fd))):
            fd = old.fileno()
            forget(fd)
            if old is waiting:
                old.close()
            a, b = tcp_pair()
            pairs.append((a, b))
            engine.watch(a.fileno(), READ, wrong.append)
            assert (fd in (a.fileno(), b.fileno())) is (old is waiting)
        while len(calls) < 38:
            await trio.lowlevel.checkpoint()
        await quiet(engine)
        assert wrong == []
        assert buried.fileno() < 0
        for a, b in pairs:
            engine.unwatch(a.fileno())
            a.close()
            b.close()


async def test_flushes_that_cause_flushes_are_done_in_the_same_batch() -> None:
    engine = Engine()
    done: list[int] = []

    def first() -> None:
        done.append(1)
        engine.flush_later(lambda: done.append(2))

    engine.flush_later(first)
    engine.finish_batch()
    assert done == [1, 2]


async def test_alarms_go_off_in_order(autojump_clock: MockClock) -> None:
    engine = Engine()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine._run_alarms)
        gone: list[tuple[str, float]] = []
        start = trio.current_time()

        def note(name: str) -> None:
            gone.append((name, trio.current_time() - start))

        await trio.testing.wait_all_tasks_blocked()
        engine.at(start + 5, lambda: note("late"))
        engine.at(start + 1, lambda: note("early"))
        engine.at(start + 1, lambda: note("second"))
        await trio.sleep(2)
        engine.at(start - 7, lambda: note("past"))
        await trio.sleep(10)
        assert [(name, round(when, 3)) for name, when in gone] == [("early", 1), ("second", 1), ("past", 2), ("late", 5)]
        nursery.cancel_scope.cancel()


async def test_the_sweep_and_the_second(autojump_clock: MockClock) -> None:
    engine = Engine()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine._tick)
        calls: list[str] = []
        seconds = engine.timeouts(3)

        def fails() -> None:
            raise RuntimeError("bug")

        def once() -> None:
            calls.append("once")
            engine.not_each_second(once)
            engine.not_each_second(once)

        engine.each_second(fails)
        engine.each_second(once)
        seconds.add(fails)
        seconds.add(lambda: calls.append("due"))
        await trio.sleep(2.5)
        assert calls == ["once"]
        await trio.sleep(3)
        assert calls == ["once", "due"]
        nursery.cancel_scope.cancel()


async def test_many_callbacks_of_a_second_leave_quickly() -> None:
    """Ten thousand clients that go at once must not hold the others up."""
    engine = Engine()

    class Client:
        def tick(self) -> None:
            self.compared = True

        def __eq__(self, other: object) -> bool:
            compared[0] += 1
            return self is other

        __hash__ = object.__hash__

    compared = [0]
    clients = [Client() for _ in range(2000)]
    for client in clients:
        engine.each_second(client.tick)
    for client in reversed(clients):
        engine.not_each_second(client.tick)
    assert not engine._each_second
    assert compared[0] < 10_000


async def test_another_time_for_timeouts(autojump_clock: MockClock) -> None:
    timeouts = Timeouts(100)
    gone: list[str] = []

    def add(name: str) -> None:
        timeouts.add(lambda: gone.append(name))

    add("old")
    timeouts.change(10)
    add("new")
    timeouts.change(20)
    add("newer")
    timeouts.sweep(trio.current_time() + 9.9)
    assert gone == []
    timeouts.sweep(trio.current_time() + 10)
    assert gone == ["old", "new"]
    timeouts.sweep(trio.current_time() + 20)
    assert gone == ["old", "new", "newer"]


def test_timeouts_keep_their_order() -> None:
    async def main() -> None:
        timeouts = Timeouts(10)
        gone: list[str] = []

        def a() -> None:
            gone.append("a")

        def b() -> None:
            gone.append("b")
            timeouts.discard(c)

        def c() -> None:
            gone.append("c")

        now = trio.current_time()
        for each in (a, b, c, a):  # adding again starts anew
            timeouts.add(each)
        assert len(timeouts) == 3
        timeouts.sweep(now + 9)
        assert gone == []
        timeouts.sweep(now + 11)
        assert gone == ["b", "a"]
        timeouts.discard(a)

    trio.run(main)


async def test_the_engine_serves_to_the_end_of_a_cancelled_block() -> None:
    engine = Engine()
    a, b = tcp_pair()
    with trio.CancelScope() as scope:
        async with engine.running():
            end = SocketEnd(engine, a, Drop(engine), Drop(engine))  # type: ignore[arg-type]
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                end.feed(memoryview(b"goodbye"))
                end.close()
    assert b.recv(100) == b"goodbye"
    assert b.recv(100) == b""
    b.close()


async def test_a_stopped_engine_leaves_nothing_open() -> None:
    gc.collect()
    before = descriptors()
    engine = Engine()
    peers: list[socket.socket] = []
    async with engine.running():
        link = Link(engine, tcp_pair())
        await link.streams()
        listening = Listening(engine, tcp_listener("127.0.0.1", 0), lambda sock, address: sock.close())
        a, b = tcp_pair()
        Lingering(engine, SocketEnd(engine, a, Drop(engine), Drop(engine)))  # type: ignore[arg-type]
        peers.append(b)
        await quiet(engine)
        link.close()
        listening.close()
    for peer in peers:
        assert peer.recv(1) == b""
        peer.close()
    assert descriptors() == before


async def test_what_is_closed_after_the_engine_has_stopped_is_closed_all_the_same() -> None:
    """And nothing is written to a descriptor that has got the number of one of the engine's."""
    before = descriptors()
    engine = Engine()
    async with engine.running():
        link = Link(engine, tcp_pair())
        ours, theirs = await link.streams()
        listening = Listening(engine, tcp_listener("127.0.0.1", 0), lambda sock, address: sock.close())
        a, b = tcp_pair()
        end = SocketEnd(engine, a, Drop(engine), Drop(engine))  # type: ignore[arg-type]
        end.start()
    readers = [os.pipe() for _ in range(4)]
    ours.end.feed(memoryview(bytes(1 << 20)))
    ours.close()
    end.pause()
    end.close()
    listening.close()
    link.close()
    theirs.close()
    engine.soon(lambda: None)
    for reader, writer in readers:
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 8)
        os.close(reader)
        os.close(writer)
    b.close()
    assert descriptors() == before


async def test_cancelled_before_it_has_started() -> None:
    engine = Engine()
    with trio.fail_after(5), trio.CancelScope() as scope:
        scope.cancel()
        async with engine.running():
            await trio.sleep_forever()
    assert scope.cancelled_caught
