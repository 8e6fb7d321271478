"""The control connection of a client, against clients made by hand (behaviour.md 1.8 to 1.11, wire.md 6 and 7)."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.engine.link import MuxEnd
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import CloseProxy, Login, NewProxy, NewProxyResp, Ping, Pong, ReqWorkConn, StartWorkConn
from frp_py.protocol.yamux import INITIAL_WINDOW
from frp_py.server import control
from frp_py.server.app import Server
from tests.support.inside import (
    HOST,
    TOKEN,
    Clock,
    Peer,
    Peers,
    Talk,
    connect,
    ending,
    logged,
    peers_of,
    receive_all,
    receive_exactly,
    running_server,
    started,
)
from tests.support.net import until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
WIRES = pytest.mark.parametrize("wire", ["v1", "v2"])


@asynccontextmanager
async def stoppable() -> AsyncIterator[tuple[Peers, Server, trio.CancelScope]]:
    """A server that the scope stops, and its peers, who outlive it."""
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        servers: list[Server] = []
        ready, done = trio.Event(), trio.Event()

        async def serve() -> None:
            with scope:
                async with running_server() as server:
                    servers.append(server)
                    ready.set()
                    await trio.sleep_forever()
            done.set()

        nursery.start_soon(serve)
        await ready.wait()
        async with peers_of(servers[0]) as peers:
            yield peers, servers[0], scope
            with trio.fail_after(5):
                await done.wait()


async def user_of(peers: Peers, peer: Peer, port: int) -> tuple[trio.SocketStream, Talk]:
    """A user who is served by `peer`, as frp's client does it."""
    user = await connect(port)
    while True:
        await peer.control.expect(ReqWorkConn)
        work = await peers.work_of(peer)
        with trio.move_on_after(0.2):
            await started(work)
            return user, work


@BOTH
@WIRES
async def test_a_whole_life_with_the_client_of_frp(mux: bool, wire: str) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(wire=wire, pool_count=2)
            for _ in range(2):
                assert isinstance(await peer.control.receive(), ReqWorkConn)
            works = [await peers.work_of(peer) for _ in range(2)]
            await until(lambda: len(server.controls.running(peer.run_id).work._idle) == 2)  # type: ignore[attr-defined]
            answer = await peer.register("it", remote_port=(port := free_port()))
            assert (answer.remote_addr, answer.error) == (f":{port}", "")
            user = await connect(port)
            start = await started(works[0])
            assert start == StartWorkConn("it", HOST, HOST, user.socket.getsockname()[1], port)
            assert isinstance(await peer.control.receive(), ReqWorkConn)
            await user.send_all(b"question")
            assert works[0].data + await receive_exactly(works[0].stream, 8) == b"question"
            await works[0].send_raw(b"answer")
            await works[0].stream.aclose()
            assert await receive_exactly(user, 6) == b"answer"
            assert await ending(user) == "eof"
            await until(lambda: not server.users)
            await peer.control.send(CloseProxy("it"), CloseProxy("unknown"))
            await lines.wait_for("close proxy [unknown] success")
            assert server.proxies == {}
            with pytest.raises(OSError):
                await trio.open_tcp_stream(HOST, port)
            await peer.control.stream.aclose()
            await lines.wait_for("client exit success")
            assert await works[1].ending() in ("eof", "reset")
            assert server.clients.entries == {}
            if mux:
                await until(lambda: peer.lost)
            await until(lambda: not server.callers)


@BOTH
async def test_nothing_of_a_served_user_is_left(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            before = len(server.callers)
            for _ in range(5):
                user = await connect(port)
                await peer.control.expect(ReqWorkConn)
                work = await peers.work_of(peer)
                await started(work)
                await user.aclose()
                assert await work.ending() == "eof"
                await work.stream.aclose()
            await until(lambda: not server.users)
            assert len(server.callers) == before
            assert len(server.lobby) == 0
            control = server.controls.running(peer.run_id)
            assert control.connections == control.proxies["it"].connections == 0


@BOTH
async def test_an_idle_work_connection_that_its_client_closes(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=1)
            await peer.control.expect(ReqWorkConn)
            before = len(server.callers)
            work = await peers.work_of(peer)
            await trio.sleep(0.02)
            await work.stream.aclose()
            await peer.control.expect(ReqWorkConn)  # it is replaced
            assert len(server.callers) == before
            assert len(server.lobby) == 0


@pytest.mark.parametrize(
    ("wanted", "most", "asked"), [(0, 5, 0), (3, 5, 3), (9, 5, 5), (-1, 5, 0), (-(2**63), 5, 0), (2**63 - 1, 5, 5), (3, -1, 0)]
)
async def test_the_pool_is_clamped(wanted: int, most: int, asked: int) -> None:
    with logged():
        async with running_server({"transport.maxPoolCount": most}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=wanted)
            await peer.control.send(Ping())
            for _ in range(asked):
                assert isinstance(await peer.control.receive(), ReqWorkConn)
            assert await peer.control.receive() == Pong()
            for _ in range(asked + 10):
                await peer.work()
            await until(lambda: len(server.controls.running(peer.run_id).work._idle) == asked + 10)  # type: ignore[attr-defined]
            assert (await started(await peer.work())).error == "work connection pool is full, discarding"


@BOTH
async def test_work_connections_beyond_the_pool_are_refused(mux: bool) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=1)
            works = [await peers.work_of(peer) for _ in range(11)]
            await until(lambda: len(server.controls.running(peer.run_id).work._idle) == 11)  # type: ignore[attr-defined]
            late = await peers.work_of(peer)
            assert (await started(late)).error == "work connection pool is full, discarding"
            assert await late.ending() == "eof"
            assert len(works) == 11
            await lines.wait_for("work connection from [127.0.0.1] refused: work connection pool is full, discarding")


@BOTH
async def test_a_work_connection_of_nobody(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            work = await (await peers.connect()).work(run_id="nobody")
            assert (await started(work)).error == "no client control found for run id [nobody]"
            assert await work.ending() == "eof"


async def test_users_are_told_when_no_work_connection_comes(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"userConnTimeout": 4}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await lines.wait_for("get a user connection")
            await clock.forward(3)
            assert "timeout trying" not in lines
            await clock.forward(2)
            assert await ending(user) == "reset"
            await lines.wait_for("timeout trying to get work connection")
            assert isinstance(await peer.control.receive(), ReqWorkConn)


async def test_a_user_who_resets_while_he_waits_takes_no_work_connection() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await until(lambda: len(server.user_waits) == 1)
            user.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await user.aclose()
            await until(lambda: len(server.user_waits) == 0)
            work = await peer.work()
            other = await connect(port)
            assert (await started(work)).src_port == other.socket.getsockname()[1]
            await other.aclose()


@BOTH
async def test_users_who_wait_when_the_client_goes(mux: bool) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await until(lambda: len(server.user_waits) == 1)
            await peer.control.stream.aclose()
            assert await ending(user) == "reset"
            await lines.wait_for("closed: control is closed")


async def test_users_who_wait_when_the_server_stops() -> None:
    with logged():
        async with stoppable() as (peers, server, stop):
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await until(lambda: len(server.user_waits) == 1)
            stop.cancel()
            assert await ending(user) == "reset"
            await until(lambda: peer.lost)
            with socket.create_server((HOST, port)):
                pass  # free at once
            with socket.create_server((HOST, server.config.bind_port)):
                pass


async def test_running_users_when_the_server_stops() -> None:
    with logged():
        async with stoppable() as (peers, _, stop):
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user, work = await user_of(peers, peer, port)
            stop.cancel()
            assert await ending(user) == "reset"
            assert await work.ending() == "reset"


@BOTH
@pytest.mark.parametrize("keeps", [True, False], ids=["ours", "frp"])
async def test_half_closed_connections_are_kept_for_who_says_he_can(mux: bool, keeps: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(half_close=keeps, pool_count=0, features=(HALF_CLOSE,) if keeps else ())
            await peer.register("it", remote_port=(port := free_port()))
            user, work = await user_of(peers, peer, port)
            await user.send_all(b"all I have")
            await user.send_eof()
            assert await receive_exactly(work.stream, 10) == b"all I have"
            assert await work.stream.receive_some() == b""
            if keeps:
                await work.send_raw(b"answer")
                await work.stream.send_eof()
                assert await receive_all(user) == b"answer"
            else:
                assert await receive_all(user) == b""
            await work.stream.aclose()


@pytest.mark.parametrize(
    ("mux", "scopes", "offered", "taken"),
    [
        (True, [], (), ()),
        (True, [], (HALF_CLOSE, DIRECT), (HALF_CLOSE, DIRECT)),
        (True, [], (DIRECT, "telepathy", HALF_CLOSE), (HALF_CLOSE, DIRECT)),
        (True, [], ("telepathy",), ()),
        (True, [], (DIRECT,), (DIRECT,)),
        (False, [], (HALF_CLOSE, DIRECT), (HALF_CLOSE,)),
        (True, ["NewWorkConns"], (HALF_CLOSE, DIRECT), (HALF_CLOSE,)),
        (True, ["HeartBeats"], (HALF_CLOSE, DIRECT), (HALF_CLOSE, DIRECT)),
    ],
)
async def test_extensions_are_taken_up_only_when_offered(
    mux: bool, scopes: list[str], offered: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux, "auth.additionalScopes": scopes}) as server, peers_of(server) as peers:
            answer = await (await peers.connect()).log_in(features=offered)
            assert answer.features == taken


async def test_a_client_that_takes_streams_gets_users_directly() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(features=(DIRECT,), pool_count=5)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await until(lambda: peer.opened_by_server)
            work = Talk(peer.opened_by_server.pop(), peer.control.wire)
            assert (await started(work)).proxy_name == "it"
            await user.send_all(b"x")
            assert await receive_exactly(work.stream, 1) == b"x"
            assert (await started(await peer.work())).error == "work connection pool is full, discarding"  # nobody asked for that
            await peer.control.send(Ping())
            assert await peer.control.receive() == Pong()  # nor for any other
            await user.aclose()


# heartbeats


@pytest.mark.parametrize("wire", ["v1", "v2"])
async def test_a_silent_client_is_dropped_after_the_timeout(wire: str, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.tcpMux": False}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(wire=wire)
            await clock.forward(80)
            await peer.control.send(Ping())
            assert await peer.control.expect(Pong) == Pong()
            await clock.forward(88)
            assert "heartbeat timeout" not in lines
            await clock.forward(4)
            await lines.wait_for("heartbeat timeout")
            assert await peer.control.ending() == "eof"
            await until(lambda: not server.controls.all())


async def test_only_pings_count_as_heartbeats(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.heartbeatTimeout": 10}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            for _ in range(6):
                await clock.forward(2)
                if not lines.count("heartbeat timeout"):
                    await peer.control.send(CloseProxy("x"))
            await lines.wait_for("heartbeat timeout")


async def test_without_a_timeout_silence_is_fine(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running_server({"transport.tcpMuxKeepaliveInterval": -1}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            await clock.forward(300)
            await peer.control.send(Ping())
            assert await peer.control.expect(Pong) == Pong()


@pytest.mark.parametrize("details", [True, False])
async def test_a_heartbeat_that_proves_nothing(details: bool, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    changes = {"auth.additionalScopes": ["HeartBeats"], "transport.heartbeatTimeout": 10, "detailedErrorsToClient": details}
    with logged() as lines:
        async with running_server(changes) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            await clock.forward(6)
            await peer.ping(timestamp=1, privilege_key=privilege_key("wrong", 1))
            error = (await peer.control.expect(Pong)).error
            assert error == ("token in heartbeat doesn't match token from configuration" if details else "invalid ping")
            await peer.ping(timestamp=2, privilege_key=privilege_key(TOKEN, 2))
            assert await peer.control.expect(Pong) == Pong()
            await clock.forward(8)
            await peer.ping()  # as a client without the scope sends it
            assert (await peer.control.expect(Pong)).error
            await clock.forward(3)
            await lines.wait_for("heartbeat timeout")


@BOTH
@pytest.mark.parametrize("details", [True, False])
async def test_a_work_connection_that_proves_nothing(mux: bool, details: bool) -> None:
    changes = {"auth.additionalScopes": ["NewWorkConns"], "transport.tcpMux": mux, "detailedErrorsToClient": details}
    with logged():
        async with running_server(changes) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            text = "token in NewWorkConn doesn't match token from configuration" if details else "invalid NewWorkConn"
            assert (await started(await peers.work_of(peer))).error == text
            now = int(time.time())
            assert (await started(await peers.work_of(peer, timestamp=now + 1, privilege_key=privilege_key(TOKEN, now)))).error == text
            user = await connect(port)
            work = await peers.work_of(peer, timestamp=now, privilege_key=privilege_key(TOKEN, now))
            assert (await started(work)).error == ""
            await user.aclose()


# registering proxies


@pytest.mark.parametrize(
    ("changes", "wish", "text"),
    [
        ({}, {"proxy_type": "warp"}, "unknown proxy type: warp"),
        ({"allowPorts": [{"single": 1}]}, {"remote_port": 2}, "port not allowed"),
        ({}, {"remote_port": 65536}, "port not allowed"),
        ({}, {"remote_port": -1}, "port not allowed"),
        ({}, {"remote_port": 2**63 - 1}, "port not allowed"),
        ({"allowPorts": [{"single": 1}], "proxyBindAddr": "192.0.2.1"}, {"remote_port": 0}, "no available port"),
    ],
)
@pytest.mark.parametrize("details", [True, False])
async def test_refused_proxies(changes: dict[str, object], wish: dict[str, object], text: str, details: bool) -> None:
    with logged() as lines:
        async with running_server({**changes, "detailedErrorsToClient": details}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            answer = await peer.register("it", **wish)
            assert answer == NewProxyResp("it", error=text if details else "new proxy [it] error")
            await lines.wait_for(f"new proxy [it] type [{wish.get('proxy_type', 'tcp')}] error: {text}")
            assert server.proxies == {}
            assert server.controls.running(peer.run_id)._ports == 0


async def test_a_port_that_another_program_has() -> None:
    with logged(), socket.create_server((HOST, 0)) as taken:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            assert (await peer.register("it", remote_port=taken.getsockname()[1])).error == "port unavailable"


async def test_a_name_and_a_port_belong_to_one() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            one, other = await peers.logged_in(), await peers.logged_in()
            port = free_port()
            assert (await one.register("it", remote_port=port)).error == ""
            assert (await other.register("it", remote_port=port)).error == "proxy [it] already exists"
            assert (await one.register("it", remote_port=free_port())).error == "proxy [it] already exists"
            assert (await other.register("that", remote_port=port)).error == "port already used"
            await other.control.send(CloseProxy("it"))  # not his
            assert (await other.register("it", remote_port=port)).error == "proxy [it] already exists"
            await one.control.send(CloseProxy("it"))
            assert (await one.register("other", remote_port=port)).error == ""
            assert (await other.register("it", remote_port=free_port())).error == ""


async def test_a_repeated_wish_is_answered_as_before() -> None:
    with logged() as lines:
        async with running_server({"maxPortsPerClient": 1}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            first = await peer.register("it")
            assert first.error == ""
            assert await peer.register("it") == first
            assert server.controls.running(peer.run_id)._ports == 1
            assert lines.count("new proxy [it] type [tcp] success") == 1
            await peer.control.send(CloseProxy("it"))
            await lines.wait_for("close proxy [it] success")
            assert server.proxies == {}


async def test_any_port_is_the_one_of_last_time_if_possible() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            ports = set()
            for _ in range(3):
                ports.add((await peer.register("it")).remote_addr)
                await peer.control.send(CloseProxy("it"))
            assert len(ports) == 1


async def test_ports_are_counted_for_each_client() -> None:
    with logged():
        async with running_server({"maxPortsPerClient": 2}) as server, peers_of(server) as peers:
            one, other = await peers.logged_in(), await peers.logged_in()
            answers = [await one.register(name) for name in "abc"]
            assert [answer.error for answer in answers] == ["", "", "exceed the max_ports_per_client"]
            assert (await one.register("bad", remote_port=-1)).error == "exceed the max_ports_per_client"
            await one.control.send(CloseProxy("a"))
            assert (await one.register("bad", remote_port=-1)).error == "port not allowed"
            assert (await one.register("c")).error == ""
            assert (await other.register("d")).error == ""


async def test_a_work_connection_that_is_not_taken_makes_nobody_known() -> None:
    with logged():
        async with running_server({"transport.tcpMux": False}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            for _ in range(10):  # that many are taken beyond those that are wanted
                await peers.work_of(peer)
            await until(lambda: len(server.controls.running(peer.run_id).work._idle) == 10)  # type: ignore[attr-defined]
            assert len(server.lobby) == 0
            late = await peers.work_of(peer)
            assert (await started(late)).error == "work connection pool is full, discarding"
            assert len(server.lobby) == 1


async def test_proxies_are_counted_for_each_client() -> None:
    with logged():
        async with running_server({"maxProxiesPerClient": 2}) as server, peers_of(server) as peers:
            one, other = await peers.logged_in(), await peers.logged_in()
            answers = [await one.register(name, proxy_type="stcp") for name in "abcb"]
            assert [answer.error for answer in answers] == ["", "", "exceed the max_proxies_per_client", ""]
            await one.control.send(CloseProxy("a"))
            assert (await one.register("c", proxy_type="stcp")).error == ""
            assert (await other.register("d", proxy_type="stcp")).error == ""


async def test_what_a_client_says_of_its_proxies_is_bounded() -> None:
    """Each may have 64 KiB, of which things of a byte or two become twelve times as much in memory."""
    metas = {f"{n:x}": "" for n in range(6000)}
    refused = "what a client says of all its proxies may have 1048576 bytes"
    with logged():
        async with running_server({"maxProxiesPerClient": 500}) as server, peers_of(server) as peers:
            one, other = await peers.logged_in(wire="v2"), await peers.logged_in(wire="v2")
            errors = [(await one.register(str(n), proxy_type="stcp", metas=metas)).error for n in range(20)]
            fits = errors.index(refused)
            assert errors == [""] * fits + [refused] * (20 - fits)
            assert sum(server.proxies[str(n)].size for n in range(fits)) > 980_000
            assert (await other.register("of the other", proxy_type="stcp", metas=metas)).error == ""
            assert (await one.register("small", proxy_type="stcp")).error == ""
            await one.control.send(CloseProxy("0"))
            assert (await one.register("big", proxy_type="stcp", metas=metas)).error == ""
            assert (await one.register("0", proxy_type="stcp", metas=metas)).error == refused


@pytest.mark.parametrize("max_proxies", [1, 0])
async def test_one_proxy_may_always_say_what_fits_into_a_message(max_proxies: int) -> None:
    with logged():
        async with running_server({"maxProxiesPerClient": max_proxies}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(wire="v2")
            assert (await peer.register("it", proxy_type="stcp", metas={"a": "x" * 60_000})).error == ""


@pytest.mark.parametrize("kind", ["http", "https"])
async def test_names_and_locations_are_counted_for_each_client(kind: str) -> None:
    domains = tuple(f"{n}.test" for n in range(12))
    with logged():
        settings = {"maxProxiesPerClient": 2, "vhostHTTPPort": free_port(), "vhostHTTPSPort": free_port()}
        async with running_server(settings) as server, peers_of(server) as peers:
            one, other = await peers.logged_in(), await peers.logged_in()
            assert (await one.register("a", proxy_type=kind, custom_domains=domains[:11])).error == ""
            assert (await one.register("b", proxy_type=kind, custom_domains=(*domains[11:], *map(str, range(9))))).error == (
                "a client may have 20 names and locations"
            )
            assert (await one.register("b", proxy_type=kind, custom_domains=domains[11:])).error == ""
            assert (await other.register("c", proxy_type=kind, custom_domains=tuple(map(str, range(20))))).error == ""
            await one.control.send(CloseProxy("a"))
            assert (await one.register("a", proxy_type=kind, custom_domains=domains[:11])).error == ""


@pytest.mark.parametrize("wire", ["v1", "v2"])
async def test_an_answer_that_is_too_long_for_the_wire_is_given_all_the_same(wire: str) -> None:
    """The remote address has every name with every location: without an answer the client would never serve the users who come."""
    with logged():
        async with running_server({"vhostHTTPPort": free_port()}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(wire=wire)
            domains = tuple(f"host-{n}.with-a-name-of-some-length.example.com" for n in range(25))
            answer = await peer.register("a", proxy_type="http", custom_domains=domains, locations=tuple(f"/{n}" for n in range(40)))
            assert answer.error == ""
            assert answer.remote_addr.startswith(f"{domains[0]}:")
            assert server.proxies["a"].routes == 1000


@pytest.mark.parametrize("detailed", [True, False])
async def test_names_have_a_limit(detailed: bool) -> None:
    with logged():
        async with running_server({"detailedErrorsToClient": detailed}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            assert (await peer.register("ä" * 512, proxy_type="stcp")).error == ""
            for name in ("ä" * 512 + "x", "x" * 9000):
                answer = await peer.register(name, proxy_type="stcp")
                assert answer.error == ("proxy name is longer than 1024 bytes" if detailed else f"new proxy [{name[:50]}...] error")
                assert answer.proxy_name == name
            assert len(server.proxies) == 1


async def test_what_a_client_does_all_the_time_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by coming again and again; others still have their lines."""
    monkeypatch.setattr("frp_py.server.app._CLIENT_LINES", 30)
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            for _ in range(2):
                peer = await peers.logged_in()
                for _ in range(50):
                    await peer.register("it", proxy_type="stcp")
                    await peer.control.send(CloseProxy("it"))
                await peer.register("last", proxy_type="stcp")
            assert 20 <= lines.count("proxy [it]") < 120  # of 200
            assert server.client_lines.of("192.0.2.1").take(0.0)


# ends


@BOTH
@WIRES
async def test_a_newer_login_gets_name_and_port(mux: bool, wire: str) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            old = await peers.logged_in(run_id="mine")
            await old.register("it", remote_port=(port := free_port()))
            new = await peers.logged_in(wire=wire, run_id="mine")
            assert (await new.register("it", remote_port=port)).error == ""
            assert "[mine] replaced by client [mine] (control ID 2)" in lines
            assert await old.control.ending() in ("eof", "reset")
            assert [control.id for control in server.controls.all()] == [2]
            assert len(server.clients.entries) == 1
            user, work = await user_of(peers, new, port)
            await user.send_all(b"x")
            assert await receive_exactly(work.stream, 1) == b"x"
            await user.aclose()


async def test_what_a_client_sends_against_the_rules_ends_its_session_alone() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            good, bad = await peers.logged_in(), await peers.logged_in()
            await bad.register("it", remote_port=(port := free_port()))
            await bad.control.send_raw(b"\x00" * 64)
            assert await bad.control.ending() in ("eof", "reset")
            await lines.wait_for("client exit success")
            assert [line for line in lines.warnings if line.startswith(f"[{bad.run_id}] session ended: ")]
            assert (await good.register("it", remote_port=port)).error == ""


async def test_messages_that_are_due_elsewhere_are_ignored() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.control.send(ReqWorkConn(), Pong("no"), Login(), NewProxyResp("x"), Ping())
            assert await peer.control.receive() == Pong()


async def test_a_client_that_does_not_read_its_messages_is_dropped() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            name = "n" * 5000

            async def flood() -> None:
                while True:
                    await peer.control.send(*[NewProxy(proxy_name=name, proxy_type="warp")] * 20)

            with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
                await flood()
            await lines.wait_for("client doesn't read its messages")
            await until(lambda: not server.controls.all())


async def test_an_answer_that_is_too_long_is_not_sent_and_the_session_goes_on() -> None:
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            name = "<" * 1024  # each is six bytes in a message
            assert (await peer.register(name)).error == ""
            await peer.control.send(NewProxy(proxy_name=name, remote_port=-1), Ping())
            assert await peer.control.receive() == Pong()
            await lines.wait_for("message not sent: NewProxyResp message of")


async def test_faults_are_told_up_to_a_length() -> None:
    async with running_server() as server, peers_of(server) as peers:
        peer = await peers.logged_in()
        answer = await peer.register("it", annotations={f"{n}!": "" for n in range(1000)})
        assert answer.error.startswith("annotation key 0! is invalid")
        assert len(answer.error) == 2000


async def test_whoever_has_much_to_say_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_TURN", 0)
    async with running_server() as server, peers_of(server) as peers:
        peer = await peers.logged_in()
        turns: list[int] = []
        inner = server.controls.all()[0]
        answer = inner._answer_ping

        def counted(message: Ping) -> bool:
            turns.append(trio.lowlevel.current_statistics().tasks_runnable + ticks)
            return answer(message)

        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await trio.lowlevel.checkpoint()

        monkeypatch.setattr(inner, "_answer_ping", counted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            await peer.control.send(*[Ping()] * 500)
            for _ in range(500):
                await peer.control.expect(Pong)
            nursery.cancel_scope.cancel()
        assert turns[-1] - turns[0] > 400
        end = inner._stream.end
        for _ in range(200):  # megabytes of messages, read at once: the window stays as it is
            await peer.control.send(*[Ping()] * 2000)
            await until(lambda: not inner._stream._data)
        assert isinstance(end, MuxEnd)
        assert end._window == INITIAL_WINDOW


async def test_the_longest_run_id_fits_its_answer() -> None:
    """Each of its characters is six bytes there."""
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            assert (await (await peers.connect()).log_in(run_id="<" * 1024)).run_id == "<" * 1024


async def test_a_proxy_that_can_not_be_closed_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug at the end of a session must not block the run id for ever, nor the client's other proxies."""

    with logged(bugs=1):
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(run_id="mine")
            await peer.register("one", remote_port=(first := free_port()))
            await peer.register("two", remote_port=(second := free_port()))
            proxy = server.proxies["one"]

            def fail() -> None:
                type(proxy).close(proxy)
                raise RuntimeError("a bug")

            monkeypatch.setattr(proxy, "close", fail)
            again = await peers.logged_in(run_id="mine")
            assert (await again.register("one", remote_port=first)).error == ""
            assert (await again.register("two", remote_port=second)).error == ""
