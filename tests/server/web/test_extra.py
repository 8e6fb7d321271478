"""What frp's API doesn't have."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from frp_py.protocol import wire_v2
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import NewVisitorConn, NewVisitorConnResp, ReqWorkConn, StartWorkConn
from frp_py.server.web.live import MOST_SHOWN
from tests.net.web.helpers import User
from tests.server.web.helpers import Site, running_site
from tests.support.inside import HOST, Peer, Talk, connect, logged, receive_exactly
from tests.support.net import until
from tests.support.ports import free_port


@asynccontextmanager
async def joined(site: Site, peer: Peer, port: int) -> AsyncIterator[tuple[trio.SocketStream, Talk]]:
    """A user of the proxy at `port`, and his work connection."""
    user = await connect(port)
    await peer.control.expect(ReqWorkConn)
    work = await site.peers.work_of(peer)
    assert isinstance(await work.receive(), StartWorkConn)
    yield user, work
    await user.aclose()
    await work.stream.aclose()


async def say(user: trio.SocketStream, work: Talk, n: int, m: int) -> None:
    """n bytes from the user and m bytes to him."""
    await user.send_all(bytes(n))
    await receive_exactly(work.stream, n)
    await work.send_raw(bytes(m))
    await receive_exactly(user, m)


async def test_the_overview_counts_bytes_while_they_flow() -> None:
    async with running_site() as site:
        peer, gone = await site.client(pool_count=0), await site.client("b", "z")
        await peer.register("p", remote_port=(port := free_port()))
        await peer.register("s", proxy_type="stcp", sk="k")
        await site.leaves(gone)
        site.count("p", 1000, 2000)
        async with joined(site, peer, port) as (user, work):
            await say(user, work, 10, 20)
            overview = await site.data("/api/x/overview")
            assert abs(overview.pop("time") - time.time()) < 5
            assert abs(overview.pop("startedAt") - time.time()) < 5
            assert overview.pop("memory") > 10 << 20
            assert overview == {
                "version": "0.70.1",
                "clients": 1,
                "clientsOffline": 1,
                "proxies": 2,
                "proxyTypeCount": {"tcp": 1, "stcp": 1},
                "connections": 1,
                "trafficIn": 1010,
                "trafficOut": 2020,
                "todayTrafficIn": 1010,
                "todayTrafficOut": 2020,
                "hints": [],
            }
            info = await site.get("/api/serverinfo")
            assert (info["totalTrafficIn"], info["curConns"]) == (1000, 1)  # frp counts when it ends
        await until(lambda: not site.server.users)
        info = await site.get("/api/serverinfo")
        assert (info["totalTrafficIn"], info["totalTrafficOut"], info["curConns"]) == (1010, 2020, 0)
        await trio.sleep(1)  # an overview is good for that long
        overview = await site.data("/api/x/overview")
        assert (overview["trafficIn"], overview["connections"]) == (1010, 0)


async def test_what_the_operator_should_see_to(tmp_path: Path) -> None:
    path = tmp_path / "not a database"
    path.write_text("precious")
    async with running_site(auth__token="", statistics__path=str(path)) as site:
        hints = (await site.data("/api/x/overview"))["hints"]
        assert [hint.split(":")[0] for hint in hints] == ["auth.token is empty", f"statistics can't be kept in {path}"]


# events


async def event(user: User) -> tuple[str, Any]:
    """The next event of a chunked body."""
    while True:
        size = int((await user.until(b"\r\n")).strip(), 16)
        chunk = (await user.exactly(size + 2))[:-2].decode()
        if chunk.startswith("event: "):
            first, second = chunk.strip().splitlines()
            return first[7:], msgspec.json.decode(second.removeprefix("data: "))


async def test_events() -> None:
    async with running_site() as site, site.user() as user:
        await user.send("/api/x/events")
        head = await user.until(b"\r\n\r\n")
        assert b"text/event-stream" in head
        name, overview = await event(user)
        assert (name, overview["clients"]) == ("overview", 0)
        peer = await site.client()
        await peer.register("p", proxy_type="stcp", sk="k")
        with trio.fail_after(5):
            seen = [await event(user) for _ in range(3)]
        assert seen[:2] == [("changed", {"what": "clients"}), ("changed", {"what": "proxies"})]
        assert (seen[2][0], seen[2][1]["clients"], seen[2][1]["proxies"]) == ("overview", 1, 1)


# history


async def test_series() -> None:
    async with running_site() as site:
        peer = await site.client()
        await peer.register("p", remote_port=free_port())
        site.count("p", 5, 6)
        for name, (step, steps) in {"hour": (10, 360), "day": (300, 288), "week": (1800, 336), "month": (7200, 372)}.items():
            series = await site.data(f"/api/x/series?range={name}")
            assert (series["range"], series["step"], len(series["points"])) == (name, step, steps)
            times = [point["time"] for point in series["points"]]
            assert times == list(range(times[0], times[0] + step * steps, step))
            assert times[-1] <= time.time() < times[-1] + step + 5
            assert sum(point["trafficIn"] for point in series["points"]) == 5
            assert sum(point["trafficOut"] for point in series["points"]) == 6
            assert series["points"][-1]["clients"] <= 1
            assert max(point["clients"] for point in series["points"]) == 1
        assert (await site.data("/api/x/series"))["range"] == "hour"
        assert await site.refused("/api/x/series?range=year") == (400, "range must be one of hour, day, week, month")


async def test_traffic_of_proxies_and_clients() -> None:
    async with running_site() as site:
        peer = await site.client("u", "c/d")
        await peer.register("a/b", remote_port=free_port())
        site.count("a/b", 7, 8)
        for target, name in (("proxies/a%2Fb", "a/b"), ("clients/u.c%2Fd", "u.c/d")):
            for granularity, count, default in (("hour", 3, 48), ("day", 400, 30)):
                found = await site.data(f"/api/x/{target}/traffic?granularity={granularity}&count={count}")
                assert (found["name"], found["granularity"], len(found["history"])) == (name, granularity, count)
                last = found["history"][-1]
                assert (last["trafficIn"], last["trafficOut"]) == (7, 8)
                assert 0 <= time.time() - last["time"] <= (3600 if granularity == "hour" else 25 * 3600)
                assert [each["trafficIn"] for each in found["history"][:-1]] == [0] * (count - 1)
                times = [each["time"] for each in found["history"]]
                assert times == sorted(set(times))
                if granularity == "day":
                    assert {time.localtime(at)[3:6] for at in times} == {(0, 0, 0)}
                assert len((await site.data(f"/api/x/{target}/traffic?granularity={granularity}"))["history"]) == default
        assert await site.refused("/api/x/proxies/none/traffic") == (404, "no proxy info found")
        assert await site.refused("/api/x/clients/none/traffic") == (404, "client none not found")
        assert await site.refused("/api/x/proxies/a%2Fb/traffic?granularity=year") == (400, "granularity must be one of hour, day")


@pytest.mark.parametrize("count", ["0", "-1", "8785", "x", "1.0", "9" * 5000, "%D9%A1"])
async def test_counts_that_are_none(count: str) -> None:
    async with running_site() as site:
        await (await site.client()).register("p", proxy_type="stcp", sk="k")
        assert await site.refused(f"/api/x/proxies/p/traffic?count={count}") == (400, "count must be between 1 and 8784")


# connections


async def test_connections_of_a_proxy() -> None:
    async with running_site() as site:
        peer = await site.client(pool_count=0)
        await peer.register("p", remote_port=(port := free_port()))
        await peer.register("q", remote_port=(other := free_port()))
        assert await site.data("/api/x/proxies/p/connections") == {"total": 0, "items": []}
        async with joined(site, peer, port) as (first, work), joined(site, peer, port) as (second, _), joined(site, peer, other):
            await say(first, work, 100, 200)
            found = await site.data("/api/x/proxies/p/connections")
            addresses = [f"{HOST}:{each.socket.getsockname()[1]}" for each in (second, first)]
            assert [(item["user"], item["trafficIn"], item["trafficOut"]) for item in found["items"]] == [
                (addresses[0], 0, 0),
                (addresses[1], 100, 200),
            ]
            assert found["total"] == 2
            assert all(abs(item["since"] - time.time()) < 5 for item in found["items"])
            assert (await site.data("/api/x/proxies/q/connections"))["total"] == 1
        await until(lambda: not site.server.users)
        assert await site.data("/api/x/proxies/p/connections") == {"total": 0, "items": []}
        assert await site.refused("/api/x/proxies/none/connections") == (404, "no proxy info found")


async def test_only_the_newest_connections_are_shown() -> None:
    async with running_site() as site:
        peer = await site.client(pool_count=0, features=("direct",))
        await peer.register("p", remote_port=(port := free_port()))
        users = [await connect(port) for _ in range(MOST_SHOWN + 3)]
        await until(lambda: len(site.server.users) == len(users))
        found = await site.data("/api/x/proxies/p/connections")
        assert (found["total"], len(found["items"])) == (MOST_SHOWN + 3, MOST_SHOWN)
        ports = {user.socket.getsockname()[1] for user in users[:3]}
        assert not ports & {int(item["user"].rpartition(":")[2]) for item in found["items"]}
        for user in users:
            await user.aclose()
        await until(lambda: not site.server.users)


async def test_connections_to_a_service_of_type_http() -> None:
    async with running_site(vhostHTTPPort=(port := free_port())) as site:
        peer = await site.client(pool_count=0)
        await peer.register("web", proxy_type="http", custom_domains=("a.example",))
        user = await connect(port)
        await user.send_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        await peer.control.expect(ReqWorkConn)
        work = await site.peers.work_of(peer)
        assert isinstance(await work.receive(), StartWorkConn)
        await until(lambda: site.server.statistics.connections == 1)
        found = await site.data("/api/x/proxies/web/connections")
        (item,) = found["items"]
        assert (item["user"], item["trafficOut"]) == (f"{HOST}:{user.socket.getsockname()[1]}", 0)
        assert item["trafficIn"] > 20
        await work.send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert b"hi" in await user.receive_some(1000)
        (item,) = (await site.data("/api/x/proxies/web/connections"))["items"]  # it waits for the next request
        assert (item["user"], item["trafficOut"]) == ("", 40)
        overview = await site.data("/api/x/overview")
        assert (overview["trafficOut"], overview["connections"]) == (40, 1)
        await user.aclose()


@pytest.mark.parametrize("wire", ["v1", "v2"])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_visitors_are_shown_with_the_address_of_their_client(wire: str, encrypted: bool) -> None:
    async with running_site() as site:
        owner = await site.client(pool_count=0, features=("direct",))
        await owner.register("s", proxy_type="sudp", sk="k", allow_users=("*",))
        guest = await site.peers.logged_in(wire=wire, user="g")
        talk = guest.open()
        wish = NewVisitorConn(guest.run_id, "s", privilege_key("k", 9), 9, use_encryption=encrypted)
        await talk.send_raw((wire_v2.MAGIC if wire == "v2" else b"") + talk.wire.pack(wish))
        assert isinstance(await talk.receive(), NewVisitorConnResp)
        await until(lambda: len(site.server.users) == 1)
        (item,) = (await site.data("/api/x/proxies/s/connections"))["items"]
        assert item["user"].startswith(f"{HOST}:")
        assert (item["trafficIn"], item["trafficOut"]) == (0, 0)  # without his wish and its answer


# changes


async def test_a_client_is_kicked() -> None:
    async with running_site() as site:
        peer, stays = await site.client("a/b", "c"), await site.client("d", "e")
        await peer.register("p", remote_port=(port := free_port()))
        with logged() as lines:
            assert await site.data("/api/x/clients/a%2Fb.c/kick", "POST") == {"key": "a/b.c"}
            assert await peer.control.ending() in ("eof", "reset")
            await lines.wait_for("client exit success")
        assert "web API: client [a/b.c] kicked, asked by user [] from [127.0.0.1]" in lines
        assert "kicked by an operator" in lines
        with pytest.raises(OSError):
            await trio.open_tcp_stream(HOST, port)
        assert await site.refused("/api/x/clients/a%2Fb.c/kick", "POST") == (409, "client a/b.c is offline")
        assert await site.refused("/api/x/clients/x/kick", "POST") == (404, "client x not found")
        assert [entry.key for entry in site.server.clients.entries.values() if entry.online] == ["d.e"]
        await stays.ping()


async def test_reload_without_a_file() -> None:
    async with running_site() as site:
        assert await site.refused("/api/x/system/reload", "POST") == (400, "frps has no config file path")


async def test_what_changes_something_needs_this_machine_or_a_password() -> None:
    async with running_site() as site:
        operations = [operation for operation in site.server.web.service._operations if operation.method != "GET"]  # type: ignore[union-attr]
        assert len(operations) == 4
        assert all(operation.changes for operation in operations)
