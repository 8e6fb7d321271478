"""From the project's own HTTP to ASGI: one exchange, one call of the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.errors import PeerError
from frp_py.net.http.heads import UNTIL_CLOSE, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Message, Scope

    from frp_py.net.engine.stream import EndStream
    from frp_py.net.serving.exchange import Exchange

LIMIT = 60  # s for a body to come, and for each piece of an answer to be taken (behaviour.md 11.1)
_PIECE = 256 * 1024  # bytes sent at a time


class Call:
    """A request and its answer.

    `peer` and `local` are addresses without ports; `on_admitted` is called when the request may be served.
    """

    __slots__ = (
        *("_body_is_over", "_deadline", "_on_admitted", "_start"),
        *("exchange", "fields", "is_admitted", "is_secure", "local", "peer", "stream"),
    )

    def __init__(
        self, exchange: Exchange, stream: EndStream, *, peer: str, local: str, is_secure: bool, on_admitted: Callable[[], None]
    ) -> None:
        self.exchange = exchange
        self.stream = stream
        self.peer = peer
        self.local = local
        self.is_secure = is_secure
        self.fields: Sequence[Field] = ()
        """Added to the answer."""
        self.is_admitted = False
        self._on_admitted = on_admitted
        self._deadline = trio.current_time() + LIMIT
        self._body_is_over = not exchange.length
        self._start: tuple[int, Sequence[Field]] | None = None  # what is sent with the body's first piece

    async def run(self, app: ASGIApp) -> None:
        """Have it answered. Raises PeerError, and whatever bugs the application has."""
        await app(self._scope(), self._receive, self._send)

    def admit(self) -> None:
        """Whoever asks may: he is no stranger any more, as long as this lasts."""
        if not self.is_admitted:
            self.is_admitted = True
            self._on_admitted()

    def _scope(self) -> Scope:
        exchange = self.exchange
        path, _, query = exchange.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": exchange.method.decode("latin-1"),
            "scheme": "https" if self.is_secure else "http",
            "path": path.decode("latin-1"),  # as it came: what an escape stands for must not decide where a request goes
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", exchange.host), *((n.lower(), v) for n, v in exchange.fields if n.lower() != b"host")],
            "client": (self.peer, 0),
            "server": (self.local, 0),
            "frp.call": self,
        }

    async def receive_body(self) -> bytes:
        """The next piece of the body; none at its end. Raises PeerError."""
        try:
            with trio.fail_at(self._deadline):
                data = await self.exchange.receive()
        except trio.TooSlowError:
            raise PeerError("the body takes too long") from None
        self._body_is_over = not data
        return data

    async def _receive(self) -> Message:
        if self._body_is_over:
            await self.stream.wait_over()
            return {"type": "http.disconnect"}
        data = await self.receive_body()
        return {"type": "http.request", "body": data, "more_body": not self._body_is_over}

    async def _send(self, message: Message) -> None:
        try:
            if message["type"] == "http.response.start":
                self._start = message["status"], message.get("headers", ())
            elif message["type"] == "http.response.body":
                await self._send_body(message.get("body", b""), more=message.get("more_body", False))
        except trio.TooSlowError:
            raise PeerError("the answer isn't taken") from None

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._start is not None:
            (status, headers), self._start = self._start, None
            fields, length = [*self.fields], UNTIL_CLOSE
            for name, value in headers:
                if name == b"content-length":
                    length = int(value)
                else:
                    fields.append((name.title(), value))
            with trio.fail_after(LIMIT):
                if not more and len(body) <= _PIECE:
                    await self.exchange.answer(status, fields, body)
                    return
                await self.exchange.respond(status, fields, length)
        view = memoryview(body)
        for start in range(0, len(view), _PIECE):
            with trio.fail_after(LIMIT):
                await self.exchange.send(view[start : start + _PIECE])
        if not more:
            await self.exchange.end()
