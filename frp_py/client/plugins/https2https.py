"""https2https: HTTPS users, HTTPS service (behaviour.md 8.6)."""

from frp_py.client.plugins.reverse_proxy import TlsReverseProxy


class Https2Https(TlsReverseProxy):
    """The service is spoken to with TLS."""

    backend_tls = True
