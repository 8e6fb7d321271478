"""A user's connection until it is joined (behaviour.md 2.1)."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
import trio

from frp_py.net.features import DIRECT
from frp_py.protocol.messages import ReqWorkConn, StartWorkConn
from frp_py.server.visits import address_text
from tests.support.inside import connect, ending, logged, peers_of, receive_all, receive_exactly, running_server, started
from tests.support.net import until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 80), "192.0.2.1:80"),
        (("2001:db8::1", 80, 0, 0), "[2001:db8::1]:80"),
        (("fe80::1%eth0", 80, 0, 2), "[fe80::1%eth0]:80"),
        ("/run/socket", "/run/socket"),
    ],
)
def test_addresses_for_people(address: Any, text: str) -> None:
    assert address_text(address) == text


@pytest.mark.parametrize("user_host", ["127.0.0.1", "::1"])
async def test_both_families_on_one_port(user_host: str) -> None:
    """A user who came by IPv4 has an IPv4 address, whatever the listener is."""
    with logged() as lines:
        async with running_server({"proxyBindAddr": "::"}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port, user_host)
            user_port = user.socket.getsockname()[1]
            work = await peer.work()
            assert await started(work) == StartWorkConn("it", user_host, user_host, user_port, port)
            await lines.wait_for(f"get a user connection [{address_text((user_host, user_port))}]")
            await user.aclose()


@BOTH
async def test_what_a_user_says_before_he_is_served_is_not_lost(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await user.send_all(b"early")
            await peer.control.expect(ReqWorkConn)
            work = await peers.work_of(peer)
            await started(work)
            assert bytes(work.data) + await receive_exactly(work.stream, 5 - len(work.data)) == b"early"
            await work.stream.aclose()
            await user.aclose()


@BOTH
async def test_a_user_who_has_said_all_before_he_is_served(mux: bool) -> None:
    """His half of the connection is over, and he still gets his answer, where that can be."""
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(half_close=True, pool_count=0, features=("half-close",))
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await user.send_all(b"question")
            await user.send_eof()
            await peer.control.expect(ReqWorkConn)
            work = await peers.work_of(peer)
            await started(work)
            assert bytes(work.data) + await receive_all(work.stream) == b"question"
            await work.send_raw(b"answer")
            await work.stream.send_eof()
            assert await receive_all(user) == b"answer"
            await work.stream.aclose()


@BOTH
async def test_what_the_client_says_before_the_user_is_there_is_passed_on(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=1)
            await peer.register("it", remote_port=(port := free_port()))
            work = await peers.work_of(peer)
            await work.send_raw(b"hello, whoever you are")
            await trio.sleep(0.02)
            user = await connect(port)
            assert await receive_exactly(user, 22) == b"hello, whoever you are"
            await user.aclose()
            await work.stream.aclose()


@BOTH
async def test_a_work_connection_that_breaks_breaks_its_user(mux: bool) -> None:
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await peer.control.expect(ReqWorkConn)
            work = await peers.work_of(peer)
            await started(work)
            work.stream.end.abort()
            assert await ending(user) == "reset"
            await until(lambda: not server.users)


async def test_users_who_can_not_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses one; the next is served, and the listener lives."""
    with logged(bugs=1):
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(pool_count=0)
            await peer.register("it", remote_port=(port := free_port()))
            watch = server.engine.watch

            def refuse_once(fd: int, events: int, handler: Any) -> None:
                monkeypatch.setattr(server.engine, "watch", watch)
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(server.engine, "watch", refuse_once)
            with contextlib.suppress(OSError):
                assert await ending(await connect(port)) in ("eof", "reset")
            user = await connect(port)
            await started(await peer.work())
            await user.aclose()


async def test_a_user_who_is_gone_before_he_was_looked_at() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(features=(DIRECT,))
            await peer.register("it", remote_port=(port := free_port()))
            for _ in range(20):
                user = socket.create_connection(("127.0.0.1", port))
                user.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                user.close()
            await until(lambda: not server.users)
            control = server.controls.running(peer.run_id)
            assert control.connections == 0
