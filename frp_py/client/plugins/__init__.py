"""Client plugins: what can take the place of a local service. A plugin's module is imported when a proxy uses it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from frp_py.errors import FrpError

if TYPE_CHECKING:
    from frp_py.client.plugins.base import Plugin
    from frp_py.client.proxies.base import LocalSide

PLUGINS: dict[str, str] = {
    "http_proxy": "http_proxy.HttpProxy",
    "socks5": "socks5.Socks5",
    "static_file": "static_file.StaticFile",
    "unix_domain_socket": "unix_domain_socket.UnixDomainSocket",
    "http2http": "http2http.Http2Http",
    "http2https": "http2https.Http2Https",
    "https2http": "https2http.Https2Http",
    "https2https": "https2https.Https2Https",
    "tls2raw": "tls2raw.Tls2Raw",
}
"""Module and class, by type."""


def plugin_of(proxy: LocalSide) -> Plugin[Any]:
    """A new plugin for a proxy whose configuration has one. Raises FrpError for a type that isn't there."""
    options = proxy.config.plugin
    assert options is not None
    place = PLUGINS.get(options.type)
    if place is None:
        raise FrpError(f"plugin [{options.type}] is not registered")
    module, _, name = place.partition(".")
    plugin: Plugin[Any] = getattr(import_module(f"{__name__}.{module}"), name)(proxy, options)
    return plugin
