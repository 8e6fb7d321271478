"""The PROXY protocol header that tells a local service who its user is (behaviour.md 6.2)."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import pack

from frp_py.errors import FrpError

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n\x21"
_TCP4, _UDP4, _TCP6, _UDP6 = 0x11, 0x12, 0x21, 0x22

Address = tuple[str, int]
"""Numeric host, port."""


class NoHeaderError(FrpError):
    """There is no header for these two addresses: a TCP connection is dropped, a datagram goes without one."""


def header(version: str, source: Address, destination: Address, *, udp: bool = False) -> bytes:
    """The header of version `v1` or `v2`, family as of `source`. Raises NoHeaderError.

    For datagrams v1 can only say that it doesn't know.
    """
    if version == "v1":
        return b"PROXY UNKNOWN\r\n" if udp else _v1(source, destination)
    if version == "v2":
        return _v2(source, destination, udp)
    raise RuntimeError(f"no PROXY protocol {version}")


def _v1(source: Address, destination: Address) -> bytes:
    from_host, to_host = _hosts(source, destination)
    family = "TCP4" if isinstance(from_host, IPv4Address) else "TCP6"
    to_text = f"::ffff:{to_host}" if family == "TCP6" and isinstance(to_host, IPv4Address) else to_host
    return f"PROXY {family} {from_host} {to_text} {source[1]} {destination[1]}\r\n".encode()


def _v2(source: Address, destination: Address, udp: bool) -> bytes:
    from_host, to_host = _hosts(source, destination)
    if isinstance(from_host, IPv4Address):
        family = _UDP4 if udp else _TCP4
        addresses = from_host.packed + to_host.packed
    else:
        family = _UDP6 if udp else _TCP6
        mapped = bytes(10) + b"\xff\xff" if isinstance(to_host, IPv4Address) else b""
        addresses = from_host.packed + mapped + to_host.packed
    return _SIGNATURE + pack(">BH", family, len(addresses) + 4) + addresses + pack(">HH", source[1], destination[1])


def _hosts(source: Address, destination: Address) -> tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]:
    from_host, to_host = _host(source), _host(destination)
    if isinstance(from_host, IPv4Address) and isinstance(to_host, IPv6Address):
        raise NoHeaderError(f"no PROXY protocol header from IPv4 {from_host} to IPv6 {to_host}")
    return from_host, to_host


def _host(address: Address) -> IPv4Address | IPv6Address:
    text, port = address
    try:
        host = ip_address(text.partition("%")[0])
    except ValueError:
        raise NoHeaderError(f"no PROXY protocol header for {text[:80]!r}: not an IP address") from None
    if not 0 <= port <= 65535:
        raise NoHeaderError(f"no PROXY protocol header for port {port}")
    if isinstance(host, IPv6Address) and host.ipv4_mapped is not None:
        return host.ipv4_mapped
    return host
