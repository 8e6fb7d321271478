"""The names of a proxy on a shared port (behaviour.md 1.9, config.md 4.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from frp_py.errors import Refused

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy

MOST_ROUTES = 1000
"""Keys that one proxy may have in a table of routes: a message of 10 KiB could ask for a million."""


def domains(wish: NewProxy, sub_domain_host: str) -> list[str]:
    """The names that lead to it: its own, then the one below the server's. Raises Refused with the text for the client."""
    host = sub_domain_host.lower()
    for domain in wish.custom_domains:
        if host and domain.count(".") > host.count(".") and domain.lower().endswith("." + host):
            raise Refused(f"custom domain [{domain}] should not belong to subdomain host [{sub_domain_host}]")
    names = [domain for domain in wish.custom_domains if domain]
    if wish.subdomain:
        if not host:
            raise Refused("subdomain is not supported because this feature is not enabled in server")
        if "." in wish.subdomain or "*" in wish.subdomain:
            raise Refused("'.' and '*' are not supported in subdomain")
        names.append(f"{wish.subdomain}.{sub_domain_host}")
    if (routes := len(names) * max(1, len(wish.locations))) > MOST_ROUTES:
        raise Refused(f"{routes} routes are more than the {MOST_ROUTES} that a proxy may have")
    return names


def remote_address(names: Iterable[str], port: int) -> str:
    """What the client shows: `host:port` of each, without the port where browsers know it."""
    return ",".join(names if port in (80, 443) else (f"{name}:{port}" for name in names))
