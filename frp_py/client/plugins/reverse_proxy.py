"""What http2http, http2https, https2http and https2https have in common (behaviour.md 8.5, 8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from frp_py.client.plugins.forward import Outgoing, request_fields
from frp_py.client.plugins.forwarding import ForwardingPlugin
from frp_py.client.plugins.termination import termination
from frp_py.config.plugins import HttpForwardPlugin, HttpsForwardPlugin
from frp_py.errors import FrpError
from frp_py.net.addresses import host_and_port
from frp_py.net.http.heads import is_authority
from frp_py.net.http.rules import FORWARDING, clean_target, forwarded, routing_host, setting, with_set, without

if TYPE_CHECKING:
    from frp_py.client.plugins.http_plugin import User
    from frp_py.net.http.heads import Field
    from frp_py.net.serving.exchange import Exchange

ForwardOptions = TypeVar("ForwardOptions", bound=HttpForwardPlugin)


class ReverseProxy(ForwardingPlugin[ForwardOptions]):
    """Passes requests on to `localAddr`."""

    async def prepare(self) -> None:
        """Make ready. Raises FrpError."""
        options = self.options
        self._address = host_and_port(options.local_addr, 443 if self.backend_tls else 80)
        self._set = setting(options.request_headers.set)
        self._host = options.host_header_rewrite.encode()
        if not is_authority(self._host):
            raise FrpError(f"hostHeaderRewrite {options.host_header_rewrite!r} is no host")
        await super().prepare()

    async def failed(self, exchange: Exchange, reason: str) -> None:
        """It is a bad gateway."""
        await exchange.answer(502)

    async def answer(self, exchange: Exchange, user: User) -> None:
        """Pass the request on."""
        if exchange.method == b"CONNECT":
            await exchange.answer(405)
            return
        fields = self.forwarding(request_fields(exchange), exchange, user)
        host = self._host or exchange.host or self.options.local_addr.encode()
        outgoing = Outgoing(self._address, clean_target(exchange.target), [(b"Host", host), *with_set(fields, self._set)])
        await self.forwarder.forward(exchange, outgoing)

    def forwarding(self, fields: list[Field], exchange: Exchange, user: User) -> list[Field]:
        """The fields with what the service is to know of its user."""
        raise NotImplementedError


class TlsReverseProxy(ReverseProxy[HttpsForwardPlugin]):
    """The same for users who come with TLS."""

    async def prepare(self) -> None:
        """Read or make the certificate, too. Raises FrpError."""
        options = self.options
        protocols = ["h2", "http/1.1"] if options.enable_http2 else ["http/1.1"]
        self.context = await termination(options.crt_path, options.key_path, protocols)
        await super().prepare()

    async def answer(self, exchange: Exchange, user: User) -> None:
        """Pass the request on, if it is for the host that the connection is for."""
        name = user.tls.server_name if user.tls is not None else ""
        if name and routing_host(name.encode()) != routing_host(exchange.host):
            await exchange.answer(421)
            return
        await super().answer(exchange, user)

    def forwarding(self, fields: list[Field], exchange: Exchange, user: User) -> list[Field]:
        """The user is added to those who came before him."""
        if user.ip:
            return forwarded(fields, user_ip=user.ip, host=exchange.host, proto=b"https")
        told = without(fields, FORWARDING - {b"x-forwarded-for"})
        return [*told, (b"X-Forwarded-Host", exchange.host), (b"X-Forwarded-Proto", b"https")]


def stripped(fields: list[Field]) -> list[Field]:
    """The fields without what others said about the user."""
    return without(fields, FORWARDING)
