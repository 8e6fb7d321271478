"""`frpc nathole discover`: how the NAT in front of this machine behaves (nat.md 3, config.md 5.7)."""

from __future__ import annotations

import trio

from frp_py.errors import FrpError
from frp_py.log import printable
from frp_py.net.addresses import host_port
from frp_py.net.discovery import discover, open_socket
from frp_py.net.own_addresses import own_addresses
from frp_py.protocol.nat import classify


def report(server: str, local: str) -> int:
    """Ask the STUN server at `server` from `local` (host:port; empty: any), print what it says, and return the exit code."""
    if not server:
        print("nat_hole_stun_server can not be empty")
        return 1
    try:
        source, mapped = trio.run(_ask, server, local)
    except FrpError as error:
        print(printable(f"discover error: {error}"))
        return 1
    addresses = f"[{' '.join(mapped)}]"
    if len(mapped) < 2:
        print(f"discover error: can not get enough addresses, need 2, got: {addresses}")
        return 1
    try:
        nat = classify(mapped, own_addresses())
    except FrpError as error:
        print(printable(f"classify nat feature error: {error}"))
        return 1
    print(printable(f"STUN server: {server}"))
    print(f"Your NAT type is: {nat.kind}")
    print(f"Behavior is: {nat.behavior}")
    print(f"External address is: {addresses}")
    print(f"Local address is: {source}")
    print(f"Public Network: {str(nat.is_public).lower()}")
    return 0


async def _ask(server: str, local: str) -> tuple[str, list[str]]:
    sock = await open_socket(local)
    with sock:
        return host_port(sock.getsockname()), [host_port(address) for address in await discover(sock, server)]
