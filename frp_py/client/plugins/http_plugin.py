"""What the plugins that speak HTTP have in common: a task for each connection, so many at most."""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING

import trio

from frp_py.client.plugins.base import Options, Plugin
from frp_py.client.plugins.termination import UserTls
from frp_py.errors import PeerError
from frp_py.net.engine.stream import EndStream
from frp_py.net.engine.tls_bio import TlsOverEnd
from frp_py.net.serving import http1
from frp_py.net.serving.exchange import HEAD_TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from frp_py.client.proxies.base import LocalSide
    from frp_py.net.engine.stream import Holder
    from frp_py.net.serving.exchange import Exchange
    from frp_py.protocol.messages import StartWorkConn

_CONNECTIONS = 2000  # of one plugin


class HttpPlugin(Plugin[Options]):
    """Answers users' requests."""

    context: ssl.SSLContext | None = None
    """For users who come with TLS."""

    def __init__(self, proxy: LocalSide, options: Options) -> None:
        super().__init__(proxy, options)
        self._connections: set[trio.CancelScope] = set()

    async def answer(self, exchange: Exchange, user: User) -> None:
        """Answer one request; what it may raise is PeerError."""
        raise NotImplementedError

    def close(self) -> None:
        """The users go with the proxy."""
        super().close()
        for scope in self._connections:
            scope.cancel()

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come."""
        if len(self._connections) >= _CONNECTIONS:
            self.log.warning("user connection refused: there are %d already", _CONNECTIONS)
            work.end.abort()
            return
        scope = trio.CancelScope()
        self._connections.add(scope)
        user = User(ip_of(start))
        if self.context is None:
            stream, ready = self.stream(work), None
        else:
            stream = EndStream(self.engine)
            ready = trio.Event()
            below = self.proxy.application_end(work)
            end = TlsOverEnd(self.engine, below, self.context, stream, stream, server_side=True, on_ready=self._waking(ready))
            user.tls = end.tls if isinstance(end.tls, UserTls) else None
            work.hand_over()
            stream.attach(end)
        self.session.nursery.start_soon(self._serve, stream, ready, user, scope)

    def _waking(self, ready: trio.Event) -> Callable[[], None]:
        def wake() -> None:
            self.engine.tasks_wait = True
            ready.set()

        return wake

    async def _serve(self, stream: EndStream, ready: trio.Event | None, user: User, scope: trio.CancelScope) -> None:
        ok = False
        try:
            with scope:
                if ready is not None:
                    await self._shake_hands(stream, ready)
                protocol = user.tls.selected_alpn_protocol() if user.tls is not None else None

                async def answer(exchange: Exchange) -> None:
                    await self.answer(exchange, user)

                if protocol == "h2":
                    from frp_py.net.serving import http2

                    await http2.serve(stream, answer)
                else:
                    await http1.serve(stream, answer)
                ok = True
        except PeerError as error:
            self.log.debug("user connection ended: %s", error)
        except Exception:
            self.log.exception("bug in a user connection")
        finally:
            self._connections.discard(scope)
            if ok:
                stream.close()
            else:
                stream.abort()

    async def _shake_hands(self, stream: EndStream, ready: trio.Event) -> None:
        """Raises PeerError."""
        with trio.move_on_after(HEAD_TIME):
            async with trio.open_nursery() as nursery:

                async def until_over() -> None:
                    await stream.wait_over()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until_over)
                await ready.wait()
                nursery.cancel_scope.cancel()
        if not ready.is_set():
            raise PeerError("TLS handshake failed, or was not finished in time")


def ip_of(start: StartWorkConn) -> bytes:
    """The user's address, if it is one: it becomes part of requests, and a server is not to write these."""
    ip = start.src_addr.partition("%")[0]  # the name of an interface may be anything
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        return b""
    return ip.encode()


class User:
    """Who is on a connection."""

    __slots__ = ("ip", "tls")

    def __init__(self, ip: bytes) -> None:
        self.ip = ip
        """His address as the server sees it, checked; empty when it isn't known."""
        self.tls: UserTls | None = None
