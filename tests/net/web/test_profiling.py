from __future__ import annotations

import threading
from time import perf_counter
from typing import cast

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from frp_py.net.web.profiling import Profiling
from frp_py.net.web.request import Request
from tests.net.web.helpers import running_site
from tests.support.net import until


async def test_tasks_and_threads() -> None:
    async def a_task_of_ours() -> None:
        await trio.sleep_forever()

    async with running_site(pprof_enable=True) as site, trio.open_nursery() as nursery:
        nursery.start_soon(a_task_of_ours)
        await trio.lowlevel.checkpoint()
        answer = await site.ask("/debug/pprof/goroutine?debug=2", {})
        assert (answer.status, answer.fields["content-type"]) == (200, "text/plain; charset=utf-8")
        text = answer.body.decode()
        assert "a_task_of_ours:\n" in text
        assert "trio._timeouts.sleep_forever:" in text
        assert "thread MainThread:\n" in text
        nursery.cancel_scope.cancel()


async def test_others_get_their_turn_while_thousands_of_tasks_are_listed() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def one_that_ends() -> None:
        while turns < 5:
            await trio.lowlevel.checkpoint()

    profiling = Profiling()
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(one_that_ends)
        nursery.start_soon(others)
        await trio.lowlevel.checkpoint()
        before = turns
        text = await profiling._goroutine(cast(Request, None))
        assert turns - before >= 10
        assert text.count("sleep_forever:\n") >= 1000
        nursery.cancel_scope.cancel()


async def test_cmdline_symbol_and_index() -> None:
    async with running_site(pprof_enable=True) as site:
        assert b"pytest" in (await site.ask("/debug/pprof/cmdline", {})).body
        assert (await site.ask("/debug/pprof/symbol", {}, method="POST", body=b"0x1")).body == b"num_symbols: 1\n"
        assert b"goroutine" in (await site.ask("/debug/pprof/", {})).body
        assert (await site.ask("/debug/pprof/nothing", {})).status == 404
        assert (await site.ask("/debug/pprof", {})).status == 404


async def test_a_profile_shows_where_the_time_goes() -> None:
    def spin() -> None:
        until = perf_counter() + 0.15
        while perf_counter() < until:
            pass

    async with running_site(pprof_enable=True) as site, trio.open_nursery() as nursery:
        bodies: list[bytes] = []

        async def ask() -> None:
            bodies.append((await site.ask("/debug/pprof/profile?seconds=0.1", {})).body)

        nursery.start_soon(ask)
        while all(thread.name != "profile" for thread in threading.enumerate()):
            await trio.lowlevel.checkpoint()
        assert (await site.ask("/debug/pprof/trace?seconds=1", {})).status == 503
        spin()
    assert b".spin:" in bodies[0]
    for line in bodies[0].splitlines():
        assert int(line.rsplit(b" ", 1)[1]) > 0


async def test_a_trace_tells_which_task_ran(quick: MockClock) -> None:
    async def a_task_of_ours() -> None:
        for _ in range(1000):
            await trio.sleep(0.05)

    async with running_site(pprof_enable=True) as site, trio.open_nursery() as nursery:
        nursery.start_soon(a_task_of_ours)
        text = (await site.ask("/debug/pprof/trace", {})).body.decode()
        line = next(line for line in text.splitlines() if line.endswith("a_task_of_ours"))
        assert [float(number) >= 0 for number in line.split(" ")[:2]] == [True, True]
        nursery.cancel_scope.cancel()


async def test_the_end_of_the_server_is_the_end_of_measuring() -> None:
    async with running_site(pprof_enable=True) as site, site.user() as user:
        await user.send("/debug/pprof/profile?seconds=50")
        await until(lambda: "profile" in threads())
        site.scope.cancel()
        with trio.CancelScope(shield=True):
            assert await user.is_over()
    await until(lambda: "profile" not in threads())


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("seconds", ["0", "-1", "51", "nan", "inf", "x"])
async def test_a_time_that_is_none(seconds: str) -> None:
    async with running_site(pprof_enable=True) as site:
        for name in ("profile", "trace"):
            assert (await site.ask(f"/debug/pprof/{name}?seconds={seconds}", {})).status == 400
