"""HTTP/2 for users: a task for each request, all over one connection.

What a user sends and nobody has received yet is bounded by the connection's window; who opens requests only to take them
back is sent away.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import trio
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError

from frp_py.errors import PeerError
from frp_py.log import get_logger
from frp_py.net.http.chunks import trailers_of
from frp_py.net.http.frames import Lengths
from frp_py.net.http.h2_core import IDLE, IDLE_FRAMES, READ, server_core
from frp_py.net.http.heads import (
    CHUNKED,
    UNTIL_CLOSE,
    BadHead,
    Field,
    check_lists,
    host_of,
    is_field,
    request_length,
    request_line,
    split_target,
    tokens_of,
)
from frp_py.net.serving.exchange import HEAD_TIME, IDLE_TIME, STALL_TIME, Bytes, Exchange, Handler, dated, has_body

if TYPE_CHECKING:
    from frp_py.net.engine.stream import EndStream

log = get_logger()

_STREAM_WINDOW, _CONNECTION_WINDOW = 512 * 1024, 1024 * 1024
_PIECE = 2048  # bytes of frames between looks at the clock
_TURN = 0.002  # s
_FREE_RESETS = 200  # requests that a user may take back beyond those that he let be answered


async def serve(stream: EndStream, handle: Handler) -> None:
    """Answer the requests on a connection until it is over. Raises PeerError."""
    connection = _Connection(stream, handle)
    async with trio.open_nursery() as nursery:
        await connection.run(nursery)
        nursery.cancel_scope.cancel()
    if connection.error is not None:
        raise connection.error


class _Connection:
    def __init__(self, stream: EndStream, handle: Handler) -> None:
        self._stream = stream
        self._handle = handle
        self.h2 = server_core(window=_STREAM_WINDOW, shared_window=_CONNECTION_WINDOW)
        self._lengths = Lengths()
        self.error: PeerError | None = None
        self.window_changed = trio.Event()
        self._sending = trio.Lock()
        self._exchanges: dict[int, Exchange2] = {}
        self._answered = 0
        self._reset = 0
        self._idle = 0
        self._idle_since = 0.0
        self._scope: trio.CancelScope

    async def run(self, nursery: trio.Nursery) -> None:
        """Read until the user has gone, or has nothing more to ask."""
        self._scope = nursery.cancel_scope
        try:
            await self.flush()
            patience = HEAD_TIME
            while await self._receive(patience, nursery):
                patience = IDLE_TIME
        except ProtocolError as error:
            self.error = PeerError(f"HTTP/2: {error}")
        except PeerError as error:
            self.error = error
        with trio.move_on_after(1):
            await self._say_last()

    async def _receive(self, patience: float, nursery: trio.Nursery) -> bool:
        with trio.move_on_after(patience):
            try:
                data = await self._stream.receive_some(READ)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerError(str(error)) from None
            if not data:
                return False
            at = 0
            while at < len(data):
                async with self._stream.engine.long_work:
                    until = perf_counter() + _TURN
                    while at < len(data) and perf_counter() < until:
                        self._deal_with(data[at : at + _PIECE], nursery)
                        at += _PIECE
            await self.flush()
            return True
        if self._exchanges:
            return True
        self.h2.close_connection()
        return False

    def _deal_with(self, data: bytes, nursery: trio.Nursery) -> None:
        if not self._lengths.allow(data):
            self.h2.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
            raise PeerError("HTTP/2: frame too large")
        if (now := trio.current_time()) >= self._idle_since + 1:
            self._idle, self._idle_since = 0, now
        for event in self.h2.receive_data(data):
            self._idle += _asks_for_nothing(event)
            self._on_event(event, nursery)
        if self._idle > IDLE_FRAMES:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            raise PeerError("HTTP/2: sends too much that asks for nothing")
        if self._reset > _FREE_RESETS + self._answered:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            raise PeerError("HTTP/2: takes back too many requests")

    def _on_event(self, event: object, nursery: trio.Nursery) -> None:
        if isinstance(event, RequestReceived):
            stream_id = event.stream_id
            assert stream_id is not None
            exchange = Exchange2(self, stream_id, event.headers, ended=event.stream_ended is not None)
            self._exchanges[stream_id] = exchange
            nursery.start_soon(self._serve, exchange)
        elif isinstance(event, DataReceived):
            taking = self._exchanges.get(event.stream_id)
            if taking is None:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            else:
                taking.arrived(event.data, event.flow_controlled_length - len(event.data))
        elif isinstance(event, TrailersReceived):
            if (exchange2 := self._exchanges.get(event.stream_id or 0)) is not None:
                exchange2.trailers = trailers_of(event.headers)
        elif isinstance(event, StreamEnded):
            if (ending := self._exchanges.get(event.stream_id)) is not None:
                ending.ended()
        elif isinstance(event, StreamReset):
            self._reset += 1
            if (dropped := self._exchanges.get(event.stream_id)) is not None:
                dropped.scope.cancel()
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            self.window_changed.set()
            self.window_changed = trio.Event()
        elif isinstance(event, ConnectionTerminated):
            raise PeerError("HTTP/2: connection ended by the user")

    async def _serve(self, exchange: Exchange2) -> None:
        code = ErrorCodes.INTERNAL_ERROR
        try:
            with exchange.scope:
                if exchange.refusal:
                    await exchange.answer(exchange.refusal)
                else:
                    await self._handle(exchange)
        except BadHead:
            code = ErrorCodes.PROTOCOL_ERROR
        except PeerError as error:
            log.debug("HTTP/2 request ended: %s", error)
        except Exception:
            log.exception("bug in a request")
        self._exchanges.pop(exchange.stream_id, None)
        self._answered += exchange.complete
        try:
            if not exchange.complete or not exchange.received_all:
                self.h2.reset_stream(exchange.stream_id, ErrorCodes.NO_ERROR if exchange.complete else code)
        except H2Error:
            pass  # it is gone already
        exchange.give_up()
        try:
            await self.flush()
        except PeerError as error:
            self.error = error
            self._scope.cancel()

    async def flush(self) -> None:
        """Send what there is to be sent. Raises PeerError."""
        async with self._sending:
            data = self.h2.data_to_send()
            if not data:
                return
            try:
                with trio.fail_after(STALL_TIME):
                    await self._stream.send_all(data)
            except trio.TooSlowError:
                raise PeerError("the user takes nothing") from None
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerError(str(error)) from None

    async def _say_last(self) -> None:
        try:
            await self.flush()
            await self._stream.send_eof()
        except (PeerError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass


def _asks_for_nothing(event: object) -> bool:
    if isinstance(event, DataReceived):
        return not event.flow_controlled_length and event.stream_ended is None
    return isinstance(event, IDLE)


class Exchange2(Exchange):
    """A request by HTTP/2."""

    __slots__ = (
        "_body",
        "_connection",
        "_continue",
        "_due",
        "_has_body",
        "_left",
        "_more",
        "complete",
        "received_all",
        "refusal",
        "scope",
        "stream_id",
    )

    def __init__(self, connection: _Connection, stream_id: int, headers: Sequence[Field], *, ended: bool) -> None:
        self._connection = connection
        self.stream_id = stream_id
        self.scope = trio.CancelScope()
        self.refusal = 0
        """The status for a request that can't be passed on."""
        self.received_all = ended
        self.complete = False
        self._body = bytearray()
        self._more = trio.Event()
        self._has_body = True
        self._left = 0
        pseudo = {name: value for name, value in headers if name[:1] == b":"}
        fields = [(bytes(name), bytes(value)) for name, value in headers if name[:1] != b":"]
        method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"/")
        host, length = pseudo.get(b":authority"), 0
        try:
            if not all(is_field(*field) for field in fields):
                raise BadHead("malformed header")
            check_lists(fields)
            request_line(b"%b %b HTTP/1.1" % (method, target))
            named = host_of(fields, required=False)
            host = host or named
            split_target(method, host or b"" if method == b"CONNECT" else target)
            if host:
                host_of([(b"host", host)], required=True)
            length = request_length(fields)
            if ended and length:
                raise BadHead("no body, but a Content-Length")
            if not ended:
                length = length or CHUNKED
        except BadHead as error:
            self.refusal = error.status
        self._due = max(length, 0)  # bytes of the body that were announced and have not come
        self._continue = length != 0 and b"100-continue" in tokens_of(fields, b"expect")
        super().__init__(method, host, target, fields, length)

    # from the connection

    def arrived(self, data: bytes, padding: int) -> None:
        """A piece of the body came."""
        self._body += data
        self._due -= len(data)
        if padding:
            self._acknowledge(padding)
        self._more.set()

    def ended(self) -> None:
        """The body is complete."""
        self.received_all = True
        self._more.set()

    def give_up(self) -> None:
        """What nobody receives any more makes room for others."""
        if self._body:
            self._acknowledge(len(self._body))
            self._body.clear()

    def _acknowledge(self, n: int) -> None:
        try:
            self._connection.h2.acknowledge_received_data(n, self.stream_id)
        except H2Error:
            pass  # the request is gone

    # for the handler

    async def receive(self) -> bytes:
        """The next piece of the body; the user who waits for a word is told to send it. One that is too short is malformed: BadHead."""
        if self._continue:
            self._continue = False
            if not self.started and not self._body:
                await self._headers(100, [], last=False)
        try:
            with trio.fail_after(STALL_TIME):
                while not self._body and not self.received_all:
                    self._more = trio.Event()
                    await self._more.wait()
        except trio.TooSlowError:
            raise PeerError("the user sends nothing") from None
        data, self._body = bytes(self._body), bytearray()
        if data:
            self._acknowledge(len(data))
            await self._connection.flush()
        elif self._due > 0:  # it ended with trailers, which nobody else looks at (RFC 9113 8.1.1)
            raise BadHead("the body is shorter than its Content-Length")
        return data

    async def inform(self, status: int, fields: Sequence[Field]) -> None:
        """Pass a 1xx on."""
        await self._headers(status, fields, last=False)

    async def respond(self, status: int, fields: Sequence[Field], length: int = UNTIL_CLOSE, *, reason: bytes | None = None) -> None:
        """Begin the answer; HTTP/2 has no reason phrases."""
        self._has_body = has_body(self.method, status)
        self._left = length if self._has_body else 0
        lines = dated(fields)
        if length >= 0 and status != 204:
            lines.append((b"content-length", b"%d" % length))
        self.started = True
        self.complete = self._left == 0
        await self._headers(status, lines, last=self.complete)

    async def _headers(self, status: int, fields: Sequence[Field], *, last: bool) -> None:
        lines = [(b":status", b"%d" % status), *((name.lower(), value) for name, value in fields)]
        try:
            self._connection.h2.send_headers(self.stream_id, lines, end_stream=last)
        except H2Error as error:
            raise PeerError(f"HTTP/2: {error}") from None
        await self._connection.flush()

    async def send(self, data: Bytes) -> None:
        """Send a piece of the body, as the windows allow."""
        if self.complete:
            return
        connection, stream_id = self._connection, self.stream_id
        view = memoryview(data)
        if self._left >= 0:
            self._left -= len(view)
            if self._left < 0:
                raise PeerError("the answer is longer than was announced")
        try:
            while view:
                changed = connection.window_changed
                n = min(connection.h2.local_flow_control_window(stream_id), connection.h2.max_outbound_frame_size, len(view))
                if n > 0:
                    connection.h2.send_data(stream_id, view[:n])
                    view = view[n:]
                else:
                    await connection.flush()
                    with trio.fail_after(STALL_TIME):
                        await changed.wait()
        except H2Error as error:
            raise PeerError(f"HTTP/2: {error}") from None
        except trio.TooSlowError:
            raise PeerError("the user takes nothing") from None
        await connection.flush()

    async def end(self, trailers: Sequence[Field] = ()) -> None:
        """Complete the answer."""
        if self.complete:
            return
        if self._left > 0:
            return  # it is shorter than was announced: it breaks off
        try:
            if trailers:
                lines = [(name.lower(), value) for name, value in trailers]
                self._connection.h2.send_headers(self.stream_id, lines, end_stream=True)
            else:
                self._connection.h2.end_stream(self.stream_id)
        except H2Error as error:
            raise PeerError(f"HTTP/2: {error}") from None
        self.complete = True
        await self._connection.flush()

    async def take_over(self, head: bytes) -> tuple[EndStream, bytes]:
        """Not by HTTP/2: there is neither an upgrade nor CONNECT."""
        raise PeerError("HTTP/2: the connection can't be taken over")
