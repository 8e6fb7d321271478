"""The configuration of frps (config.md 2.1)."""

from msgspec.structs import force_setattr

from .base import Bandwidth, Int, Section, fill
from .common import LogConfig, QuicConfig, TlsFiles, ValueSource, WebServerConfig


class ServerOidcConfig(Section, frozen=True):
    """Which OpenID Connect tokens are good."""

    issuer: str = ""
    audience: str = ""
    skip_expiry_check: bool = False
    skip_issuer_check: bool = False


class ServerAuthConfig(Section, frozen=True):
    """How clients prove who they are; `token` also keys the control channel's cipher."""

    method: str = "token"
    additional_scopes: tuple[str, ...] = ()
    token: str = ""
    token_source: ValueSource | None = None
    oidc: ServerOidcConfig = ServerOidcConfig()

    def __post_init__(self) -> None:
        fill(self, method="token")


class SshTunnelGatewayConfig(Section, frozen=True):
    """The SSH gateway; port 0 means there is none."""

    bind_port: Int = 0
    private_key_file: str = ""
    auto_gen_private_key_path: str = "./.autogen_ssh_key"
    authorized_keys_file: str = ""

    def __post_init__(self) -> None:
        fill(self, auto_gen_private_key_path="./.autogen_ssh_key")


class ServerTlsConfig(TlsFiles, frozen=True):
    """TLS on the client port; `force` refuses clients without it."""

    force: bool = False

    def __post_init__(self) -> None:
        if self.trusted_ca_file:
            fill(self, force=True)


class ServerTransportConfig(Section, frozen=True):
    """Links to clients; periods in seconds, negative ones mean off."""

    tcp_mux: bool = True
    tcp_mux_keepalive_interval: Int = 30
    tcp_keepalive: Int = 7200
    max_pool_count: Int = 5
    heartbeat_timeout: Int = 0  # completed: 0 does not last
    quic: QuicConfig = QuicConfig()
    tls: ServerTlsConfig = ServerTlsConfig()

    def __post_init__(self) -> None:
        fill(
            self,
            tcp_mux_keepalive_interval=30,
            tcp_keepalive=7200,
            max_pool_count=5,
            heartbeat_timeout=-1 if self.tcp_mux else 90,
        )


class PortsRange(Section, frozen=True):
    """Ports from `start` to `end`, both included, or the one port `single`, which wins when it is above 0."""

    start: Int = 0
    end: Int = 0
    single: Int = 0


class HttpPluginConfig(Section, frozen=True):
    """A server-side hook: requests are POSTed to `addr` + `path` for each operation in `ops`."""

    name: str = ""
    addr: str = ""
    path: str = ""
    ops: tuple[str, ...] = ()
    tls_verify: bool = False


class SourcePenaltiesConfig(Section, frozen=True):
    """What happens to sources of failed logins and of rubbish: they are shut out for a while, and longer each time."""

    longest: Int = 600
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1")

    def __post_init__(self) -> None:
        fill(self, longest=600)


class StatisticsConfig(Section, frozen=True):
    """Where the statistics of the web server are kept, so that a restart doesn't lose them; without a path, they are lost."""

    path: str = ""
    keep_hours: Int = 168
    keep_days: Int = 400

    def __post_init__(self) -> None:
        fill(self, keep_hours=168, keep_days=400)


class ServerConfig(Section, frozen=True):
    """All of frps's configuration, with the values in effect."""

    version: str = ""
    auth: ServerAuthConfig = ServerAuthConfig()
    bind_addr: str = "0.0.0.0"
    bind_port: Int = 7000
    kcp_bind_port: Int = 0
    quic_bind_port: Int = 0
    proxy_bind_addr: str = ""  # completed: bind_addr
    vhost_http_port: Int = 0
    vhost_http_timeout: Int = 60
    vhost_https_port: Int = 0
    tcpmux_http_connect_port: Int = 0
    tcpmux_passthrough: bool = False
    sub_domain_host: str = ""
    custom_404_page: str = ""
    ssh_tunnel_gateway: SshTunnelGatewayConfig = SshTunnelGatewayConfig()
    web_server: WebServerConfig = WebServerConfig()
    enable_prometheus: bool = False
    statistics: StatisticsConfig = StatisticsConfig()
    log: LogConfig = LogConfig()
    transport: ServerTransportConfig = ServerTransportConfig()
    detailed_errors_to_client: bool = True
    max_ports_per_client: Int = 0
    max_proxies_per_client: Int = 10_000
    max_users_per_client: Int = 0
    max_streams_per_client: Int = 65_536
    max_unauthenticated: Int = 512
    max_unauthenticated_per_source: Int = 512
    bandwidth_limit_per_client: Bandwidth = Bandwidth()
    source_penalties: SourcePenaltiesConfig = SourcePenaltiesConfig()
    user_conn_timeout: Int = 10
    udp_packet_size: Int = 1500
    nathole_analysis_data_reserve_hours: Int = 168
    allow_ports: tuple[PortsRange, ...] = ()
    http_plugins: tuple[HttpPluginConfig, ...] = ()
    watch_config: bool = False

    def __post_init__(self) -> None:
        fill(
            self,
            bind_addr="0.0.0.0",
            bind_port=7000,
            vhost_http_timeout=60,
            user_conn_timeout=10,
            udp_packet_size=1500,
            nathole_analysis_data_reserve_hours=168,
            max_streams_per_client=65_536,
            max_unauthenticated=512,
            max_unauthenticated_per_source=512,
        )
        if not self.proxy_bind_addr:
            force_setattr(self, "proxy_bind_addr", self.bind_addr)
