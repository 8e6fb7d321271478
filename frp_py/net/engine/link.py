"""A link: the one connection between a client and its server that carries all streams (wire.md 2).

The link alone reads and writes its socket. What streams have to say is collected in the session's buffer and sent once a
batch; a stream that finds no room waits, and with it only the one who feeds it.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from frp_py.errors import PeerError
from frp_py.log import Logger
from frp_py.net.engine.ends import OVER, End, Kept, Owner, Sink, keep
from frp_py.net.engine.loop import READ, SCRATCH_SIZE, WRITE
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.protocol import yamux
from frp_py.protocol.yamux import PullFrom, Session, Stream

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine

_HELD = yamux.HELD
_TCP_INFO_RTT = 68  # where the smoothed round-trip time stands in struct tcp_info, in us
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
# What comes later than a rush waits behind so many bytes that the system has not begun to send, not behind megabytes.
_UNSENT = 128 * 1024
# On a slow way it waits behind what goes in so many seconds, once in our buffer and once in the system's.
_QUEUED = 0.004
_SLOW, _FAST = 0.5, 0.1  # of a second: blocked for more than that, or for less, a way is slow, or fast
_PING_ANSWER = 10  # s to answer a keep-alive ping (wire.md 2.6)
_ACK = 75  # s to accept a stream
_CLOSE = 300  # s to finish a stream that we have closed
_MOST_CLOSED = 16384  # such streams; beyond them the one closed first has had its time
_FULL_RECORD = 16000  # bytes; TLS records that carry much have a little over that
_READ_TURN = 1 << 20  # bytes taken from one link before others get their turn
_LONG = 0.01  # s; a link whose bytes take longer to be dealt with gives fewer of them at a time
_LEAST = 16384  # bytes, or the rest of a TLS record would be taken for the next one
_GONE = "connection closed by the other side"
_TOO_MANY_ANSWERS = "asks for more answers than it reads"


class MuxEnd(Stream):
    """A stream of a link, as the end of a relayed connection."""

    __slots__ = ("_finishing", "_kept", "kept", "link", "owner", "received_total", "sent_total", "sink")

    def __init__(self, session: Session, stream_id: int, link: MuxLink, sink: Sink, owner: Owner) -> None:
        super().__init__(session, stream_id)
        self.link = link
        self.sink = sink
        self.owner = owner
        self.kept = 0
        self.received_total = 0
        self.sent_total = 0
        self._kept: Kept | None = None
        self._finishing = False

    # as a source

    def start(self) -> None:
        """Nothing to do: the window is what holds the peer back."""

    def pause(self) -> None:
        """Nothing to do: what the sink keeps isn't credited."""

    def received(self, data: memoryview) -> None:
        """Payload came."""
        n = len(data)
        self.received_total += n
        try:
            kept = self.sink.feed(data)
        except Exception:
            self._fail()
            return
        if not kept and (owed := self._owed + n) < self._window >> 1:
            self._owed = owed  # as `consumed` does, nearly every time
        elif kept < n:
            self.consumed(n - kept, keeps_up=not kept)

    def consumed(self, n: int, *, keeps_up: bool = True) -> None:
        """n bytes, which the sink had kept, are gone."""
        super().consumed(n, keeps_up=keeps_up and not self.sink.kept)

    def finished(self) -> None:
        """The peer has sent FIN."""
        try:
            self.owner.ended(self)
        except Exception:
            self._fail()

    def broken(self, reason: str) -> None:
        """RST, or the link is lost."""
        self._kept = None
        self.kept = 0
        owner, self.sink, self.owner = self.owner, OVER, OVER
        try:
            owner.broke(self, reason)
        except Exception:
            self.link.log.exception("bug in the use of stream %d", self.id)

    def _fail(self) -> None:
        """A bug in what a stream is used for costs that stream, not the link."""
        self.link.log.exception("bug in the use of stream %d", self.id)
        self.reset()
        self.broken("internal error")

    # as a sink: `pull` is the stream's own

    def feed(self, data: memoryview) -> int:
        """Send, and keep what doesn't go."""
        n = 0
        if not self.kept:
            n = self.send(data)
            self.sent_total += n
            if n == len(data):
                return 0
            if self.state & 6:
                return 0
            self._kept = deque()
            self.state |= _HELD
        assert self._kept is not None
        keep(self._kept, data[n:] if n else data)
        self.kept += len(data) - n
        return len(data) - n

    def writable(self) -> None:
        """There is room again."""
        queue, gone = self._kept, 0
        if queue is not None:
            self.state &= ~_HELD
            while queue:
                piece = queue.popleft()
                n = self.send(piece)
                gone += n
                if n < len(piece):
                    queue.appendleft(memoryview(piece)[n:])
                    break
            self.kept -= gone
            self.sent_total += gone
            if queue:
                self.state |= _HELD
            else:
                self._kept = None
        try:
            self.owner.drained(self, gone)
            if self._finishing and not self.kept:
                self._say_end()
        except Exception:
            self._fail()

    # ending

    def finish(self) -> None:
        """Send what is kept, then FIN."""
        if not self._finishing:
            self._finishing = True
            if not self.kept:
                self._say_end()

    def _say_end(self) -> None:
        super().finish()
        self.owner.flushed(self)

    def close(self) -> None:
        """Say that it is over, and take nothing more.

        A peer that keeps half-closed connections would go on sending: its next byte is answered with RST, as TCP does.
        Another one (frp) closes when it sees our FIN, and would lose by RST what it hasn't read yet.
        """
        super().finish()
        if self.state & self.GONE:
            self.sink = self.owner = OVER
            return
        if self.link.half_close:
            closed = self.link.closed
            self.owner = self.sink = closed[self.id] = Closed(self)
            if len(closed) > _MOST_CLOSED:
                next(iter(closed.values())).expire()
        else:
            self.sink = self.owner = OVER
            self.forget()

    def abort(self) -> None:
        """Reset the stream."""
        self.sink = self.owner = OVER
        self.reset()


class Closed:
    """What is left of a stream that was closed on this side, until the peer has finished it too."""

    __slots__ = ("_end", "at")

    kept = 0

    def __init__(self, end: MuxEnd) -> None:
        self._end = end
        self.at = end.session.ticks

    def pull(self, recv_into: PullFrom) -> int:
        """Not called: a stream feeds."""
        raise NotImplementedError

    def feed(self, data: memoryview) -> int:
        """The peer still sends: it gets to know."""
        self.expire()
        return 0

    def expire(self) -> None:
        """It has had its time."""
        self._end.link.closed.pop(self._end.id, None)
        self._end.reset()

    def ended(self, end: End) -> None:
        """The peer has finished it too."""
        self._end.link.closed.pop(self._end.id, None)

    def broke(self, end: End, reason: str) -> None:
        """The peer has given it up."""
        self._end.link.closed.pop(self._end.id, None)

    def drained(self, end: End, n: int) -> None:
        """Nothing is kept."""

    def flushed(self, end: End) -> None:
        """That has been."""


class MuxLink:
    """A yamux session over a connected socket, plain or under TLS.

    `on_open(link, session, stream_id)` makes the end for a stream that the peer opens, or returns None to refuse it.
    `on_lost(reason)` is called once, when the link is gone by whatever cause, `close` too; all its streams have been told by then.
    """

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        *,
        client: bool,
        keepalive: int,
        log: Logger,
        on_open: Callable[[MuxLink, Session, int], MuxEnd | None],
        on_lost: Callable[[str], None],
        max_streams: int = 1 << 20,
    ) -> None:
        self.engine = engine
        self.half_close = False
        """Whether the peer was found to keep half-closed connections."""
        self.closed: dict[int, Closed] = {}
        """By stream; the one closed first comes first."""
        self.log = log
        self.allowance: int | None = None
        """Bytes that may still come, where that is limited."""
        self.session = Session(
            client=client,
            new_stream=partial(on_open, self),
            buffers=engine.buffers,
            budget=engine.window_budget,
            wake=partial(engine.flush_later, self.flush),
            flush=self.flush,
            max_streams=max_streams,
        )
        self._sock = sock
        self._fd = sock.fileno()
        self._send: Callable[[memoryview], int] = sock.send
        self._receive: Callable[[memoryview, int], int] = sock.recv_into
        self._read = self._read_plain
        self._tls = sock if isinstance(sock, TlsSocket) else None
        if self._tls is not None:
            self._read = self._read_tls
            engine.soon(self._read)  # something may have come with the handshake
        self._keepalive = keepalive
        self._quiet = 0  # s since the last ping; while it isn't answered, since the last sign of life
        self._heard = False  # something came, or room to send: a ping behind megabytes on a slow line is answered late
        self._on_lost = on_lost
        self._open = True
        self._room = SCRATCH_SIZE  # bytes taken at a time: of frames that open streams and reset them, 256 KiB take 0.3 s
        self._blocked = False
        self._blocked_at = 0.0
        self._blocked_for = 0.0  # s since the last tick
        self._sent = 0  # bytes since then
        if _NOTSENT_LOWAT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT)
        engine.watch(self._fd, READ, self._on_event)
        engine.each_second(self._tick)

    @property
    def round_trip(self) -> float:
        """Seconds to the other side and back, as TCP has measured it; 0.0 where the system doesn't tell."""
        if sys.platform != "linux":
            return 0.0
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT + 4)
        except OSError:
            return 0.0
        return int.from_bytes(info[_TCP_INFO_RTT:], sys.byteorder) / 1e6

    def prefer(self) -> None:
        """Whoever is on the other side is known: floods of users don't keep him waiting."""
        if self._open:
            self.engine.prefer(self._fd)
            if self._tls is not None:
                self._tls.trust()

    @property
    def is_open(self) -> bool:
        """Whether streams can still be used."""
        return self._open

    def open(self, sink: Sink, owner: Owner) -> MuxEnd:
        """Open a stream. Raises PeerError; a link that takes no more streams is given up, so that a new one is made."""
        if not self._open:
            raise PeerError("link is closed")
        try:
            end = self.session.open(lambda session, stream_id: MuxEnd(session, stream_id, self, sink, owner))
        except PeerError as error:
            reason = str(error)
            self.engine.soon(lambda: self._lose(reason))
            raise
        assert isinstance(end, MuxEnd)
        return end

    def close(self) -> None:
        """Send what is waiting, as far as it goes at once, and close."""
        if self._open:
            self.flush()
        self._lose("link closed")

    # events

    def _on_event(self, events: int) -> None:
        self._heard = True
        if events == READ:
            self._read()
            return
        if events & WRITE:
            self._blocked = False
            self._blocked_for += perf_counter() - self._blocked_at
            self.engine.change(self._fd, READ)
            self.flush()
        if events != WRITE and self._open:
            self._read()

    def _read_plain(self) -> None:
        scratch = self.engine.scratch
        try:
            n = self._receive(scratch, self._room)
            if n == 0:
                self._lose(_GONE)
            else:
                self._take(scratch[:n])
        except BlockingIOError:
            return
        except Exception as error:
            self._fail(error)

    def _read_tls(self) -> None:
        if not self._open:
            return  # put off until now
        assert self._tls is not None
        scratch, receive = self.engine.scratch, self._receive
        budget = _READ_TURN
        try:
            while True:
                n = receive(scratch, self._room)
                # Where a record was not full, there will hardly be another. If there is, it is still in the socket: epoll tells.
                over = n < _FULL_RECORD
                if not over:
                    n, over = self._read_more(n)
                elif n == 0:
                    self._lose(_GONE)
                    return
                self._take(scratch[:n])
                if not self._open:
                    return
                budget -= n
                if self._tls.buffered if over else budget <= 0 or self._room < SCRATCH_SIZE:
                    self.engine.soon(self._read)
                    return
                if over:
                    return
        except BlockingIOError:
            return
        except Exception as error:
            self._fail(error)

    def _read_more(self, got: int) -> tuple[int, bool]:
        """Fill the scratch memory, behind `got` bytes, with what is there: as many bytes as came, and whether that was all for now."""
        scratch, receive = self.engine.scratch, self._receive
        try:
            room = self._room
            while got < room:
                n = receive(scratch[got:], room - got)
                if not n:
                    self.engine.soon(self._read)  # which finds the end again
                    return got, True
                got += n
                if n < _FULL_RECORD and got < room:
                    return got, True
        except OSError:
            return got, True  # nothing more, or a failure that is found again when this was dealt with
        return got, False

    def _take(self, data: memoryview) -> None:
        if self.allowance is not None:
            self.allowance -= len(data)
            if self.allowance < 0:
                raise PeerError("sends more than it may")
        session = self.session
        if len(data) < _LEAST:
            session.receive_data(data)
        else:
            began = perf_counter()
            session.receive_data(data)
            took = perf_counter() - began
            if took > _LONG:
                self._room = max(_LEAST, self._room >> 2)  # the others wait as long as one link is dealt with
            elif self._room < SCRATCH_SIZE and took < _LONG / 4:
                self._room <<= 1
        if session.overflowed:
            raise PeerError(_TOO_MANY_ANSWERS)

    def _fail(self, error: Exception) -> None:
        """The end of the link, by what was raised while it was read."""
        if isinstance(error, PeerError):
            self._violated(error)
        elif isinstance(error, OSError):
            self._lose(_reason(error))
        else:
            self.log.exception("bug in the handling of a link")
            self._lose("internal error")

    def flush(self) -> None:
        """Send what the session has to send; what doesn't go now goes when the socket is writable."""
        session = self.session
        if self._blocked or not self._open:
            return
        try:
            send = self._send
            while (view := session.view) is not None and session.start < session.end:
                n = send(view[session.start : session.end])
                self._sent += n
                session.sent(n)
        except BlockingIOError:
            self._blocked = True
            self._blocked_at = perf_counter()
            self.engine.change(self._fd, READ | WRITE)
            return
        except OSError as error:
            # Not in the midst of whoever had something to say: his streams may be in no state to be told.
            reason = _reason(error)
            self._blocked = True
            self.engine.soon(lambda: self._lose(reason))
            return
        session.drained()

    def _tick(self) -> None:
        if not self._open:
            return  # another link's tick has just closed this one
        session = self.session
        session.ticks += 1
        session.rest()
        self._fit_queue()
        try:
            if self._keepalive > 0:
                self._quiet += 1
                if session.ping_seen < session.ping_sent:
                    if self._heard:
                        self._heard = False
                        self._quiet = 0
                    elif self._quiet >= _PING_ANSWER:
                        self._lose(f"keep-alive not answered within {_PING_ANSWER} s")
                        return
                elif self._quiet >= self._keepalive:
                    self._quiet = 0
                    self._heard = False
                    session.ping()
            if session.unacknowledged:
                oldest = next(iter(session.unacknowledged.values()))
                if session.ticks - oldest.opened_at > _ACK:
                    self._lose(f"stream {oldest.id} not accepted within {_ACK} s")
            if session.overflowed:
                raise PeerError(_TOO_MANY_ANSWERS)
        except PeerError as error:
            self._violated(error)
        while self.closed and (oldest_closed := next(iter(self.closed.values()))).at + _CLOSE <= session.ticks:
            oldest_closed.expire()

    def _fit_queue(self) -> None:
        """Keep no more in front of what comes next than the way takes in a few milliseconds."""
        if self._blocked:
            now = perf_counter()
            self._blocked_for += now - self._blocked_at
            self._blocked_at = now
        if self._blocked_for > _SLOW:
            self._queue(int(self._sent * _QUEUED))
        elif self._blocked_for < _FAST and self.session.most_queued < yamux.MOST_QUEUED:
            self._queue(yamux.MOST_QUEUED)
        self._blocked_for = 0.0
        self._sent = 0

    def _queue(self, most: int) -> None:
        self.session.most_queued = max(yamux.LEAST_QUEUED, min(most, yamux.MOST_QUEUED))
        if _NOTSENT_LOWAT is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, max(yamux.LEAST_QUEUED, min(most, _UNSENT)))

    # ending

    def _violated(self, error: PeerError) -> None:
        if self._open:
            self.log.warning("link ended, the other side broke the protocol: %s", error)
            try:
                self.session.go_away(yamux.PROTOCOL_ERROR)
                self.flush()
            except PeerError:
                pass  # it doesn't read
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        if self._open:
            self._open = False
            self.engine.not_each_second(self._tick)
            self.engine.bury(self._sock, self._fd)
            self._read = _nothing
            on_lost, self._on_lost = self._on_lost, _nothing
            try:
                self.session.broken(reason)
            finally:
                on_lost(reason)


def _nothing(*_: object) -> None:
    """In place of what would hold on to a link that is gone."""


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
