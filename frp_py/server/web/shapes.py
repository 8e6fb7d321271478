"""What the answers look like: clients and proxies as the two versions of frp's API and our own additions show them.

Names, times and counts are read off the live objects when somebody asks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

if TYPE_CHECKING:
    from frp_py.config.server import ServerConfig
    from frp_py.server.proxies.base import PublicProxy
    from frp_py.server.registry import ClientEntry
    from frp_py.server.statistics import Record
    from frp_py.server.web.view import View

TYPES = ("tcp", "udp", "http", "https", "tcpmux", "stcp", "xtcp", "sudp")

Phase: TypeAlias = Literal["online", "offline"]


# what is configured


class Ports(Struct, rename="camel"):
    """The server's configuration, as far as it is shown."""

    bind_port: int
    vhost_http_port: int = field(name="vhostHTTPPort")
    vhost_https_port: int = field(name="vhostHTTPSPort")
    tcpmux_http_connect_port: int = field(name="tcpmuxHTTPConnectPort")
    kcp_bind_port: int
    quic_bind_port: int
    subdomain_host: str
    max_pool_count: int
    max_ports_per_client: int
    heartbeat_timeout: int


class Configuration(Ports, rename="camel"):
    """The same for version 2."""

    allow_ports_str: str
    tls_force: bool


class ServerInfo(Ports, rename="camel", kw_only=True):
    """The server as version 1 shows it; traffic is today's, in bytes."""

    version: str
    allow_ports_str: str | UnsetType = UNSET
    tls_force: bool | UnsetType = UNSET
    total_traffic_in: int
    total_traffic_out: int
    cur_conns: int
    client_counts: int
    proxy_type_count: dict[str, int]


def ports(config: ServerConfig) -> dict[str, Any]:
    """What `Ports` is made of."""
    return {
        "bind_port": config.bind_port,
        "vhost_http_port": config.vhost_http_port,
        "vhost_https_port": config.vhost_https_port,
        "tcpmux_http_connect_port": config.tcpmux_http_connect_port,
        "kcp_bind_port": config.kcp_bind_port,
        "quic_bind_port": config.quic_bind_port,
        "subdomain_host": config.sub_domain_host,
        "max_pool_count": config.transport.max_pool_count,
        "max_ports_per_client": config.max_ports_per_client,
        "heartbeat_timeout": config.transport.heartbeat_timeout,
    }


def allowed_ports(config: ServerConfig) -> str:
    """Such as `1000-2000,3000`."""
    return ",".join(str(each.single) if each.single > 0 else f"{each.start}-{each.end}" for each in config.allow_ports)


# clients


class Client(Struct, rename="camel", kw_only=True):
    """A client; times in Unix seconds."""

    key: str
    user: str
    client_id: str = field(name="clientID")
    """The id it gave itself, or else its run id; who may not see secrets is told another name instead."""
    run_id: str = field(name="runID")
    """Empty when it is offline, and for those who may not see secrets."""
    version: str | UnsetType = UNSET
    wire_protocol: str | UnsetType = UNSET
    hostname: str
    client_ip: str | UnsetType = field(name="clientIP", default=UNSET)
    first_connected_at: int
    last_connected_at: int
    disconnected_at: int | UnsetType = UNSET
    online: bool


class ClientStatus(Struct, rename="camel"):
    """What a client does; summed over its proxies."""

    phase: Phase
    cur_conns: int
    proxy_count: int


def client(entry: ClientEntry, view: View) -> Client:
    """A client as the registry knows it."""
    return Client(
        key=view.key(entry),
        user=entry.user,
        client_id=view.id(entry),
        run_id=view.run_id(entry),
        version=entry.version or UNSET,
        wire_protocol=entry.wire_protocol or UNSET,
        hostname=entry.hostname,
        client_ip=entry.ip or UNSET,
        first_connected_at=entry.first_connected_at,
        last_connected_at=entry.last_connected_at,
        disconnected_at=entry.disconnected_at or UNSET,
        online=entry.online,
    )


# proxies, version 1


class ProxyStats(Struct, rename="camel", kw_only=True):
    """A proxy as version 1 shows it; traffic in bytes."""

    name: str
    conf: dict[str, Any] | None
    """None: it is offline."""
    user: str | UnsetType = UNSET
    client_id: str | UnsetType = field(name="clientID", default=UNSET)
    today_traffic_in: int
    today_traffic_out: int
    cur_conns: int
    last_start_time: str
    """`MM-DD HH:MM:SS` in local time, or empty."""
    last_close_time: str
    status: Phase


class Proxies(Struct):
    """Some proxies."""

    proxies: list[ProxyStats]


def proxy_stats(record: Record, today: int, view: View) -> ProxyStats:
    """The statistics of a proxy on the day `today`."""
    n, m = record.days.of(today)
    return ProxyStats(
        name=record.name,
        conf=None if record.proxy is None else conf(record.proxy, view),
        user=record.user or UNSET,
        client_id=view.owner(record) or UNSET,
        today_traffic_in=n,
        today_traffic_out=m,
        cur_conns=record.connections,
        last_start_time=_clock(record.last_start),
        last_close_time=_clock(record.last_close),
        status=phase(record),
    )


def phase(record: Record) -> Phase:
    """Whether it is served now."""
    return "offline" if record.proxy is None else "online"


def _clock(at: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at)) if at else ""


def conf(proxy: PublicProxy, view: View) -> dict[str, Any]:
    """The configuration of a proxy as version 1 shows it: without secrets, but for the group's key to those who may see some."""
    wish, kind = proxy.wish, proxy.kind
    shown: dict[str, Any] = {"name": proxy.name, "type": kind}
    if wish.annotations:
        shown["annotations"] = wish.annotations
    transport = _transport(proxy)
    shown["transport"] = {key: value for key, value in transport.items() if value is not False}
    if wish.metas:
        shown["metadatas"] = wish.metas
    shown["loadBalancer"] = {"group": wish.group}
    if wish.group_key and view.secrets:
        shown["loadBalancer"]["groupKey"] = wish.group_key
    shown["healthCheck"] = {"type": "", "intervalSeconds": 0}
    shown["localIP"] = "127.0.0.1"
    shown["plugin"] = None
    if kind == "sudp":  # so in frp, whose sudp shows what is meant for files only
        shown["transport"]["bandwidthLimit"] = {}
        shown["plugin"] = {"type": ""}
    elif kind in ("tcp", "udp"):
        shown["remotePort"] = proxy.port
    elif kind in ("http", "https", "tcpmux"):
        shown |= _domains(proxy)
    if kind == "http":
        shown["locations"] = wish.locations or None
        shown["hostHeaderRewrite"] = wish.host_header_rewrite
    elif kind == "tcpmux":
        shown["multiplexer"] = wish.multiplexer
        shown["routeByHTTPUser"] = wish.route_by_http_user
    return shown


def _transport(proxy: PublicProxy) -> dict[str, Any]:
    wish = proxy.wish
    return {
        "useEncryption": wish.use_encryption,
        "useCompression": wish.use_compression,
        "bandwidthLimit": wish.bandwidth_limit,
        "bandwidthLimitMode": wish.bandwidth_limit_mode or "client",
    }


def _domains(proxy: PublicProxy) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if proxy.wish.custom_domains:
        shown["customDomains"] = proxy.wish.custom_domains
    if proxy.wish.subdomain:
        shown["subdomain"] = proxy.wish.subdomain
    return shown


# proxies, version 2


class ProxyStatus(Struct, rename="camel"):
    """What a proxy does; traffic in bytes, times in Unix seconds."""

    phase: Phase
    today_traffic_in: int
    today_traffic_out: int
    cur_conns: int
    last_start_at: int | UnsetType = UNSET
    last_close_at: int | UnsetType = UNSET


class Proxy(Struct, rename="camel"):
    """A proxy as version 2 shows it."""

    name: str
    user: str
    client_id: str = field(name="clientID")
    spec: dict[str, Any]
    """`type`, and under its name what is configured."""
    status: ProxyStatus


def proxy(record: Record, today: int, view: View) -> Proxy:
    """A proxy on the day `today`."""
    n, m = record.days.of(today)
    block = {} if record.proxy is None else _block(record.proxy)
    status = ProxyStatus(phase(record), n, m, record.connections, int(record.last_start) or UNSET, int(record.last_close) or UNSET)
    return Proxy(record.name, record.user, view.owner(record), {"type": record.type, record.type: block}, status)


def _block(proxy: PublicProxy) -> dict[str, Any]:
    wish, kind = proxy.wish, proxy.kind
    shown: dict[str, Any] = {}
    if wish.annotations:
        shown["annotations"] = wish.annotations
    if wish.metas:
        shown["metadatas"] = wish.metas
    shown["transport"] = _transport(proxy)
    shown["loadBalancer"] = {"group": wish.group}
    if kind in ("tcp", "udp"):
        shown["remotePort"] = proxy.port
    elif kind in ("http", "https", "tcpmux"):
        shown |= _domains(proxy)
    if kind == "http":
        if wish.locations:
            shown["locations"] = wish.locations
        if wish.host_header_rewrite:
            shown["hostHeaderRewrite"] = wish.host_header_rewrite
    elif kind == "tcpmux":
        if wish.multiplexer:
            shown["multiplexer"] = wish.multiplexer
        if wish.route_by_http_user:
            shown["routeByHTTPUser"] = wish.route_by_http_user
    return shown


# connections


class Connection(Struct, rename="camel"):
    """A connection of a user, `1.2.3.4:5678`, who is not known for those that wait; its beginning in Unix seconds, its bytes so far."""

    user: str
    since: int
    traffic_in: int
    traffic_out: int


class Connections(Struct):
    """Connections of a proxy: how many there are, and the newest."""

    total: int
    items: list[Connection]
