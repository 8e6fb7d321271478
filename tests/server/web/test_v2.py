"""Version 2 of the API (behaviour.md 11.3)."""

from __future__ import annotations

import time
from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import trio

from frp_py.server.statistics import Record
from tests.server.web.helpers import Site, running_site
from tests.support.inside import logged
from tests.support.ports import free_port

TRANSPORT = {"useEncryption": False, "useCompression": False, "bandwidthLimit": "", "bandwidthLimitMode": "client"}
GROUP = {"group": ""}


async def test_system_info_of_an_empty_server() -> None:
    async with running_site() as site:
        assert await site.data("/api/v2/system/info") == {
            "version": "0.70.1",
            "config": {
                "bindPort": site.server.config.bind_port,
                "vhostHTTPPort": 0,
                "vhostHTTPSPort": 0,
                "tcpmuxHTTPConnectPort": 0,
                "kcpBindPort": 0,
                "quicBindPort": 0,
                "subdomainHost": "",
                "maxPoolCount": 5,
                "maxPortsPerClient": 0,
                "heartbeatTimeout": -1,
                "allowPortsStr": "",
                "tlsForce": False,
            },
            "status": {"totalTrafficIn": 0, "totalTrafficOut": 0, "curConns": 0, "clientCounts": 0, "proxyTypeCount": {}},
        }


async def test_system_info() -> None:
    async with running_site(allowPorts=[{"single": 7}, {"start": 1000, "end": 65000}]) as site:
        peer = await site.client()
        await peer.register("p", remote_port=free_port())
        site.count("p", 3, 4)
        info = await site.data("/api/v2/system/info")
        assert info["config"]["allowPortsStr"] == "7,1000-65000"
        assert info["status"] == {
            "totalTrafficIn": 3,
            "totalTrafficOut": 4,
            "curConns": 0,
            "clientCounts": 1,
            "proxyTypeCount": {"tcp": 1},
        }


async def test_prune() -> None:
    async with running_site() as site:
        gone, stays = await site.client("a"), await site.client("b")
        await gone.register("gone", remote_port=free_port())
        await stays.register("stays", remote_port=free_port())
        await site.leaves(gone)
        assert await site.refused("/api/v2/system/prune", "POST") == (400, "type is required")
        assert await site.refused("/api/v2/system/prune?type=", "POST") == (400, "type is required")
        assert await site.refused("/api/v2/system/prune?type=x", "POST") == (400, "type must be one of offline_proxies")
        with logged() as lines:
            assert await site.data("/api/v2/system/prune?type=offline_proxies", "POST") == {
                "type": "offline_proxies",
                "cleared": 1,
                "total": 2,
            }
        assert "statistics of 1 offline proxies removed" in lines
        assert await site.data("/api/v2/system/prune?type=offline_proxies", "POST") == {"type": "offline_proxies", "cleared": 0, "total": 1}


# pages


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("page=0", "page must be a positive integer"),
        ("page=-1", "page must be a positive integer"),
        ("page=x", "page must be a positive integer"),
        ("page=1.5", "page must be a positive integer"),
        ("page=1_0", "page must be a positive integer"),
        ("page=%20" + "1", "page must be a positive integer"),
        ("page=%D9%A1", "page must be a positive integer"),
        (f"page={2**63}", "page must be a positive integer"),
        ("page=" + "9" * 6000, "page must be a positive integer"),
        (f"page={2**63 - 1}", "page is too large"),
        ("pageSize=0", "pageSize must be a positive integer"),
        ("pageSize=-5", "pageSize must be a positive integer"),
        ("pageSize=x", "pageSize must be a positive integer"),
        ("pageSize=201", "pageSize must be between 1 and 200"),
    ],
)
@pytest.mark.parametrize("what", ["users", "clients", "proxies"])
async def test_pages_that_are_none(query: str, said: str, what: str) -> None:
    async with running_site() as site:
        assert await site.refused(f"/api/v2/{what}?{query}") == (400, said)


async def test_pages() -> None:
    async with running_site() as site:
        peer = await site.client()
        for n in range(7):
            await peer.register(f"p{n}", proxy_type="stcp", sk="k")

        async def page(query: str) -> tuple[int, int, int, list[str]]:
            found = await site.data(f"/api/v2/proxies?{query}")
            assert set(found) == {"total", "page", "pageSize", "items"}
            return found["total"], found["page"], found["pageSize"], [item["name"] for item in found["items"]]

        names = [f"p{n}" for n in range(7)]
        assert await page("") == (7, 1, 50, names)
        assert await page("page=&pageSize=") == (7, 1, 50, names)
        assert await page("page=2&pageSize=3") == (7, 2, 3, names[3:6])
        assert await page("page=%2B3&pageSize=3") == (7, 3, 3, names[6:])
        assert await page("page=4&pageSize=3") == (7, 4, 3, [])
        assert await page("page=46116860184273879&pageSize=200") == (7, 46116860184273879, 200, [])


async def test_users() -> None:
    async with running_site() as site:
        one, two, none = await site.client("bob", "x"), await site.client("Bob", "y"), await site.client("", "z")
        for n, peer in enumerate((one, two, two, none)):
            await peer.register(f"p{n}", proxy_type="stcp", sk="k")
        await site.leaves(one)

        async def users(query: str = "") -> list[tuple[str, int, int]]:
            return [tuple(item.values()) for item in (await site.data(f"/api/v2/users{query}"))["items"]]

        assert (await site.data("/api/v2/users"))["items"][0] == {"user": "", "clientCount": 1, "proxyCount": 1}
        assert await users() == [("", 1, 1), ("Bob", 1, 2), ("bob", 1, 1)]
        assert await users("?q=BO") == [("Bob", 1, 2), ("bob", 1, 1)]
        assert await users("?q=x") == []
        assert await users("?page=2&pageSize=2") == [("bob", 1, 1)]


# clients


async def some_clients(site: Site) -> None:
    """a.x and a.y online, b.z offline, and one without user and id."""
    gone = await site.client("b", "z", run_id="rz", version="0.9", hostname="gone")
    await site.leaves(gone)
    await site.client("a", "y", run_id="ry", version="0.70.1", hostname="desk")
    await site.client("a", "x", run_id="rx", version="0.61", hostname="Laptop")
    await site.client("", "", run_id="run", hostname="h")


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", ["run", "a.x", "a.y", "b.z"]),
        ("?status=all", ["run", "a.x", "a.y", "b.z"]),
        ("?status=online", ["run", "a.x", "a.y"]),
        ("?status=offline", ["b.z"]),
        ("?user=a", ["a.x", "a.y"]),
        ("?user=", ["run"]),
        ("?clientID=x", ["a.x"]),
        ("?clientID=", ["run", "a.x", "a.y", "b.z"]),
        ("?runID=ry", ["a.y"]),
        ("?q=LAP", ["a.x"]),
        ("?q=a.", ["a.x", "a.y"]),
        ("?q=ry", ["a.y"]),
        ("?q=0.61", ["a.x"]),
        ("?q=v1", ["run", "a.x", "a.y", "b.z"]),
        ("?q=127.0.0", ["run", "a.x", "a.y", "b.z"]),
        ("?q=rz", []),  # it has no run id any more
        ("?q=a&user=b", []),
        ("?order=desc", ["b.z", "a.y", "a.x", "run"]),
        ("?sort=name&order=asc", ["run", "a.x", "a.y", "b.z"]),
        ("?sort=version", ["a.x", "run", "a.y", "b.z"]),
        ("?sort=version&order=desc", ["b.z", "run", "a.y", "a.x"]),
        ("?sort=address", ["run", "a.x", "a.y", "b.z"]),
    ],
)
async def test_clients(query: str, keys: list[str]) -> None:
    async with running_site() as site:
        await some_clients(site)
        found = await site.data(f"/api/v2/clients{query}")
        if "version" in query:  # as text
            versions = [item["version"] for item in found["items"]]
            assert versions == sorted(versions, reverse="desc" in query)
            assert sorted(item["key"] for item in found["items"]) == sorted(keys)
        else:
            assert [item["key"] for item in found["items"]] == keys
        assert found["total"] == len(keys)


@pytest.mark.parametrize("what", ["clients", "proxies"])
async def test_filters_that_are_none(what: str) -> None:
    async with running_site() as site:
        assert await site.refused(f"/api/v2/{what}?status=Online") == (400, "status must be one of all, online, offline")
        assert await site.refused(f"/api/v2/{what}?order=up") == (400, "order must be one of asc, desc")
        status, said = await site.refused(f"/api/v2/{what}?sort=size")
        assert (status, said.startswith("sort must be one of name, ")) == (400, True)


async def test_clients_by_when_they_came() -> None:
    async with running_site() as site:
        await some_clients(site)
        for n, identity in enumerate([("a", "y"), ("", "run"), ("a", "x")]):
            site.server.clients.entries[identity].last_connected_at = 2_000_000_000 + n
        items = (await site.data("/api/v2/clients?sort=connected&order=desc"))["items"]
        assert [item["key"] for item in items] == ["a.x", "run", "a.y", "b.z"]


async def test_a_client() -> None:
    async with running_site() as site:
        peer, other = await site.client("a", "x/y"), await site.client("a", "z")
        await peer.register("p", proxy_type="stcp", sk="k")
        await peer.register("q", proxy_type="stcp", sk="k")
        await other.register("r", proxy_type="stcp", sk="k")
        site.server.statistics.records["p"].connections = 3
        site.server.statistics.records["r"].connections = 9
        client = await site.data("/api/v2/clients/a.x%2Fy")
        assert client.pop("status") == {"phase": "online", "curConns": 3, "proxyCount": 2}
        site.server.statistics.records["p"].connections = site.server.statistics.records["r"].connections = 0
        assert client == await site.get("/api/clients/a.x%2Fy")
        await site.leaves(peer)
        assert (await site.data("/api/v2/clients/a.x%2Fy"))["status"] == {"phase": "offline", "curConns": 0, "proxyCount": 2}
        assert await site.refused("/api/v2/clients/x") == (404, "client x not found")
        assert await site.refused("/api/v2/clients/%ff") == (400, "invalid client key")


# proxies


@pytest.mark.parametrize(
    ("wish", "block"),
    [
        (
            {
                "proxy_type": "http",
                "custom_domains": ("a.example",),
                "http_pwd": "secret",
                "headers": {"X": "secret"},
                "group": "g",
                "group_key": "secret",
            },
            {"customDomains": ["a.example"], "loadBalancer": {"group": "g"}},
        ),
        (
            {"proxy_type": "http", "subdomain": "b", "locations": ("/x",), "host_header_rewrite": "h"},
            {"subdomain": "b", "locations": ["/x"], "hostHeaderRewrite": "h"},
        ),
        ({"proxy_type": "https", "custom_domains": ("a.example",)}, {"customDomains": ["a.example"]}),
        (
            {"proxy_type": "tcpmux", "multiplexer": "httpconnect", "subdomain": "s", "route_by_http_user": "r"},
            {"subdomain": "s", "multiplexer": "httpconnect", "routeByHTTPUser": "r"},
        ),
        ({"proxy_type": "stcp", "sk": "secret", "allow_users": ("secret",)}, {}),
        ({"proxy_type": "sudp", "sk": "secret", "annotations": {"a": "b"}, "metas": {"m": "n"}}, {"annotations": {"a": "b"}}),
    ],
)
async def test_a_proxy(wish: dict[str, Any], block: dict[str, Any]) -> None:
    ports = {"vhostHTTPPort": free_port(), "vhostHTTPSPort": free_port(), "tcpmuxHTTPConnectPort": free_port()}
    async with running_site(**ports, subDomainHost="sub.example") as site:
        peer = await site.client()
        assert (await peer.register("p", **wish)).error == ""
        site.count("p", 8, 9)
        kind = wish["proxy_type"]
        metas = {"metadatas": wish["metas"]} if "metas" in wish else {}
        proxy = await site.data("/api/v2/proxies/p")
        assert time.time() - 5 <= proxy["status"].pop("lastStartAt") <= time.time()
        online = {"transport": TRANSPORT, "loadBalancer": GROUP, **block, **metas}
        status = {"phase": "online", "todayTrafficIn": 8, "todayTrafficOut": 9, "curConns": 0}
        assert proxy == {"name": "p", "user": "u", "clientID": "c", "spec": {"type": kind, kind: online}, "status": status}
        assert "secret" not in (await site.ask("/api/v2/proxies/p")).body.decode()
        await site.leaves(peer)
        proxy = await site.data("/api/v2/proxies/p")
        assert proxy["spec"] == {"type": kind, kind: {}}
        assert (proxy["status"]["phase"], proxy["status"]["todayTrafficIn"]) == ("offline", 8)
        assert proxy["status"]["lastStartAt"] <= proxy["status"]["lastCloseAt"] <= time.time()


async def test_the_real_port_is_shown() -> None:
    async with running_site() as site:
        peer = await site.client("", "")
        answer = await peer.register("any", remote_port=0)
        await peer.register("udp", proxy_type="udp", remote_port=(port := free_port()))
        assert (await site.data("/api/v2/proxies/any"))["spec"]["tcp"]["remotePort"] == int(answer.remote_addr[1:])
        proxy = await site.data("/api/v2/proxies/udp")
        assert proxy["spec"]["udp"]["remotePort"] == port
        assert (proxy["user"], proxy["clientID"]) == ("", peer.run_id)
        assert await site.refused("/api/v2/proxies/none") == (404, "no proxy info found")
        assert await site.refused("/api/v2/proxies/%ff") == (400, "invalid proxy name")


async def some_proxies(site: Site) -> dict[str, int]:
    """Of user a: web (http), ssh (tcp), dns (udp); of user b: SSH2 (tcp, offline); of nobody: key (stcp). Returns ports."""
    a, b, nobody = await site.client("a", "x"), await site.client("b", "y"), await site.client("", "")
    ports = {"ssh": free_port(), "dns": free_port()}
    await b.register("SSH2", remote_port=0)
    await a.register("web", proxy_type="http", custom_domains=("Shop.example",), subdomain="inside")
    await a.register("ssh", remote_port=ports["ssh"])
    await a.register("dns", proxy_type="udp", remote_port=ports["dns"])
    await nobody.register("key", proxy_type="stcp", sk="k")
    await site.leaves(b)
    for name, n in {"web": 10, "ssh": 30, "dns": 20, "SSH2": 0, "key": 5}.items():
        site.count(name, n, n)
    return ports


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["web", "key", "SSH2", "ssh", "dns"]),
        ("status=online", ["web", "key", "ssh", "dns"]),
        ("status=offline", ["SSH2"]),
        ("status=all&type=tcp", ["SSH2", "ssh"]),
        ("type=xtcp", []),
        ("user=a", ["web", "ssh", "dns"]),
        ("user=", ["key"]),
        ("clientID=y", ["SSH2"]),
        ("clientID=", ["web", "key", "SSH2", "ssh", "dns"]),
        ("q=ssh", ["SSH2", "ssh"]),
        ("q=SHOP.ex", ["web"]),
        ("q=inSide", ["web"]),
        ("q=udp", ["dns"]),
        ("q=offline", ["SSH2"]),
        ("q={ssh}", ["ssh"]),
        ("q=b&user=a", ["web"]),
        ("order=desc", ["dns", "ssh", "SSH2", "key", "web"]),
        ("sort=name", ["SSH2", "dns", "key", "ssh", "web"]),
        ("sort=name&order=desc", ["web", "ssh", "key", "dns", "SSH2"]),
        ("sort=type", ["web", "key", "SSH2", "ssh", "dns"]),
        ("sort=status", ["web", "key", "ssh", "dns", "SSH2"]),
        ("sort=traffic&order=desc", ["ssh", "dns", "web", "key", "SSH2"]),
        ("sort=client&order=asc", ["key", "web", "ssh", "dns", "SSH2"]),
    ],
)
async def test_proxies(query: str, names: list[str]) -> None:
    async with running_site(vhostHTTPPort=free_port(), subDomainHost="sub.example") as site:
        ports = await some_proxies(site)
        found = await site.data(f"/api/v2/proxies?{query.format(**ports)}")
        assert [item["name"] for item in found["items"]] == names
        assert found["total"] == len(names)


async def test_proxies_by_connections_and_types_that_are_none() -> None:
    async with running_site(vhostHTTPPort=free_port(), subDomainHost="sub.example") as site:
        await some_proxies(site)
        records = site.server.statistics.records
        records["dns"].connections, records["web"].connections = 5, 3
        items = (await site.data("/api/v2/proxies?sort=connections&order=desc&pageSize=2"))["items"]
        assert [item["name"] for item in items] == ["dns", "web"]
        records["dns"].connections = records["web"].connections = 0
        said = "type must be one of tcp, udp, http, https, tcpmux, stcp, xtcp, sudp"
        assert await site.refused("/api/v2/proxies?type=TCP") == (400, said)


async def test_traffic() -> None:
    async with running_site() as site:
        peer = await site.client()
        await peer.register("a b/c", remote_port=free_port())
        record = site.count("a b/c", 1, 2)
        await site.get("/api/serverinfo")
        record.days.add(site.server.statistics.today - 6, 60, 70)
        traffic = await site.data("/api/v2/proxies/" + quote("a b/c", safe="") + "/traffic")
        today = date.today()
        days = [{"date": (today - timedelta(n)).isoformat(), "trafficIn": 0, "trafficOut": 0} for n in range(6, -1, -1)]
        days[0] |= {"trafficIn": 60, "trafficOut": 70}
        days[6] |= {"trafficIn": 1, "trafficOut": 2}
        assert traffic == {"name": "a b/c", "unit": "bytes", "granularity": "day", "history": days}
        assert await site.refused("/api/v2/proxies/none/traffic") == (404, "no proxy info found")


async def test_ten_thousand_proxies_are_listed_without_a_stall() -> None:
    """The longest stretch for which nobody else gets a turn is measured; the figure is generous because tests run on busy machines."""
    async with running_site() as site:
        statistics = site.server.statistics
        peer = await site.client()
        await peer.register("z", remote_port=free_port())
        proxy = site.server.proxies["z"]
        for n in range(10_000):
            record = Record(f"user.proxy-{n:05}", "tcp")
            record.proxy, record.user, record.client_id = proxy, "user", f"client-{n % 100}"
            statistics.records[record.name] = record
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                before = time.perf_counter()
                await trio.lowlevel.checkpoint()
                longest = max(longest, time.perf_counter() - before)

        async with site.user() as user, trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for path in ("/api/v2/proxies?q=99&sort=traffic", "/api/v2/proxies?page=100&pageSize=100", "/api/proxy/tcp"):
                answer = await user.ask(path, {"Accept-Encoding": "identity"})
                assert answer.status == 200
            nursery.cancel_scope.cancel()
        assert len(answer.json["proxies"]) == 10_001
        assert longest < 0.5
        statistics.records.clear()
        statistics.records["z"] = proxy.record
