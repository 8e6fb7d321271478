"""Connections to services: what a slow or hostile other side can make them do."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.http import heads
from frp_py.server.vhost import backend
from tests.server.vhost.helpers import GET, H2_GET, OK, receive, requested, setting

POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"


def h2_post() -> bytes:
    """As H2_GET, with a body to come."""
    at = H2_GET.index(b"\x82\x84\x86")
    return H2_GET[: at - 5] + b"\4" + H2_GET[at - 4 : at] + b"\x83" + H2_GET[at + 1 :]


async def test_a_head_in_small_pieces_is_searched_once(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0

    def counting(data: Any, start: int = 0) -> int:
        nonlocal searched
        searched += len(data) - start
        return heads.head_end(data, start)

    monkeypatch.setattr(backend, "head_end", counting)
    answer = b"HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\r\nDate: x\r\nX: %b\r\nContent-Length: 2\r\n\r\nok" % (b"y" * 3000)
    async with setting() as it:
        user = it.user()
        user.send(GET)
        await trio.sleep(0.01)
        [service] = it.client.services
        for i in range(0, len(answer), 20):
            service.send(answer[i : i + 20])
            await trio.sleep(0.001)
        got = b""
        while not got.endswith(b"\r\nok"):
            got += await receive(user)
        assert got.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert searched < 5 * len(answer)


async def test_a_head_that_does_not_end(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        user.send(GET)
        await trio.sleep(0.01)
        [service] = it.client.services
        service.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(66):
            service.send(b"X" * 1000)
            await trio.sleep(0.001)
        assert (await receive(user)).startswith(b"HTTP/1.1 404 ")
        assert it.proxy.connections == 0


@pytest.mark.parametrize("request_", [POST + b"some", CHUNKED + b"5\r\nso", h2_post()], ids=["length", "chunked", "h2"])
async def test_a_body_that_does_not_come_is_not_waited_for(request_: bytes, autojump_clock: MockClock) -> None:
    async with setting(7) as it:
        user = it.user()
        user.send(request_)
        await trio.sleep(299)
        assert it.proxy.connections == 1
        await trio.sleep(4)
        assert (it.proxy.connections, it.vhost.active) == (0, {})
        answer = await receive(user)
        if request_[:3] == b"PRI":
            assert b"H\x83h\x0f\x7f" in answer  # :status: 408
        else:
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert await receive(user) == b""


async def test_a_body_may_come_slowly(autojump_clock: MockClock) -> None:
    async with setting(7) as it:
        user = it.user()
        user.send(POST)
        for i in range(9):
            await trio.sleep(290)
            user.send(b"%d" % i)
        await trio.sleep(0.01)
        [service] = it.client.services
        assert (await requested(service)).endswith(b"\r\n\r\n012345678")
        service.send(OK)
        assert await receive(user) == OK


async def test_a_service_may_take_a_body_slowly(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        user.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9999999\r\n\r\n")
        await trio.sleep(0.01)
        for _ in range(40):
            try:
                user.send(bytes(1 << 16))
            except BlockingIOError:
                break
            await trio.sleep(0.01)
        await trio.sleep(2000)
        assert it.proxy.connections == 1


@pytest.mark.parametrize("request_", [POST + b"some", h2_post()], ids=["h1", "h2"])
async def test_who_gets_an_answer_may_be_silent_meanwhile(request_: bytes, autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        user.send(request_)
        await trio.sleep(0.01)
        [service] = it.client.services
        service.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await trio.sleep(2000)
        assert it.proxy.connections == 1


class Short:
    """A requester who forgets a part of the body that he has announced."""

    def __init__(self) -> None:
        self.backend: Any = None
        self.raw_chunks = self.head_only = self.can_repeat = False
        self.source = ("1.2.3.4", 5)
        self.backlog = 0
        self.was_answered = False

    def connected(self, backend: Any) -> None:
        backend.ask(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n", 9)
        backend.send(b"12345678")
        backend.request_sent()

    def respond(self, response: Any, data: memoryview, done: bool) -> None:
        self.was_answered = done


async def test_a_connection_on_which_the_service_awaits_more_is_not_used_again(autojump_clock: MockClock) -> None:
    async with setting() as it:
        requester: Any = Short()
        it.vhost.obtain(it.site, requester, share=True)
        [service] = it.client.services
        service.send(OK)
        await trio.sleep(0.01)
        assert requester.was_answered
        assert list(it.site.idle.values()) == [[]]
        assert it.proxy.connections == 0


INTERIM = b"HTTP/1.1 103 Early Hints\r\n%b\r\n"


@pytest.mark.parametrize(("field", "most"), [(b"", 32), (b"X: %b\r\n" % bytes(5000).hex().encode(), 6)], ids=["small", "large"])
@pytest.mark.parametrize("request_", [GET, GET.replace(b"1.1", b"1.0"), H2_GET], ids=["1.1", "1.0", "h2"])
async def test_responses_before_the_response_are_bounded(request_: bytes, field: bytes, most: int, autojump_clock: MockClock) -> None:
    """One round of the loop deals with all that have come, and those for an HTTP/2 user are held for him wherever he is."""
    interim = INTERIM % field
    async with setting() as it:
        enough, too_many = it.user(), it.user()
        for user, more in ((enough, 0), (too_many, 1)):
            user.send(request_)
            await trio.sleep(0.01)
            service = it.client.services[-1]
            for _ in range(most + more):
                service.send(interim)
                await trio.sleep(0.01)
            if not more:
                service.send(OK)
                await trio.sleep(0.01)
                assert (it.vhost.active, it.proxy.connections) == ({}, 1)
                service.close()
                await trio.sleep(0.01)
            assert (it.vhost.active, it.proxy.connections) == ({}, 0)
        if request_ != H2_GET:
            assert (await receive(enough)).endswith(OK[-6:])
            assert b"HTTP/1.1 404 " in await receive(too_many)
