"""A work connection that carries HTTP/1.1 requests, one after the other, seen from the side of the users.

A requester hands it a request and hears of the response. Bodies pass in the pieces in which they come: what the requester can't
pass on is owed to the connection, whose window then closes, so that a user who doesn't read stops his service and nobody else.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Protocol

from frp_py.errors import FrpError
from frp_py.net.http.chunks import Chunks
from frp_py.net.http.heads import CHUNKED, INTERIM_COST, INTERIM_ROOM, MAX_HEAD, UNTIL_CLOSE, BadHead, head_end
from frp_py.protocol.messages import StartWorkConn
from frp_py.protocol.yamux import BLOCKED, PullFrom
from frp_py.server.vhost.messages import Response, responses

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.net.engine.stream import Holder
    from frp_py.server.proxies.base import PublicProxy
    from frp_py.server.vhost.http import HttpVhost
    from frp_py.server.vhost.sites import Site

_PEEK = 4096  # bytes in which nearly every head ends

WANTED, IDLE, IN_HEAD, IN_BODY, IN_CHUNKS, UNTIL_END, GONE = range(7)


class Requester(Protocol):
    """Who has sent a request."""

    backend: Backend | None
    """Set before the connection is there."""

    @property
    def raw_chunks(self) -> bool:
        """A chunked body goes on as it is; else its payload only."""

    @property
    def head_only(self) -> bool:
        """The method is HEAD."""

    @property
    def can_repeat(self) -> bool:
        """The request may be sent a second time when its connection turns out dead."""

    @property
    def source(self) -> tuple[str, int]:
        """The user's address."""

    @property
    def backlog(self) -> int:
        """Bytes that the user has not taken yet."""

    def connected(self, backend: Backend) -> None:
        """Here is the connection: send the request."""

    def failed(self, status: int, reason: str) -> None:
        """There will be no response; the connection is gone."""

    def interim(self, response: Response) -> None:
        """A 1xx response."""

    def switch(self, response: Response, rest: memoryview) -> None:
        """The service goes over to the protocol asked for; take the end, whose next bytes are `rest`. May refuse with `failed`."""

    def respond(self, response: Response, data: memoryview, done: bool) -> None:
        """The response, with the beginning of its body; `done`: that is all."""

    def body(self, data: memoryview | bytes, done: bool) -> None:
        """More of it."""

    def torn(self, reason: str) -> None:
        """The rest of the body doesn't come; the connection is gone."""

    def writable(self) -> None:
        """The connection takes more of the request's body."""


class Backend:
    """One connection to a service behind `proxy`. Its life: WANTED, then IN_HEAD, a state of the body, IDLE, and so on; GONE."""

    __slots__ = (
        "_chunks",
        "_complete_at",
        "_interim_room",
        "_left",
        "_partial",
        "_received",
        "_reusable",
        "_sent",
        "_sent_then",
        "complete",
        "end",
        "opened_at",
        "owed",
        "proxy",
        "requester",
        "reused",
        "since",
        "site",
        "state",
        "vhost",
    )

    def __init__(self, vhost: HttpVhost, site: Site | None, proxy: PublicProxy, requester: Requester) -> None:
        self.vhost = vhost
        self.site = site
        """Where it is kept when it is idle; None: nowhere."""
        self.proxy = proxy
        self.requester: Requester | None = requester
        self.state = WANTED
        self.reused = False
        self.complete = False
        """The request has been sent to its end, with all of the body that its head announces."""
        self.owed = 0
        """Bytes received that the user doesn't have yet."""
        self.since = 0  # tick of what is waited for
        self.opened_at = 0.0
        """Unix seconds."""
        self.end: End
        self._sent = self._received = 0
        self._sent_then = 0
        self._complete_at = 0  # bytes sent when the request is complete; CHUNKED: that isn't told in advance
        self._interim_room = 0  # for responses of status 1xx
        self._left = 0
        self._reusable = False
        self._partial: bytes | bytearray = b""
        self._chunks: Chunks | None = None

    # getting it

    def want(self) -> None:
        """Ask for a work connection."""
        self.proxy.control.work.want(self)

    def serve(self, work: Holder) -> bool:
        """There it is."""
        requester = self.requester
        assert requester is not None
        host, port = requester.source
        try:
            start = StartWorkConn(self.proxy.name, host, "", port)
            work.end.feed(memoryview(self.proxy.control.wire.pack(start)))
        except FrpError as error:
            work.end.abort()
            self.give_up(str(error))
            return True
        if work.is_lost:
            return False
        self.opened_at = time()
        self.end = end = self.proxy.application_end(work)
        end.sink = end.owner = self
        self.state = IDLE
        self.proxy.count_open()
        work.hand_over()
        if self.state == IDLE:
            end.start()
            self.begin(requester)
        return True

    def give_up(self, reason: str) -> None:
        """There is none."""
        self.state = GONE
        requester, self.requester = self.requester, None
        if requester is not None:
            requester.failed(404, reason)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the user is whom it serves; None when it waits for its next request."""
        return self.requester.source if self.requester is not None else None

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes to and from the service, so far."""
        return self._sent, self._received

    @property
    def is_connected(self) -> bool:
        """It is there, and not gone again."""
        return WANTED < self.state < GONE

    # the request

    def begin(self, requester: Requester) -> None:
        """Serve `requester`, who sends his request now."""
        self.requester = requester
        self.state = IN_HEAD
        self.complete = False
        self._interim_room = INTERIM_ROOM
        self.vhost.active[self] = None
        requester.connected(self)

    def ask(self, head: bytes, length: int) -> None:
        """Send a request's head; `length` of the body as in `heads.request_length`."""
        self._complete_at = self._sent + len(head) + length if length >= 0 else CHUNKED
        self.send(head)

    def send(self, data: bytes | memoryview) -> int:
        """Send, and keep what doesn't go; returns how much that is."""
        self._sent += len(data)
        return self.end.feed(memoryview(data))

    def send_from(self, recv_into: PullFrom) -> int:
        """Send what `recv_into` receives; BLOCKED: not now, `writable` comes."""
        n = self.end.pull(recv_into)
        if n > 0:
            self._sent += n
        return n

    def request_sent(self) -> None:
        """The request is complete: from now on the service has its time to answer.

        Of one whose body isn't as long as announced the service awaits more, or has more: its connection is never used again.
        """
        self.complete = self._complete_at in (self._sent, CHUNKED)
        self.since = self.vhost.tick

    # as the sink of its end

    @property
    def kept(self) -> int:
        """Bytes not passed on yet."""
        return self.owed

    def pull(self, recv_into: PullFrom) -> int:
        """Receive and pass on."""
        if self.owed:
            return BLOCKED
        scratch = self.vhost.engine.scratch
        n = recv_into(scratch)
        if n:
            self.feed(scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Pass on; returns how much the user has not taken."""
        n = len(data)
        self._received += n
        requester = self.requester
        if requester is None:
            self.close()  # nobody has asked
            return 0
        try:
            if self.state == IN_HEAD:
                self._take_head(requester, data)
            else:
                self._take_body(requester, data)
        except BadHead as error:
            self._invalid(str(error))
            return 0
        if self.requester is requester and requester.backlog:
            self.owed += n
            return n
        return 0

    def consumed(self, n: int, *, all_gone: bool) -> None:
        """The user has taken n bytes, or all there was."""
        done = self.owed if all_gone else min(n, self.owed)
        if done:
            self.owed -= done
            self.end.consumed(done)

    def _take_head(self, requester: Requester, data: memoryview) -> None:
        if self._partial:
            seen_to = max(0, len(self._partial) - 2)
            self._partial += data
            if len(self._partial) <= MAX_HEAD and head_end(self._partial, seen_to) < 0:
                return
            data, self._partial = memoryview(self._partial), b""
        while True:
            seen = bytes(data[:_PEEK])
            at = head_end(seen)
            if at < 0 and len(data) > _PEEK:
                seen = bytes(data[: MAX_HEAD + 1])
                at = head_end(seen)
            if at < 0:
                if len(seen) > MAX_HEAD:
                    raise BadHead("response header too large")
                self._partial = bytearray(seen)
                return
            response = responses.get(seen[:at])
            data = data[at:]
            if response.status >= 200:
                self._respond(requester, response, data)
                return
            if response.status == 101:
                self.state = UNTIL_END
                requester.switch(response, data)
                return
            self._interim_room -= max(at, INTERIM_COST)
            if self._interim_room < 0:
                raise BadHead("too many responses before the response")
            requester.interim(response)

    def _respond(self, requester: Requester, response: Response, data: memoryview) -> None:
        length = 0 if response.is_bare or requester.head_only else response.length
        if length >= 0:
            n = len(data)
            if n < length:
                self.state = IN_BODY
                self._left = length - n
                requester.respond(response, data, False)
            else:
                self._free(keep=response.keep_alive and n == length)
                requester.respond(response, data[:length], True)
        elif length == UNTIL_CLOSE:
            self.state = UNTIL_END
            requester.respond(response, data, False)
        else:
            assert length == CHUNKED
            self.state = IN_CHUNKS
            self._chunks = chunks = Chunks()
            payload, used = self._unchunk(requester, chunks, data)
            if chunks.done:
                self._free(keep=response.keep_alive and used == len(data))
            else:
                self._reusable = response.keep_alive
            requester.respond(response, memoryview(payload), chunks.done)

    def _take_body(self, requester: Requester, data: memoryview) -> None:
        if self.state == IN_BODY:
            n = len(data)
            if n < self._left:
                self._left -= n
                requester.body(data, False)
            else:
                left = self._left
                self._free(keep=n == left)
                requester.body(data[:left], True)
        elif self.state == IN_CHUNKS:
            assert self._chunks is not None
            chunks = self._chunks
            payload, used = self._unchunk(requester, chunks, data)
            if chunks.done:
                self._free(keep=self._reusable and used == len(data))
            requester.body(payload, chunks.done)
        elif self.state == UNTIL_END:
            requester.body(data, False)

    @staticmethod
    def _unchunk(requester: Requester, chunks: Chunks, data: memoryview) -> tuple[memoryview | bytes, int]:
        pieces, used = chunks.receive(data)
        return data[:used] if requester.raw_chunks else b"".join(pieces), used

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """Those of the chunked body that has just ended."""
        return self._chunks.trailers if self._chunks is not None else []

    def _free(self, *, keep: bool) -> None:
        """The response is complete."""
        vhost = self.vhost
        vhost.active.pop(self, None)
        self.requester = None
        if keep and self.complete and self.site is not None and (idle := self.site.idle.get(self.proxy)) is not None:
            self.state = IDLE
            self.reused = True
            self.owed = 0
            self.since = vhost.tick
            idle.append(self)
        else:
            self._leave()
            self.end.close()

    def _invalid(self, reason: str) -> None:
        state = self.state
        requester = self._leave()
        self.end.abort()
        if requester is not None:
            if state == IN_HEAD:
                requester.failed(404, reason)
            else:
                requester.torn(reason)

    # as the owner of its end

    def ended(self, end: End) -> None:
        """The service has closed."""
        state = self.state
        if state == UNTIL_END and self.requester is not None:
            requester = self.requester
            self._free(keep=False)
            requester.body(b"", True)
        else:
            self._lost("connection closed by the service", state)

    def broke(self, end: End, reason: str) -> None:
        """The connection is lost."""
        self._lost(reason, self.state)

    def _lost(self, reason: str, state: int) -> None:
        if state == GONE:
            return
        unanswered = state == IN_HEAD and not self._partial
        requester = self._leave()
        self.end.close()
        if requester is None:
            return
        if state != IN_HEAD:
            requester.torn(reason)
        elif unanswered and self.reused and requester.can_repeat:
            self.vhost.repeat(requester, self)
        else:
            requester.failed(404, reason)

    def drained(self, end: End, n: int) -> None:
        """There is room for more of the request."""
        if self.requester is not None:
            self.requester.writable()

    def flushed(self, end: End) -> None:
        """Nobody waits for that."""

    # ending

    def _leave(self) -> Requester | None:
        """Stop counting it; returns whom it served."""
        requester, self.requester = self.requester, None
        if self.state != GONE:
            self.state = GONE
            self.vhost.active.pop(self, None)
            if self.site is not None:
                self.site.lost(self)
            self.proxy.count_closed()
            self.proxy.count(*self.traffic)
        return requester

    def detach(self) -> End:
        """The end, for a relay: only that is counted from here on which has passed until now."""
        self._leave()
        return self.end

    def close(self) -> None:
        """It is not needed any more."""
        if self.state != GONE:
            self._leave()
            self.end.close()

    def abort(self) -> None:
        """The requester is gone, or can't go on."""
        if self.state == WANTED:
            self.state = GONE
            self.requester = None
            self.proxy.control.work.leave(self)
        elif self.state != GONE:
            self._leave()
            self.end.abort()

    def each_second(self, tick: int, overdue: int, stalled: int) -> None:
        """Don't wait for a response that is due since the tick `overdue`, nor for a request of which nothing came since `stalled`."""
        if self.state != IN_HEAD:
            return
        if self.complete:
            if self.since < overdue:
                self._expire(504, "timeout awaiting response headers")
        elif self._sent != self._sent_then or self.end.kept:  # something comes, or it is the service that doesn't take it
            self._sent_then = self._sent
            self.since = tick
        elif self.since < stalled:
            self._expire(408, "timeout awaiting the body of a request")

    def _expire(self, status: int, reason: str) -> None:
        requester = self._leave()
        self.end.abort()
        if requester is not None:
            requester.failed(status, reason)
