"""Passes requests on to a service, and its answers back: bodies in pieces, both ways at once (behaviour.md 8.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import trio

from frp_py.client.plugins.backends import Address, Backend, BackendError
from frp_py.errors import PeerError
from frp_py.net.http.heads import Field, block_of, values_of
from frp_py.net.http.pages import reason_of
from frp_py.net.http.rules import end_to_end, upgrade_of, without

if TYPE_CHECKING:
    from frp_py.client.plugins.backends import Backends
    from frp_py.client.plugins.base import Plugin
    from frp_py.net.serving.exchange import Exchange

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_TWICE_IS_ONCE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


class Outgoing(NamedTuple):
    """The request as the service gets it; the fields say nothing of the framing."""

    address: Address
    target: bytes
    fields: list[Field]


def request_fields(exchange: Exchange) -> list[Field]:
    """The fields that go further, without Host and framing. What the user expects is answered here."""
    return without(end_to_end(exchange.fields, exchange.upgrade), _FRAMING | {b"host", b"expect"})


Failed = Callable[["Exchange", str], Awaitable[None]]
"""Answers an exchange whose service has failed, with the reason."""


class Forwarder:
    """Passes requests on."""

    def __init__(self, plugin: Plugin, backends: Backends, failed: Failed) -> None:  # type: ignore[type-arg]
        self._plugin = plugin
        self._backends = backends
        self._failed = failed

    async def forward(self, exchange: Exchange, outgoing: Outgoing) -> None:
        """Answer `exchange` with what the service says to `outgoing`. Raises PeerError."""
        while True:
            backend = None
            try:
                backend = await self._backends.take(outgoing.address)
                await _Passing(self._plugin, exchange, outgoing, backend).run()
            except BackendError as error:
                if backend is not None:
                    backend.stream.abort()
                    if backend.used and not exchange.started and exchange.method in _TWICE_IS_ONCE and not exchange.length:
                        continue  # it was closed while it lay idle, which isn't the user's fault
                if exchange.started:
                    raise PeerError(f"the service failed in the midst of its answer: {error}") from None
                self._plugin.log.info("http request to [%s:%d] error: %s", *outgoing.address, error)
                await self._failed(exchange, str(error))
            except BaseException:
                if backend is not None:
                    backend.stream.abort()
                raise
            else:
                self._backends.give_back(backend)
            return


class _Passing:
    """One request on one connection."""

    def __init__(self, plugin: Plugin, exchange: Exchange, outgoing: Outgoing, backend: Backend) -> None:  # type: ignore[type-arg]
        self._plugin = plugin
        self._exchange = exchange
        self._outgoing = outgoing
        self._backend = backend
        self._error: PeerError | BackendError | None = None

    async def run(self) -> None:
        """Raises BackendError and PeerError."""
        exchange, outgoing = self._exchange, self._outgoing
        has_length = bool(values_of(exchange.fields, b"content-length")) or exchange.method in (b"POST", b"PUT", b"PATCH")
        await self._backend.ask(exchange.method, outgoing.target, outgoing.fields, exchange.length, always_length=has_length)
        if not exchange.length:
            await self._answer()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_body, nursery.cancel_scope)
            try:
                await self._answer()
            except (PeerError, BackendError) as error:
                self._error = self._error or error
            nursery.cancel_scope.cancel()
        if self._error is not None:
            raise self._error

    async def _send_body(self, scope: trio.CancelScope) -> None:
        try:
            while data := await self._exchange.receive():
                await self._backend.send(data)
            await self._backend.end(self._exchange.trailers)
        except BackendError:
            pass  # it may say why it doesn't take it
        except PeerError as error:
            self._error = error
            scope.cancel()

    async def _answer(self) -> None:
        exchange, backend = self._exchange, self._backend
        status, fields, length = await backend.response(exchange.method)
        while status < 200:
            if status == 101:
                await self._go_over(fields)
                return
            if status != 100:  # the user's own expectation was met when his body was asked for
                await exchange.inform(status, end_to_end(fields))
            status, fields, length = await backend.response(exchange.method)
        lines = without(end_to_end(fields), _FRAMING | {b"connection", b"upgrade"})
        await exchange.respond(status, lines, length, reason=backend.reason)
        while data := await backend.body():
            await exchange.send(data)
        await exchange.end(backend.trailers)

    async def _go_over(self, fields: list[Field]) -> None:
        """The service speaks another protocol from here on, if that is the one that was asked for."""
        exchange, backend = self._exchange, self._backend
        protocol = upgrade_of(fields)
        if not exchange.upgrade or protocol.lower() != exchange.upgrade.lower():
            raise BackendError(f"switched to {protocol.decode(errors='replace')!r}, which nobody asked for")
        head = b"HTTP/1.1 101 %b\r\n%b\r\n" % (backend.reason or reason_of(101), block_of(without(end_to_end(fields), _FRAMING)))
        user, early = await exchange.take_over(head)
        try:
            await self._plugin.join_streams(backend.stream, backend.take_rest(), user, early)
        except trio.BrokenResourceError as error:
            raise PeerError(str(error)) from None
