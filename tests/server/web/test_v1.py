"""Version 1 of the API (behaviour.md 11.2)."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.server.web.helpers import Site, running_site
from tests.support.inside import logged
from tests.support.ports import free_port

STAMP = re.compile(r"[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d")
CONF = {"healthCheck": {"type": "", "intervalSeconds": 0}, "localIP": "127.0.0.1", "plugin": None}
TRANSPORT = {"bandwidthLimit": "", "bandwidthLimitMode": "client"}


async def test_server_info_of_an_empty_server() -> None:
    async with running_site() as site:
        info = await site.get("/api/serverinfo")
        assert info == {
            "version": "0.70.1",
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
            "totalTrafficIn": 0,
            "totalTrafficOut": 0,
            "curConns": 0,
            "clientCounts": 0,
            "proxyTypeCount": {},
        }


async def test_server_info_says_what_is_configured_and_what_happens() -> None:
    http, https, mux = free_port(), free_port(), free_port()
    changes: dict[str, Any] = {
        "vhostHTTPPort": http,
        "vhostHTTPSPort": https,
        "tcpmuxHTTPConnectPort": mux,
        "subDomainHost": "sub.example",
        "transport__maxPoolCount": 9,
        "maxPortsPerClient": 3,
        "transport__tls__force": True,
        "allowPorts": [{"start": 1000, "end": 65000}, {"single": 99}],
    }
    async with running_site(**{**changes, "transport__tls__force": False}) as site:
        peer = await site.client()
        await peer.register("a", remote_port=free_port())
        await peer.register("b", proxy_type="stcp", sk="k")
        site.count("a", 10, 20)
        site.count("b", 1, 2)
        info = await site.get("/api/serverinfo")
        assert info["allowPortsStr"] == "1000-65000,99"
        assert "tlsForce" not in info
        wanted = {"vhostHTTPPort": http, "vhostHTTPSPort": https, "tcpmuxHTTPConnectPort": mux, "subdomainHost": "sub.example"}
        wanted |= {"maxPoolCount": 9, "maxPortsPerClient": 3, "clientCounts": 1, "totalTrafficIn": 11, "totalTrafficOut": 22}
        assert {key: info[key] for key in wanted} == wanted
        assert info["proxyTypeCount"] == {"tcp": 1, "stcp": 1}
        await site.leaves(peer)
        info = await site.get("/api/serverinfo")
        assert (info["clientCounts"], info["proxyTypeCount"]) == (0, {"tcp": 0, "stcp": 0})
    async with running_site(transport__tls__force=True) as site:
        assert (await site.get("/api/serverinfo"))["tlsForce"] is True


async def test_a_proxy_that_runs_and_one_that_ran() -> None:
    async with running_site() as site:
        peer = await site.client()
        port = free_port()
        await peer.register("u.p", remote_port=port)
        site.count("u.p", 5, 6)
        stats = await site.get("/api/proxies/u.p")
        began = stats.pop("lastStartTime")
        assert STAMP.fullmatch(began)
        assert abs(time.mktime(time.strptime(f"{time.localtime().tm_year}-{began}", "%Y-%m-%d %H:%M:%S")) - time.time()) < 60
        expected = {
            "name": "u.p",
            "conf": {"name": "u.p", "type": "tcp", "transport": TRANSPORT, "loadBalancer": {"group": ""}, **CONF, "remotePort": port},
            "user": "u",
            "clientID": "c",
            "todayTrafficIn": 5,
            "todayTrafficOut": 6,
            "curConns": 0,
            "lastCloseTime": "",
            "status": "online",
        }
        assert stats == expected
        assert (await site.get("/api/proxy/tcp/u.p"))["name"] == "u.p"
        await site.leaves(peer)
        stats = await site.get("/api/proxies/u.p")
        assert STAMP.fullmatch(stats.pop("lastCloseTime"))
        assert stats.pop("lastStartTime") == began
        del expected["lastCloseTime"]
        assert stats == {**expected, "conf": None, "status": "offline"}


@pytest.mark.parametrize(
    ("wish", "shown"),
    [
        (
            {"proxy_type": "http", "custom_domains": ("a.example",), "http_user": "x", "http_pwd": "secret", "headers": {"X": "secret"}},
            {"customDomains": ["a.example"], "locations": None, "hostHeaderRewrite": ""},
        ),
        (
            {"proxy_type": "http", "subdomain": "b", "locations": ("/x", "/y"), "host_header_rewrite": "h", "route_by_http_user": "r"},
            {"subdomain": "b", "locations": ["/x", "/y"], "hostHeaderRewrite": "h"},
        ),
        ({"proxy_type": "https", "custom_domains": ("a.example", "b.example")}, {"customDomains": ["a.example", "b.example"]}),
        (
            {"proxy_type": "tcpmux", "multiplexer": "httpconnect", "custom_domains": ("a.example",), "http_pwd": "secret"},
            {"customDomains": ["a.example"], "multiplexer": "httpconnect", "routeByHTTPUser": ""},
        ),
        ({"proxy_type": "stcp", "sk": "secret", "allow_users": ("secret",)}, {}),
    ],
)
async def test_what_a_configuration_shows(wish: dict[str, Any], shown: dict[str, Any]) -> None:
    ports = {"vhostHTTPPort": free_port(), "vhostHTTPSPort": free_port(), "tcpmuxHTTPConnectPort": free_port()}
    async with running_site(**ports, subDomainHost="sub.example") as site:
        peer = await site.client()
        assert (await peer.register("p", **wish)).error == ""
        conf = (await site.get("/api/proxies/p"))["conf"]
        assert conf == {"name": "p", "type": wish["proxy_type"], "transport": TRANSPORT, "loadBalancer": {"group": ""}, **CONF, **shown}
        assert "secret" not in (await site.ask("/api/proxies/p")).body.decode()


async def test_what_all_configurations_may_have() -> None:
    async with running_site() as site:
        peer = await site.client()
        common = {
            "annotations": {"note": "<b>"},
            "metas": {"m": "1"},
            "use_encryption": True,
            "use_compression": True,
            "bandwidth_limit": "1MB",
            "bandwidth_limit_mode": "server",
            "group": "g",
            "group_key": "k",
        }
        await peer.register("p", remote_port=free_port(), **common)
        await peer.register("sudp", proxy_type="sudp", bandwidth_limit="1MB")
        await peer.register("any", proxy_type="udp", remote_port=0)
        conf = (await site.get("/api/proxies/p"))["conf"]
        transport = {"useEncryption": True, "useCompression": True, "bandwidthLimit": "1MB", "bandwidthLimitMode": "server"}
        expected = {"annotations": {"note": "<b>"}, "metadatas": {"m": "1"}, "transport": transport}
        assert {key: conf[key] for key in expected} == expected
        assert conf["loadBalancer"] == {"group": "g", "groupKey": "k"}
        sudp = (await site.get("/api/proxies/sudp"))["conf"]
        assert (sudp["transport"]["bandwidthLimit"], type(sudp["plugin"])) == ({}, dict)
        assert (await site.get("/api/proxies/any"))["conf"]["remotePort"] > 0


async def test_proxies_of_a_type() -> None:
    async with running_site() as site:
        peer = await site.client()
        for name in ("b", "a", "c"):
            await peer.register(name, remote_port=free_port())
        await peer.register("s", proxy_type="stcp", sk="k")
        assert [each["name"] for each in (await site.get("/api/proxy/tcp"))["proxies"]] == ["a", "b", "c"]
        assert await site.get("/api/proxy/unheard-of") == {"proxies": []}
        assert await site.refused("/api/proxy/udp/a") == (404, "no proxy info found")


@pytest.mark.parametrize("name", ["a/b", "ü 😀", "<script>alert(1)</script>", "a.b/../c", "%2F", "\u202e"])
async def test_names_in_paths(name: str) -> None:
    async with running_site() as site:
        peer = await site.client()
        await peer.register(name, remote_port=free_port())
        quoted = quote(name, safe="")
        for path in (f"/api/proxies/{quoted}", f"/api/proxy/tcp/{quoted}", f"/api/traffic/{quoted}"):
            assert (await site.get(path))["name"] == name
        assert (await site.data(f"/api/v2/proxies/{quoted}"))["name"] == name


@pytest.mark.parametrize("path", ["/api/proxies/%ff", "/api/traffic/a%C3%28", "/api/proxy/tcp/%ED%A0%80"])
async def test_names_that_are_none(path: str) -> None:
    async with running_site() as site:
        assert await site.refused(path) == (400, "invalid proxy name")


async def test_traffic_of_the_last_days() -> None:
    async with running_site() as site:
        peer = await site.client()
        await peer.register("p", remote_port=free_port())
        record = site.count("p", 10, 20)
        await site.get("/api/serverinfo")
        today = site.server.statistics.today
        for n in range(1, 7):
            record.days.add(today - n, n, n * 2)
        traffic = await site.get("/api/traffic/p")
        assert traffic == {"name": "p", "trafficIn": [10, 1, 2, 3, 4, 5, 6], "trafficOut": [20, 2, 4, 6, 8, 10, 12]}
        for path in ("traffic/q", "proxies/q"):
            assert await site.refused(f"/api/{path}") == (404, "no proxy info found")


async def filled(site: Site) -> None:
    """Clients b.z (offline), a.y, a.x, and one without user and id."""
    gone = await site.client("b", "z", run_id="rz")
    await site.leaves(gone)
    for client_id in ("y", "x"):
        await site.client("a", client_id, run_id=f"r{client_id}", version="1.2", hostname="<h>")
    await site.client("", "", run_id="run")


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", ["run", "a.x", "a.y", "b.z"]),
        ("?user=&clientId=&runId=&status=", ["run", "a.x", "a.y", "b.z"]),
        ("?user=a", ["a.x", "a.y"]),
        ("?user=A", []),
        ("?clientId=run", ["run"]),
        ("?clientId=x&user=a", ["a.x"]),
        ("?runId=ry", ["a.y"]),
        ("?status=online", ["run", "a.x", "a.y"]),
        ("?status=offline", ["b.z"]),
        ("?status=all", ["run", "a.x", "a.y", "b.z"]),
        ("?status=nonsense", ["run", "a.x", "a.y", "b.z"]),
    ],
)
async def test_clients(query: str, keys: list[str]) -> None:
    async with running_site() as site:
        await filled(site)
        assert [client["key"] for client in await site.get(f"/api/clients{query}")] == keys


async def test_a_client() -> None:
    async with running_site() as site:
        await filled(site)
        client = await site.get("/api/clients/a.x")
        now = int(time.time())
        assert now - 5 <= client.pop("firstConnectedAt") <= client.pop("lastConnectedAt") <= now
        assert client == {
            "key": "a.x",
            "user": "a",
            "clientID": "x",
            "runID": "rx",
            "version": "1.2",
            "wireProtocol": "v1",
            "hostname": "<h>",
            "clientIP": "127.0.0.1",
            "online": True,
        }
        gone = await site.get("/api/clients/b.z")
        assert (gone["runID"], gone["online"]) == ("", False)
        assert gone["firstConnectedAt"] <= gone["disconnectedAt"] <= now
        anonymous = await site.get("/api/clients/run")
        assert (anonymous["key"], anonymous["user"], anonymous["clientID"], anonymous["runID"]) == ("run", "", "run", "run")
        assert await site.refused("/api/clients/no.%2Fbody") == (404, "client no./body not found")
        assert await site.refused("/api/clients/%ff") == (400, "invalid client key")


async def test_offline_proxies_are_cleared() -> None:
    async with running_site() as site:
        gone, stays = await site.client("a"), await site.client("b")
        await gone.register("gone", remote_port=free_port())
        await stays.register("stays", remote_port=free_port())
        await site.leaves(gone)
        for query in ("", "?status=", "?status=online", "?status=Offline"):
            assert await site.refused(f"/api/proxies{query}", "DELETE") == (400, "status only support offline")
        with logged() as lines:
            answer = await site.ask("/api/proxies?status=offline", "DELETE")
            assert (answer.status, answer.json) == (200, {"Code": 200, "Msg": "success"})
        assert "statistics of 1 offline proxies removed, asked by user [] from [127.0.0.1]" in lines
        assert set(site.server.statistics.records) == {"stays"}


async def test_traffic_of_yesterday_is_not_todays() -> None:
    async with running_site() as site:
        peer = await site.client()
        await peer.register("p", remote_port=free_port())
        record = site.count("p", 1, 1)
        site.server.statistics.collect(time.time())
        record.days[site.server.statistics.today - 1] = record.days.pop(site.server.statistics.today)
        assert (await site.get("/api/proxies/p"))["todayTrafficIn"] == 0
