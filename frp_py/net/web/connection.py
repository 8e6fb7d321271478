"""One connection of the web server.

It is one of the crowd, and has a deadline, unless a request is being served that may be: who has no password keeps nobody else out, however
many connections he opens and however slowly he speaks.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from typing import TYPE_CHECKING

import trio

from frp_py.errors import PeerError
from frp_py.log import get_logger
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.listen import plain_address
from frp_py.net.engine.stream import EndStream
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.net.serving import http1
from frp_py.net.transports import tls
from frp_py.net.web.asgi import LIMIT, Call
from frp_py.net.web.throttle import network

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from frp_py.net.engine.loop import Engine
    from frp_py.net.serving.exchange import Exchange
    from frp_py.net.web.crowd import Crowd

log = get_logger()

_WRONG_SCHEME = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


class Connection:
    """A connection from `peer` (numeric); `answer` is called for each request on it."""

    __slots__ = ("_admitted", "_answer", "_context", "_crowd", "_engine", "_local", "_network", "_peer", "_scope", "_socket", "_stream")

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        peer: str,
        context: ssl.SSLContext | None,
        crowd: Crowd,
        answer: Callable[[Call], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._socket = sock
        self._peer = peer
        self._network = network(peer)
        self._local = ""
        self._context = context
        self._crowd = crowd
        self._answer = answer
        self._scope = trio.CancelScope()
        self._admitted = 0
        self._stream: EndStream | None = None

    async def run(self) -> None:
        """Serve it until it is over."""
        self._crowd.enter(self._scope, self._network)
        broken = False
        try:
            with self._scope:
                self._scope.deadline = trio.current_time() + LIMIT
                self._local = plain_address(self._socket.getsockname())[0]
                if self._context is not None:
                    await self._shake_hands(self._context)
                self._stream = stream = EndStream(self._engine)
                stream.attach(socket_end(self._engine, self._socket, stream, stream))
                if isinstance(self._socket, TlsSocket) and self._socket.selected_alpn_protocol() == "h2":
                    from frp_py.net.serving import http2

                    await http2.serve(stream, self._exchange)
                else:
                    await http1.serve(stream, self._exchange)
        except* (PeerError, OSError) as errors:
            broken = True
            log.debug("web connection from [%s] ended: %s", self._peer, errors.exceptions[0])
        except* Exception:
            broken = True
            log.exception("bug in a connection of the web server")
        finally:
            self._crowd.leave(self._scope, self._network)
            if self._stream is None:
                self._socket.close()
            elif broken:
                self._stream.abort()
            else:
                self._stream.close()

    async def _shake_hands(self, context: ssl.SSLContext) -> None:
        """Raises OSError."""
        self._socket = sock = tls.wrap_server(context, self._socket)
        try:
            await tls.handshake(sock)
        except OSError as error:
            if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    socket.socket.send(sock, _WRONG_SCHEME)
            await tls.linger(sock)
            raise

    async def _exchange(self, exchange: Exchange) -> None:
        assert self._stream is not None
        if not self._admitted:
            self._scope.deadline = trio.current_time() + LIMIT
        call = Call(
            exchange, self._stream, peer=self._peer, local=self._local, is_secure=self._context is not None, on_admitted=self._admit
        )
        try:
            await self._answer(call)
        finally:
            if call.is_admitted:
                self._admitted -= 1
                if not self._admitted:
                    self._crowd.enter(self._scope, self._network)
            if not self._admitted:
                self._scope.deadline = trio.current_time() + LIMIT

    def _admit(self) -> None:
        self._admitted += 1
        self._scope.deadline = math.inf
        self._crowd.leave(self._scope, self._network)
