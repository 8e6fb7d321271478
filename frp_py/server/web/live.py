"""What flows now: bytes of connections that haven't ended, and who they are. Worked out when somebody looks, at no other time."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from frp_py.server.history import Sample
from frp_py.server.visits import address_text
from frp_py.server.web.shapes import Connection, Connections

if TYPE_CHECKING:
    from frp_py.server.app import Server
    from frp_py.server.proxies.base import UserRelay
    from frp_py.server.proxies.sudp import UserTranslator
    from frp_py.server.statistics import Record
    from frp_py.server.vhost.backend import Backend

    Carrier: TypeAlias = UserRelay | UserTranslator | Backend

MOST_SHOWN = 200


def carriers(server: Server) -> Iterator[Carrier]:
    """All that carries bytes of users: their connections, and those to services of type http."""
    yield from server.users
    if server.http is not None:
        yield from server.http.active
        for site in server.http.sites:
            for idle in site.idle.values():
                yield from idle


def sample(server: Server) -> Sample:
    """Bytes since the server started, those of running connections among them, and what there is now."""
    statistics = server.statistics
    n, m = statistics.traffic_in, statistics.traffic_out
    for record in statistics.dirty:
        received, sent = record.uncollected
        n += received
        m += sent
    for carrier in carriers(server):
        received, sent = carrier.traffic
        n += received
        m += sent
    return Sample(n, m, statistics.connections, statistics.clients)


def connections(server: Server, record: Record) -> Connections:
    """Those of a proxy; one to a service that waits for its next request has no user."""
    found = [carrier for carrier in carriers(server) if carrier.proxy.record is record]
    newest = heapq.nlargest(MOST_SHOWN, found, key=lambda carrier: carrier.opened_at)
    shown = [Connection("" if each.address is None else address_text(each.address), int(each.opened_at), *each.traffic) for each in newest]
    return Connections(len(found), shown)


def memory() -> int:
    """Bytes of resident memory; 0 where the system doesn't tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
