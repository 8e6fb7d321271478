"""The table of scenarios."""

from __future__ import annotations

from dataclasses import dataclass

from bench import loads
from bench.contestants import FRP, TCP, UDP, VHOST, Setup
from bench.loads import Load
from bench.places import Way

USUAL, PLAIN, PLAIN_NO_MUX, CUTTABLE = Setup(), Setup(tls=False), Setup(tls=False, mux=False), Setup(relay=True)


@dataclass(frozen=True)
class Scenario:
    """A load, with the tunnel it wants."""

    what: str
    load: Load
    setup: Setup = USUAL
    wants: str = TCP
    """What contestants must be able to do."""
    web: bool = False
    """Needs nginx and wrk."""
    way: Way | None = None
    """Between the two programs; None: they are on one machine."""


WAN, HOME = Way(delay=0.02, rate=200e6), Way(delay=0.01, rate=10e6)

SCENARIOS = {
    "start": Scenario("start until users are served", loads.start, wants=FRP),
    "bulk_tls": Scenario("upload of one stream", loads.bulk()),
    "bulk_tls_down": Scenario("download of one stream", loads.bulk(transfer=loads.download)),
    "bulk_tls_x8": Scenario("upload of eight streams at once", loads.bulk(streams=8)),
    "bulk_plain": Scenario("upload, without TLS between the programs", loads.bulk(), PLAIN),
    "bulk_nomux": Scenario("upload, with neither TLS nor multiplexing", loads.bulk(), PLAIN_NO_MUX),
    "bulk_encrypted": Scenario("upload with useEncryption, without TLS", loads.bulk("encrypted", part=0.5), PLAIN, FRP),
    "bulk_compressed": Scenario("upload with useCompression, without TLS", loads.bulk("compressed", part=0.5), PLAIN, FRP),
    "req_tls_c32": Scenario("HTTP requests of 32 users", loads.requests(32), web=True),
    "req_tls_c512": Scenario("HTTP requests of 512 users", loads.requests(512), web=True),
    "req_plain_c32": Scenario("HTTP requests of 32 users, without TLS", loads.requests(32), PLAIN, web=True),
    "conn_tls_c32": Scenario("a connection for each request, 32 users", loads.requests(32, close=True), web=True),
    "vhost_c32": Scenario("HTTP proxy, 32 users", loads.requests(32, service="vhost"), wants=VHOST, web=True),
    "vhost_conn_c32": Scenario(
        "HTTP proxy, a connection for each request, 32 users", loads.requests(32, service="vhost", close=True), wants=VHOST, web=True
    ),
    "latency": Scenario("one user who waits for each answer", loads.round_trips),
    "mixed": Scenario("the same, beside four uploads", loads.mixed),
    "udp": Scenario("datagrams of 512 bytes, 64 on their way", loads.datagrams, wants=UDP),
    "idle_users": Scenario("connections at rest (10,000)", loads.idle_users),
    "idle_clients": Scenario("clients at rest (1,000), at the server", loads.idle_clients, wants=FRP),
    "idle_proxies": Scenario("proxies at rest (2,000 of one client), at the server", loads.idle_proxies, wants=FRP),
    "reconnect": Scenario("the way to the server is cut", loads.reconnect, CUTTABLE, FRP),
    "storm": Scenario("the server is killed and starts again, with 500 clients", loads.storm, wants=FRP),
    "wan_bulk": Scenario(f"upload, {WAN}", loads.bulk(part=0.1), way=WAN),
    "wan_bulk_x8": Scenario(f"eight uploads, {WAN}", loads.bulk(streams=8, part=0.1), way=WAN),
    "wan_latency": Scenario(f"one user who waits, {WAN}", loads.round_trips, way=WAN),
    "wan_mixed": Scenario("the same, beside four uploads", loads.mixed, way=WAN),
    "home_bulk": Scenario(f"upload, {HOME}", loads.bulk(part=0.01), way=HOME),
    "home_mixed": Scenario(f"one user who waits, beside four uploads, {HOME}", loads.mixed, way=HOME),
}
