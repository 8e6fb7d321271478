"""https and tcpmux: users who ask for a name on a port that the server shares out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from frp_py.client.proxies.base import LocalSide
from frp_py.config.proxies import DomainProxy, TcpmuxProxy

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy


class NamedLocal(LocalSide):
    """Has names on the server."""

    config: DomainProxy

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        return msgspec.structs.replace(super().wish(), custom_domains=self.config.custom_domains, subdomain=self.config.subdomain)


class TcpmuxLocal(NamedLocal):
    """Users come by CONNECT, and may have to log in."""

    config: TcpmuxProxy

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        config = self.config
        return msgspec.structs.replace(
            super().wish(),
            multiplexer=config.multiplexer,
            http_user=config.http_user,
            http_pwd=config.http_password,
            route_by_http_user=config.route_by_http_user,
        )
