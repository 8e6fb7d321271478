"""Whole connections with users, and with the services behind them, in an engine with real sockets and a clock that jumps.

Whatever comes, nothing of it is a bug in the log, nobody is left behind, and others who read the same bytes find the same requests.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import h11
import trio
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame
from trio.testing import MockClock, wait_all_tasks_blocked

from frp_py.net.engine import loop
from frp_py.net.serving import http1, http2
from frp_py.net.serving.exchange import Exchange
from frp_py.protocol.wire import WIRES
from tests.fuzz.cuts import Pieces, same_for_all_cuts
from tests.net.serving.helpers import serving
from tests.server.vhost.helpers import H2_GET, setting
from tests.support.net import Peer

T = TypeVar("T")
Request = tuple[bytes, bytes, bytes, bytes]
"""What others must understand too: method, authority, path with query, and body."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_ABSOLUTE = re.compile(rb"[A-Za-z]+://([^/?]*)(.*)")
_CLEANED = re.compile(rb";|%(?![0-9A-Fa-f]{2})")
"""In a query: that is written anew then."""
_CHANGING = re.compile(rb"Date: [^\r]+\r\n|HTTP/1.1 100 Continue\r\n\r\n")


class _Bugs(logging.Handler):
    """Writes down what must not be in a log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.lines.append(logging.Formatter().format(record))


@contextlib.contextmanager
def no_bugs() -> Iterator[None]:
    """Raises when there is one in the log of the block."""
    handler, logger = _Bugs(), logging.getLogger("frp_py")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert not handler.lines, "\n".join(handler.lines)


def _run(act: Callable[[], Awaitable[T]]) -> T:
    with no_bugs():
        return trio.run(act, clock=MockClock(autojump_threshold=0))


async def _conversation(user: socket.socket, parts: Pieces) -> bytes:
    """Send all, and then the end; what is answered."""
    loop._LINGER = 0  # whoever could send more is a task of the same loop
    peer = Peer(user)
    with contextlib.suppress(OSError):
        for part in parts:
            await peer.send(part)
            await wait_all_tasks_blocked()
        peer.finish()
    got = bytearray()
    with contextlib.suppress(OSError):
        while more := await peer.receive():
            got += more
    return bytes(got)


# requests, in the eyes of h11


def _led_to(request: h11.Request) -> tuple[bytes, bytes]:
    """Authority and path: an absolute target counts for more than Host."""
    method, target = request.method, request.target
    if method == b"CONNECT":
        return target, target
    host = next((value for name, value in request.headers if name == b"host"), b"")
    if found := _ABSOLUTE.fullmatch(target):
        host, target = found[1], found[2] if found[2][:1] == b"/" else b"/" + found[2]
    return host, target


class _Reader:
    """Finds requests as h11 does, up to the first fault."""

    def __init__(self) -> None:
        self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17)
        self._method = self._host = self._target = self._body = b""

    def next(self) -> Request | None:
        """The next request, if it is all there."""
        while True:
            event = self.connection.next_event()
            if isinstance(event, h11.Request):
                self._method, self._body = event.method, b""
                self._host, self._target = _led_to(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return self._method, self._host, self._target, self._body
            else:
                return None

    def answer(self) -> bytes:
        """A response, after which the next request may come; none to CONNECT."""
        if self._method == b"CONNECT":
            return b""
        send = self.connection.send
        events = (h11.Response(status_code=200, headers=[("Content-Length", "0")]), h11.EndOfMessage())
        answer = b"".join(send(event) or b"" for event in events)
        if self.connection.our_state is h11.DONE and self.connection.their_state is h11.DONE:
            self.connection.start_next_cycle()
        return answer


def _requests_in(data: bytes) -> list[Request]:
    reader, found = _Reader(), []
    reader.connection.receive_data(data)
    with contextlib.suppress(h11.RemoteProtocolError):
        while (request := reader.next()) is not None:
            found.append(request)
            if not reader.answer():
                break
    return found


def _without_query(request: Request) -> Request:
    method, host, target, body = request
    return method, host, target.partition(b"?")[0], body


def _agree(ours: list[Request], data: bytes) -> None:
    for mine, theirs in zip(ours, _requests_in(data), strict=False):
        same = mine == theirs
        if not same and _CLEANED.search(theirs[2].partition(b"?")[2]):
            same = _without_query(mine) == _without_query(theirs)
        assert same, f"{mine} goes on, others see {theirs}"


def http1_serving(data: bytes) -> None:
    """Users of our own web servers and of the plugins."""

    def parse(parts: Pieces) -> object:
        requests: list[Request] = []

        async def handle(exchange: Exchange) -> None:
            body = b""
            while piece := await exchange.receive():
                body += piece
            requests.append((exchange.method, exchange.host, exchange.target, body))
            await exchange.answer(200, [(b"X", b"y")], b"%b %b" % (exchange.host, exchange.target))

        async def act() -> bytes:
            async with serving(http1.serve, handle) as it:
                got = await _conversation(it.user.sock, parts)
                await it.over.wait()
            return got

        got = _run(act)
        assert got.count(b"HTTP/1.1 200 OK\r\nX: y\r\n") == len(requests)
        return _CHANGING.sub(b"", got), requests

    outcome: Any = same_for_all_cuts(parse, data)
    _agree(outcome[1], data)


def _well_framed(data: bytes) -> None:
    """What HTTP/2 is answered with is whole frames, the last of which may be cut off by a reset."""
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        if len(data) < 9 + length:
            return
        with contextlib.suppress(HyperframeError):
            frame.parse_body(memoryview(data[9 : 9 + length]))
        data = data[9 + length :]


def http2_serving(data: bytes) -> None:
    """The same by HTTP/2; the preface has come."""

    async def handle(exchange: Exchange) -> None:
        while await exchange.receive():
            pass
        await exchange.answer(200, [(b"X", b"y")], b"%b %b" % (exchange.host, exchange.target))

    async def act() -> bytes:
        async with serving(http2.serve, handle) as it:
            got = await _conversation(it.user.sock, [_PREFACE + data])
            await it.over.wait()
        return got

    _well_framed(_run(act))


# the vhost


@contextlib.asynccontextmanager
async def _vhost(serve: Callable[[socket.socket, bytes], Awaitable[None]]) -> Any:
    """`serve(socket, what came behind StartWorkConn)` is the service for each work connection; at the end all must be gone."""

    async def service(sock: socket.socket) -> None:
        data = bytearray()
        with contextlib.suppress(OSError):
            while (taken := WIRES["v1"].take_message(data)) is None:
                if not (more := await Peer(sock).receive()):
                    return
                data += more
            await serve(sock, bytes(data[taken[1] :]))
            sock.shutdown(socket.SHUT_RDWR)

    async with setting() as it, trio.open_nursery() as nursery:
        want = it.client.want

        def wanted(waiter: Any) -> None:
            want(waiter)
            nursery.start_soon(service, it.client.services[-1])

        it.proxy.control.work.want = wanted
        it.vhost.routes.add("*", "", "", it.site)  # nothing is answered without the service
        yield it
        for user in it.users:
            user.close()
        with trio.fail_after(500):
            while it.vhost.users or it.vhost.active or it.vhost.held or it.proxy.connections:  # noqa: ASYNC110
                await trio.sleep(1)
        nursery.cancel_scope.cancel()


def vhost_user(data: bytes) -> None:
    """Users at the HTTP port, by either version: the service gets whole requests, and those that h11 finds in what was sent."""

    def parse(parts: Pieces) -> list[Request]:
        requests: list[Request] = []

        async def serve(sock: socket.socket, data: bytes) -> None:
            reader = _Reader()
            with contextlib.suppress(h11.RemoteProtocolError):  # e.g. of other bytes than ASCII in a path: who refuses isn't misled
                while data or (data := await Peer(sock).receive()):
                    reader.connection.receive_data(data)
                    while (request := reader.next()) is not None:
                        requests.append(request)
                        await Peer(sock).send(reader.answer())
                    data = b""

        async def act() -> None:
            async with _vhost(serve) as it:
                await _conversation(it.user(), parts)

        _run(act)
        return requests

    if data.startswith(_PREFACE):
        parse([data])  # who takes requests back may do so before they have gone on, or behind that
    else:
        requests: Any = same_for_all_cuts(parse, data)
        _agree(requests, data)


_ASKED = (
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    H2_GET,
)


def _response_in(asked: bytes, data: bytes) -> tuple[int, bytes] | None:
    """Status and body of a final response; None when there is no whole one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 17)
    method, target, _ = asked.split(b" ", 2)
    connection.send(h11.Request(method=method, target=target, headers=[("Host", "a.test")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    with contextlib.suppress(h11.ProtocolError):
        connection.receive_data(data)
        connection.receive_data(b"")
        while not isinstance(event := connection.next_event(), type(h11.NEED_DATA) | h11.ConnectionClosed):
            if isinstance(event, h11.Response):
                status = event.status_code
                if event.http_version == b"1.0" and any(name == b"transfer-encoding" for name, _ in event.headers):
                    return None  # h11 reads it like that of 1.1, we, like frp, as if it had none (RFC 9112 6.1: faulty)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
    return None


def vhost_service(data: bytes) -> None:
    """A service that answers anything; the first byte chooses what it was asked. The user gets an answer that he can read, or none."""
    asked, data = _ASKED[(data[:1] or b"\0")[0] % len(_ASKED)], data[1:]

    def parse(parts: Pieces) -> bytes:
        async def serve(sock: socket.socket, request: bytes) -> None:
            while b"\r\n\r\n" not in request:
                request += await Peer(sock).receive()
            await _conversation(sock, parts)

        async def act() -> bytes:
            async with _vhost(serve) as it:
                return await _conversation(it.user(), [asked])

        return _run(act)

    if asked is H2_GET:
        _well_framed(parse([data]))
        return
    found, theirs = _response_in(asked, parse([data])), _response_in(asked, data)
    if found is not None and found[0] != 404 and found[0] < 500:  # those are ours: what he said wasn't clear
        assert theirs in (None, found)
