"""What this version doesn't build yet. A key whose feature is missing is refused by name, never ignored.

A line leaves this table when its feature arrives.
"""

from collections.abc import Iterator

from .client import ClientConfig
from .proxies import ProxyBase
from .server import ServerConfig


def not_yet_supported(config: ServerConfig | ClientConfig) -> list[str]:
    """Return a sentence for each key of a loaded configuration that asks for a missing feature, in the order of the file's keys."""
    faults = _server(config) if isinstance(config, ServerConfig) else _client(config)
    return [f"{key} is not supported yet" for key in faults]


def _server(config: ServerConfig) -> Iterator[str]:
    if config.auth.method == "oidc":
        yield 'auth.method = "oidc"'
    for key, value in (
        ("kcpBindPort", config.kcp_bind_port),
        ("quicBindPort", config.quic_bind_port),
        ("sshTunnelGateway.bindPort", config.ssh_tunnel_gateway.bind_port),
        ("httpPlugins", config.http_plugins),
    ):
        if value:
            yield key


def _client(config: ClientConfig) -> Iterator[str]:
    if config.auth.method == "oidc":
        yield 'auth.method = "oidc"'
    transport = config.transport
    if transport.protocol != "tcp":
        yield f'transport.protocol = "{transport.protocol}"'
    for key, value in (
        ("transport.proxyURL with this scheme", transport.proxy_url.partition(":")[0] in ("https", "ntlm") and transport.proxy_url),
        ("dnsServer", config.dns_server),
        ("virtualNet.address", config.virtual_net.address),
    ):
        if value:
            yield key
    for proxy in config.proxies:
        yield from (f"proxy {proxy.name}: {key}" for key in _proxy(proxy))
    for visitor in config.visitors:
        if visitor.type == "xtcp":
            yield f'visitor {visitor.name}: type = "{visitor.type}"'
        elif visitor.plugin is not None:
            yield f'visitor {visitor.name}: plugin.type = "{visitor.plugin.type}"'


def _proxy(proxy: ProxyBase) -> Iterator[str]:
    if proxy.type == "xtcp":
        yield f'type = "{proxy.type}"'
    if proxy.plugin is not None and proxy.plugin.type == "virtual_net":
        yield f'plugin.type = "{proxy.plugin.type}"'
    elif proxy.plugin is not None and proxy.type in ("udp", "sudp"):
        yield f'plugin.type = "{proxy.plugin.type}" with type = "{proxy.type}"'


_UNSET = "<no value>"
"""What a template prints for a variable of the environment that isn't set (config.md 1.9)."""


def unset_secrets(config: ServerConfig | ClientConfig) -> list[str]:
    """Return a sentence for each secret that a template has left without a value: everybody could guess it."""
    secrets = {"auth.token": config.auth.token, "webServer.password": config.web_server.password}
    if isinstance(config, ClientConfig):
        for proxy in config.proxies:
            secrets[f"proxy {proxy.name}: loadBalancer.groupKey"] = proxy.load_balancer.group_key
            for key in ("secretKey", "httpPassword"):
                secrets[f"proxy {proxy.name}: {key}"] = getattr(proxy, _ATTRIBUTES[key], "")
            for key in ("httpPassword", "password"):
                secrets[f"proxy {proxy.name}: plugin.{key}"] = getattr(proxy.plugin, _ATTRIBUTES[key], "")
        for visitor in config.visitors:
            secrets[f"visitor {visitor.name}: secretKey"] = visitor.secret_key
    return [
        f"{key} contains {_UNSET}: a variable that its template names is not set in the environment"
        for key, secret in secrets.items()
        if _UNSET in secret
    ]


_ATTRIBUTES = {"secretKey": "secret_key", "httpPassword": "http_password", "password": "password"}
