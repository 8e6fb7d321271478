"""Addresses as people write them."""

from __future__ import annotations

from frp_py.errors import FrpError

Address = tuple[str, int]
"""Host, port."""


def host_and_port(address: str, default_port: int | None = None, *, default_host: str = "127.0.0.1") -> Address:
    """Split `host:port`; IPv6 hosts are in brackets. Raises FrpError."""
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or address.endswith("]"):
        if default_port is None:
            raise FrpError(f"address {address}: missing port in address")
        host, port = address, str(default_port)
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise FrpError(f"address {address}: invalid port")
    return host.removeprefix("[").removesuffix("]") or default_host, int(port)


def host_port(address: Address) -> str:
    """`host:port`, IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
