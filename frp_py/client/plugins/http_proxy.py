"""http_proxy: a forward proxy for users (behaviour.md 8.1)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import trio

from frp_py.client.plugins.backends import BackendError
from frp_py.client.plugins.forward import Outgoing, request_fields
from frp_py.client.plugins.forwarding import ForwardingPlugin
from frp_py.config.plugins import HttpProxyPlugin
from frp_py.errors import FrpError, PeerError
from frp_py.net.addresses import host_and_port
from frp_py.net.http.auth import allows
from frp_py.net.http.heads import values_of
from frp_py.net.http.pages import TEXT
from frp_py.net.http.rules import without

if TYPE_CHECKING:
    from frp_py.client.plugins.http_plugin import User
    from frp_py.net.serving.exchange import Exchange

_WRONG_PASSWORD = 0.2  # s that the answer waits
_NOT_AUTHORIZED = b"HTTP/1.1 407 Not authorized\r\nConnection: close\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
_CONNECTED = b"HTTP/1.1 200 OK\r\n\r\n"
_NEXT_HOP = frozenset((b"connection", b"upgrade", b"te", b"trailers"))


class HttpProxy(ForwardingPlugin[HttpProxyPlugin]):
    """Connects users to what they ask for."""

    async def answer(self, exchange: Exchange, user: User) -> None:
        """Do what is asked for."""
        if exchange.method == b"CONNECT":
            await self._connect(exchange)
        elif not await self._allowed(exchange):
            await exchange.answer(407, [(b"Proxy-Authenticate", b"Basic")])
        else:
            await self._pass_on(exchange)

    async def failed(self, exchange: Exchange, reason: str) -> None:
        """Tell the user why."""
        await exchange.answer(500, [TEXT, (b"X-Content-Type-Options", b"nosniff")], reason.encode(errors="replace") + b"\n")

    async def _allowed(self, exchange: Exchange) -> bool:
        options = self.options
        given = values_of(exchange.fields, b"proxy-authorization")
        if allows(_credentials(given[0]) if given else None, options.http_user, options.http_password):
            return True
        if given:
            await trio.sleep(_WRONG_PASSWORD)
        return False

    async def _connect(self, exchange: Exchange) -> None:
        if not await self._allowed(exchange):
            await _say_last(exchange, _NOT_AUTHORIZED)
            return
        try:
            target = await self.backends.open(host_and_port(exchange.target.decode("latin-1"), 443))
        except FrpError as error:
            self.log.info("http proxy CONNECT [%s] error: %s", exchange.target.decode("latin-1"), error)
            await _say_last(exchange, _BAD_REQUEST)
            return
        try:
            stream, early = await exchange.take_over(_CONNECTED)
            await self.join_streams(target.stream, b"", stream, early)
        except trio.BrokenResourceError as error:
            target.stream.abort()
            raise PeerError(str(error)) from None
        except BaseException:
            target.stream.abort()
            raise

    async def _pass_on(self, exchange: Exchange) -> None:
        try:
            if not exchange.is_absolute:
                raise BackendError('unsupported protocol scheme ""')
            address = host_and_port(exchange.host.decode("latin-1"), 80)
        except FrpError as error:
            await self.failed(exchange, str(error))
            return
        fields = [(b"Host", exchange.host), *without(request_fields(exchange), _NEXT_HOP)]
        exchange.upgrade = b""
        await self.forwarder.forward(exchange, Outgoing(address, exchange.target, fields))


def _credentials(value: bytes) -> tuple[str, str] | None:
    """User and password behind the first blank; the scheme is not looked at."""
    try:
        text = base64.b64decode(value.partition(b" ")[2].strip(), validate=True).decode("utf-8", "surrogateescape")
    except binascii.Error:
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


async def _say_last(exchange: Exchange, response: bytes) -> None:
    """Send a response whose bytes are laid down, and close."""
    stream, _ = await exchange.take_over(response)
    try:
        await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise PeerError(str(error)) from None
    with trio.move_on_after(2):
        try:
            while await stream.receive_some():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    stream.close()
