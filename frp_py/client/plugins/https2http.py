"""https2http: HTTPS users, HTTP service (behaviour.md 8.6)."""

from frp_py.client.plugins.reverse_proxy import TlsReverseProxy


class Https2Http(TlsReverseProxy):
    """The service is spoken to without TLS."""

    backend_tls = False
