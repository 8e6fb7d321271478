"""http2http: HTTP users, HTTP service (behaviour.md 8.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frp_py.client.plugins.reverse_proxy import ReverseProxy, stripped
from frp_py.config.plugins import Http2HttpPlugin

if TYPE_CHECKING:
    from frp_py.client.plugins.http_plugin import User
    from frp_py.net.http.heads import Field
    from frp_py.net.serving.exchange import Exchange


class Http2Http(ReverseProxy[Http2HttpPlugin]):
    """Tells the service nothing about its users."""

    backend_tls = False

    def forwarding(self, fields: list[Field], exchange: Exchange, user: User) -> list[Field]:
        """What others told is dropped."""
        return stripped(fields)
