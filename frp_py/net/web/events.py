"""Server-sent events: streams that end when the listener leaves or the server stops, with nothing queued in between."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec
import trio
from starlette.responses import Response

from frp_py.log import get_logger
from frp_py.net.web.operations import ApiError, Events

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from frp_py.net.web.asgi import Call

log = get_logger()

_STREAMS = 100  # at a time
_QUIET = 15  # s after which a comment shows that the connection still stands
_FIELDS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}


class EventStreams:
    """All streams of a server."""

    def __init__(self, limit: int = _STREAMS) -> None:
        self._limit = limit
        self._open: set[trio.CancelScope] = set()

    def __len__(self) -> int:
        return len(self._open)

    def response(self, call: Call, events: Events) -> Response:
        """The answer that is a stream. Raises ApiError (503) when there are too many."""
        if len(self._open) >= self._limit:
            raise ApiError(503, f"there are {self._limit} event streams already")
        return _Stream(self._open, call, events)

    def end(self) -> None:
        """End them all; browsers come again, with the password that is valid then."""
        for scope in self._open:
            scope.cancel()


class _Stream(Response):
    def __init__(self, streams: set[trio.CancelScope], call: Call, events: Events) -> None:
        super().__init__(headers=_FIELDS)
        self.raw_headers = [field for field in self.raw_headers if field[0] != b"content-length"]
        self._streams = streams
        self._call = call
        self._events = events
        self._sending = trio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the listener has gone, the source is exhausted, or the server stops."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        stopping = trio.CancelScope()
        self._streams.add(stopping)
        try:
            with stopping:
                await self._write(send, b"retry: 2000\n\n")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._until_gone, nursery.cancel_scope)
                    nursery.start_soon(self._keep_alive, send)
                    await self._pass_on(send)
                    nursery.cancel_scope.cancel()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._streams.discard(stopping)
        await send({"type": "http.response.body", "body": b""})

    async def _pass_on(self, send: Send) -> None:
        source = self._events.source()
        try:
            async for name, data in source:
                await self._write(send, b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data)))
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()  # not some time later, in another task

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await trio.sleep(_QUIET)
            await self._write(send, b":\n\n")

    async def _until_gone(self, scope: trio.CancelScope) -> None:
        await self._call.stream.wait_over()
        scope.cancel()

    async def _write(self, send: Send, data: bytes) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": data, "more_body": True})
