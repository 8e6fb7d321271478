"""What each key of a configuration means, for people: the one source of the JSON Schemas and of docs/reference.

Types and defaults are those of the structs; here is what can't be read off them. A key stands under the struct that has it,
and holds for those that inherit from it. What a table is for is in the docstring of its struct.
"""

from typing import Any, NamedTuple

from . import client, common, plugins, proxies, server, visitors
from .base import Section


class Key(NamedTuple):
    """The meaning of a key; `default` says in words what is more than a constant."""

    meaning: str
    example: Any
    choices: tuple[str, ...] = ()
    default: str = ""
    lowest: int | None = None
    highest: int | None = None


def _port(meaning: str, example: int, default: str = "", lowest: int = 0) -> Key:
    return Key(meaning, example, default=default, lowest=lowest, highest=65535)


_VERSION = Key("Accepted and ignored.", "0.70.1")
_METHOD = Key("How clients prove who they are: a shared secret, or tokens of an OpenID Connect provider.", "token", ("token", "oidc"))
_TOKEN = Key(
    "The secret that server and clients share; it also keys the encryption. Not together with `auth.tokenSource`.", "a-long-random-secret"
)
_UDP_PACKET_SIZE = Key("Longest UDP datagram that is carried, in bytes. Should be the same on both sides.", 1500)
_TCP_MUX = Key("Carry everything between client and server over one connection. Must be the same on both sides.", True)
_TCP_MUX_KEEPALIVE = Key("Seconds between keep-alive messages on that one connection.", 30)
_WATCH = Key("Read this file again when it has changed, as `reload` does. It is looked at every 2 s.", True)
_HEADERS = Key(
    "Headers that are set, by name: of requests on their way to the local service, or of answers on their way to users.", {"X-From": "frp"}
)
_METADATAS = "Free data for server plugins. Values are text."
_GENERATED = "Without certificate and key, a self-signed one is made."
_ASSISTED = Key("Don't tell the other side the addresses of this machine's own interfaces.", True)
_SECRET_KEY = "The secret of this proxy: visitors must have the same."

KEYS: dict[type[Section], dict[str, Key]] = {
    server.ServerConfig: {
        "version": _VERSION,
        "bind_addr": Key("Address that clients connect to, also by KCP and QUIC.", "0.0.0.0"),
        "bind_port": _port("TCP port that clients connect to.", 7000),
        "kcp_bind_port": _port("UDP port for clients that come by KCP; 0: none. May be the same number as `bindPort`.", 7000),
        "quic_bind_port": _port("UDP port for clients that come by QUIC; 0: none.", 7002),
        "proxy_bind_addr": Key("Address that users connect to, for the ports of all proxies.", "203.0.113.5", default="`bindAddr`"),
        "vhost_http_port": _port("Port that all http proxies share; 0: there are none. May be `bindPort`.", 80),
        "vhost_http_timeout": Key("Seconds that a local service has for the head of its answer.", 60),
        "vhost_https_port": _port("Port that all https proxies share, told apart by SNI; 0: there are none. May be `bindPort`.", 443),
        "tcpmux_http_connect_port": _port("Port that all tcpmux proxies share; 0: there are none.", 1337),
        "tcpmux_passthrough": Key("Hand the CONNECT request on to the local service instead of answering it.", True),
        "sub_domain_host": Key("Domain below which clients may have names by `subdomain`; empty: they may not.", "frp.example.com"),
        "custom_404_page": Key("HTML file that is shown when no http proxy is meant; read at each use.", "/etc/frp/404.html"),
        "enable_prometheus": Key("Serve `/metrics` on the web server, for Prometheus. Needs `webServer.port`.", True),
        "detailed_errors_to_client": Key("Tell clients why they are refused; false: only that they are.", True),
        "max_ports_per_client": Key("How many ports one client may have; 0: any number.", 10),
        "max_proxies_per_client": Key(
            "How many proxies one client may have, with ten names and locations and 1 KiB of description for each; 0: any number.", 100
        ),
        "max_users_per_client": Key("Connections of users that one client may have at once; 0: any number.", 5000),
        "max_streams_per_client": Key("Streams that one client may have open on its link, those of its visitors among them.", 65536),
        "max_unauthenticated": Key(
            "Connections on the client port on which nobody has logged in yet; beyond that the source with the most of them makes room.",
            512,
        ),
        "max_unauthenticated_per_source": Key("The same for one source (an IPv4 address, or 64 bits of IPv6).", 64),
        "bandwidth_limit_per_client": Key(
            "The most bytes a second that one client may move for users, both directions of all its proxies together, as a number and "
            "`KB` or `MB`; empty: no limit.",
            "100MB",
            default="no limit",
        ),
        "user_conn_timeout": Key("Seconds that a user waits for a connection of the client.", 10),
        "udp_packet_size": _UDP_PACKET_SIZE,
        "nathole_analysis_data_reserve_hours": Key("Hours that is remembered what worked for xtcp.", 168),
        "allow_ports": Key(
            "Ports that clients may ask for; none given: all.",
            [{"start": 6000, "end": 6999}, {"single": 2222}],
            default="all ports",
        ),
        "http_plugins": Key(
            "HTTP services that are asked, in this order, before something is allowed.",
            [{"name": "gate", "addr": "127.0.0.1:9000", "path": "/hook", "ops": ["Login", "NewProxy"]}],
        ),
        "watch_config": _WATCH,
    },
    server.SourcePenaltiesConfig: {
        "longest": Key(
            "The most seconds that a source is shut out of the client port for failed logins and rubbish; negative: never. "
            "Sources from which a client has logged in within the last hour are not shut out.",
            600,
        ),
        "exempt": Key("Addresses and networks that are never shut out.", ["127.0.0.0/8", "::1", "192.0.2.0/24"]),
    },
    server.StatisticsConfig: {
        "path": Key(
            "SQLite file for the traffic of proxies and clients by hour and day, seen from the folder of this file; empty: in memory only. "
            "Needs `webServer.port`.",
            "/var/lib/frp/statistics.db",
        ),
        "keep_hours": Key("Hours for which the figures of each hour are kept.", 168, lowest=1, highest=8784),
        "keep_days": Key("Days for which the figures of each day are kept.", 400, lowest=1, highest=3660),
    },
    server.ServerAuthConfig: {
        "method": _METHOD,
        "additional_scopes": Key("What else must carry credentials, besides the login.", ["HeartBeats"], ("HeartBeats", "NewWorkConns")),
        "token": _TOKEN,
    },
    server.ServerOidcConfig: {
        "issuer": Key("Address of the OpenID Connect provider, whose discovery document is read at start.", "https://id.example.com"),
        "audience": Key("Audience that tokens must be for; empty: any.", "frp"),
        "skip_expiry_check": Key("Take expired tokens too.", True),
        "skip_issuer_check": Key("Take tokens of any issuer.", True),
    },
    server.SshTunnelGatewayConfig: {
        "bind_port": _port("Port of the SSH gateway, at `bindAddr`; 0: none.", 2200),
        "private_key_file": Key("Its host key.", "/etc/frp/ssh_host_key"),
        "auto_gen_private_key_path": Key("Where its host key is kept that is made when there is none.", "./.autogen_ssh_key"),
        "authorized_keys_file": Key(
            "Public keys that may come in; the comment of a key is the name of its user. Empty: anybody may.", "/etc/frp/authorized_keys"
        ),
    },
    server.ServerTlsConfig: {
        "force": Key(
            "Refuse clients that don't use TLS.",
            True,
            default="`false`; `true` with `transport.tls.trustedCaFile`",
        ),
        "cert_file": Key(f"The server's certificate, PEM. {_GENERATED}", "/etc/frp/server.crt"),
        "key_file": Key("The key of that certificate, PEM.", "/etc/frp/server.key"),
        "trusted_ca_file": Key("The CA that client certificates must be from; makes them mandatory.", "/etc/frp/ca.crt"),
        "server_name": Key("Accepted; means nothing here.", ""),
    },
    server.ServerTransportConfig: {
        "tcp_mux": _TCP_MUX,
        "tcp_mux_keepalive_interval": _TCP_MUX_KEEPALIVE,
        "tcp_keepalive": Key("Seconds until TCP looks whether an idle client is still there; negative: never.", 7200),
        "max_pool_count": Key("The most connections that a client may keep ready for users.", 5),
        "heartbeat_timeout": Key(
            "Seconds without a heartbeat after which a client is dropped; negative: never.",
            90,
            default="`-1`; `90` when `tcpMux` is off",
        ),
    },
    server.PortsRange: {
        "start": _port("First port of a range.", 6000),
        "end": _port("Last port of a range.", 6999),
        "single": _port("One port, instead of a range.", 2222),
    },
    server.HttpPluginConfig: {
        "name": Key("Its name, for the log.", "gate"),
        "addr": Key("Host and port, with `https://` in front if that is meant.", "127.0.0.1:9000"),
        "path": Key("Path of its requests.", "/hook"),
        "ops": Key(
            "What it is asked about.",
            ["Login", "NewProxy"],
            ("Login", "NewProxy", "CloseProxy", "Ping", "NewWorkConn", "NewUserConn"),
        ),
        "tls_verify": Key("Check its certificate, with `https://`.", True),
    },
    client.ClientCommon: {
        "version": _VERSION,
        "user": Key("Stands before the names of this client's proxies at the server: `user.name`.", "alice"),
        "client_id": Key("Name of this client, the same each time it runs, e.g. for the dashboard.", "laptop"),
        "server_addr": Key("Name or address of the server; IPv6 without brackets.", "frp.example.com"),
        "server_port": _port("Port of the server.", 7000),
        "nat_hole_stun_server": Key("STUN server that xtcp asks for this machine's public address.", "stun.easyvoip.com:3478"),
        "dns_server": Key("DNS server that is asked instead of the system's; port 53 unless given.", "192.0.2.53"),
        "login_fail_exit": Key("Exit when the first login fails; false: keep trying.", False),
        "start": Key("Names of the proxies and visitors that are started; none given: all.", ["ssh"], default="all"),
        "feature_gates": Key("Switches for experimental features; there is one, `VirtualNet`.", {"VirtualNet": True}),
        "udp_packet_size": _UDP_PACKET_SIZE,
        "metadatas": Key(f"{_METADATAS} Sent at the login.", {"site": "berlin"}),
        "includes": Key("More files with proxies and visitors; the last part of a path may be a pattern.", ["./conf.d/*.toml"]),
        "watch_config": _WATCH,
    },
    client.ClientConfig: {
        "proxies": Key(
            "The services that this client makes reachable: see [proxies](proxies.md).",
            [{"name": "ssh", "type": "tcp", "localPort": 22, "remotePort": 6000}],
        ),
        "visitors": Key(
            "Local ends of other clients' secret proxies: see [visitors](visitors.md).",
            [{"name": "db", "type": "stcp", "serverName": "database", "secretKey": "a-secret", "bindPort": 5432}],
        ),
    },
    client.ClientAuthConfig: {
        "method": _METHOD,
        "additional_scopes": Key(
            "What else carries credentials, besides the login; as the server wants it.", ["HeartBeats"], ("HeartBeats", "NewWorkConns")
        ),
        "token": _TOKEN,
    },
    client.ClientOidcConfig: {
        "client_id": Key("Client id at the provider.", "frp"),
        "client_secret": Key("Client secret at the provider.", "a-secret"),
        "audience": Key("Audience that the token is asked for.", "frp"),
        "scope": Key("Scope that the token is asked for.", "tunnel"),
        "token_endpoint_url": Key("Where tokens are asked for.", "https://id.example.com/oauth2/token"),
        "additional_endpoint_params": Key("More parameters of that request.", {"tenant": "t1"}),
        "trusted_ca_file": Key("CA of the provider's certificate; empty: the system's.", "/etc/frp/id-ca.crt"),
        "insecure_skip_verify": Key("Don't check the provider's certificate.", True),
        "proxy_url": Key("Proxy for that request: http, https, socks5 or socks5h.", "http://192.0.2.9:3128"),
    },
    client.ClientTlsConfig: {
        "enable": Key("Connect to the server by TLS. Always on for `wss` and `quic`.", True),
        "disable_custom_tls_first_byte": Key(
            "false: send a private first byte before TLS, for a server whose `vhostHTTPSPort` is its `bindPort`.", False
        ),
        "cert_file": Key("This client's certificate, PEM, if the server wants one.", "/etc/frp/client.crt"),
        "key_file": Key("The key of that certificate, PEM.", "/etc/frp/client.key"),
        "trusted_ca_file": Key("The CA that the server's certificate must be from; empty: it is not checked.", "/etc/frp/ca.crt"),
        "server_name": Key("Name that the server's certificate must have.", "frp.example.com", default="`serverAddr`"),
    },
    client.ClientTransportConfig: {
        "protocol": Key("How the server is reached.", "quic", ("tcp", "kcp", "quic", "websocket", "wss")),
        "wire_protocol": Key("Version of the messages.", "v2", ("v1", "v2")),
        "dial_server_timeout": Key("Seconds to connect to the server in.", 10),
        "dial_server_keepalive": Key("Seconds until TCP looks whether an idle server is still there; negative: never.", 7200),
        "connect_server_local_ip": Key("Address of this machine to connect from.", "192.0.2.20"),
        "proxy_url": Key(
            "Proxy on the way to the server, with protocol `tcp`: http, https, socks5 or ntlm.",
            "http://user:password@192.0.2.1:3128",
            default="the environment's `http_proxy`",
        ),
        "pool_count": Key("Connections that are kept ready for users.", 5),
        "tcp_mux": _TCP_MUX,
        "tcp_mux_keepalive_interval": _TCP_MUX_KEEPALIVE,
        "heartbeat_interval": Key("Seconds between heartbeats; negative: none.", 30, default="`-1`; `30` when `tcpMux` is off"),
        "heartbeat_timeout": Key(
            "Seconds without an answer to heartbeats after which the connection counts as lost; negative: never.",
            90,
            default="`-1`; `90` when `tcpMux` is off",
        ),
    },
    client.VirtualNetConfig: {"address": Key("Address of this machine in the virtual network.", "100.86.0.2/24")},
    client.StoreConfig: {"path": Key("File that keeps what is changed through the web API, beside this file.", "./frpc_store.json")},
    common.ValueSource: {"type": Key("Where the value comes from.", "file", ("file", "exec"))},
    common.FileSource: {"path": Key("File that holds the value; white space around it doesn't count.", "/etc/frp/token")},
    common.ExecSource: {
        "command": Key("Program that prints the value; needs `--allow-unsafe TokenSourceExec`.", "get-token"),
        "args": Key("Its arguments; there is no shell.", ["--for", "frp"]),
        "env": Key("Variables added to its environment.", [{"name": "STAGE", "value": "prod"}]),
    },
    common.EnvironmentEntry: {"name": Key("Name of the variable.", "STAGE"), "value": Key("Its value.", "prod")},
    common.LogConfig: {
        "to": Key("`console`, or the path of a file, which is rotated at midnight.", "/var/log/frp/frp.log"),
        "level": Key("The lowest level that is written.", "debug", ("trace", "debug", "info", "warn", "error")),
        "max_days": Key("Days that old files are kept.", 3),
        "disable_print_color": Key("No colours on the console.", True),
    },
    common.TlsFiles: {
        "cert_file": Key("Certificate, PEM. With it, the web server is https.", "/etc/frp/web.crt"),
        "key_file": Key("The key of that certificate, PEM.", "/etc/frp/web.key"),
        "trusted_ca_file": Key("Accepted; means nothing here.", ""),
        "server_name": Key("Accepted; means nothing here.", ""),
    },
    common.WebServerConfig: {
        "addr": Key("Address that it listens on.", "0.0.0.0"),
        "port": _port("Port that it listens on; 0: there is none.", 7500),
        "user": Key("User that must be given; with user and password empty, none.", "admin"),
        "password": Key("Password that must be given.", "a-password"),
        "assets_dir": Key("Directory whose pages are shown instead of the built-in ones.", "/usr/share/frp/web"),
        "pprof_enable": Key("Serve figures for profiling at `/debug/pprof/`.", True),
    },
    common.QuicConfig: {
        "keepalive_period": Key("Seconds between keep-alive messages.", 10),
        "max_idle_timeout": Key("Seconds of silence after which a connection is over.", 30),
        "max_incoming_streams": Key("The most streams that are open at a time.", 100_000),
    },
    common.HeaderOperations: {"set": _HEADERS},
    common.NatTraversal: {"disable_assisted_addrs": _ASSISTED},
    proxies.ProxyBase: {
        "name": Key("Its name, which no other proxy of this user has.", "ssh"),
        "enabled": Key("false: as if it were not there.", False),
        "annotations": Key("Free data that the server's dashboard shows.", {"owner": "alice"}),
        "metadatas": Key(_METADATAS, {"site": "berlin"}),
        "local_ip": Key("Name or address of the local service.", "192.168.1.10"),
        "local_port": _port("Port of the local service.", 22),
        "plugin": Key("Serve users by a plugin instead of a local service: see [plugins](plugins.md).", {"type": "socks5"}),
    },
    proxies.ProxyTransport: {
        "use_encryption": Key("Encrypt what users send and get, on top of TLS if that is on.", True),
        "use_compression": Key("Compress what users send and get.", True),
        "bandwidth_limit": Key("The most bytes a second, as a number and `KB` or `MB`; empty: no limit.", "1.5MB", default="no limit"),
        "bandwidth_limit_mode": Key("The side that limits.", "server", ("client", "server")),
        "proxy_protocol_version": Key("Tell the local service the user's address by the PROXY protocol.", "v2", ("", "v1", "v2")),
    },
    proxies.LoadBalancer: {
        "group": Key("Proxies with the same group share their users. For tcp, http, https and tcpmux.", "web"),
        "group_key": Key("The secret of the group, the same for each member.", "a-secret"),
    },
    proxies.HealthCheck: {
        "type": Key("How the local service is probed; empty: not at all. Needs `localPort`.", "http", ("", "tcp", "http")),
        "timeout_seconds": Key("Seconds that a probe may take.", 3, default="`3`"),
        "max_failed": Key("Failed probes after which no users come any more.", 1, default="`1`"),
        "interval_seconds": Key("Seconds between probes.", 10, default="`10`"),
        "path": Key("What is asked for, with type `http`; any 2xx is well.", "/health"),
        "http_headers": Key("Headers of the request, with type `http`.", [{"name": "Host", "value": "www.example.com"}]),
    },
    proxies.HttpHeader: {"name": Key("Name of the header.", "Host"), "value": Key("Its value.", "www.example.com")},
    proxies.TcpProxy: {"remote_port": _port("Port of the server that users connect to; 0: the server chooses one.", 6000)},
    proxies.UdpProxy: {"remote_port": _port("UDP port of the server that users send to; 0: the server chooses one.", 6000)},
    proxies.DomainProxy: {
        "custom_domains": Key(
            "Names that users come to; `*.example.com` is all below. They must point at the server.", ["www.example.com"]
        ),
        "subdomain": Key("A label below the server's `subDomainHost`, instead of or besides `customDomains`.", "www"),
    },
    proxies.HttpProxy: {
        "locations": Key("Beginnings of paths that come here; none given: all. The longest wins.", ["/api"]),
        "http_user": Key("User that visitors must give.", "alice"),
        "http_password": Key("Password that visitors must give.", "a-password"),
        "host_header_rewrite": Key("Host header that the local service gets.", "intern.example.com"),
        "route_by_http_user": Key("Only requests of this user come here.", "alice"),
    },
    proxies.TcpmuxProxy: {
        "http_user": Key("User that the CONNECT request must give.", "alice"),
        "http_password": Key("Password that the CONNECT request must give; without `httpUser` it isn't asked for.", "a-password"),
        "route_by_http_user": Key("Only CONNECT requests of this user come here.", "alice"),
        "multiplexer": Key("Must be given, and there is one.", "httpconnect", ("httpconnect",)),
    },
    proxies.SecretProxy: {
        "secret_key": Key(_SECRET_KEY, "a-secret"),
        "allow_users": Key("Users whose visitors may come; `*`: all.", ["*"], default="the own `user`"),
    },
    visitors.VisitorBase: {
        "name": Key("Its name, which no other visitor here has.", "db"),
        "enabled": Key("false: as if it were not there.", False),
        "secret_key": Key("The secret of the proxy.", "a-secret"),
        "server_user": Key("User whose proxy it is.", "alice", default="the own `user`"),
        "server_name": Key("Name of the proxy.", "database"),
        "bind_addr": Key("Address to listen on.", "0.0.0.0"),
        "bind_port": _port("Port to listen on; -1: none, for visitors that others fall back to. Must be given.", 5432, lowest=-1),
        "plugin": Key(
            "Take users from a plugin instead of a port: see [plugins](plugins.md).", {"type": "virtual_net", "destinationIP": "100.86.0.1"}
        ),
    },
    visitors.VisitorTransport: {
        "use_encryption": Key("Encrypt with `secretKey`.", True),
        "use_compression": Key("Compress.", True),
    },
    visitors.XtcpVisitor: {
        "protocol": Key("What is spoken through the punched hole.", "kcp", ("quic", "kcp")),
        "keep_tunnel_open": Key("Keep the hole open while nobody uses it.", True),
        "max_retries_an_hour": Key("With `keepTunnelOpen`: the most attempts in an hour.", 8),
        "min_retry_interval": Key("With `keepTunnelOpen`: seconds between attempts.", 90),
        "fallback_to": Key("Visitor that takes over when there is no way through.", "db-by-server"),
        "fallback_timeout_ms": Key("Milliseconds until it takes over.", 1000),
    },
    visitors.VirtualNetVisitorPlugin: {"destination_ip": Key("Address in the virtual network that leads here.", "100.86.0.1")},
    plugins.HttpProxyPlugin: {
        "http_user": Key("User that must be given; with user and password empty, none.", "alice"),
        "http_password": Key("Password that must be given.", "a-password"),
    },
    plugins.Socks5Plugin: {
        "username": Key("User that must be given; with user and password empty, none.", "alice"),
        "password": Key("Password that must be given.", "a-password"),
    },
    plugins.StaticFilePlugin: {
        "local_path": Key("Directory whose files are served. Must be given.", "/srv/files"),
        "strip_prefix": Key("Path below which they appear.", "files"),
        "http_user": Key("User that must be given; with user and password empty, none.", "alice"),
        "http_password": Key("Password that must be given.", "a-password"),
    },
    plugins.UnixDomainSocketPlugin: {"unix_path": Key("The socket to connect to. Must be given.", "/run/docker.sock")},
    plugins.HttpForwardPlugin: {
        "local_addr": Key("Host and port of the local service.", "127.0.0.1:8080"),
        "host_header_rewrite": Key("Host header that the local service gets.", "intern.example.com"),
    },
    plugins.HttpsForwardPlugin: {
        "enable_http2": Key("Let users come by HTTP/2.", False),
        "crt_path": Key(f"Certificate that users see, PEM. {_GENERATED}", "/etc/frp/www.crt"),
        "key_path": Key("The key of that certificate, PEM.", "/etc/frp/www.key"),
    },
    plugins.Tls2RawPlugin: {
        "local_addr": Key("Host and port of the local service. Must be given.", "127.0.0.1:8080"),
        "crt_path": Key(f"Certificate that users see, PEM. {_GENERATED}", "/etc/frp/www.crt"),
        "key_path": Key("The key of that certificate, PEM.", "/etc/frp/www.key"),
    },
}


def meaning_of(struct: type[Section], attribute: str) -> Key:
    """The meaning of a key that is no table. Raises KeyError when nobody has written it down."""
    for cls in struct.__mro__:
        if (key := KEYS.get(cls, {}).get(attribute)) is not None:
            return key
    raise KeyError(f"{struct.__name__}.{attribute}")
