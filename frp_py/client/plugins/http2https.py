"""http2https: HTTP users, HTTPS service (behaviour.md 8.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frp_py.client.plugins.reverse_proxy import ReverseProxy
from frp_py.config.plugins import Http2HttpsPlugin
from frp_py.net.http.rules import without

if TYPE_CHECKING:
    from frp_py.client.plugins.http_plugin import User
    from frp_py.net.http.heads import Field
    from frp_py.net.serving.exchange import Exchange


class Http2Https(ReverseProxy[Http2HttpsPlugin]):
    """Leaves what the service is told about its users as it came."""

    backend_tls = True

    def forwarding(self, fields: list[Field], exchange: Exchange, user: User) -> list[Field]:
        """X-Forwarded-* pass; Forwarded, which nobody checks, doesn't."""
        return without(fields, {b"forwarded"})
