"""The messages of the control, work and visitor connections (wire.md 3.3, 3.4 and 10).

Fields are in the order in which they are written. A field with its empty value is not written, except those that are
structs themselves. The attributes have the names of the wire unless these say too little.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from frp_py.protocol.go_json import decode as decode
from frp_py.protocol.go_json import encode as encode

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UInt16 = Annotated[int, Meta(ge=0, le=65535)]


class Body(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A JSON object whose empty fields are left out. Unknown fields are refused only to notice them: `decode` ignores them."""


class Message(Body, frozen=True, gc=False):
    """What one frame carries."""


class ClientSpec(Body, frozen=True, gc=False):
    """What the server's SSH gateway says of the clients it makes; means nothing when it comes from the network."""

    type: str = ""
    always_auth_pass: bool = False


class Login(Message, frozen=True, gc=False):
    """First message of a control connection, client to server."""

    version: str = ""
    hostname: str = ""
    os: str = ""
    arch: str = ""
    user: str = ""
    privilege_key: str = ""
    timestamp: Int64 = 0
    """Unix seconds at the client."""
    run_id: str = ""
    client_id: str = ""
    metas: dict[str, str] = {}
    client_spec: ClientSpec = field(default_factory=ClientSpec)
    pool_count: Int64 = 0
    features: tuple[str, ...] = ()
    """Extensions of this implementation that the client offers; other implementations ignore the key."""


class LoginResp(Message, frozen=True, gc=False):
    """Answer to Login."""

    version: str = ""
    run_id: str = ""
    error: str = ""
    features: tuple[str, ...] = ()
    """Those of the offered extensions that the server takes up."""


class NewProxy(Message, frozen=True, gc=False):
    """A client wants a proxy. An empty `proxy_type` means tcp."""

    proxy_name: str = ""
    proxy_type: str = ""
    use_encryption: bool = False
    use_compression: bool = False
    bandwidth_limit: str = ""
    bandwidth_limit_mode: str = ""
    group: str = ""
    group_key: str = ""
    metas: dict[str, str] = {}
    annotations: dict[str, str] = {}
    remote_port: Int64 = 0
    custom_domains: tuple[str, ...] = ()
    subdomain: str = ""
    locations: tuple[str, ...] = ()
    http_user: str = ""
    http_pwd: str = ""
    host_header_rewrite: str = ""
    headers: dict[str, str] = {}
    response_headers: dict[str, str] = {}
    route_by_http_user: str = ""
    sk: str = ""
    allow_users: tuple[str, ...] = ()
    multiplexer: str = ""


class NewProxyResp(Message, frozen=True, gc=False):
    """Answer to NewProxy."""

    proxy_name: str = ""
    remote_addr: str = ""
    error: str = ""


class CloseProxy(Message, frozen=True, gc=False):
    """A proxy is no longer wanted; not answered."""

    proxy_name: str = ""


class NewWorkConn(Message, frozen=True, gc=False):
    """First message of a work connection, client to server."""

    run_id: str = ""
    privilege_key: str = ""
    timestamp: Int64 = 0


class ReqWorkConn(Message, frozen=True, gc=False):
    """The server wants one more work connection."""


class StartWorkConn(Message, frozen=True, gc=False):
    """A work connection gets a user, or is refused."""

    proxy_name: str = ""
    src_addr: str = ""
    dst_addr: str = ""
    src_port: UInt16 = 0
    dst_port: UInt16 = 0
    error: str = ""


class NewVisitorConn(Message, frozen=True, gc=False):
    """First message of a visitor connection, client to server."""

    run_id: str = ""
    proxy_name: str = ""
    sign_key: str = ""
    timestamp: Int64 = 0
    use_encryption: bool = False
    use_compression: bool = False


class NewVisitorConnResp(Message, frozen=True, gc=False):
    """Answer to NewVisitorConn."""

    proxy_name: str = ""
    error: str = ""


class Ping(Message, frozen=True, gc=False):
    """Heartbeat of a client; also keeps UDP payload streams alive."""

    privilege_key: str = ""
    timestamp: Int64 = 0


class Pong(Message, frozen=True, gc=False):
    """Answer to Ping on the control connection."""

    error: str = ""


class UDPAddress(Struct, frozen=True, forbid_unknown_fields=True, gc=False, rename={"ip": "IP", "port": "Port", "zone": "Zone"}):
    """Address of a user of a UDP proxy; all three are always written."""

    ip: str = ""
    port: UInt16 = 0
    zone: str = ""

    @classmethod
    def of(cls, host: str, port: int) -> "UDPAddress":
        """The address of a socket: `host` numeric, with `%zone` where there is one; IPv4-mapped becomes IPv4 (wire.md 3.2)."""
        if ":" not in host:
            return cls(host, port)
        host, _, zone = host.partition("%")
        if "." in host and host.startswith("::ffff:"):
            return cls(host[7:], port)
        return cls(host, port, zone)


class UDPPacket(Message, frozen=True, gc=False, rename={"content": "c", "local_address": "l", "user_address": "r"}):
    """One datagram of a UDP payload stream (wire.md 8.1)."""

    content: bytes = b""
    local_address: UDPAddress | None = None
    """Not used by anybody."""
    user_address: UDPAddress | None = None
    """Whose datagram it is, or for whom the answer is: the only routing information there is."""


class NatHoleVisitor(Message, frozen=True, gc=False):
    """A visitor wants a hole punched."""

    transaction_id: str = ""
    proxy_name: str = ""
    pre_check: bool = False
    protocol: str = ""
    sign_key: str = ""
    timestamp: Int64 = 0
    mapped_addrs: tuple[str, ...] = ()
    assisted_addrs: tuple[str, ...] = ()


class NatHoleClient(Message, frozen=True, gc=False):
    """The proxy's client is ready to punch."""

    transaction_id: str = ""
    proxy_name: str = ""
    sid: str = ""
    mapped_addrs: tuple[str, ...] = ()
    assisted_addrs: tuple[str, ...] = ()


class PortsRange(Body, frozen=True, gc=False, rename={"first": "from", "last": "to"}):
    """Ports to try, both ends included."""

    first: Int64 = 0
    last: Int64 = 0


class DetectBehavior(Body, frozen=True, gc=False):
    """How one side is to punch. All times in milliseconds, `read_timeout` too."""

    role: str = ""
    mode: Int64 = 0
    ttl: Int64 = 0
    send_delay_ms: Int64 = 0
    read_timeout: Int64 = 0
    candidate_ports: tuple[PortsRange, ...] = ()
    send_random_ports: Int64 = 0
    listen_random_ports: Int64 = 0


class NatHoleResp(Message, frozen=True, gc=False):
    """The server's instructions to both sides."""

    transaction_id: str = ""
    sid: str = ""
    protocol: str = ""
    candidate_addrs: tuple[str, ...] = ()
    assisted_addrs: tuple[str, ...] = ()
    detect_behavior: DetectBehavior = field(default_factory=DetectBehavior)
    error: str = ""


class NatHoleSid(Message, frozen=True, gc=False):
    """Session id of a punching, on the work connection and in the datagrams between the peers."""

    transaction_id: str = ""
    sid: str = ""
    response: bool = False
    nonce: str = ""


class NatHoleReport(Message, frozen=True, gc=False):
    """How a punching went."""

    sid: str = ""
    success: bool = False


TYPE_BYTE: dict[type[Message], int] = {
    Login: ord("o"),
    LoginResp: ord("1"),
    NewProxy: ord("p"),
    NewProxyResp: ord("2"),
    CloseProxy: ord("c"),
    NewWorkConn: ord("w"),
    ReqWorkConn: ord("r"),
    StartWorkConn: ord("s"),
    NewVisitorConn: ord("v"),
    NewVisitorConnResp: ord("3"),
    Ping: ord("h"),
    Pong: ord("4"),
    UDPPacket: ord("u"),
    NatHoleVisitor: ord("i"),
    NatHoleClient: ord("n"),
    NatHoleResp: ord("m"),
    NatHoleSid: ord("5"),
    NatHoleReport: ord("6"),
}
"""Wire v1 (wire.md 3.3)."""

TYPE_ID: dict[type[Message], int] = {
    Login: 1,
    LoginResp: 2,
    NewProxy: 3,
    NewProxyResp: 4,
    CloseProxy: 5,
    NewWorkConn: 6,
    ReqWorkConn: 7,
    StartWorkConn: 8,
    NewVisitorConn: 9,
    NewVisitorConnResp: 10,
    Ping: 11,
    Pong: 12,
    UDPPacket: 13,
    NatHoleVisitor: 14,
    NatHoleClient: 15,
    NatHoleResp: 16,
    NatHoleSid: 17,
    NatHoleReport: 18,
}
"""Wire v2 (wire.md 11.2)."""

OF_TYPE_BYTE: dict[int, type[Message]] = {byte: cls for cls, byte in TYPE_BYTE.items()}
OF_TYPE_ID: dict[int, type[Message]] = {number: cls for cls, number in TYPE_ID.items()}
