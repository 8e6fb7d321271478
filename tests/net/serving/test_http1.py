from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock

from frp_py.errors import PeerError
from frp_py.net.http.heads import CHUNKED
from frp_py.net.serving.exchange import Exchange
from frp_py.net.serving.http1 import serve
from tests.net.serving.helpers import Served, serving


async def body_of(exchange: Exchange) -> bytes:
    data = b""
    while piece := await exchange.receive():
        data += piece
    return data


async def say_back(exchange: Exchange) -> None:
    """Answers with what was asked, after all of it has come."""
    body = await body_of(exchange)
    trailers = b"".join(b"|%b=%b" % field for field in exchange.trailers)
    await exchange.answer(200, [(b"X", b"y")], b"%b %b %b|%b%b" % (exchange.method, exchange.host, exchange.target, body, trailers))


def without_date(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]+ GMT\r\n", b"", answer)


def ok(body: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), more, body)


async def answer_of(it: Served) -> bytes:
    """The answer to `POST` with the body `ab`."""
    answer = b""
    while not answer.endswith(b"|ab"):
        answer += await it.user.receive()
    return without_date(answer)


CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n", ok(b"GET h:1 /a?b|")),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", ok(b"GET h /|", CLOSE)),
        (b"GET / HTTP/1.0\r\n\r\n", ok(b"GET  /|", CLOSE)),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ok(b"GET  /|", b"Connection: keep-alive\r\n")),
        (b"GET http://u/p HTTP/1.1\r\nHost: h\r\n\r\n", ok(b"GET u /p|")),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", ok(b"POST h /|abc")),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: 1\r\n\r\n", ok(b"POST h /|a|T=1")),
        (b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n", ok(b"GET h /1|") + ok(b"GET h /2|")),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", ok(b"HEAD h /|")[:-9]),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", ok(b"CONNECT a:1 a:1|")),
    ],
)
async def test_requests(sent: bytes, answer: bytes) -> None:
    async with serving(serve, say_back) as it:
        await it.user.send(sent)
        it.user.finish()
        assert without_date(await it.user.receive_all()) == answer
        await it.over.wait()
        assert it.error is None


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n  2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (1 << 17) + b"\r\n\r\n", 431),
        (b"\0\1\2\r\n\r\n", 400),
    ],
)
async def test_what_is_not_clear_is_refused_and_the_connection_closed(sent: bytes, status: int) -> None:
    async with serving(serve, say_back) as it:
        await it.user.send(sent + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        it.user.finish()
        answer = await it.user.receive_all()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"smuggled" not in answer


async def test_answers_of_unknown_length() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.respond(200, [])
        for piece in (b"one", b"", b"two"):
            await exchange.send(piece)
        await exchange.end([(b"T", b"1")])

    async with serving(serve, handle) as it:
        await it.user.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        first, second = (await it.user.receive_all()).split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert first.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nT: 1\r\n\r\n")
        assert second.endswith(CLOSE + b"\r\nonetwo")


async def test_a_user_who_waits_is_told_to_go_on_and_else_not() -> None:
    async with serving(serve, say_back) as it:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        await it.user.send(head)
        assert await it.user.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await it.user.send(b"ab")
        assert await answer_of(it) == ok(b"POST h /|ab")
        await it.user.send(head + b"ab")  # he has not waited
        assert await answer_of(it) == ok(b"POST h /|ab")

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(413)

    async with serving(serve, refuse) as it:
        await it.user.send(head)
        it.user.finish()
        answer = await it.user.receive_all()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert CLOSE in answer  # whether the body comes or not can't be known


@pytest.mark.parametrize(("size", "reused"), [(100_000, True), (1_000_000, False)])
async def test_a_body_that_nobody_wanted(size: int, reused: bool) -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.answer(200, body=b"no")

    async with serving(serve, handle) as it, trio.open_nursery() as nursery:
        request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size

        async def ask() -> None:
            try:
                await it.user.send(request + bytes(size) + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                it.user.finish()
            except OSError:
                pass

        nursery.start_soon(ask)
        assert (await it.user.receive_all()).count(b"HTTP/1.1 200 OK") == 1 + reused


async def test_an_answer_that_is_broken_off_is_seen_to_be() -> None:
    async def short(exchange: Exchange) -> None:
        await exchange.respond(200, [], 10)
        await exchange.send(b"short")
        await exchange.end()

    async def long(exchange: Exchange) -> None:
        await exchange.respond(200, [], 2)
        await exchange.send(b"long")

    async def nothing(exchange: Exchange) -> None:
        return

    for handle, reason in ((short, "broken off"), (long, "longer"), (nothing, "broken off")):
        async with serving(serve, handle) as it:
            await it.user.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await it.over.wait()
            assert reason in str(it.error)
            with pytest.raises(ConnectionResetError):
                await it.user.receive_all()


async def test_whoever_is_gone_is_not_served_any_longer() -> None:
    ended: list[str] = []

    async def handle(exchange: Exchange) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("handler")

    async with serving(serve, handle) as it:
        await it.user.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(0.01)
        it.user.reset()
        await it.over.wait()
        assert ended == ["handler"]
        assert isinstance(it.error, PeerError)


async def test_the_connection_can_be_taken_over() -> None:
    async def handle(exchange: Exchange) -> None:
        assert exchange.upgrade == b"chat"
        stream, early = await exchange.take_over(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await stream.send_all(early + b"!")
        await stream.send_eof()

    async with serving(serve, handle) as it:
        await it.user.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Upgrade\r\nUpgrade: chat\r\n\r\nearly")
        assert await it.user.receive_all() == b"HTTP/1.1 101 Switching Protocols\r\n\r\nearly!"


async def test_informing_passes_by_http_1_0() -> None:
    async def handle(exchange: Exchange) -> None:
        assert exchange.length in (0, CHUNKED)
        await exchange.inform(103, [(b"Link", b"x")])
        await exchange.answer(204)

    async with serving(serve, handle) as it:
        await it.user.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        answer = without_date(await it.user.receive_all())
        assert (
            answer
            == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n" + CLOSE + b"\r\n"
        )


@pytest.mark.parametrize(("sent", "seconds"), [(b"", 60), (b"GET / HTTP/1.1\r\nHost:", 60), (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 300)])
async def test_patience_has_an_end(sent: bytes, seconds: int, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.002  # so that the engine, which waits in its own epoll, isn't overtaken
    async with serving(serve, say_back) as it:
        it.deadline.deadline = float("inf")
        await it.user.send(sent)
        await trio.sleep(seconds - 5)
        assert not it.over.is_set()
        await trio.sleep(10)
        assert it.over.is_set()
