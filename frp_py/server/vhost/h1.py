"""A user's connection on the HTTP port, from request to request (behaviour.md 3).

All is done in the engine's callbacks: there is no task, and while nothing is going on no buffer either.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from frp_py.net.engine.ends import SocketEnd
from frp_py.net.http import pages, rules
from frp_py.net.http.chunks import LAST, Chunks, chunk
from frp_py.net.http.heads import CHUNKED, MAX_HEAD, UNTIL_CLOSE, BadHead, Field, HeadTooLarge
from frp_py.protocol.yamux import BLOCKED, PullFrom
from frp_py.server.proxies.base import UserRelay
from frp_py.server.vhost.messages import RequestFields, RequestLine, Response, request_lines, requests_1_0, requests_1_1
from frp_py.server.vhost.parting import Parting

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.server.vhost.backend import Backend
    from frp_py.server.vhost.http import HttpVhost
    from frp_py.server.vhost.sites import Site

_NO_LINE = RequestLine(b"GET / HTTP/1.1")  # as long as there is none that can be read
_READ = 64 * 1024  # bytes at a time
_JOINED = 16 * 1024  # up to this size head and body leave in one send
_BEHIND = 64 * 1024  # bytes that the user may leave unread before his next request is looked at
_AT_ONCE = 16  # requests of one user that are dealt with before others get their turn

IN_HEAD, WAITING, IN_BODY, IN_CHUNKS, OVER = range(5)
"""What is read: a head; nothing, what comes is held; a body with a length; a chunked one; nothing any more."""


class UserConnection:
    """One of them: the sink and owner of its socket's end, and the requester of its requests."""

    __slots__ = (
        "_chunks",
        "_data",
        "_fresh",
        "_has_ended",
        "_head",
        "_keep",
        "_left",
        "_line",
        "_request",
        "_running",
        "_sent_then",
        "_started",
        "_takes_turns",
        "_timed",
        "_unread",
        "_wrap",
        "address",
        "backend",
        "end",
        "host",
        "ip",
        "site",
        "state",
        "vhost",
    )

    def __init__(self, vhost: HttpVhost, sock: socket.socket, address: Any) -> None:
        self.vhost = vhost
        self.address = address
        self.ip = ip_of(address)
        self.state = IN_HEAD
        self.backend: Backend | None = None
        self.host = b""
        self.site: Site | None = None
        self._data = bytearray()  # the beginning of a head, or what came while it is not its turn
        self._has_ended = False
        self._sent_then = 0
        self._fresh = True  # nothing was asked yet
        self._running = False
        self._takes_turns = False  # there are requests that wait for his next turn
        self._request: RequestFields | None = None
        self._line = _NO_LINE
        self._head = b""  # as it goes to the service
        self._unread = False  # of the request's body there is more to come
        self._left = 0
        self._chunks: Chunks | None = None
        self._started = False  # the response has begun
        self._keep = False  # the connection goes on after it
        self._wrap = False  # its body is put into chunks here
        self._timed = True
        vhost.slow_heads.add(self.expire)
        self.end = SocketEnd(vhost.engine, sock, self, self)
        self.end.start()

    # as the sink of its end

    @property
    def kept(self) -> int:
        """Bytes held."""
        return len(self._data)

    def pull(self, recv_into: PullFrom) -> int:
        """Receive what is due now."""
        state = self.state
        if state == IN_BODY:
            return self._pull_body(recv_into)
        scratch = self.vhost.engine.scratch
        if state == IN_CHUNKS:
            assert self.backend is not None
            if self.backend.end.kept:
                return BLOCKED
            n = recv_into(scratch[:_READ])
            if n:
                self._take_body(scratch[:n])
            return n
        data = self._data
        held = len(data)
        if held > MAX_HEAD or self._takes_turns:
            return BLOCKED
        n = recv_into(scratch[:_READ])
        if n:
            if held:
                data += scratch[:n]
                if state == IN_HEAD and may_end(data, held):
                    self._run()
                else:
                    self.vhost.hold_unread(self, len(data))
            elif state == IN_HEAD:
                self._run(bytes(scratch[:n]))
            else:
                data += scratch[:n]
                self.vhost.hold_unread(self, n)
        return n

    def feed(self, data: memoryview) -> int:
        """Not called: sockets are pulled from."""
        raise NotImplementedError

    def _pull_body(self, recv_into: PullFrom) -> int:
        """Straight from the socket into the link."""
        backend, left = self.backend, self._left
        assert backend is not None
        n = backend.send_from(lambda room: recv_into(room[:left]) if len(room) > left else recv_into(room))
        if n > 0 and self.state == IN_BODY:
            self._left = left - n
            if n == left:
                self._body_read()
        return n

    def _take_body(self, data: memoryview) -> None:
        """Bytes of the body, and perhaps of what is behind it."""
        backend = self.backend
        assert backend is not None
        if self.state == IN_BODY:
            used = min(self._left, len(data))
            self._left -= used
            done = not self._left
        else:
            assert self._chunks is not None
            try:
                used = self._chunks.receive(data)[1]
            except BadHead as error:
                backend.abort()
                self._refuse(error)
                return
            done = self._chunks.done
        backend.send(data[:used])
        if self.backend is backend and done:
            self._data += data[used:]
            self._body_read()

    def _body_read(self) -> None:
        self.state = WAITING
        self._unread = False
        self._chunks = None
        assert self.backend is not None
        self.backend.request_sent()

    # requests

    def _run(self, data: bytes | None = None) -> None:
        """Deal with requests that are complete, until one has to be waited for."""
        if data is None:
            data = bytes(self._data)
            self._data = bytearray()
            self.vhost.hold_unread(self, 0)
        self._running = True
        left = _AT_ONCE
        try:
            while data and self.state == IN_HEAD and self.end.kept < _BEHIND:
                if not left:
                    self._takes_turns = True
                    self.vhost.engine.soon(self._next_turn)
                    break
                left -= 1
                data = self._take_request(data)
            if data:
                self._data += data
            if self._data and self.state != OVER:
                self.vhost.hold_unread(self, len(self._data))
        except BadHead as error:
            self._refuse(error)
        finally:
            self._running = False

    def _next_turn(self) -> None:
        """Others had theirs. Until now nothing was received, so the user's end has not been heard of either."""
        self._takes_turns = False
        if self.state == IN_HEAD:
            self._run()
            if self.state == IN_HEAD and not self._takes_turns:
                self.end.start()

    def _take_request(self, data: bytes) -> bytes:
        """One request; returns what is behind its head."""
        at = data.find(b"\r\n\r\n")
        if at < 0 or at > MAX_HEAD:
            self._wait_for_head(data)
            return b""
        if self._timed:
            self._timed = False
            self.vhost.slow_heads.discard(self.expire)
        first = data.find(b"\r\n")
        line, block = data[:first], data[first + 2 : at + 2]
        if not line and block:  # an empty line before the request (RFC 9112 2.2)
            line, _, block = block.partition(b"\r\n")
        if self._fresh:
            if line == b"PRI * HTTP/2.0" and not block:
                return self._go_over_to_h2(data)
            self._fresh = False
        self._started = False
        self._keep = False
        self._unread = True
        self._line = _NO_LINE
        self._line = asked = request_lines.get(line)
        self._request = request = (requests_1_1 if asked.is_1_1 else requests_1_0).get(block)
        if asked.fault:
            raise BadHead(asked.fault)
        self._unread = request.length != 0
        self._keep = request.keep_alive
        self.state = WAITING
        if len(data) > at + 4:
            self._data += data[at + 4 :]
        if asked.method == b"CONNECT":
            self._head = data[: at + 4]
        if asked.authority is None:
            self._go_to(asked, request, request.host, request.routed, request.credentials)
        else:
            credentials = request.proxy_credentials if request.proxy_field else request.credentials
            self._go_to(asked, request, asked.authority, rules.routing_host(asked.authority), credentials)
        if not self._data:
            return b""
        rest, self._data = bytes(self._data), bytearray()
        return rest

    def _wait_for_head(self, data: bytes) -> None:
        """It isn't complete."""
        if len(data) > MAX_HEAD:
            raise HeadTooLarge("request header too large")
        if data.count(b"\n") != data.count(b"\r\n"):
            raise BadHead("malformed request")
        if not self._timed:
            self._timed = True
            self.vhost.slow_heads.add(self.expire)
        self._data += data

    def _go_to(self, asked: RequestLine, request: RequestFields, host: bytes, routed: str, credentials: tuple[str, str] | None) -> None:
        """Find out where it leads, and send it there. `routed`: the host as routes compare it; `credentials`: those that routes look at."""
        self.host = host
        vhost = self.vhost
        site = vhost.routes.find(routed, asked.routed, credentials[0] if credentials is not None else "")
        proxied = asked.authority is not None
        if site is None:
            self._not_found(f"no route found: {vhost.printable(host)} {vhost.printable(asked.path.partition(b'?')[0])}")
        elif not site.rules.is_open and not site.rules.admit(credentials := request.proxy_credentials if proxied else request.credentials):
            if credentials is not None:  # browsers ask without them first
                vhost.refused(self.source, f"wrong credentials for [{vhost.printable(host)}]")
            self._answer(*pages.unauthorized(proxy=proxied))
        else:
            self.site = site
            if asked.method != b"CONNECT":
                path = asked.clean_path
                if proxied:
                    path = b"http://" + (site.rules.host_rewrite or host) + path
                self._head = b"%b %b HTTP/1.1\r\n%b" % (asked.method, path, request.block_for(site.rules, self.ip, host))
            vhost.obtain(site, self, share=not proxied)

    def _go_over_to_h2(self, data: bytes) -> bytes:
        from frp_py.server.vhost.h2 import H2Connection

        self._leave()
        H2Connection(self.vhost, self.end, self.address, self.ip).start(data)
        return b""

    # as a requester

    @property
    def raw_chunks(self) -> bool:
        """Who speaks HTTP/1.1 gets chunks as they are."""
        return self._line.is_1_1

    @property
    def head_only(self) -> bool:
        """The method is HEAD."""
        return self._line.is_head

    @property
    def can_repeat(self) -> bool:
        """The request may be sent again (behaviour.md 3.7)."""
        return self._request is not None and self._request.repeatable(self._line.method)

    @property
    def source(self) -> tuple[str, int]:
        """The user's address."""
        return self.ip.decode(), self.address[1]

    @property
    def backlog(self) -> int:
        """Bytes that the user has not taken yet."""
        return self.end.kept

    def connected(self, backend: Backend) -> None:
        """Send the request."""
        if self._line.method == b"CONNECT":
            self._join(backend, self._head)
            return
        request = self._request
        assert request is not None
        backend.ask(self._head, request.length)
        if self.backend is not backend:
            return  # it was dead
        if not request.length:
            backend.request_sent()
            return
        if request.length == CHUNKED:
            self.state = IN_CHUNKS
            self._chunks = Chunks()
        else:
            self.state = IN_BODY
            self._left = request.length
        if self._data:
            data, self._data = self._data, bytearray()
            self.vhost.hold_unread(self, 0)
            self._take_body(memoryview(data))
        elif request.expects:
            self.vhost.expectations.add(self._expect_no_more)
        if self.state != OVER:
            self.end.start()

    def _expect_no_more(self) -> None:
        """The service doesn't say that it wants the body; it gets it."""
        if self.state in (IN_BODY, IN_CHUNKS) and not self._started:
            self.end.feed(memoryview(b"HTTP/1.1 100 Continue\r\n\r\n"))

    def writable(self) -> None:
        """The service takes more of the body."""
        if self.state in (IN_BODY, IN_CHUNKS):
            self.end.start()

    def failed(self, status: int, reason: str) -> None:
        """No response comes."""
        self.backend = None
        if status == 404:
            self._not_found(reason)
        else:
            self.vhost.warn(self.host, reason, self.source)
            self._answer(status)

    def interim(self, response: Response) -> None:
        """Pass it on to those who know of such things."""
        if response.status == 100 and self._request is not None and self._request.expects:
            self.vhost.expectations.discard(self._expect_no_more)
        if self._line.is_1_1:
            assert self.site is not None
            self.end.feed(memoryview(response.lines_for(self.site.rules, with_body=False, is_1_1=True) + b"\r\n"))

    def respond(self, response: Response, data: memoryview, done: bool) -> None:
        """The head of the response, in the form in which this user understands it, and what there is of the body."""
        assert self.site is not None
        assert self._request is not None
        self._started = True
        site_rules, line, length = self.site.rules, self._line, response.length
        is_1_1 = line.is_1_1
        with_body = not (response.is_bare or line.is_head)
        if self._request.expects:
            self.vhost.expectations.discard(self._expect_no_more)
        if self._unread or self._has_ended or (length < 0 and with_body and not is_1_1):
            self._keep = False
        head = response.lines_for(site_rules, with_body=with_body, is_1_1=is_1_1)
        if not response.has_date and not site_rules.sets_date:
            head += b"Date: %b\r\n" % self.vhost.clock.date()
        head += (b"\r\n" if is_1_1 else b"Connection: keep-alive\r\n\r\n") if self._keep else b"Connection: close\r\n\r\n"
        self._wrap = length == UNTIL_CLOSE and with_body and is_1_1
        if self._wrap:
            self.end.feed(memoryview(head + chunk(data) if data else head))
        elif len(data) <= _JOINED:
            self.end.feed(memoryview(head + data))
        else:
            self.end.feed(memoryview(head))
            self.end.feed(data)
        if done and self.state != OVER:
            self._finish()

    def body(self, data: memoryview | bytes, done: bool) -> None:
        """More of the body."""
        if self._wrap:
            data = (chunk(data) if data else b"") + (LAST if done else b"")
        if data:
            self.end.feed(memoryview(data))
        if done and self.state != OVER:
            self._finish()

    def torn(self, reason: str) -> None:
        """The rest of the response doesn't come, and the user has to notice."""
        self.backend = None
        self.vhost.warn(self.host, reason, self.source)
        self.abort()

    def switch(self, response: Response, rest: memoryview) -> None:
        """Go over to the protocol that was asked for."""
        backend, request = self.backend, self._request
        assert backend is not None
        assert request is not None
        assert self.site is not None
        if not request.upgrade or request.upgrade.lower() != response.upgrade.lower() or self._unread:
            backend.abort()
            self.failed(404, "the service switches to a protocol that nobody asked for")
            return
        self._started = True
        self.end.feed(memoryview(response.lines_for(self.site.rules, with_body=False, is_1_1=True) + b"\r\n"))
        self._join(backend, b"", rest)

    def _join(self, backend: Backend, head: bytes, rest: memoryview | bytes = b"") -> None:
        """From here on bytes are just passed on."""
        if self.state == OVER:
            return
        self._leave()
        proxy = backend.proxy
        user, end = self.end, backend.detach()
        received, sent = user.received_total, user.sent_total + user.kept
        early = head + self._data
        self._data = bytearray()
        relay = UserRelay(proxy, user, end, None, half_close=proxy.control.half_close, before=(received - len(early), sent))
        if early:
            end.feed(memoryview(early))
        if rest:
            user.feed(memoryview(rest))
        relay.start()
        if self._has_ended:
            relay.ended(user)

    # answers of our own

    def _not_found(self, reason: str) -> None:
        self.vhost.warn(self.host, reason, self.source)
        if self._line.method == b"CONNECT":
            self._keep = False
            self._send_last(self.vhost.answer_to_connect())
        else:
            page = self.vhost.page()
            self._answer(404, [(b"Content-Type", pages.content_type(page))], page)

    def _refuse(self, error: BadHead) -> None:
        """The connection can't be used any more."""
        self.backend = None
        self._keep = False
        self._unread = True
        self.vhost.refused(self.source, str(error))
        self._answer(error.status, [pages.TEXT], b"%d %b: %b\n" % (error.status, pages.reason_of(error.status), str(error).encode()))

    def _answer(self, status: int, fields: list[Field] | None = None, body: bytes = b"") -> None:
        if self._started:
            self.abort()
            return
        if self._unread or self._has_ended:
            self._keep = False
        fields = [*(fields or ()), (b"Date", self.vhost.clock.date())]
        if not self._keep:
            fields.append(pages.CLOSE)
        elif not self._line.is_1_1:
            fields.append((b"Connection", b"keep-alive"))
        answer = pages.response(status, fields, body, head_only=self._line.is_head)
        if self._keep:
            self.end.feed(memoryview(answer))
            if self.state != OVER:
                self._finish()
        else:
            self._send_last(answer)

    def _send_last(self, answer: bytes) -> None:
        self.end.feed(memoryview(answer))
        if self.state != OVER:
            self._close()

    # ending

    def _finish(self) -> None:
        """The response is complete."""
        self.backend = None
        self._request = None
        self._head = b""
        if not self._keep or self._has_ended:
            self._close()
            return
        self.state = IN_HEAD
        if self._data and not self._running:
            self._run()
        if self.state == IN_HEAD:
            self.end.start()

    def _close(self) -> None:
        """Nothing more is said; what was said still goes out."""
        end = self.end
        nothing_comes = not self._unread and not self._data
        self._leave()
        self._data = bytearray()
        if not end.kept and (self._has_ended or nothing_comes):
            end.close()
        else:
            Parting(self.vhost, end, has_ended=self._has_ended)

    def _leave(self) -> None:
        self.state = OVER
        self.vhost.users.pop(self, None)
        self.vhost.hold_unread(self, 0)
        if self._has_ended:
            self.vhost.finished.discard(self.fade)
        if self._timed:
            self._timed = False
            self.vhost.slow_heads.discard(self.expire)
        if self._request is not None and self._request.expects:
            self.vhost.expectations.discard(self._expect_no_more)

    def abort(self) -> None:
        """Break off."""
        backend, self.backend = self.backend, None
        self._leave()
        if backend is not None:
            backend.abort()
        self.end.abort()

    @property
    def is_resting(self) -> bool:
        """Whether he asks for nothing and waits for nothing."""
        return self.state == IN_HEAD and not self._data and not self.end.kept

    def retire(self) -> None:
        """Others need his place."""
        self._close()

    def expire(self) -> None:
        """The head didn't come in time."""
        self._timed = False
        self._close()

    # as the owner of its end

    def ended(self, end: End) -> None:
        """The user sends nothing more. A request that is complete is answered."""
        self._has_ended = True
        if self.state == IN_HEAD and not (self._data and self.end.kept):
            self._close()
        elif self.state in (IN_BODY, IN_CHUNKS):
            self.abort()
        else:
            self._sent_then = self.end.sent_total
            self.vhost.finished.add(self.fade)

    def fade(self) -> None:
        """He has sent nothing for a while: unless he gets something, nobody knows whether he is still there."""
        sent = self.end.sent_total
        if sent == self._sent_then:
            self.abort()
        else:
            self._sent_then = sent
            self.vhost.finished.add(self.fade)

    def broke(self, end: End, reason: str) -> None:
        """The user is gone."""
        backend, self.backend = self.backend, None
        self._leave()
        if backend is not None:
            backend.abort()

    def drained(self, end: End, n: int) -> None:
        """The user has taken more."""
        gone = not self.end.kept
        if self.backend is not None:
            self.backend.consumed(n, all_gone=gone)
        elif gone and self.state == IN_HEAD and self._data and not self._running and not self._takes_turns:
            self._run()
            if self._has_ended and self.state == IN_HEAD and not (self._data and self.end.kept):
                self._close()

    def flushed(self, end: End) -> None:
        """Not called: who is told that it is over has another owner."""


def may_end(data: bytearray, held: int) -> bool:
    """Whether a head of which `held` bytes were there before is worth another look."""
    if len(data) > MAX_HEAD or data.find(b"\r\n\r\n", max(0, held - 3)) >= 0:
        return True
    start = max(0, held - 1)
    return data.count(b"\n", start) != data.count(b"\r\n", start)


def ip_of(address: Any) -> bytes:
    """The IP address of a socket's address, as text; an IPv4 address in IPv6's clothes as IPv4."""
    host: str = address[0]
    return host.removeprefix("::ffff:").partition("%")[0].encode() if ":" in host and "." in host else host.partition("%")[0].encode()
