"""HTTP/1 for users: reads requests strictly, one after the other, and sends the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from frp_py.errors import PeerError
from frp_py.net.http.heads import (
    UNTIL_CLOSE,
    BadHead,
    Field,
    block_of,
    fields_of,
    host_of,
    request_length,
    request_line,
    split_target,
    tokens_of,
)
from frp_py.net.http.pages import CLOSE, TEXT, reason_of, response
from frp_py.net.http.rules import upgrade_of
from frp_py.net.serving.exchange import HEAD_TIME, IDLE_TIME, STALL_TIME, Bytes, Exchange, Handler, dated, has_body
from frp_py.net.serving.reading import Reading

if TYPE_CHECKING:
    from frp_py.net.engine.stream import EndStream

_DRAIN = 256 * 1024  # bytes of a body that nobody wanted, read so that the connection can be used again
_DRAIN_TIME = 5  # s
_LINGER = 2  # s for what is on its way when we have said the end
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def serve(stream: EndStream, handle: Handler) -> None:
    """Answer the requests on a connection until it is over; it is closed then, unless somebody took it over. Raises PeerError."""
    connection = _Connection(stream, handle)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.watch, nursery.cancel_scope)
        await connection.run()
        nursery.cancel_scope.cancel()
    if connection.error is not None:
        raise connection.error


class _Connection:
    def __init__(self, stream: EndStream, handle: Handler) -> None:
        self._stream = stream
        self._handle = handle
        self._reading = Reading(stream)
        self.error: PeerError | None = None

    async def watch(self, scope: trio.CancelScope) -> None:
        """Who is gone is not served any longer. One who has finished sending may still listen, unless nothing moves any more."""
        stream = self._stream
        await stream.wait_over()
        sent = -1
        while not stream.is_lost and sent != stream.end.sent_total:
            sent = stream.end.sent_total
            await trio.sleep(30)
        self.error = PeerError("the user has gone")
        scope.cancel()

    async def run(self) -> None:
        """Answer requests."""
        try:
            with trio.CancelScope() as scope:
                scope.deadline = trio.current_time() + HEAD_TIME
                while await self._reading.something():
                    scope.deadline = trio.current_time() + HEAD_TIME
                    exchange = await self._next()
                    scope.deadline = float("inf")
                    if exchange is None or not await self._answered(exchange):
                        return
                    scope.deadline = trio.current_time() + IDLE_TIME
            await self._say_goodbye()
        except BadHead as error:
            body = b"%d %b: %b" % (error.status, reason_of(error.status), str(error).encode())
            await self._send_last(response(error.status, [TEXT, CLOSE], body))
        except PeerError as error:
            self.error = error

    async def _next(self) -> Exchange1 | None:
        reading = self._reading
        head = await reading.head()
        if head is None:
            return None
        line, _, block = head[:-2].partition(b"\r\n")
        method, target, is_1_1 = request_line(line)
        fields = fields_of(block)
        host = host_of(fields, required=is_1_1 and method != b"CONNECT")
        authority, path = split_target(method, target)
        length = request_length(fields, is_1_1=is_1_1)
        exchange = Exchange1(reading, method, authority or host, path or target, fields, length, is_1_1=is_1_1)
        exchange.is_absolute = authority is not None and method != b"CONNECT"
        reading.begin_body(length)
        return exchange

    async def _answered(self, exchange: Exchange1) -> bool:
        """Whether the connection can be used again."""
        try:
            await self._handle(exchange)
        except BadHead as error:  # in the body
            if exchange.started:
                raise PeerError(str(error)) from None
            raise
        if exchange.was_taken_over:
            return False
        if not exchange.complete:
            raise PeerError("the answer was broken off")
        if exchange.keep_alive and await exchange.drained():
            return True
        await self._say_goodbye()
        return False

    async def _send_last(self, data: bytes) -> None:
        try:
            with trio.move_on_after(_LINGER):
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Closed while the user still sends, the connection would be reset, and the last answer lost with it."""
        try:
            await self._stream.send_eof()
            with trio.move_on_after(_LINGER):
                while await self._stream.receive_some():
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


class Exchange1(Exchange):
    """A request by HTTP/1.0 or 1.1."""

    __slots__ = (
        "_chunked",
        "_continue",
        "_has_body",
        "_is_1_1",
        "_left",
        "_reading",
        "_stream",
        "complete",
        "keep_alive",
        "was_taken_over",
    )

    def __init__(
        self, reading: Reading, method: bytes, host: bytes | None, target: bytes, fields: list[Field], length: int, *, is_1_1: bool
    ) -> None:
        super().__init__(method, host, target, fields, length)
        self._reading = reading
        self._stream = reading.stream
        self._is_1_1 = is_1_1
        self._continue = is_1_1 and length != 0 and b"100-continue" in tokens_of(fields, b"expect")
        self._chunked = False
        self._has_body = True
        self._left = 0  # bytes of the answer that are still due; UNTIL_CLOSE: that is open
        self.complete = False
        self.was_taken_over = False
        connection = tokens_of(fields, b"connection")
        self.keep_alive = b"close" not in connection and (is_1_1 or b"keep-alive" in connection)
        self.upgrade = upgrade_of(fields) if is_1_1 else b""

    async def receive(self) -> bytes:
        """The next piece of the body; the user who waits for a word is told to send it."""
        if self._continue:
            self._continue = False
            if not self.started and not self._reading.has_more:
                self._stream.end.feed(memoryview(_CONTINUE))
        try:
            with trio.fail_after(STALL_TIME):
                data = await self._reading.body()
        except trio.TooSlowError:
            raise PeerError("the user sends nothing") from None
        if not data:
            self.trailers = self._reading.trailers
        return data

    async def inform(self, status: int, fields: Sequence[Field]) -> None:
        """Pass a 1xx on; HTTP/1.0 doesn't know them."""
        if self._is_1_1:
            await self._send(b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason_of(status), block_of(fields)))

    async def respond(self, status: int, fields: Sequence[Field], length: int = UNTIL_CLOSE, *, reason: bytes | None = None) -> None:
        """Begin the answer."""
        self._has_body = has_body(self.method, status)
        self._left = length if self._has_body else 0
        lines = dated(fields)
        if length >= 0 and status != 204:
            lines.append((b"Content-Length", b"%d" % length))
        elif self._has_body:
            self._chunked = self._is_1_1
            if self._chunked:
                lines.append((b"Transfer-Encoding", b"chunked"))
            else:
                self.keep_alive = False
        if self._continue:
            self.keep_alive = False  # he was never asked for the body, and may send it or not
        if not self.keep_alive:
            lines.append(CLOSE)
        elif not self._is_1_1:
            lines.append((b"Connection", b"keep-alive"))
        self.started = True
        head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason_of(status) if reason is None else reason, block_of(lines))
        await self._send(head)

    async def send(self, data: Bytes) -> None:
        """Send a piece of the body."""
        if not self._has_body or not data:
            return
        if self._chunked:
            data = b"".join((b"%x\r\n" % len(data), data, b"\r\n"))
        elif self._left >= 0:
            if len(data) > self._left:
                raise PeerError("the answer is longer than was announced")
            self._left -= len(data)
        await self._send(data)

    async def end(self, trailers: Sequence[Field] = ()) -> None:
        """Complete the answer."""
        if self._chunked:
            await self._send(b"0\r\n%b\r\n" % block_of(trailers))
        self.complete = self._left <= 0

    async def take_over(self, head: bytes) -> tuple[EndStream, bytes]:
        """Use the connection for something else."""
        self.started = self.was_taken_over = True
        await self._send(head)
        return self._stream, self._reading.take_rest()

    async def _send(self, data: Bytes) -> None:
        try:
            with trio.fail_after(STALL_TIME):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise PeerError("the user takes nothing") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerError(str(error)) from None

    async def drained(self) -> bool:
        """Receive what is left of the body, if that is not too much: whether the next request can come."""
        if self._continue:
            return False
        left = _DRAIN
        with trio.move_on_after(_DRAIN_TIME):
            try:
                while left > 0 and (data := await self._reading.body()):
                    left -= len(data)
            except BadHead:
                return False
        return self._reading.body_is_over
