from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import trio
import trio.lowlevel
from trio.testing import MockClock

from frp_py.config.common import WebServerConfig
from frp_py.net.web.operations import Events, Operation
from frp_py.net.web.request import Request
from tests.net.web.helpers import HOST, USER, Site, User, basic, running_site
from tests.support.inside import Clock, logged
from tests.support.net import until

Source = Callable[[], AsyncIterator[tuple[str, object]]]


class Ticks:
    """Sends numbers as fast as they are taken, from `first` on when told to."""

    def __init__(self, size: int = 0) -> None:
        self.filling = "x" * size
        self.asked = 0
        self.ended = 0
        self.go = trio.Event()

    async def __call__(self) -> AsyncIterator[tuple[str, object]]:
        try:
            while True:
                self.asked += 1
                yield "tick", {"n": self.asked, "text": f"<b>\r\n\n{self.filling}"}
                if self.asked % 3 == 0:
                    await self.go.wait()
        finally:
            self.ended += 1


def operation(source: Source) -> Operation:
    async def events(request: Request) -> Events:
        return Events(source)

    return Operation("GET", "/events", events, "", returns=Events)


async def begin(user: User) -> None:
    await user.send("/events", basic())
    answer = await user.answer()
    assert answer.status == 200
    assert answer.fields["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    assert await chunk(user) == b"retry: 2000\n\n"


async def chunk(user: User) -> bytes:
    size = int(await user.until(b"\r\n"), 16)
    return (await user.exactly(size + 2))[:-2]


async def test_each_event_is_a_name_and_a_line_of_json() -> None:
    async with running_site([operation(Ticks())]) as site, site.user() as user:
        await begin(user)
        for n in (1, 2, 3):
            assert await chunk(user) == b'event: tick\ndata: {"n":%d,"text":"<b>\\r\\n\\n"}\n\n' % n


async def test_a_stream_ends_when_the_listener_goes(mock_clock: MockClock) -> None:
    """The clock stands still: it is not noticed by time passing."""
    for how in ("close", "reset"):
        ticks = Ticks()
        async with running_site([operation(ticks)]) as site, site.user() as user:
            await begin(user)
            for _ in range(3):
                await chunk(user)  # what nobody has read would turn the end into a reset
            sock = user.stream.socket  # type: ignore[attr-defined]
            if how == "reset":
                sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            sock.close()
            for _ in range(10_000):
                await trio.lowlevel.checkpoint()
                if ticks.ended and not site.service._connections:
                    break
            assert (ticks.ended, site.service._connections) == (1, 0)
            assert len(site.service._streams) == 0


async def test_what_a_slow_listener_doesnt_take_isnt_even_made(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    ticks = Ticks(1 << 20)
    ticks.go.set()
    with logged():
        async with running_site([operation(ticks)]) as site, site.user() as user:
            await begin(user)
            before = -1
            while before != ticks.asked:
                before = ticks.asked
                await trio.sleep(0.1)
            assert ticks.asked < 20
            await clock.forward(70)
            await until(lambda: site.service._connections == 0)
            assert ticks.ended == 1


async def test_a_comment_now_and_then_keeps_it_alive(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    async with running_site([operation(Ticks())]) as site, site.user() as user:
        await begin(user)
        for _ in range(3):
            await chunk(user)
        for _ in range(5):
            await clock.forward(16)
            assert await chunk(user) == b":\n\n"


async def test_there_are_only_so_many() -> None:
    async with running_site([operation(Ticks())]) as site, site.user() as one, site.user() as two, site.user() as three:
        site.service._streams._limit = 2
        await begin(one)
        await begin(two)
        answer = await three.ask("/events", basic())
        assert (answer.status, answer.json["Code"]) == (503, 503)
        one.stream.socket.close()  # type: ignore[attr-defined]
        await until(lambda: len(site.service._streams) == 1)
        await begin(three)


async def test_a_source_that_comes_to_its_end_ends_the_answer_and_not_the_connection() -> None:
    async def two() -> AsyncIterator[tuple[str, object]]:
        yield "a", 1
        yield "b", None

    async with running_site([operation(two)]) as site, site.user() as user:
        for _ in range(2):
            await begin(user)
            assert [await chunk(user) for _ in range(3)] == [b"event: a\ndata: 1\n\n", b"event: b\ndata: null\n\n", b""]


async def test_a_bug_in_a_source_ends_its_stream() -> None:
    async def broken() -> AsyncIterator[tuple[str, object]]:
        yield "a", 1
        raise KeyError("bug")

    with logged(bugs=1):
        async with running_site([operation(broken)]) as site, site.user() as user:
            await begin(user)
            await chunk(user)
            assert await user.is_over()
            assert b"0\r\n\r\n" not in user.data
            assert (await site.ask("/healthz")).status == 200


async def test_a_new_password_ends_what_the_old_one_opened() -> None:
    ticks = Ticks()

    async def closed(site: Site, user: User) -> None:
        for _ in range(3):
            await chunk(user)
        site.service.renew(WebServerConfig(addr=HOST, user=USER, password="new"))
        assert await chunk(user) == b""
        assert (await user.ask("/events", basic())).status == 401

    async with running_site([operation(ticks)]) as site, site.user() as user:
        await begin(user)
        await closed(site, user)
        assert ticks.ended == 1


async def test_other_changes_leave_them_alone() -> None:
    ticks = Ticks()
    async with running_site([operation(ticks)]) as site, site.user() as user:
        await begin(user)
        config = site.service._config
        site.service.renew(WebServerConfig(addr=HOST, user=config.user, password=config.password, pprof_enable=True))
        for _ in range(3):
            await chunk(user)
        ticks.go.set()
        assert (await chunk(user)).startswith(b"event: tick")
