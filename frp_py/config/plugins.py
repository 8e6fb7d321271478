"""Client plugins, which take the place of a proxy's backend (config.md 2.6)."""

from typing import ClassVar

from .base import Section
from .common import HeaderOperations


class PluginBase(Section, frozen=True, tag_field="type"):
    """What every plugin has: its type."""

    type: ClassVar[str]


class HttpProxyPlugin(PluginBase, frozen=True, tag="http_proxy"):
    """An HTTP proxy; without user and password anybody may use it."""

    type: ClassVar[str] = "http_proxy"

    http_user: str = ""
    http_password: str = ""


class Socks5Plugin(PluginBase, frozen=True, tag="socks5"):
    """A SOCKS5 proxy; without user and password anybody may use it."""

    type: ClassVar[str] = "socks5"

    username: str = ""
    password: str = ""


class StaticFilePlugin(PluginBase, frozen=True, tag="static_file"):
    """The files below `local_path`, served by HTTP."""

    type: ClassVar[str] = "static_file"

    local_path: str = ""
    strip_prefix: str = ""
    http_user: str = ""
    http_password: str = ""


class UnixDomainSocketPlugin(PluginBase, frozen=True, tag="unix_domain_socket"):
    """A Unix socket."""

    type: ClassVar[str] = "unix_domain_socket"

    unix_path: str = ""


class HttpForwardPlugin(PluginBase, frozen=True):
    """An HTTP backend whose requests are changed on the way."""

    local_addr: str = ""
    host_header_rewrite: str = ""
    request_headers: HeaderOperations = HeaderOperations()


class HttpsForwardPlugin(HttpForwardPlugin, frozen=True):
    """The same where users come with TLS; without both files a certificate is made."""

    enable_http2: bool = True
    crt_path: str = ""
    key_path: str = ""


class Http2HttpPlugin(HttpForwardPlugin, frozen=True, tag="http2http"):
    """HTTP users, HTTP backend."""

    type: ClassVar[str] = "http2http"


class Http2HttpsPlugin(HttpForwardPlugin, frozen=True, tag="http2https"):
    """HTTP users, HTTPS backend."""

    type: ClassVar[str] = "http2https"


class Https2HttpPlugin(HttpsForwardPlugin, frozen=True, tag="https2http"):
    """HTTPS users, HTTP backend."""

    type: ClassVar[str] = "https2http"


class Https2HttpsPlugin(HttpsForwardPlugin, frozen=True, tag="https2https"):
    """HTTPS users, HTTPS backend."""

    type: ClassVar[str] = "https2https"


class Tls2RawPlugin(PluginBase, frozen=True, tag="tls2raw"):
    """TLS users, plain TCP backend."""

    type: ClassVar[str] = "tls2raw"

    local_addr: str = ""
    crt_path: str = ""
    key_path: str = ""


class VirtualNetPlugin(PluginBase, frozen=True, tag="virtual_net"):
    """The client's side of the virtual network."""

    type: ClassVar[str] = "virtual_net"


Plugin = (
    HttpProxyPlugin
    | Socks5Plugin
    | StaticFilePlugin
    | UnixDomainSocketPlugin
    | Http2HttpPlugin
    | Http2HttpsPlugin
    | Https2HttpPlugin
    | Https2HttpsPlugin
    | Tls2RawPlugin
    | VirtualNetPlugin
)

PLUGINS: dict[str, type[PluginBase]] = {
    "http_proxy": HttpProxyPlugin,
    "socks5": Socks5Plugin,
    "static_file": StaticFilePlugin,
    "unix_domain_socket": UnixDomainSocketPlugin,
    "http2http": Http2HttpPlugin,
    "http2https": Http2HttpsPlugin,
    "https2http": Https2HttpPlugin,
    "https2https": Https2HttpsPlugin,
    "tls2raw": Tls2RawPlugin,
    "virtual_net": VirtualNetPlugin,
}
