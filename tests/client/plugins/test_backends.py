"""Connections to services: what is not used again, and what isn't waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from frp_py.client.plugins.backends import Backend, BackendError
from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.stream import EndStream
from frp_py.net.http.heads import CHUNKED
from tests.support.net import Peer, running_engine, tcp_pair

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def asked(length: int = 0) -> AsyncIterator[tuple[Backend, Peer]]:
    """A connection on which a request with a body of that length was begun, and the service."""
    async with running_engine() as engine:
        ours, theirs = tcp_pair()
        stream = EndStream(engine)
        stream.attach(SocketEnd(engine, ours, stream, stream))
        backend, service = Backend(("h", 1), stream), Peer(theirs)
        await backend.ask(b"POST", b"/", [], length, always_length=True)
        yield backend, service
        stream.close()
        service.close()


@pytest.mark.parametrize(
    ("length", "sent", "reusable"), [(9, b"12345678", False), (9, b"123456789", True), (CHUNKED, b"1", True), (0, b"", True)]
)
async def test_a_connection_on_which_the_service_awaits_more_is_not_used_again(length: int, sent: bytes, reusable: bool) -> None:
    async with asked(length) as (backend, service):
        if sent:
            await backend.send(sent)
            await backend.end(())
        await service.send(OK)
        assert (await backend.response(b"POST"))[0] == 200
        assert backend.reusable is reusable


async def test_a_body_that_is_longer_than_announced_is_not_sent() -> None:
    async with asked(3) as (backend, _):
        await backend.send(b"12")
        with pytest.raises(BackendError, match="longer than was announced"):
            await backend.send(b"3GET /")


@pytest.mark.parametrize(("field", "most"), [(b"", 32), (b"X: %b\r\n" % bytes(5000).hex().encode(), 6)], ids=["small", "large"])
async def test_responses_before_the_response_are_bounded(field: bytes, most: int) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % field
    async with asked() as (backend, service):
        await service.send(interim * most + OK)
        for _ in range(most):
            assert (await backend.response(b"POST"))[0] == 103
        assert (await backend.response(b"POST"))[0] == 200
        assert backend.reusable
        await backend.ask(b"POST", b"/", [], 0, always_length=True)
        await service.send(interim * (most + 1))
        for _ in range(most):
            await backend.response(b"POST")
        with pytest.raises(BackendError, match="too many responses"):
            await backend.response(b"POST")
