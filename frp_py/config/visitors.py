"""Visitors: the local ends of other clients' secret proxies (config.md 2.5, 2.7)."""

from typing import ClassVar

from .base import Int, Section, fill
from .common import NatTraversal


class VisitorPluginBase(Section, frozen=True, tag_field="type"):
    """What every visitor plugin has: its type."""

    type: ClassVar[str]


class VirtualNetVisitorPlugin(VisitorPluginBase, frozen=True, tag="virtual_net"):
    """Routes one address of the virtual network into the visitor."""

    type: ClassVar[str] = "virtual_net"

    destination_ip: str = ""


class VisitorTransport(Section, frozen=True):
    """How the visitor's bytes travel."""

    use_encryption: bool = False
    use_compression: bool = False


class VisitorBase(Section, frozen=True, tag_field="type"):
    """What every visitor has; a negative `bind_port` means it doesn't listen."""

    type: ClassVar[str]

    name: str = ""
    enabled: bool = True
    transport: VisitorTransport = VisitorTransport()
    secret_key: str = ""
    server_user: str = ""
    server_name: str = ""
    bind_addr: str = "127.0.0.1"
    bind_port: Int = 0
    plugin: VirtualNetVisitorPlugin | None = None

    def __post_init__(self) -> None:
        fill(self, bind_addr="127.0.0.1")


class StcpVisitor(VisitorBase, frozen=True, tag="stcp"):
    """Reaches an stcp proxy."""

    type: ClassVar[str] = "stcp"


class SudpVisitor(VisitorBase, frozen=True, tag="sudp"):
    """Reaches a sudp proxy."""

    type: ClassVar[str] = "sudp"


class XtcpVisitor(VisitorBase, frozen=True, tag="xtcp"):
    """Reaches an xtcp proxy through a punched hole; `min_retry_interval` in seconds."""

    type: ClassVar[str] = "xtcp"

    protocol: str = "quic"
    keep_tunnel_open: bool = False
    max_retries_an_hour: Int = 8
    min_retry_interval: Int = 90
    fallback_to: str = ""
    fallback_timeout_ms: Int = 1000
    nat_traversal: NatTraversal = NatTraversal()

    def __post_init__(self) -> None:
        fill(
            self,
            bind_addr="127.0.0.1",
            protocol="quic",
            max_retries_an_hour=8,
            min_retry_interval=90,
            fallback_timeout_ms=1000,
        )


Visitor = StcpVisitor | SudpVisitor | XtcpVisitor

VISITORS: dict[str, type[VisitorBase]] = {"stcp": StcpVisitor, "sudp": SudpVisitor, "xtcp": XtcpVisitor}
VISITOR_PLUGINS: dict[str, type[VisitorPluginBase]] = {"virtual_net": VirtualNetVisitorPlugin}
