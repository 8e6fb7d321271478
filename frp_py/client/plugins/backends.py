"""Connections to the services behind the HTTP plugins, kept for reuse while they are good."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from frp_py.errors import FrpError, PeerError
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.stream import EndStream
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.net.http.heads import (
    CHUNKED,
    INTERIM_COST,
    INTERIM_ROOM,
    Field,
    block_of,
    fields_of,
    leaves_open,
    lenient,
    response_length,
    status_line,
)
from frp_py.net.serving.exchange import has_body
from frp_py.net.serving.reading import Reading
from frp_py.net.transports import tls

if TYPE_CHECKING:
    from frp_py.client.session import Session

_HANDSHAKE = 10  # s
_IDLE = 60  # s that a connection is kept
_IDLE_MOST = 32  # connections that are kept
_STALL = 300  # s for a service to take a piece of a body

Address = tuple[str, int]


class BackendError(FrpError):
    """The service can't be reached, or doesn't keep to HTTP."""


class Backend:
    """One connection to a service, on one request at a time. All methods raise BackendError."""

    __slots__ = (
        "_chunked",
        "_due",
        "_interim_room",
        "_is_1_1",
        "_keep_alive",
        "_reading",
        "_sent",
        "address",
        "idle_since",
        "reason",
        "stream",
        "used",
    )

    def __init__(self, address: Address, stream: EndStream) -> None:
        self.address = address
        self.stream = stream
        self.used = False
        """Whether it has answered a request before this one."""
        self.idle_since = 0.0
        self.reason = b""
        self._reading = Reading(stream)
        self._chunked = False
        self._due = 0  # bytes of the request's body that were announced and have not been sent
        self._sent = False
        self._interim_room = 0  # for responses of status 1xx
        self._is_1_1 = True
        self._keep_alive = True

    async def ask(self, method: bytes, target: bytes, fields: Sequence[Field], length: int, *, always_length: bool) -> None:
        """Send a request's head; `length` of the body as in `heads.request_length`."""
        lines = [*fields]
        self._chunked = length == CHUNKED
        if self._chunked:
            lines.append((b"Transfer-Encoding", b"chunked"))
        elif length or always_length:
            lines.append((b"Content-Length", b"%d" % length))
        self._due = max(length, 0)
        self._sent = not length
        self._interim_room = INTERIM_ROOM
        await self._send(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, block_of(lines)))

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        if not self._chunked:
            self._due -= len(data)
            if self._due < 0:
                raise BackendError("the body is longer than was announced")
        await self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def end(self, trailers: Sequence[Field]) -> None:
        """The body is complete; if it is shorter than was announced the service awaits more, and the connection isn't used again."""
        if self._chunked:
            await self._send(b"0\r\n%b\r\n" % block_of(trailers))
        self._sent = not self._due

    async def _send(self, data: bytes) -> None:
        try:
            with trio.fail_after(_STALL):
                await self.stream.send_all(data)
        except trio.TooSlowError:
            raise BackendError("the service takes nothing") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise BackendError(str(error)) from None

    async def response(self, method: bytes) -> tuple[int, list[Field], int]:
        """Status, fields and length of the body of the next response, which may be a 1xx."""
        try:
            head = await self._reading.head()
            if head is None:
                raise BackendError("closed without a response")
            line, _, block = lenient(head)[:-2].partition(b"\r\n")
            status, self.reason, self._is_1_1 = status_line(line)
            if status < 200:
                self._interim_room -= max(len(head), INTERIM_COST)
                if self._interim_room < 0:
                    raise BackendError("too many responses before the response")
            fields = fields_of(block)
            length = response_length(fields, is_1_1=self._is_1_1)
        except PeerError as error:
            raise BackendError(str(error)) from None
        self._keep_alive = leaves_open(fields, is_1_1=self._is_1_1)
        self._reading.begin_body(length if has_body(method, status) else 0)
        return status, fields, length

    async def body(self) -> bytes:
        """The next piece of the body; none at its end."""
        try:
            return await self._reading.body()
        except PeerError as error:
            raise BackendError(str(error)) from None

    @property
    def trailers(self) -> list[Field]:
        """What came behind the body."""
        return self._reading.trailers

    @property
    def reusable(self) -> bool:
        """Whether all was said in both directions, and neither side wants to close."""
        return self._keep_alive and self._sent and self._reading.body_is_over and not self._reading.has_more and self.stream.is_quiet

    def take_rest(self) -> bytes:
        """What came behind the last head, for those who go on with something else."""
        return self._reading.take_rest()


class Backends:
    """Opens connections, with TLS or without, and keeps the good ones for a while."""

    def __init__(self, session: Session, *, use_tls: bool) -> None:
        self._session = session
        self._engine = session.engine
        self._context = _context() if use_tls else None
        self._idle: list[Backend] = []  # longest idle first

    async def take(self, address: Address) -> Backend:
        """A connection to `address`. Raises BackendError."""
        for at in range(len(self._idle) - 1, -1, -1):
            if self._idle[at].address == address:
                backend = self._idle.pop(at)
                if backend.stream.is_quiet:
                    return backend
                backend.stream.close()
        return await self.open(address)

    async def open(self, address: Address) -> Backend:
        """A new connection. Raises BackendError."""
        return Backend(address, await self._connect(address))

    def give_back(self, backend: Backend) -> None:
        """It isn't needed any longer."""
        if not backend.reusable:
            backend.stream.close()
            return
        backend.used = True
        backend.idle_since = trio.current_time()
        self._idle.append(backend)
        if len(self._idle) > _IDLE_MOST:
            self._idle.pop(0).stream.close()

    def sweep(self) -> None:
        """Close those that are of no use any more."""
        oldest = trio.current_time() - _IDLE
        kept = []
        for backend in self._idle:
            if backend.idle_since > oldest and backend.stream.is_quiet:
                kept.append(backend)
            else:
                backend.stream.close()
        self._idle = kept

    def close(self) -> None:
        """Close those that nobody uses."""
        for backend in self._idle:
            backend.stream.close()
        self._idle.clear()

    async def _connect(self, address: Address) -> EndStream:
        sock = await _Dialing(self._session, address).result()
        if self._context is not None:
            sock = await self._handshake(self._context, sock, address[0])
        stream = EndStream(self._engine)
        return stream.attach(socket_end(self._engine, sock, stream, stream))

    async def _handshake(self, context: ssl.SSLContext, sock: socket.socket, name: str) -> TlsSocket:
        wrapped = None
        try:
            wrapped = tls.wrap_client(context, sock, name)
            with trio.fail_after(_HANDSHAKE):
                await tls.handshake(wrapped)
        except (OSError, ValueError, trio.TooSlowError) as error:
            (wrapped or sock).close()
            reason = tls.reason(error) if isinstance(error, OSError) else str(error) or "handshake not finished in time"
            raise BackendError(f"tls: {reason}") from None
        except BaseException:
            (wrapped or sock).close()
            raise
        return wrapped


def _context() -> ssl.SSLContext:
    from frp_py.config.common import TlsFiles

    context = tls.client_context(TlsFiles())
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Dialing:
    """Waits for what the dialer brings."""

    def __init__(self, session: Session, address: Address) -> None:
        self._engine = session.engine
        self._done = trio.Event()
        self._sock: socket.socket | None = None
        self._reason = ""
        self._given_up = False
        session.dialer.dial(*address, self._connected, self._failed)

    def _connected(self, sock: socket.socket) -> None:
        if self._given_up:
            sock.close()
            return
        self._sock = sock
        self._wake()

    def _failed(self, reason: str) -> None:
        self._reason = reason
        self._wake()

    def _wake(self) -> None:
        self._engine.tasks_wait = True
        self._done.set()

    async def result(self) -> socket.socket:
        try:
            await self._done.wait()
        except trio.Cancelled:
            self._given_up = True
            if self._sock is not None:
                self._sock.close()
            raise
        if self._sock is None:
            raise BackendError(self._reason)
        return self._sock
