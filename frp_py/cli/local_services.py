"""Whether the local services of proxies are there, for `frpc doctor`."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import trio

from frp_py.cli.doctor import where_is
from frp_py.errors import FrpError
from frp_py.net.transports.tcp import dial

if TYPE_CHECKING:
    from collections.abc import Collection

    from frp_py.config.proxies import ProxyBase

_DIAL = 3.0  # s
_AT_ONCE = 50
_UDP_REFUSAL = 0.3  # s that a refusal may take


async def faults_of(proxies: Collection[ProxyBase]) -> dict[str, str | None]:
    """What is wrong with each proxy's local service, by the proxy's name; None when nothing was tried."""
    found: dict[str, str | None] = {}
    limit = trio.CapacityLimiter(_AT_ONCE)

    async def look(proxy: ProxyBase) -> None:
        async with limit:
            found[proxy.name] = await _local_fault(proxy)

    async with trio.open_nursery() as nursery:
        for proxy in proxies:
            nursery.start_soon(look, proxy)
    return found


async def _local_fault(proxy: ProxyBase) -> str | None:
    plugin: Any = proxy.plugin
    if plugin is not None:
        if plugin.type == "static_file":
            return "" if os.access(plugin.local_path, os.R_OK | os.X_OK) else f"{plugin.local_path} is no directory that can be read"
        if plugin.type == "unix_domain_socket":
            return await _unix_fault(plugin.unix_path)
        host, _, port = getattr(plugin, "local_addr", "").rpartition(":")
        if not port.isdecimal():
            return None
        return await _tcp_fault(host.strip("[]") or "127.0.0.1", int(port))
    if not proxy.local_port:
        return "localPort is not set"
    if proxy.type in ("udp", "sudp"):
        return await _udp_fault(proxy.local_ip, proxy.local_port)
    return await _tcp_fault(proxy.local_ip, proxy.local_port)


async def _tcp_fault(host: str, port: int) -> str:
    try:
        (await dial(host, port, timeout=_DIAL)).close()
    except FrpError as error:
        return str(error)
    return ""


async def _unix_fault(path: str) -> str:
    try:
        with trio.fail_after(_DIAL):
            await (await trio.open_unix_socket(path)).aclose()
    except trio.TooSlowError:
        return f"dial unix {path}: i/o timeout"
    except (OSError, RuntimeError) as error:
        return f"dial unix {path}: {(getattr(error, 'strerror', None) or str(error)).lower()}"
    return ""


async def _udp_fault(host: str, port: int) -> str | None:
    """Only a refusal can be seen: that of an empty datagram."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        with trio.socket.socket(found[0][0], socket.SOCK_DGRAM) as sock:
            await sock.connect(found[0][4])
            await sock.send(b"")
            with trio.move_on_after(_UDP_REFUSAL):
                await sock.recv(1)
    except ConnectionRefusedError:
        return f"dial udp {where_is(host, port)}: connection refused"
    except OSError as error:
        return f"dial udp {where_is(host, port)}: {(error.strerror or str(error)).lower()}"
    return None
