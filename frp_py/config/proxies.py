"""Proxies: the services that a client offers (config.md 2.3, 2.4)."""

from typing import ClassVar

import msgspec

from .base import Bandwidth, Int, Section, fill
from .common import HeaderOperations, NatTraversal
from .plugins import Plugin


class ProxyTransport(Section, frozen=True):
    """How user bytes travel; `bandwidth_limit_mode` names the side that limits."""

    use_encryption: bool = False
    use_compression: bool = False
    bandwidth_limit: Bandwidth = Bandwidth()
    bandwidth_limit_mode: str = "client"
    proxy_protocol_version: str = ""

    def __post_init__(self) -> None:
        fill(self, bandwidth_limit_mode="client")


class LoadBalancer(Section, frozen=True):
    """The group this proxy shares users with, and the secret of that group."""

    group: str = ""
    group_key: str = ""


class HttpHeader(Section, frozen=True):
    """One header of a health check's request."""

    name: str = ""
    value: str = ""


class HealthCheck(Section, frozen=True):
    """How the local service is probed; 0 stands for the defaults 3 s, 1 and 10 s where a check runs (config.md 3.2)."""

    type: str = ""
    timeout_seconds: Int = 0
    max_failed: Int = 0
    interval_seconds: Int = 0
    path: str = ""
    http_headers: tuple[HttpHeader, ...] = ()


class ProxyBase(Section, frozen=True, tag_field="type"):
    """What every proxy has; the backend is `local_ip`:`local_port`, or the plugin when there is one."""

    type: ClassVar[str]

    name: str = ""
    enabled: bool = True
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    transport: ProxyTransport = ProxyTransport()
    metadatas: dict[str, str] = msgspec.field(default_factory=dict)
    load_balancer: LoadBalancer = LoadBalancer()
    health_check: HealthCheck = HealthCheck()
    local_ip: str = "127.0.0.1"
    local_port: Int = 0
    plugin: Plugin | None = None

    def __post_init__(self) -> None:
        fill(self, local_ip="127.0.0.1")


class TcpProxy(ProxyBase, frozen=True, tag="tcp"):
    """A TCP port of the server; 0 lets the server choose."""

    type: ClassVar[str] = "tcp"

    remote_port: Int = 0


class UdpProxy(ProxyBase, frozen=True, tag="udp"):
    """A UDP port of the server; 0 lets the server choose."""

    type: ClassVar[str] = "udp"

    remote_port: Int = 0


class DomainProxy(ProxyBase, frozen=True):
    """A proxy that users reach by name: full ones, or a label below the server's subDomainHost."""

    custom_domains: tuple[str, ...] = ()
    subdomain: str = ""


class HttpProxy(DomainProxy, frozen=True, tag="http"):
    """A web site on the server's shared HTTP port."""

    type: ClassVar[str] = "http"

    locations: tuple[str, ...] = ()
    http_user: str = ""
    http_password: str = ""
    host_header_rewrite: str = ""
    request_headers: HeaderOperations = HeaderOperations()
    response_headers: HeaderOperations = HeaderOperations()
    route_by_http_user: str = ""


class HttpsProxy(DomainProxy, frozen=True, tag="https"):
    """A TLS service on the server's shared HTTPS port, told apart by SNI."""

    type: ClassVar[str] = "https"


class TcpmuxProxy(DomainProxy, frozen=True, tag="tcpmux"):
    """A TCP service that users reach by HTTP CONNECT."""

    type: ClassVar[str] = "tcpmux"

    http_user: str = ""
    http_password: str = ""
    route_by_http_user: str = ""
    multiplexer: str = ""


class SecretProxy(ProxyBase, frozen=True):
    """A proxy without a public side, for visitors that know `secret_key`."""

    secret_key: str = ""
    allow_users: tuple[str, ...] = ()


class StcpProxy(SecretProxy, frozen=True, tag="stcp"):
    """A TCP service for visitors."""

    type: ClassVar[str] = "stcp"


class SudpProxy(SecretProxy, frozen=True, tag="sudp"):
    """A UDP service for visitors."""

    type: ClassVar[str] = "sudp"


class XtcpProxy(SecretProxy, frozen=True, tag="xtcp"):
    """A TCP service that visitors reach through punched holes."""

    type: ClassVar[str] = "xtcp"

    nat_traversal: NatTraversal = NatTraversal()


Proxy = TcpProxy | UdpProxy | HttpProxy | HttpsProxy | TcpmuxProxy | StcpProxy | SudpProxy | XtcpProxy

PROXIES: dict[str, type[ProxyBase]] = {
    "tcp": TcpProxy,
    "udp": UdpProxy,
    "http": HttpProxy,
    "https": HttpsProxy,
    "tcpmux": TcpmuxProxy,
    "stcp": StcpProxy,
    "sudp": SudpProxy,
    "xtcp": XtcpProxy,
}
