"""http: web sites on the server's shared HTTP port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from frp_py.client.proxies.named import NamedLocal
from frp_py.config.proxies import HttpProxy

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy


class HttpLocal(NamedLocal):
    """Tells the server what it does to requests and responses."""

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        config = self.config
        assert isinstance(config, HttpProxy)
        return msgspec.structs.replace(
            super().wish(),
            locations=config.locations,
            http_user=config.http_user,
            http_pwd=config.http_password,
            host_header_rewrite=config.host_header_rewrite,
            headers=config.request_headers.set,
            response_headers=config.response_headers.set,
            route_by_http_user=config.route_by_http_user,
        )
