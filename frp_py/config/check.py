"""The rules that a complete configuration must satisfy (config.md 4.2 to 4.5)."""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from .client import ClientAuthConfig, ClientConfig, ClientOidcConfig
from .common import LogConfig, ValueSource, WebServerConfig
from .explain import nearest, shown
from .proxies import DomainProxy, ProxyBase, TcpmuxProxy
from .server import ServerAuthConfig, ServerConfig
from .visitors import VisitorBase, XtcpVisitor

TOKEN_SOURCE_EXEC = "TokenSourceExec"

_AUTH_METHODS = ("token", "oidc")
_SCOPES = ("HeartBeats", "NewWorkConns")
_LEVELS = ("trace", "debug", "info", "warn", "error")
_PROTOCOLS = ("tcp", "kcp", "quic", "websocket", "wss")
_WIRE_PROTOCOLS = ("v1", "v2")
_HOOK_OPS = ("Login", "NewProxy", "CloseProxy", "Ping", "NewWorkConn", "NewUserConn")
_NEEDS_LOCAL_ADDR = ("http2https", "https2http", "https2https", "tls2raw")


class Finding(NamedTuple):
    """A broken rule: the specification's text, the key that breaks it, and what it should be."""

    text: str
    key: str
    expected: str


def check_server(config: ServerConfig, allow_unsafe: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong with frps's configuration, in the order of config.md 4.3."""
    return list(_server(config, allow_unsafe))


def check_client(config: ClientConfig, allow_unsafe: Collection[str] = (), *, gates: bool = False) -> list[Finding]:
    """Return what is wrong with the common part of frpc's configuration, in the order of config.md 4.2.

    Feature gates count only with `gates`, that is when a client starts.
    """
    return list(_client(config, allow_unsafe, gates))


def warnings_of(config: ServerConfig | ClientConfig) -> list[str]:
    """Return what deserves a warning (config.md 4.2, and of our own), without the word WARNING."""
    return [] if isinstance(config, ServerConfig) else list(_client_warnings(config))


def _client_warnings(config: ClientConfig) -> Iterator[str]:
    tls = config.transport.tls
    files = {"certFile": tls.cert_file, "keyFile": tls.key_file, "trustedCaFile": tls.trusted_ca_file}
    if not tls.enable:
        yield from (f"transport.tls.{key} is invalid when transport.tls.enable is false" for key, file in files.items() if file)
    for proxy in config.proxies:
        if isinstance(proxy, TcpmuxProxy) and proxy.http_password and not proxy.http_user:
            yield f"proxy {proxy.name}: httpPassword protects nothing without httpUser"


def _client(config: ClientConfig, allow_unsafe: Collection[str], gates: bool) -> Iterator[Finding]:
    if config.virtual_net.address and not (gates and config.feature_gates.get("VirtualNet")):
        text = "VirtualNet feature is not enabled; enable it by setting the appropriate feature gate flag"
        yield Finding(text, "virtualNet.address", "needs featureGates = { VirtualNet = true }")
    yield from _auth(config.auth, allow_unsafe)
    yield from _client_oidc(config.auth.oidc, config.auth.method, allow_unsafe)
    yield from _log(config.log)
    yield from _web_server(config.web_server)
    transport = config.transport
    if 0 < transport.heartbeat_timeout < transport.heartbeat_interval:
        text = "invalid transport.heartbeatTimeout, heartbeat timeout should not less than heartbeat interval"
        what = f"is {transport.heartbeat_timeout}, transport.heartbeatInterval is {transport.heartbeat_interval}"
        yield Finding(text, "transport.heartbeatTimeout", what)
    yield from _one_of(transport.protocol, _PROTOCOLS, "transport.protocol", "transport.protocol")
    yield from _one_of(transport.wire_protocol, _WIRE_PROTOCOLS, "transport.wireProtocol", "transport.wireProtocol")


def _server(config: ServerConfig, allow_unsafe: Collection[str]) -> Iterator[Finding]:
    yield from _auth(config.auth, allow_unsafe)
    yield from _log(config.log)
    yield from _web_server(config.web_server)
    for key, port in (
        ("bindPort", config.bind_port),
        ("kcpBindPort", config.kcp_bind_port),
        ("quicBindPort", config.quic_bind_port),
        ("vhostHTTPPort", config.vhost_http_port),
        ("vhostHTTPSPort", config.vhost_https_port),
        ("tcpMuxHTTPConnectPort", config.tcpmux_http_connect_port),  # so in the text; the key has a lower-case m
    ):
        yield from _port(key, port)
    for key, value in (
        ("maxUnauthenticated", config.max_unauthenticated),
        ("maxUnauthenticatedPerSource", config.max_unauthenticated_per_source),
    ):
        if value < 1:
            yield Finding(f"{key} must be above 0", key, f"is {value}, and nobody could log in")
    for i, text in enumerate(config.source_penalties.exempt):
        if not _is_network(text):
            key = f"sourcePenalties.exempt[{i}]"
            yield Finding(f"invalid {key}: {shown(text)}", key, "must be an address or a network such as 192.0.2.0/24")
    for key, value, highest in (("keepHours", config.statistics.keep_hours, 8784), ("keepDays", config.statistics.keep_days, 3660)):
        if not 1 <= value <= highest:
            key = f"statistics.{key}"
            yield Finding(f"invalid {key}: {value}", key, f"must be a number from 1 to {highest}")
    for i, hook in enumerate(config.http_plugins):
        if not set(hook.ops) <= set(_HOOK_OPS):
            bad = next(op for op in hook.ops if op not in _HOOK_OPS)
            text = f"invalid http plugin ops, optional values are [{' '.join(_HOOK_OPS)}]"
            yield Finding(text, f"httpPlugins[{i}].ops", _not_among(bad, _HOOK_OPS))


def _is_network(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _auth(auth: ServerAuthConfig | ClientAuthConfig, allow_unsafe: Collection[str]) -> Iterator[Finding]:
    yield from _one_of(auth.method, _AUTH_METHODS, "auth method", "auth.method")
    for scope in auth.additional_scopes:
        if scope not in _SCOPES:
            text = f"invalid auth additional scopes, optional values are [{' '.join(_SCOPES)}]"
            yield Finding(text, "auth.additionalScopes", _not_among(scope, _SCOPES))
            break
    if auth.token and auth.token_source:
        yield Finding("cannot specify both auth.token and auth.tokenSource", "auth.tokenSource", "excludes auth.token")
    yield from _source(auth.token_source, "auth.tokenSource", allow_unsafe)


def _source(source: ValueSource | None, key: str, allow_unsafe: Collection[str]) -> Iterator[Finding]:
    if source is None:
        return
    if source.type == "exec" and TOKEN_SOURCE_EXEC not in allow_unsafe:
        text = f'unsafe feature "{TOKEN_SOURCE_EXEC}" is not enabled. To enable it, '
        text += "ensure it is allowed in the configuration or command line flags"
        yield Finding(text, f"{key}.type", f'is "exec", which needs --allow-unsafe {TOKEN_SOURCE_EXEC}')
    if reason := source_fault(source):
        yield Finding(f"invalid {key}: {reason}", key, 'needs type = "file" with file.path, or type = "exec" with exec.command')


def source_fault(source: ValueSource) -> str:
    """Return why a value source can't be used (config.md 4.2), or nothing."""
    if source.type == "file":
        if source.file is None:
            return "file configuration is required when type is 'file'"
        return "" if source.file.path else "file path cannot be empty"
    if source.type != "exec":
        return f"unsupported value source type: {source.type} (only 'file' and 'exec' are supported)"
    if source.exec is None:
        return "exec configuration is required when type is 'exec'"
    if not source.exec.command:
        return "exec command cannot be empty"
    for entry in source.exec.env:
        if not entry.name:
            return "exec env name cannot be empty"
        if "=" in entry.name:
            return "exec env name cannot contain '='"
    return ""


def _client_oidc(oidc: ClientOidcConfig, method: str, allow_unsafe: Collection[str]) -> Iterator[Finding]:
    if oidc.token_source is not None:
        if oidc != ClientOidcConfig(token_source=oidc.token_source):
            text = "cannot specify both auth.oidc.tokenSource and any other field of auth.oidc"
            yield Finding(text, "auth.oidc.tokenSource", "excludes every other key of auth.oidc")
        yield from _source(oidc.token_source, "auth.oidc.tokenSource", allow_unsafe)
    elif method == "oidc":
        faults = []
        if not oidc.client_id:
            faults.append("auth.oidc.clientID is required")
        if fault := _endpoint_fault(oidc.token_endpoint_url):
            faults.append(f"auth.oidc.tokenEndpointURL {fault}")
        if "scope" in oidc.additional_endpoint_params:
            faults.append("auth.oidc.additionalEndpointParams.scope is not allowed; use auth.oidc.scope instead")
        if oidc.audience and "audience" in oidc.additional_endpoint_params:
            faults.append("cannot specify both auth.oidc.audience and auth.oidc.additionalEndpointParams.audience")
        if faults:
            yield Finding("; ".join(faults), "auth.oidc", 'must be complete when auth.method = "oidc"')


def _endpoint_fault(url: str) -> str:
    if not url:
        return "is required"
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or not parts.scheme:
        return "must be an absolute http or https URL"
    return "" if parts.scheme in ("http", "https") else "must use http or https"


def _log(log: LogConfig) -> Iterator[Finding]:
    yield from _one_of(log.level, _LEVELS, "log level", "log.level")


def _web_server(web: WebServerConfig) -> Iterator[Finding]:
    if web.tls is not None and not web.tls.cert_file:
        yield Finding("tls.certFile must be specified when tls is enabled", "webServer.tls.certFile", "must name a file")
    elif web.tls is not None and not web.tls.key_file:
        yield Finding("tls.keyFile must be specified when tls is enabled", "webServer.tls.keyFile", "must name a file")
    else:
        yield from _port("webServer.port", web.port)


def _port(key: str, port: int) -> Iterator[Finding]:
    if not 0 <= port <= 65535:
        text = f"{key}: port number {port} must be in the range 0..65535"
        yield Finding(text, key.replace("tcpMux", "tcpmux"), f"must be from 0 to 65535, not {port}")


def _one_of(value: str, choices: tuple[str, ...], what: str, key: str) -> Iterator[Finding]:
    if value not in choices:
        yield Finding(f"invalid {what}, optional values are [{' '.join(choices)}]", key, _not_among(value, choices))


def _not_among(value: str, choices: tuple[str, ...]) -> str:
    meant = nearest(value, list(choices))
    return f"must be one of {', '.join(choices)}, not {shown(value)}" + (f'; did you mean "{meant}"?' if meant else "")


# Proxies and visitors: the first broken rule counts


def check_proxy(proxy: ProxyBase) -> Finding | None:
    """Return the first rule of config.md 4.4 that a proxy breaks; the key is relative to the proxy."""
    return next(_proxy(proxy), None)


def check_visitor(visitor: VisitorBase) -> Finding | None:
    """Return the first rule of config.md 4.5 that a visitor breaks; the key is relative to the visitor."""
    return next(_visitor(visitor), None)


def _proxy(proxy: ProxyBase) -> Iterator[Finding]:
    if not proxy.name:
        yield Finding("name should not be empty", "name", "must be given")
    if proxy.annotations and (text := annotations_fault(proxy.annotations)):
        yield Finding(text, "annotations", "needs keys such as owner or example.com/owner")
    transport = proxy.transport
    if transport.proxy_protocol_version not in ("", "v1", "v2"):
        text = f"not support proxy protocol version: {transport.proxy_protocol_version}"
        yield Finding(text, "transport.proxyProtocolVersion", _not_among(transport.proxy_protocol_version, ("v1", "v2")))
    if transport.bandwidth_limit_mode not in ("client", "server"):
        what = _not_among(transport.bandwidth_limit_mode, ("client", "server"))
        yield Finding("bandwidth limit mode should be client or server", "transport.bandwidthLimitMode", what)
    if proxy.plugin is None and not 0 <= proxy.local_port <= 65535:
        text = f"localPort: localPort: port number {proxy.local_port} must be in the range 0..65535"
        yield Finding(text, "localPort", f"must be from 0 to 65535, not {proxy.local_port}")
    check = proxy.health_check
    if check.type not in ("", "tcp", "http"):
        yield Finding(f"not support health check type: {check.type}", "healthCheck.type", _not_among(check.type, ("tcp", "http")))
    if check.type == "http" and not check.path:
        yield Finding("health check path should not be empty", "healthCheck.path", 'must be given when healthCheck.type = "http"')
    if proxy.plugin is not None:
        kind = proxy.plugin.type
        required = {"static_file": ("localPath", "local_path"), "unix_domain_socket": ("unixPath", "unix_path")}.get(kind)
        if kind in _NEEDS_LOCAL_ADDR:
            required = ("localAddr", "local_addr")
        if required and not getattr(proxy.plugin, required[1]):
            yield Finding(f"plugin {kind}: {required[0]} is required", f"plugin.{required[0]}", "must be given")
    if isinstance(proxy, DomainProxy) and not proxy.subdomain and not proxy.custom_domains:
        text = "subdomain and custom domains should not be both empty"
        yield Finding(text, "customDomains", "or subdomain must be given")
    if isinstance(proxy, TcpmuxProxy) and proxy.multiplexer != "httpconnect":
        yield Finding(f"not support multiplexer: {proxy.multiplexer}", "multiplexer", 'must be "httpconnect"')


def _visitor(visitor: VisitorBase) -> Iterator[Finding]:
    if not visitor.name:
        yield Finding("name is required", "name", "must be given")
    if not visitor.server_name:
        yield Finding("server name is required", "serverName", "must name the proxy to reach")
    if not visitor.bind_port:
        yield Finding("bind port is required", "bindPort", "must be a port, or -1 for no listener")
    if isinstance(visitor, XtcpVisitor) and visitor.protocol not in ("kcp", "quic"):
        yield Finding("protocol should be kcp or quic", "protocol", _not_among(visitor.protocol, ("kcp", "quic")))


_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_PREFIX = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
)
_PREFIX_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
    f"an alphanumeric character (e.g. 'example.com', regex used for validation is '{_PREFIX}')"
)
_ANNOTATIONS_LIMIT = 262144


def annotations_fault(annotations: dict[str, str]) -> str:
    """Return what is wrong with a proxy's annotations (config.md 4.4), a line for each finding, or nothing."""
    lines = [f"annotation key {key} is invalid: {reason}" for key in annotations for reason in _key_faults(key.lower())]
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _ANNOTATIONS_LIMIT:
        lines.append(f"annotations size {size} is larger than limit {_ANNOTATIONS_LIMIT}")
    return "\n".join(lines)


def _key_faults(key: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        yield f"a qualified name {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        if len(prefix) > 253:
            yield "prefix part must be no more than 253 characters"
        if not re.fullmatch(_PREFIX, prefix):
            yield f"prefix part {_PREFIX_RULE}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > 63:
        yield "name part must be no more than 63 characters"
    if not re.fullmatch(_NAME, name):
        yield f"name part {_NAME_RULE}"
