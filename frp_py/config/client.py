"""The configuration of frpc (config.md 2.2)."""

import msgspec

from .base import Int, Section, fill
from .common import LogConfig, QuicConfig, TlsFiles, ValueSource, WebServerConfig
from .proxies import Proxy
from .visitors import Visitor


class ClientOidcConfig(Section, frozen=True):
    """Where OpenID Connect tokens come from: the client-credentials grant, or `token_source`."""

    # `client_id` is `clientID` here as well
    client_id: str = ""
    client_secret: str = ""
    audience: str = ""
    scope: str = ""
    token_endpoint_url: str = ""
    additional_endpoint_params: dict[str, str] = msgspec.field(default_factory=dict)
    trusted_ca_file: str = ""
    insecure_skip_verify: bool = False
    proxy_url: str = ""
    token_source: ValueSource | None = None


class ClientAuthConfig(Section, frozen=True):
    """How this client proves who it is; `token` also keys the control channel's cipher."""

    method: str = "token"
    additional_scopes: tuple[str, ...] = ()
    token: str = ""
    token_source: ValueSource | None = None
    oidc: ClientOidcConfig = ClientOidcConfig()

    def __post_init__(self) -> None:
        fill(self, method="token")


class ClientTlsConfig(TlsFiles, frozen=True):
    """TLS towards the server; it is checked only with `trusted_ca_file`."""

    enable: bool = True
    disable_custom_tls_first_byte: bool = True


class ClientTransportConfig(Section, frozen=True):
    """The link to the server; periods in seconds, negative ones mean off."""

    protocol: str = "tcp"
    wire_protocol: str = "v1"
    dial_server_timeout: Int = 10
    dial_server_keepalive: Int = 7200
    connect_server_local_ip: str = ""
    proxy_url: str = ""
    pool_count: Int = 1
    tcp_mux: bool = True
    tcp_mux_keepalive_interval: Int = 30
    quic: QuicConfig = QuicConfig()
    heartbeat_interval: Int = 0  # completed: 0 does not last
    heartbeat_timeout: Int = 0  # completed: 0 does not last
    tls: ClientTlsConfig = ClientTlsConfig()

    def __post_init__(self) -> None:
        fill(
            self,
            protocol="tcp",
            wire_protocol="v1",
            dial_server_timeout=10,
            dial_server_keepalive=7200,
            pool_count=1,
            tcp_mux_keepalive_interval=30,
            heartbeat_interval=-1 if self.tcp_mux else 30,
            heartbeat_timeout=-1 if self.tcp_mux else 90,
        )


class VirtualNetConfig(Section, frozen=True):
    """The client's own address in the virtual network, as CIDR; empty means none."""

    address: str = ""


class StoreConfig(Section, frozen=True):
    """The file that keeps dynamically managed proxies; an absolute path once loaded from a file, empty means none."""

    path: str = ""


class ClientCommon(Section, frozen=True):
    """frpc's configuration without proxies and visitors."""

    version: str = ""
    auth: ClientAuthConfig = ClientAuthConfig()
    user: str = ""
    client_id: str = ""
    server_addr: str = "0.0.0.0"
    server_port: Int = 7000
    nat_hole_stun_server: str = "stun.easyvoip.com:3478"
    dns_server: str = ""
    login_fail_exit: bool = True
    start: tuple[str, ...] = ()
    log: LogConfig = LogConfig()
    web_server: WebServerConfig = WebServerConfig()
    transport: ClientTransportConfig = ClientTransportConfig()
    virtual_net: VirtualNetConfig = VirtualNetConfig()
    feature_gates: dict[str, bool] = msgspec.field(default_factory=dict)
    udp_packet_size: Int = 1500
    metadatas: dict[str, str] = msgspec.field(default_factory=dict)
    includes: tuple[str, ...] = ()
    store: StoreConfig = StoreConfig()
    watch_config: bool = False

    def __post_init__(self) -> None:
        fill(
            self,
            server_addr="0.0.0.0",
            server_port=7000,
            nat_hole_stun_server="stun.easyvoip.com:3478",
            udp_packet_size=1500,
        )


class ClientConfig(ClientCommon, frozen=True):
    """All of frpc's configuration, with the values in effect; only enabled and started entries are in it once loaded."""

    proxies: tuple[Proxy, ...] = ()
    visitors: tuple[Visitor, ...] = ()
