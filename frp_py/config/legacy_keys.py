"""Where each key of the legacy format went (config.md 6.7): legacy key, key path, and type when it is no string.

Keys that need more than moving are not in here; the readers handle them.
"""

from typing import Any

from .legacy_ini import Ini, boolean, integer, words


def table(text: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return a mapping from lines of `legacy_key new.key.path [type]`."""
    found = {}
    for line in text.split("\n"):
        if line.strip():
            key, path, kind = (*line.split(), "string")[:3]
            found[key] = tuple(path.split(".")), kind
    return found


def moved(ini: Ini, section: str, keys: dict[str, tuple[tuple[str, ...], str]]) -> dict[str, Any]:
    """Return a section's values at their new places; what doesn't parse is left out, so it is the default."""
    tree: dict[str, Any] = {}
    for key, (path, kind) in keys.items():
        text = ini.get(section, key)
        if text is None:
            continue
        value: Any = text if kind == "string" else _PARSERS[kind](text)
        if value is not None:
            put(tree, path, value)
    return tree


def put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value at a path, making tables on the way."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def family(ini: Ini, section: str, prefix: str) -> dict[str, str]:
    """Return the keys of a section that begin with a prefix, by what follows it."""
    return {key[len(prefix) :]: value for key, value in ini.own(section).items() if key.startswith(prefix) and len(key) > len(prefix)}


_PARSERS: dict[str, Any] = {"int": integer, "bool": boolean, "list": words}

_BOTH = """
authentication_method auth.method
token auth.token
oidc_audience auth.oidc.audience
quic_keepalive_period transport.quic.keepalivePeriod int
quic_max_idle_timeout transport.quic.maxIdleTimeout int
quic_max_incoming_streams transport.quic.maxIncomingStreams int
assets_dir webServer.assetsDir
pprof_enable webServer.pprofEnable bool
log_file log.to
log_level log.level
log_max_days log.maxDays int
disable_log_color log.disablePrintColor bool
tcp_mux transport.tcpMux bool
tcp_mux_keepalive_interval transport.tcpMuxKeepaliveInterval int
heartbeat_timeout transport.heartbeatTimeout int
tls_cert_file transport.tls.certFile
tls_key_file transport.tls.keyFile
tls_trusted_ca_file transport.tls.trustedCaFile
udp_packet_size udpPacketSize int
"""

SERVER = table(
    _BOTH
    + """
oidc_issuer auth.oidc.issuer
oidc_skip_expiry_check auth.oidc.skipExpiryCheck bool
oidc_skip_issuer_check auth.oidc.skipIssuerCheck bool
bind_addr bindAddr
bind_port bindPort int
kcp_bind_port kcpBindPort int
quic_bind_port quicBindPort int
proxy_bind_addr proxyBindAddr
vhost_http_port vhostHTTPPort int
vhost_https_port vhostHTTPSPort int
vhost_http_timeout vhostHTTPTimeout int
tcpmux_httpconnect_port tcpmuxHTTPConnectPort int
tcpmux_passthrough tcpmuxPassthrough bool
dashboard_addr webServer.addr
dashboard_port webServer.port int
dashboard_user webServer.user
dashboard_pwd webServer.password
enable_prometheus enablePrometheus bool
detailed_errors_to_client detailedErrorsToClient bool
subdomain_host subDomainHost
custom_404_page custom404Page
tcp_keepalive transport.tcpKeepalive int
max_pool_count transport.maxPoolCount int
max_ports_per_client maxPortsPerClient int
tls_only transport.tls.force bool
user_conn_timeout userConnTimeout int
nat_hole_analysis_data_reserve_hours natholeAnalysisDataReserveHours int
"""
)

DASHBOARD_TLS = table("""
dashboard_tls_cert_file webServer.tls.certFile
dashboard_tls_key_file webServer.tls.keyFile
""")

HOOK = table("""
addr addr
path path
ops ops list
tlsVerify tlsVerify bool
""")

CLIENT = table(
    _BOTH
    + """
oidc_client_id auth.oidc.clientID
oidc_client_secret auth.oidc.clientSecret
oidc_scope auth.oidc.scope
oidc_token_endpoint_url auth.oidc.tokenEndpointURL
server_addr serverAddr
server_port serverPort int
nat_hole_stun_server natHoleStunServer
dial_server_timeout transport.dialServerTimeout int
dial_server_keepalive transport.dialServerKeepalive int
connect_server_local_ip transport.connectServerLocalIP
http_proxy transport.proxyURL
admin_addr webServer.addr
admin_port webServer.port int
admin_user webServer.user
admin_pwd webServer.password
pool_count transport.poolCount int
user user
dns_server dnsServer
login_fail_exit loginFailExit bool
start start list
protocol transport.protocol
tls_enable transport.tls.enable bool
tls_server_name transport.tls.serverName
disable_custom_tls_first_byte transport.tls.disableCustomTLSFirstByte bool
heartbeat_interval transport.heartbeatInterval int
includes includes list
"""
)

_PROXY = """
use_encryption transport.useEncryption bool
use_compression transport.useCompression bool
bandwidth_limit transport.bandwidthLimit
bandwidth_limit_mode transport.bandwidthLimitMode
proxy_protocol_version transport.proxyProtocolVersion
group loadBalancer.group
group_key loadBalancer.groupKey
health_check_type healthCheck.type
health_check_timeout_s healthCheck.timeoutSeconds int
health_check_max_failed healthCheck.maxFailed int
health_check_interval_s healthCheck.intervalSeconds int
health_check_url healthCheck.path
local_ip localIP
local_port localPort int
"""
_REMOTE = """
remote_port remotePort int
"""
_DOMAINS = """
custom_domains customDomains list
subdomain subdomain
"""
_HTTP_USER = """
http_user httpUser
http_pwd httpPassword
route_by_http_user routeByHTTPUser
"""
_SECRET = """
sk secretKey
allow_users allowUsers list
"""

PROXIES = {
    "tcp": table(_PROXY + _REMOTE),
    "udp": table(_PROXY + _REMOTE),
    "http": table(_PROXY + _DOMAINS + _HTTP_USER + "locations locations list\nhost_header_rewrite hostHeaderRewrite"),
    "https": table(_PROXY + _DOMAINS),
    "tcpmux": table(_PROXY + _DOMAINS + _HTTP_USER + "multiplexer multiplexer"),
    "stcp": table(_PROXY + _SECRET),
    "sudp": table(_PROXY + _SECRET),
    "xtcp": table(_PROXY + _SECRET),
}

_VISITOR = """
use_encryption transport.useEncryption bool
use_compression transport.useCompression bool
sk secretKey
server_user serverUser
server_name serverName
bind_addr bindAddr
bind_port bindPort int
"""

VISITORS = {
    "stcp": table(_VISITOR),
    "sudp": table(_VISITOR),
    "xtcp": table(
        _VISITOR
        + """
protocol protocol
keep_tunnel_open keepTunnelOpen bool
max_retries_an_hour maxRetriesAnHour int
min_retry_interval minRetryInterval int
fallback_to fallbackTo
fallback_timeout_ms fallbackTimeoutMs int
"""
    ),
}

_FORWARD = """
plugin_local_addr localAddr
plugin_host_header_rewrite hostHeaderRewrite
"""
_CERTIFICATE = """
plugin_crt_path crtPath
plugin_key_path keyPath
"""

PLUGINS = {
    "http2https": table(_FORWARD),
    "https2http": table(_FORWARD + _CERTIFICATE),
    "https2https": table(_FORWARD + _CERTIFICATE),
    "http_proxy": table("plugin_http_user httpUser\nplugin_http_passwd httpPassword"),
    "socks5": table("plugin_user username\nplugin_passwd password"),
    "static_file": table("""
plugin_local_path localPath
plugin_strip_prefix stripPrefix
plugin_http_user httpUser
plugin_http_passwd httpPassword
"""),
    "unix_domain_socket": table("plugin_unix_path unixPath"),
}
PLUGINS_WITH_HEADERS = frozenset({"http2https", "https2http", "https2https"})
