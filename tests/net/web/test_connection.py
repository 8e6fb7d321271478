from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded
from trio.testing import MockClock

from frp_py.net.web.operations import Events, Operation
from frp_py.net.web.request import Request
from tests.net.web.helpers import FIELDS, OPERATIONS, Site, User, basic, files, running_site, trusting
from tests.support.inside import Clock, logged
from tests.support.net import descriptors, until


async def test_silence_and_slowness_end_after_a_minute(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    async with running_site(OPERATIONS) as site, AsyncExitStack() as users:
        silent, slow, body, idle, busy = [await users.enter_async_context(site.user()) for _ in range(5)]
        await slow.stream.send_all(b"GET /hello HTTP/1.1\r\nHos")
        await body.stream.send_all(f"PUT /body HTTP/1.1\r\nHost: a\r\nAuthorization: {basic()['Authorization']}\r\n".encode())
        await body.stream.send_all(b"Content-Length: 10\r\n\r\nabc")
        await idle.ask("/hello", basic())
        await busy.send("/wait", basic())
        for _ in range(59):
            await clock.forward(1)
        await slow.stream.send_all(b"t")
        await body.stream.send_all(b"d")
        assert (await idle.ask("/hello", basic())).status == 200
        await clock.forward(2)
        for user in (silent, slow, body):
            assert await user.is_over()
            assert b"200" not in user.data
        assert (await idle.ask("/hello", basic())).status == 200
        await clock.forward(61)
        assert await idle.is_over()
        await until(lambda: site.service._connections == 1)  # busy: its request is still being answered


async def test_who_takes_nothing_is_given_up(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)

    async def much(request: Request) -> bytes:
        return b"x" * (64 << 20)

    async with running_site([Operation("GET", "/much", much, "Much")]) as site, site.user() as user:
        await user.send("/much", basic())
        await user.until(b"\r\n\r\n")
        await clock.forward(70)
        await until(lambda: site.service._connections == 0)
        assert await user.is_over()


async def test_strangers_make_room_for_each_other_and_never_for_who_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_site(OPERATIONS) as site, trio.open_nursery() as nursery:
        site.service._crowd.limit = 10
        monkeypatch.setattr("frp_py.net.web.crowd._FAIR", 2)
        async with site.user() as served, site.user(source="127.0.0.2") as neighbour:
            await served.send("/wait", basic())
            await neighbour.ask("/hello", basic())
            flood = []
            for _ in range(30):
                user = await nursery.start(hold, site)
                flood.append(user)
            await until(lambda: len(site.service._crowd) == 10)
            await until(lambda: site.service._connections == 11)
            for user in flood[:21]:
                assert await user.is_over()
            assert (await neighbour.ask("/hello", basic())).status == 200
            assert (await flood[-1].ask("/hello", basic())).status == 200
        nursery.cancel_scope.cancel()
    assert len(site.service._crowd) == 0


async def hold(site: Site, *, task_status: trio.TaskStatus[User]) -> None:
    async with site.user() as user:
        task_status.started(user)
        await trio.sleep_forever()


@pytest.mark.parametrize(
    "sent",
    [
        *(b"\0\xff\r\n\r\n", b"GET  /hello HTTP/1.1\r\n\r\n", b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_request_is_refused_and_others_are_served(sent: bytes) -> None:
    with logged():
        async with running_site(OPERATIONS) as site, site.user() as user:
            await user.stream.send_all(sent)
            await user.stream.send_eof()  # type: ignore[attr-defined]
            assert await user.is_over()
            assert b"HTTP/1.1 2" not in user.data
            assert (await site.ask("/hello")).status == 200


async def test_a_user_who_breaks_off_costs_nothing() -> None:
    with logged():
        async with running_site(OPERATIONS) as site:
            before = descriptors()
            for request in ("PUT /body HTTP/1.1\r\nContent-Length: 1000\r\n", "GET /wait HTTP/1.1\r\n"):
                async with site.user() as user:
                    await user.stream.send_all(f"{request}Host: a\r\nAuthorization: {basic()['Authorization']}\r\n\r\n".encode())
                    await until(lambda: site.service._connections == 1)
                    sock = user.stream.socket  # type: ignore[attr-defined]
                    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))
                await until(lambda: site.service._connections == 0)
            await until(lambda: descriptors() == before)


async def test_https(authority: trustme.CA, tmp_path: Path) -> None:
    async with running_site(OPERATIONS, tls=files(authority, tmp_path, "one")) as site:
        async with site.user(tls=trusting(authority, "http/1.1")) as user:
            assert (await user.ask("/hello", basic())).body == b"hello 127.0.0.1"
            assert (await user.ask("/hello", {})).status == 401
        async with site.user() as plain:
            await plain.stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await plain.is_over()
            assert plain.data.startswith(b"HTTP/1.0 400 Bad Request\r\n")
            assert plain.data.endswith(b"Client sent an HTTP request to an HTTPS server.\n")


async def test_http2(authority: trustme.CA, tmp_path: Path) -> None:
    context = trusting(authority, "h2")
    async with running_site(OPERATIONS, tls=files(authority, tmp_path, "one")) as site, site.user(tls=context) as user:
        h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        h2.initiate_connection()
        for stream_id, fields in ((1, basic()), (3, {})):
            head = {":method": "GET", ":path": "/hello", ":scheme": "https", ":authority": site.host}
            h2.send_headers(stream_id, [*head.items(), *((n.lower(), v) for n, v in fields.items())], end_stream=True)
        await user.stream.send_all(h2.data_to_send())
        answers: dict[int, dict[str, str]] = {}
        body = b""
        ended: set[int | None] = set()
        while len(ended) < 2:
            for event in h2.receive_data(await user.stream.receive_some(65536)):
                if isinstance(event, ResponseReceived):
                    assert event.headers is not None
                    answers[event.stream_id or 0] = dict(event.headers)  # type: ignore[arg-type]
                elif isinstance(event, DataReceived) and event.stream_id == 1:
                    body += event.data or b""
                elif isinstance(event, StreamEnded):
                    ended.add(event.stream_id)
        assert body == b"hello 127.0.0.1"
        assert answers[1][":status"] == "200"
        assert FIELDS.items() <= answers[1].items()
        assert answers[3][":status"] == "401"


async def test_a_stream_of_events_by_http2_ends_alone_and_with_its_connection(authority: trustme.CA, tmp_path: Path) -> None:
    ended: list[int] = []

    async def events(request: Request) -> Events:
        async def source() -> AsyncIterator[tuple[str, object]]:
            try:
                yield "tick", 1
                await trio.sleep_forever()
            finally:
                ended.append(1)

        return Events(source)

    operations = (*OPERATIONS, Operation("GET", "/events", events, ""))
    context = trusting(authority, "h2")
    async with running_site(operations, tls=files(authority, tmp_path, "one")) as site, site.user(tls=context) as user:
        h2 = H2Connection(H2Configuration(client_side=True))
        h2.initiate_connection()

        async def listen(stream_id: int) -> None:
            head = {":method": "GET", ":path": "/events", ":scheme": "https", ":authority": site.host}
            h2.send_headers(stream_id, [*head.items(), ("authorization", basic()["Authorization"])], end_stream=True)
            await user.stream.send_all(h2.data_to_send())
            data = b""
            while b"event: tick\ndata: 1\n\n" not in data:
                for event in h2.receive_data(await user.stream.receive_some(65536)):
                    if isinstance(event, DataReceived):
                        data += event.data or b""

        await listen(1)
        await listen(3)
        h2.reset_stream(1)
        await user.stream.send_all(h2.data_to_send())
        await until(lambda: ended == [1])
        assert len(site.service._streams) == 1
        await listen(5)
        user.stream.transport_stream.socket.close()  # type: ignore[attr-defined]
        await until(lambda: ended == [1, 1, 1])
        await until(lambda: site.service._connections == 0)
