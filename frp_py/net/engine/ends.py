"""The ends of relayed connections: what a byte comes from and goes to.

An end hands what it receives to its `sink` and tells its `owner` what else happens. A sink takes bytes in one of two ways:
by `pull(recv_into)`, where it names the memory that a socket shall receive into (no copy), or by `feed(data)`. What a sink can't
pass on at once it keeps, and says how much; the owner hears of it (`drained`) when that is gone, and lets the source go on (`consumed`).
So whoever doesn't read stops just the one who sends to him.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP
from typing import TYPE_CHECKING, Protocol, TypeAlias

from frp_py.log import get_logger
from frp_py.net.engine.loop import READ, WRITE
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.protocol.yamux import BLOCKED, PullFrom

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine

log = get_logger()

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER

_PIECE = 16 * 1024  # bytes; what is kept in smaller pieces is put together

Kept: TypeAlias = deque[bytes | bytearray | memoryview]


def keep(queue: Kept, data: memoryview | bytes) -> None:
    """Keep a copy of `data`. A flood of tiny pieces costs hardly more than its bytes."""
    last = queue[-1] if queue else None
    if type(last) is bytearray and len(last) < _PIECE:
        last += data
    elif len(data) < _PIECE:
        queue.append(bytearray(data))
    else:
        queue.append(bytes(data))


class Sink(Protocol):
    """Takes the bytes that an end receives."""

    @property
    def kept(self) -> int:
        """Bytes taken and not passed on yet."""

    def pull(self, recv_into: PullFrom) -> int:
        """Let recv_into(memoryview) fill memory of the sink's, and take that; what it raises goes through. BLOCKED: not now."""

    def feed(self, data: memoryview) -> int:
        """Take all of `data`, which is valid during the call only; returns how much of it could not be passed on yet."""


class Owner(Protocol):
    """Hears what else happens to an end."""

    def ended(self, end: End) -> None:
        """Nothing more is received: the other side has finished."""

    def broke(self, end: End, reason: str) -> None:
        """The connection is lost in both directions. The end is closed."""

    def drained(self, end: End, n: int) -> None:
        """The end has passed on n bytes that it had kept, or (0) can take bytes again after BLOCKED."""

    def flushed(self, end: End) -> None:
        """After `finish`: all that was kept has gone, and the end of it has been said."""


class End(Sink, Protocol):
    """One side of a relayed connection."""

    sink: Sink
    owner: Owner

    @property
    def received_total(self) -> int:
        """Bytes received so far."""

    @property
    def sent_total(self) -> int:
        """Bytes handed on so far, without those kept."""

    def start(self) -> None:
        """Begin to receive, or go on after `pause`."""

    def pause(self) -> None:
        """Receive nothing for now."""

    def consumed(self, n: int) -> None:
        """n bytes, which the sink had kept, are gone."""

    def finish(self) -> None:
        """Nothing more will be sent: pass on what is kept, then say so. The owner hears `flushed`."""

    def close(self) -> None:
        """Give the connection up where it is; the owner hears nothing more."""

    def abort(self) -> None:
        """Give it up so that the other side learns that it didn't end well."""


class Drop:
    """A sink for bytes that nobody wants any more."""

    __slots__ = ("_scratch",)

    kept = 0

    def __init__(self, engine: Engine) -> None:
        self._scratch = engine.scratch

    def pull(self, recv_into: PullFrom) -> int:
        """Receive and forget."""
        return recv_into(self._scratch)

    def feed(self, data: memoryview) -> int:
        """Forget."""
        return 0


class Over:
    """Sink and owner of an end that was closed: it lets go of what it was joined to, so that all of it goes without the collector."""

    __slots__ = ()

    kept = 0

    def pull(self, recv_into: PullFrom) -> int:
        """Receive nothing."""
        return BLOCKED

    def feed(self, data: memoryview) -> int:
        """Forget."""
        return 0

    def ended(self, end: End) -> None:
        """Nobody hears of it."""

    def broke(self, end: End, reason: str) -> None:
        """Nobody hears of it."""

    def drained(self, end: End, n: int) -> None:
        """Nobody hears of it."""

    def flushed(self, end: End) -> None:
        """Nobody hears of it."""


OVER = Over()


class SocketEnd:
    """A non-blocking TCP (or unix) socket."""

    __slots__ = (
        "_events",
        "_finishing",
        "_kept",
        "_open",
        "_recv_into",
        "_send",
        "engine",
        "fd",
        "kept",
        "owner",
        "received_total",
        "sent_total",
        "sink",
        "sock",
    )

    def __init__(self, engine: Engine, sock: socket.socket, sink: Sink, owner: Owner) -> None:
        self.engine = engine
        self.sock = sock
        self.fd = sock.fileno()
        self.sink = sink
        self.owner = owner
        self.kept = 0
        """Bytes taken and not sent yet."""
        self.received_total = 0
        self.sent_total = 0
        self._kept: Kept | None = None
        self._events = -1  # not watched
        self._finishing = False
        self._open = True
        self._recv_into: Callable[[memoryview], int] = sock.recv_into
        self._send: Callable[[memoryview], int] = sock.send

    # as a source

    def start(self) -> None:
        """Begin to receive, or go on."""
        events = self._events
        if (events < 0 or not events & READ) and self._open:
            self._want(max(events, 0) | READ)

    def pause(self) -> None:
        """Receive nothing for now; that the connection is lost is still noticed."""
        if self._open:
            self._want(max(self._events, 0) & ~READ)

    def consumed(self, n: int) -> None:
        """The sink can take more."""
        if not self.sink.kept:
            self.start()

    def _want(self, events: int) -> None:
        if events != self._events:
            if self._events < 0:
                self.engine.watch(self.fd, events, self.on_event)
            else:
                self.engine.change(self.fd, events)
            self._events = events

    def on_event(self, events: int) -> None:
        """What epoll says of the socket. A stale event costs one call that finds nothing to do."""
        try:
            if events & WRITE:
                self._write_kept()
            if events != WRITE and self._open:
                if self._events & READ:
                    self._read()
                elif events & EPOLLERR:
                    self._break(OSError(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "connection lost"))
                elif events & EPOLLHUP:
                    # both directions are shut down, and what was received waits for the sink: epoll would say so again and again
                    self.engine.unwatch(self.fd)
                    self._events = -1
        except Exception:
            log.exception("bug in the use of a connection")
            self._break(OSError("internal error"))

    def _read(self) -> None:
        try:
            n = self.sink.pull(self._recv_into)
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)
            return
        if n > 0:
            self.received_total += n
        elif n == 0:
            self._events = quiet = self._events & ~READ
            self.owner.ended(self)
            if self._open and self._events == quiet:
                self.engine.change(self.fd, quiet)  # only now: as a rule the second end of a connection is closed by then
        elif n == BLOCKED:
            self.pause()

    # as a sink

    def pull(self, recv_into: PullFrom) -> int:
        """Receive into the engine's scratch memory and send from there."""
        if self.kept:
            return BLOCKED
        scratch = self.engine.scratch
        n = recv_into(scratch)
        if n:
            self.feed(scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Send, and keep what doesn't go."""
        if not self.kept:
            try:
                n = self._send(data)
            except BlockingIOError:
                n = 0
            except OSError as error:
                self._break(error)
                return 0
            self.sent_total += n
            if n == len(data):
                return 0
            data = data[n:]
            if self._kept is None:
                self._kept = deque()
            if self._open:
                self._want(max(self._events, 0) | WRITE)
        if not self._open:
            return 0
        assert self._kept is not None
        keep(self._kept, data)
        self.kept += len(data)
        return len(data)

    def _write_kept(self) -> None:
        queue = self._kept
        if queue is None or not self._open:
            return
        gone = 0
        try:
            while queue:
                piece = queue[0]
                n = self._send(memoryview(piece))
                gone += n
                if n < len(piece):
                    queue[0] = memoryview(piece)[n:]
                    break
                queue.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._break(error)
            return
        self.kept -= gone
        self.sent_total += gone
        if not queue:
            self._kept = None
            self._want(self._events & ~WRITE)
        if gone:
            self.owner.drained(self, gone)
        if self._finishing and not queue and self._open:
            self._say_end()

    # ending

    def finish(self) -> None:
        """Send what is kept, then FIN."""
        if not self._finishing and self._open:
            self._finishing = True
            if not self.kept:
                self._say_end()

    def _say_end(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._break(error)
            return
        self.owner.flushed(self)

    def close(self) -> None:
        """Close the socket; the kernel still sends what it has taken."""
        if self._open:
            self._open = False
            self._kept = None
            self.sink = self.owner = OVER
            self.engine.bury(self.sock, self.fd)

    def abort(self) -> None:
        """Close the socket with RST, so that the other side doesn't take what it got for the whole."""
        if self._open:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # a unix socket, or it is gone already
            self.close()

    def _break(self, error: OSError) -> None:
        if self._open:
            owner = self.owner
            self.close()
            owner.broke(self, error.strerror or str(error))


class TlsEnd(SocketEnd):
    """A socket under TLS whose handshake is done."""

    __slots__ = ("_tls",)

    _TURN = 16  # records, in one go

    def __init__(self, engine: Engine, sock: TlsSocket, sink: Sink, owner: Owner) -> None:
        super().__init__(engine, sock, sink, owner)
        self._tls = sock

    def start(self) -> None:
        """Go on; what has been received already is not announced by epoll."""
        super().start()
        if self._open and self._tls.buffered:
            self.engine.soon(self._go_on)

    def _go_on(self) -> None:
        self.on_event(READ)

    def _read(self) -> None:
        for _ in range(self._TURN):
            if not self._open or not self._events & READ:
                return
            before = self.received_total
            super()._read()
            if self.received_total == before or not self._tls.buffered:
                return
        self.engine.soon(self._go_on)


def socket_end(engine: Engine, sock: socket.socket, sink: Sink, owner: Owner) -> SocketEnd:
    """The end for a connected socket, whether it has TLS or not."""
    return TlsEnd(engine, sock, sink, owner) if isinstance(sock, TlsSocket) else SocketEnd(engine, sock, sink, owner)
