"""One request of an HTTP/2 user, and the answer to it; the service is asked in HTTP/1.1 (behaviour.md 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes

from frp_py.log import get_logger
from frp_py.net.http import pages, rules
from frp_py.net.http.chunks import chunk, trailers_of
from frp_py.net.http.heads import CHUNKED, BadHead, Field, block_of, is_field, request_length, request_line, split_target
from frp_py.server.vhost.messages import RequestFields, Response

if TYPE_CHECKING:
    from frp_py.server.vhost.backend import Backend
    from frp_py.server.vhost.h2 import H2Connection
    from frp_py.server.vhost.sites import Site

log = get_logger()


class H2Stream:
    """One request and its response."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_due",
        "_head",
        "_held",
        "_method",
        "_out",
        "_request",
        "_responded",
        "_response_done",
        "_tail",
        "_trailers",
        "_unacknowledged",
        "backend",
        "ended",
        "host",
        "id",
        "raw_chunks",
        "site",
    )

    def __init__(self, connection: H2Connection, stream_id: int) -> None:
        self._connection = connection
        self.id = stream_id
        self.raw_chunks = False
        self.backend: Backend | None = None
        self.site: Site | None = None
        self.host = b""
        self.ended = False
        """The request is complete."""
        self._method = b""
        self._head = b""
        self._request: RequestFields | None = None
        self._chunked = False
        self._due = 0  # bytes of the request's body that were announced and have not come
        self._held = bytearray()  # of the request's body, while there is no connection to send it on
        self._trailers: list[Field] = []
        self._unacknowledged = 0
        self._responded = False
        self._response_done = False
        self._tail: list[Field] = []  # trailers of the response
        self._out = bytearray()  # of the response's body, for which there is no room

    # the request

    def requested(self, headers: list[Any], *, ended: bool) -> None:
        """The head has come."""
        vhost, connection = self._connection.vhost, self._connection
        try:
            method, path, fields = _http_1(headers, ended=ended)
            self._method = method
            self._request = request = RequestFields(fields, is_1_1=True)
            self.host = host = request.host
            user = request.credentials[0] if request.credentials is not None else ""
            site = vhost.routes.find(request.routed, rules.unescaped_path(path), user)
        except BadHead as error:
            vhost.refused(self.source, str(error))
            self._answer(400, [pages.TEXT], b"400 Bad Request: %b\n" % str(error).encode())
            return
        if site is None:
            self.failed(404, f"no route found: {vhost.printable(host)} {vhost.printable(path.partition(b'?')[0])}")
        elif not site.rules.admit(request.credentials):
            if request.credentials is not None:  # browsers ask without them first
                vhost.refused(self.source, f"wrong credentials for [{vhost.printable(host)}]")
            self._answer(*pages.unauthorized(proxy=False))
        else:
            self.site = site
            self.ended = ended
            self._chunked = request.length == CHUNKED
            self._due = max(request.length, 0)
            self._head = b"%b %b HTTP/1.1\r\n%b" % (method, rules.clean_target(path), request.block_for(site.rules, connection.ip, host))
            if connection.is_congested:
                connection.wait(self)
            else:
                self.obtain()

    def obtain(self) -> None:
        """Have the request answered."""
        assert self.site is not None
        self._connection.vhost.obtain(self.site, self, share=True)

    def body_came(self, data: bytes, cost: int) -> None:
        """A piece of the request's body, `cost` bytes of window."""
        self._unacknowledged += cost
        self._connection.vhost.hold(self._connection, cost)
        self._held += data
        if not self._chunked:
            self._due -= len(data)
        self._send_body()

    def trailers_came(self, headers: list[Any]) -> None:
        """Fields behind the body."""
        self._trailers = trailers_of(headers)

    def request_ended(self) -> None:
        """That was all. It has to be what was announced: the service would take the next user's request for the rest (RFC 9113 8.1.1)."""
        if self.ended:
            return
        if self._due > 0:
            self._connection.vhost.refused(self.source, "the body is shorter than its Content-Length")
            self.cancel()
            self.acknowledge()
            self._connection.reset(self.id, ErrorCodes.PROTOCOL_ERROR)
            self._connection.leave(self.id)
            return
        self.ended = True
        self._send_body()

    def _send_body(self) -> None:
        backend = self.backend
        if backend is None or backend.requester is not self or not backend.is_connected:
            if self.site is None:  # answered already
                self._held.clear()
                self.acknowledge()
            return
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            backend.send(chunk(data) if self._chunked else data)
        if self.backend is backend and backend.requester is self:
            if self.ended and not backend.complete:
                if self._chunked:
                    backend.send(b"0\r\n%b\r\n" % block_of(self._trailers))
                backend.request_sent()
            if not backend.end.kept:
                self.acknowledge()

    def acknowledge(self) -> None:
        """What came of the body is gone: the user may send as much again."""
        n, self._unacknowledged = self._unacknowledged, 0
        if self.id in self._connection.streams:
            self._connection.vhost.hold(self._connection, -n)
        self._connection.acknowledge(self.id, n)

    # as a requester

    @property
    def head_only(self) -> bool:
        """The method is HEAD."""
        return self._method == b"HEAD"

    @property
    def can_repeat(self) -> bool:
        """The request may be sent again."""
        return self._request is not None and self._request.repeatable(self._method)

    @property
    def source(self) -> tuple[str, int]:
        """The user's address."""
        return self._connection.ip.decode(), self._connection.port

    @property
    def backlog(self) -> int:
        """Bytes that there is no room for."""
        return len(self._out)

    @property
    def held(self) -> int:
        """Bytes of both directions that wait here, or on the way to the service."""
        return len(self._out) + self._unacknowledged

    def connected(self, backend: Backend) -> None:
        """Send the request."""
        assert self._request is not None
        backend.ask(self._head, self._request.length)
        if self.backend is backend and backend.requester is self:
            if self._request.length:
                self._send_body()
            else:
                backend.request_sent()

    def writable(self) -> None:
        """The service takes more of the body."""
        if self.backend is not None and not self.backend.end.kept:
            self.acknowledge()

    def failed(self, status: int, reason: str) -> None:
        """No response comes."""
        self.backend = None
        vhost = self._connection.vhost
        vhost.warn(self.host, reason, self.source)
        if status == 404:
            page = vhost.page()
            self._answer(404, [(b"Content-Type", pages.content_type(page))], page)
        else:
            self._answer(status)

    def _answer(self, status: int, fields: list[Field] | None = None, body: bytes = b"") -> None:
        if self._responded:
            self.torn("")
            return
        self.site = None
        connection = self._connection
        fields = [*(fields or ()), (b"content-length", b"%d" % len(body)), (b"date", connection.vhost.clock.date())]
        self._send_head(status, fields, end=not body or self.head_only)
        if body and not self.head_only:
            self.body(body, True)
        else:
            self._done()

    def _send_head(self, status: int, fields: list[Field], *, end: bool) -> None:
        headers = [(b":status", b"%d" % status), *((name.lower(), value) for name, value in fields)]
        self._connection.send_headers(self.id, headers, end=end)

    def interim(self, response: Response) -> None:
        """Pass it on."""
        assert self.site is not None
        self._send_head(response.status, response.fields_for(self.site.rules), end=False)

    def switch(self, response: Response, rest: memoryview) -> None:
        """There is no such thing in HTTP/2."""
        backend, self.backend = self.backend, None
        if backend is not None:
            backend.abort()
        self.failed(404, "the service switches to a protocol that nobody asked for")

    def respond(self, response: Response, data: memoryview, done: bool) -> None:
        """The response's head, and what there is of its body."""
        assert self.site is not None
        self._responded = True
        fields = rules.without(response.fields_for(self.site.rules), rules.HOP_BY_HOP)
        if response.length >= 0 and response.status != 204:
            fields.append((b"content-length", b"%d" % response.length))
        if not response.has_date and not self.site.rules.sets_date:
            fields.append((b"date", self._connection.vhost.clock.date()))
        empty = done and not data and not (self.backend is not None and self.backend.trailers)
        self._send_head(response.status, fields, end=empty)
        if empty:
            self._done()
        else:
            self.body(data, done)

    def body(self, data: memoryview | bytes, done: bool) -> None:
        """More of the body."""
        if self.id not in self._connection.streams:
            return
        self._out += data
        self._connection.vhost.hold(self._connection, len(data))
        if done:
            self._response_done = True
            if self.backend is not None:
                self._tail = self.backend.trailers  # it may serve others when these are sent
        self.pump()

    def pump(self) -> None:
        """Send what there is room for."""
        connection, out = self._connection, self._out
        if out:
            n = connection.send_data(self.id, out)
            if self.id not in connection.streams:
                return  # the user went away at that
            del out[:n]
            connection.vhost.hold(connection, -n)
            if n and self.backend is not None and self.backend.requester is self:
                self.backend.consumed(n, all_gone=not out)
        if self._response_done and not out and self.id in connection.streams:
            if self._tail:
                connection.send_headers(self.id, [(name.lower(), value) for name, value in self._tail], end=True)
            else:
                connection.end_stream(self.id)
            self._done()

    def torn(self, reason: str) -> None:
        """The rest doesn't come."""
        self.backend = None
        if reason:
            self._connection.vhost.warn(self.host, reason, self.source)
        self._connection.reset(self.id, ErrorCodes.INTERNAL_ERROR)
        self._connection.leave(self.id)

    def _done(self) -> None:
        """The response is complete. What is left of the request isn't wanted (RFC 9113 8.1)."""
        self.backend = None
        if not self.ended and self.site is not None:
            self._connection.reset(self.id, ErrorCodes.NO_ERROR)
        self._connection.leave(self.id)

    def cancel(self) -> None:
        """The user doesn't want it any more."""
        backend, self.backend = self.backend, None
        if backend is not None and backend.requester is self:
            backend.abort()


def _http_1(headers: list[Any], *, ended: bool) -> tuple[bytes, bytes, list[Field]]:
    """Method, path, and fields as HTTP/1.1 has them. Raises BadHead."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[Field] = []
    cookies: list[bytes] = []
    for raw_name, raw_value in headers:
        name, value = bytes(raw_name), bytes(raw_value)
        if name[:1] == b":":
            pseudo[name] = value
        elif not is_field(name, value):
            raise BadHead("malformed header")
        elif name == b"cookie":
            cookies.append(value)
        elif name not in rules.HOP_BY_HOP or name == b"te":
            fields.append((name, value))
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))
    method, path, authority = pseudo.get(b":method", b""), pseudo.get(b":path", b""), pseudo.get(b":authority")
    request_line(b"%b %b HTTP/1.1" % (method, path))
    if method == b"CONNECT" or split_target(method, path)[0] is not None:
        raise BadHead("malformed target")
    if authority is not None:
        if any(name == b"host" and value != authority for name, value in fields):
            raise BadHead("different hosts")
        fields = [(b"host", authority), *rules.without(fields, (b"host",))]
    if ended:
        if request_length(fields):
            raise BadHead("no body, but a Content-Length")
    elif not any(name == b"content-length" for name, _ in fields):
        fields.append((b"transfer-encoding", b"chunked"))
    return method, path, fields
