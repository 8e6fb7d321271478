from __future__ import annotations

import trio
import trio.lowlevel
from starlette.requests import ClientDisconnect
from trio.testing import MockClock

from frp_py.net.web.operations import Operation, RawRoute
from frp_py.net.web.request import Request
from tests.net.web.helpers import basic, running_site
from tests.support.inside import logged

SIZE = 1_000_000


async def scope(request: Request) -> dict[str, object]:
    known = {name: request.scope[name] for name in ("type", "method", "scheme", "path", "root_path")}
    return {
        **known,
        "raw": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "host": request.headers["host"],
        "x": request.headers.getlist("x-a"),
        "client": request.client.host if request.client is not None else None,
        "url": str(request.url),
    }


async def large(request: Request) -> bytes:
    return b"x" * SIZE


OPERATIONS = [Operation("GET", "/scope/{name}", scope, ""), Operation("GET", "/large", large, "")]


async def test_what_the_application_is_told() -> None:
    async with running_site(OPERATIONS) as site, site.user() as user:
        answer = await user.ask("/scope/a%2F%C3%A4?q=%20&r", {**basic(), "X-A": "1", "x-a": "2"}, host="a.example:80")
        assert answer.json == {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": "/scope/a%2F%C3%A4",
            "root_path": "",
            "raw": "/scope/a%2F%C3%A4",
            "query": "q=%20&r",
            "host": "a.example:80",
            "x": ["1", "2"],
            "client": "127.0.0.1",
            "url": "http://a.example:80/scope/a%2F%C3%A4?q=%20&r",
        }
        absolute = await user.ask("http://b.example/scope/x", basic(), host="a.example")
        assert (absolute.json["host"], absolute.json["path"]) == ("b.example", "/scope/x")


async def test_large_answers_come_whole() -> None:
    async with running_site(OPERATIONS) as site, site.user() as user:
        for _ in range(2):
            assert (await user.ask("/large", basic())).body == b"x" * SIZE
        await user.send("/large", basic(), method="HEAD")
        assert (await user.answer()).status == 405


async def test_the_application_hears_when_the_user_has_gone(mock_clock: MockClock) -> None:
    """The clock stands still: it is not noticed by time passing."""
    heard = trio.Event()

    async def listen(request: Request) -> None:
        pieces = [piece async for piece in request.stream()]
        assert b"".join(pieces) == b"abc"
        while not await request.is_disconnected():
            await trio.lowlevel.checkpoint()
        heard.set()

    async with running_site([Operation("POST", "/listen", listen, "")]) as site:
        async with site.user() as user:
            await user.send("/listen", basic(), method="POST", body=b"abc")
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            assert not heard.is_set()
        await heard.wait()


async def test_a_bug_of_the_application_itself_is_answered_if_it_can_be() -> None:
    async def broken(request: Request) -> None:
        raise ClientDisconnect

    with logged(bugs=1):
        async with running_site(raw=[RawRoute("/broken", broken)]) as site, site.user() as user:
            answer = await user.ask("/broken", basic())
            assert (answer.status, answer.body) == (500, b"internal server error\n")
            assert (await user.ask("/healthz")).status == 200
