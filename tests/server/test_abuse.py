"""What strangers and clients can do to others, and where that ends (docs/security.md)."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.config.base import Bandwidth
from frp_py.net.engine.pace import Limit, Turn
from frp_py.protocol import wire_v1
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import CloseProxy, NewProxyResp, NewVisitorConn, NewVisitorConnResp, NewWorkConn, StartWorkConn
from frp_py.server.app import Server
from frp_py.server.guesses import OF_ONE
from frp_py.server.penalties import FAILED_LOGIN
from tests.support.inside import (
    HOST,
    Clock,
    Peer,
    Peers,
    connect,
    ending,
    logged,
    peers_of,
    proxy,
    receive_exactly,
    running_client,
    running_server,
    started,
)
from tests.support.inside import service as local_service
from tests.support.net import until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
STRICT: dict[str, Any] = {"sourcePenalties": {"longest": 600, "exempt": []}}
REFUSED = "eof", "reset"


async def is_reset(port: int) -> bool:
    """Whether a connection to `port` is, at once or soon."""
    try:
        stream = await connect(port)
    except OSError:
        return True
    return await ending(stream) == "reset"


async def fails_to_log_in(peers: Any) -> None:
    assert (await (await peers.connect()).log_in(privilege_key="wrong")).error


@BOTH
async def test_failed_logins_shut_their_source_out_for_a_while(mux: bool, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux, **STRICT}) as server, peers_of(server) as peers:
            for _ in range(3):
                await fails_to_log_in(peers)
            await lines.wait_for(" s: failed logins, or connections that were no client's")
            assert await is_reset(server.config.bind_port)
            assert server.penalties.refused == 1
            await clock.forward(16)
            assert (await (await peers.connect()).log_in()).error == ""


@BOTH
async def test_guessed_secret_keys_count_as_failed_logins(mux: bool) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux, **STRICT}) as server, peers_of(server) as peers:
            owner = await peers.logged_in()
            assert (await owner.register("secret", proxy_type="stcp", sk="key")).error == ""
            forget_clients(server)
            for n in range(3):
                talk = (await peers.connect()).open()
                await talk.send(NewVisitorConn("", "secret", privilege_key(f"guess {n}", 7), 7))
                assert (await talk.expect(NewVisitorConnResp)).error
            await lines.wait_for("is shut out for")
            assert await is_reset(server.config.bind_port)


def forget_clients(server: Server) -> None:
    """As if they were elsewhere."""
    server.penalties._trusted.clear()
    server.penalties._present.clear()


@asynccontextmanager
async def visited(peers: Peers) -> AsyncIterator[Peer]:
    """A link whose only merit is a visit to a proxy that is for everybody; another one, `secret`, has a key."""
    owner = await peers.logged_in()
    assert (await owner.register("open", proxy_type="stcp")).error == ""
    assert (await owner.register("secret", proxy_type="stcp", sk="key")).error == ""
    forget_clients(peers.server)
    guest = await peers.connect()
    assert await visit(guest, "open", "") == ""
    yield guest


async def visit(peer: Peer, name: str, key: str, run_id: str = "") -> str:
    """What is answered to a visitor with that key: empty when he is let in."""
    talk = peer.open()
    await talk.send(NewVisitorConn(run_id, name, privilege_key(key, 7), 7))
    return (await talk.expect(NewVisitorConnResp)).error


async def is_dismissed(peer: Peer) -> bool:
    """Whether nothing more is taken from it."""
    talk = peer.open()
    talk.stream.end.feed(memoryview(b"o"))
    return await talk.ending() == "reset" and not peer.lost


async def test_who_may_visit_one_proxy_has_one_guess_at_another(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running_server(STRICT) as server, peers_of(server) as peers, visited(peers) as guest:
            assert await visit(guest, "secret", "guess") == "visitor connection of [secret] auth failed"
            assert await is_dismissed(guest)
            assert next(iter(server.penalties._records.values())).seconds == FAILED_LOGIN
            await clock.forward(3)
            await until(lambda: guest.lost)
            assert lines.count("auth failed") == 1


async def test_nor_does_a_visit_make_guesses_of_the_token_free() -> None:
    with logged():
        async with running_server(STRICT) as server, peers_of(server) as peers, visited(peers) as guest:
            assert (await guest.log_in(privilege_key="wrong")).error
            assert next(iter(server.penalties._records.values())).seconds == FAILED_LOGIN
            assert await is_dismissed(guest)


async def test_a_visit_says_nothing_of_the_rest_of_its_link() -> None:
    with logged() as lines:
        async with running_server(STRICT) as server, peers_of(server) as peers, visited(peers) as guest:
            assert await visit(guest, "open", "") == ""  # it may go on visiting
            await guest.open().send_raw(b"?" * 100)
            await lines.wait_for("closed: unknown message type")
            assert server.penalties._records
            assert await is_dismissed(guest)


async def test_a_client_that_guesses_is_slowed_down_and_goes_on_working(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running_server(STRICT) as server, peers_of(server) as peers:
            owner, guest = await peers.logged_in(), await peers.logged_in()
            for name in ("secret", "other"):
                assert (await owner.register(name, proxy_type="stcp", sk="key")).error == ""
            answers = [await visit(guest, "secret", f"guess {n}", guest.run_id) for n in range(OF_ONE + 2)]
            too_often = "visitor connection of [secret] auth failed too often, try again later"
            assert answers == ["visitor connection of [secret] auth failed"] * OF_ONE + [too_often] * 2
            assert await visit(guest, "secret", "key", guest.run_id) == too_often  # or he would go on guessing
            assert await visit(guest, "other", "key", guest.run_id) == ""
            assert await visit(owner, "secret", "key", owner.run_id) == ""  # whose key is right isn't concerned
            assert (await guest.register("it")).error == ""
            await clock.forward(7)
            assert await visit(guest, "secret", "key", guest.run_id) == ""
            assert await visit(guest, "secret", "key", guest.run_id) == ""  # and pays nothing


@BOTH
async def test_a_login_for_each_guess_does_not_help(mux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.server.guesses.OF_NETWORK", 2)
    with logged():
        async with running_server({"transport.tcpMux": mux, **STRICT}) as server, peers_of(server) as peers:
            owner = await peers.logged_in()
            assert (await owner.register("secret", proxy_type="stcp", sk="key")).error == ""
            answers = []
            for n in range(3):
                guest = await peers.logged_in()
                answers.append(await visit(guest if mux else await peers.connect(), "secret", f"guess {n}", guest.run_id))
            assert [answer.partition("auth failed")[2] for answer in answers] == ["", "", " too often, try again later"]


@pytest.mark.parametrize("has_token", [False, True], ids=["stranger", "client"])
async def test_a_run_id_is_worth_nothing_on_another_link(has_token: bool) -> None:
    """Whoever has read it on a dashboard or in a log gets no users of its client's, and is not taken for its user."""
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            victim, port = await peers.logged_in(user="victim", pool_count=1), free_port()
            assert (await victim.register("it", remote_port=port)).error == ""
            assert (await victim.register("private", proxy_type="stcp")).error == ""
            thief = await (peers.logged_in if has_token else peers.connect)()
            assert (await started(await thief.work(victim.run_id))).error == f"no client control found for run id [{victim.run_id}]"
            if not has_token:
                thief = await peers.connect()
            assert await visit(thief, "private", "", victim.run_id) == f"no client control found for run id [{victim.run_id}]"
            assert await visit(victim, "private", "", victim.run_id) == ""
            work = await victim.work()
            user = await connect(port)
            assert (await started(work)).proxy_name in ("it", "private")
            await user.aclose()


async def test_without_multiplexing_work_connections_come_from_anywhere() -> None:
    """The run id, which nobody else is told, is all that says whose they are: a client may have several addresses."""
    with logged():
        async with running_server({"transport.tcpMux": False}) as server, peers_of(server) as peers:
            peer, port = await peers.logged_in(pool_count=1), free_port()
            assert (await peer.register("it", remote_port=port)).error == ""
            with socket.create_connection((HOST, server.config.bind_port), source_address=("127.0.0.9", 0)) as sock:
                sock.sendall(wire_v1.pack(NewWorkConn(peer.run_id)))
                user = await connect(port)
                await trio.lowlevel.wait_readable(sock)
                assert sock.recv(1) == wire_v1.pack(StartWorkConn("it"))[:1]
            await user.aclose()


async def test_visitors_of_a_proxy_that_is_not_there_are_not_shut_out() -> None:
    """Its owner restarts, and many users are waiting for that."""
    with logged():
        async with running_server({"transport.tcpMux": False, **STRICT}) as server, peers_of(server) as peers:
            for n in range(10):
                talk = (await peers.connect()).open()
                await talk.send(NewVisitorConn("", "secret", privilege_key("key", n), n))
                assert (await talk.expect(NewVisitorConnResp)).error
            assert (await (await peers.connect()).log_in()).error == ""


async def test_an_exempt_source_is_never_shut_out() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            for _ in range(20):
                await fails_to_log_in(peers)
            assert (await (await peers.connect()).log_in()).error == ""


async def test_where_a_client_has_logged_in_nobody_is_shut_out() -> None:
    with logged():
        async with running_server(STRICT) as server, peers_of(server) as peers:
            await peers.logged_in()
            for _ in range(20):
                await fails_to_log_in(peers)
            assert (await (await peers.connect()).log_in()).error == ""


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x00\x05" + bytes(20), b"x" * 40, bytes(40)], ids=["tls", "text", "zeros"])
async def test_rubbish_counts(rubbish: bytes) -> None:
    with logged() as lines:
        async with running_server(STRICT) as server:
            for _ in range(15):
                stream = await connect(server.config.bind_port)
                await stream.send_all(rubbish)
                await stream.send_eof()
                assert await ending(stream) in REFUSED
            await lines.wait_for("is shut out for 1")


@pytest.mark.parametrize(
    ("mux", "opening", "is_link"),
    [
        (True, b"", False),
        (True, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", False),
        (True, struct.pack(">III", 2 << 16 | 1, 0, 0), True),
        (False, struct.pack(">Bq4x", ord("o"), 100), True),
    ],
    ids=["nothing", "tls", "mux", "nomux"],
)
async def test_who_makes_room_for_others_has_done_nothing(mux: bool, opening: bytes, is_link: bool) -> None:
    """After a restart nobody is known, and those behind one address may be many who come back at once."""
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux, "maxUnauthenticated": 20, **STRICT}) as server, peers_of(server) as peers:
            home = [await connect(server.config.bind_port) for _ in range(20)]
            for stream in home:
                await stream.send_all(opening)
            await until(lambda: len(server.callers) == (20 if is_link else 0) and len(server.lobby) == 20)
            flood = [socket.create_connection((HOST, server.config.bind_port), source_address=(f"127.0.1.{n}", 0)) for n in range(2, 42)]
            await until(lambda: server.lobby.put_out == 40)
            for stream in home[:-1]:
                assert await ending(stream) in REFUSED
            assert "is shut out" not in lines
            assert (await (await peers.connect()).log_in()).error == ""
            for sock in flood:
                sock.close()
            await home[-1].aclose()


async def test_who_makes_room_for_himself_has_done_it() -> None:
    with logged() as lines:
        async with running_server({"maxUnauthenticated": 5, **STRICT}) as server:
            flood = [await connect(server.config.bind_port) for _ in range(5 + 15)]
            await lines.wait_for("[127.0.0.1] is shut out for")
            for stream in flood:
                await stream.aclose()


async def test_a_health_check_by_tcp_does_not_count() -> None:
    with logged():
        async with running_server(STRICT) as server, peers_of(server) as peers:
            for _ in range(50):
                await (await connect(server.config.bind_port)).aclose()
            assert (await (await peers.connect()).log_in()).error == ""


async def test_users_of_a_shared_port_do_not_suffer_for_others() -> None:
    port = free_port()
    with logged():
        async with (
            running_server({"bindPort": port, "vhostHTTPPort": port, "proxyBindAddr": HOST, **STRICT}) as server,
            peers_of(server) as peers,
        ):
            for _ in range(3):
                await fails_to_log_in(peers)
            client = await connect(port)
            await client.send_all(bytes(20))
            assert await ending(client) == "reset"
            user = await connect(port)
            await user.send_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            assert (await receive_exactly(user, 12)) == b"HTTP/1.1 404"
            await user.aclose()


async def test_no_more_users_of_a_client_than_it_may_have() -> None:
    with logged() as lines:
        async with (
            running_server({"maxUsersPerClient": 2}) as server,
            local_service() as web,
            running_client(server, {}, [proxy("one", web.port, a := free_port()), proxy("two", web.port, b := free_port())]),
        ):
            await lines.wait_for("[two] start proxy success")
            users = []
            for port in (a, b):
                user = await connect(port)
                await user.send_all(b"x")
                users.append((user, there := await web.accept()))
                assert await receive_exactly(there, 1) == b"x"
            assert await is_reset(b)
            await lines.wait_for("closed: the client has as many users as maxUsersPerClient allows")
            await users[0][0].aclose()
            await users[0][1].aclose()
            await until(lambda: server.controls.all()[0].connections == 1)
            user = await connect(b)
            await user.send_all(b"y")
            there = await web.accept()
            assert await receive_exactly(there, 1) == b"y"
            for stream in (user, there, *users[1]):
                await stream.aclose()


async def test_no_more_streams_of_a_client_than_it_may_have() -> None:
    with logged():
        async with running_server({"maxStreamsPerClient": 3}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            streams = [peer.open() for _ in range(2)]
            for stream in (*streams, one_more := peer.open()):
                stream.stream.end.feed(memoryview(b"o"))
            assert await one_more.ending() == "reset"
            assert (await peer.register("it")).error == ""
            for stream in streams:
                await stream.stream.aclose()


async def test_the_users_of_all_proxies_of_a_client_share_its_bandwidth() -> None:
    """The proxies' own limits hold besides."""
    with logged():
        async with running_server({"bandwidthLimitPerClient": "2MB"}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            for name, more in (("a", {}), ("b", {}), ("c", {"bandwidth_limit": "1MB", "bandwidth_limit_mode": "server"})):
                assert isinstance(answer := await peer.register(name, **more), NewProxyResp)
                assert answer.error == ""
            control = server.controls.all()[0]
            a, b, c = (control.proxies[name].limit for name in "abc")
            assert a is not None
            assert a is b is control.limit
            assert c is not None
            rate = Bandwidth("2MB").bytes_per_second
            assert bytes_at_once(c) == pytest.approx(rate / 2, rel=0.1)  # its own limit is lower
            assert bytes_at_once(a) == pytest.approx(rate / 2, rel=0.1)  # what c took is gone


def bytes_at_once(limit: Limit) -> int:
    """How many may be moved without waiting."""
    turn = Turn(limit, lambda: None)
    n = 0
    while turn.has_come():
        turn.used(turn.size)
        n += turn.size
    turn.leave()
    return n


async def test_ports_leave_descriptors_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client that opens ports as long as it may must not leave nothing for the logins and users of the others."""
    monkeypatch.setattr("frp_py.server.app.most_ports", lambda: 3)
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            one, other = await peers.logged_in(), await peers.logged_in()
            kinds = ["tcp", "udp", "tcp", "tcp", "udp"]
            answers = [await one.register(str(n), proxy_type=kind, remote_port=free_port()) for n, kind in enumerate(kinds)]
            refused = "the server has no descriptors for more ports"
            assert [answer.error for answer in answers] == ["", "", "", refused, answers[4].error]
            assert answers[4].error.endswith(f" error: {refused}")
            await one.control.send(CloseProxy("0"))
            assert (await one.register("5", remote_port=free_port())).error == ""
            assert (await other.register("6", proxy_type="stcp")).error == ""


async def test_users_of_a_shared_port_leave_descriptors_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.server.app.highest_for_users", lambda each: 3)
    port = free_port()
    with logged() as lines:
        async with (
            running_server({"bindPort": port, "vhostHTTPPort": port, "vhostHTTPSPort": port, "proxyBindAddr": HOST}) as server,
            peers_of(server) as peers,
        ):
            for opening in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00\x05" + bytes(20)):
                user = await connect(port)
                await user.send_all(opening)
                assert await ending(user) in REFUSED
            assert lines.count("the descriptors left are not for users") == 2
            await peers.logged_in()
