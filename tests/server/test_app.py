"""The server as a whole: starting, letting in, replacing, stopping (behaviour.md 1)."""

from __future__ import annotations

import errno
import hmac
import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py import server_from_dict
from frp_py.errors import FrpError, Refused
from frp_py.net.engine.loop import Engine
from frp_py.protocol import wire_v1
from frp_py.protocol.messages import LoginResp, Ping, Pong
from frp_py.server.app import Server
from frp_py.server.entrance import Entrance
from tests.support.inside import (
    HOST,
    TOKEN,
    Clock,
    connect,
    ending,
    logged,
    merged,
    nothing_left,
    peers_of,
    proxy,
    receive_exactly,
    running_client,
    running_server,
    service,
)
from tests.support.net import contexts, until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])


def config(**changes: Any) -> Any:
    return server_from_dict(merged({"bindAddr": HOST, "bindPort": free_port(), "auth": {"token": TOKEN}}, changes))


# starting


async def test_the_client_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = contexts()[1]
    monkeypatch.setattr("frp_py.net.transports.tls.server_context", lambda files: ready)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(config(bindPort=port))
        with pytest.raises(FrpError) as failure:
            await server.run()
        assert str(failure.value) == f"create server listener error, listen tcp {HOST}:{port}: bind: address already in use"


async def test_what_was_opened_before_a_failure_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = contexts()[1]
    monkeypatch.setattr("frp_py.net.transports.tls.server_context", lambda files: ready)
    mux_port = free_port()
    with socket.create_server((HOST, 0)) as taken:
        server = Server(config(bindPort=taken.getsockname()[1], tcpmuxHTTPConnectPort=mux_port))
        with pytest.raises(FrpError):
            await server.run()
    with socket.create_server((HOST, mux_port)):
        pass
    nothing_left(server)


async def test_it_says_that_it_listens() -> None:
    with logged() as lines:
        async with running_server() as server:
            assert lines.texts[:2] == [f"frps tcp listen on {HOST}:{server.config.bind_port}", "frps started successfully"]


# letting in


@pytest.mark.parametrize("custom_byte", [True, False])
@BOTH
async def test_under_tls(mux: bool, custom_byte: bool) -> None:
    with logged() as lines:
        async with (
            running_server({"transport.tcpMux": mux, "transport.tls.force": True}) as server,
            service() as web,
            running_client(
                server,
                {"transport.tcpMux": mux, "transport.tls.enable": True, "transport.tls.disableCustomTLSFirstByte": not custom_byte},
                [proxy("it", web.port, port := free_port())],
            ),
        ):
            await lines.wait_for("[it] start proxy success")
            user = await connect(port)
            await user.send_all(b"x")
            assert await receive_exactly(await web.accept(), 1) == b"x"
            await user.aclose()


async def test_a_client_without_tls_where_tls_is_a_must() -> None:
    with logged() as lines:
        async with running_server({"transport.tls.force": True}) as server, peers_of(server) as peers:
            peer = await peers.connect()
            talk = peer.open()
            await talk.send(peer.login())
            assert await talk.ending() in ("eof", "reset")
            await lines.wait_for("non-TLS connection received on a TlsOnly server")


async def test_the_ip_that_a_client_came_from() -> None:
    with logged() as lines:
        async with running_server({"bindAddr": "::"}) as server, peers_of(server) as peers:
            await peers.logged_in(user="u", client_id="c", os="linux", arch="amd64")
            assert server.clients.entries["u", "c"].ip == HOST
            line = await lines.wait_for("client login info: ip [127.0.0.1:")
            assert line.endswith("version [0.70.1] hostname [h] os [linux] arch [amd64]")


async def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def spy(a: Any, b: Any) -> bool:
        compared.append(a)
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    with logged():
        async with running_server({"auth.additionalScopes": ["HeartBeats", "NewWorkConns"]}) as server, peers_of(server) as peers:
            assert (await (await peers.connect()).log_in(privilege_key="login")).error
            peer = await peers.logged_in()
            await peer.ping(privilege_key="ping")
            assert (await peer.control.expect(Pong)).error
            await (await peer.work(privilege_key="work")).receive()
    assert {b"login", b"ping", b"work"} <= set(compared)


# one client after the other


async def test_a_client_id_belongs_to_one(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            one = await peers.logged_in(user="u", client_id="c")
            other = await peers.connect()
            assert (await other.log_in(user="u", client_id="c")).error == "client_id [c] for user [u] is already online"
            await clock.forward(4)
            await until(lambda: other.lost)  # nothing of the refused one stays
            assert one.lost == []
            assert len(server.controls.all()) == 1
            assert (await (await peers.connect()).log_in(user="v", client_id="c")).error == ""
            await one.control.stream.aclose()
            await until(lambda: not server.clients.entries["u", "c"].online)
            assert (await (await peers.connect()).log_in(user="u", client_id="c")).error == ""


@BOTH
async def test_of_several_logins_at_once_the_last_one_stays(mux: bool) -> None:
    """The first runs; more come before it has ended. All but the last are told so, and nobody waits for ever."""
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            first = await peers.logged_in(run_id="mine")
            await first.register("it", remote_port=(port := free_port()))
            late = [await peers.connect() for _ in range(6)]
            answers: dict[int, LoginResp] = {}

            async def log_in(n: int) -> None:
                answers[n] = await late[n].log_in(run_id="mine")

            async with trio.open_nursery() as nursery:
                for n in range(len(late)):
                    nursery.start_soon(log_in, n)
            assert {answer.error for answer in answers.values()} == {"", "control was replaced during login"}
            last = [n for n in answers if not answers[n].error][-1]
            assert (await late[last].register("it", remote_port=port)).error == ""
            await until(lambda: len(server.controls.all()) == 1)
            assert len(server.clients.entries) == 1


class SlowEvent:
    """An event that is set by the test alone."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.wait = self.event.wait

    def set(self) -> None:
        pass


async def test_a_newer_login_waits_for_the_older_ones_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three generations of behaviour.md 1.6, with an older one that takes its time."""
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            await peers.logged_in(run_id="mine")
            control = server.controls.running("mine")
            slow = SlowEvent()
            monkeypatch.setattr(control, "ended", slow)
            second, third = await peers.connect(), await peers.connect()
            answers: list[tuple[str, str]] = []

            async def log_in(name: str, peer: Any) -> None:
                answers.append((name, (await peer.log_in(run_id="mine")).error))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(log_in, "second", second)
                await lines.wait_for("replaced by client [mine] (control ID 2)")
                with pytest.raises(Refused, match="is not running"):
                    server.controls.running("mine")
                nursery.start_soon(log_in, "third", third)
                await lines.wait_for("replaced by client [mine] (control ID 3)")
                await trio.sleep(0.02)
                assert answers == []
                slow.event.set()
            assert sorted(answers) == [("second", "control was replaced during login"), ("third", "")]
            assert [each.id for each in server.controls.all()] == [3]


# what goes wrong with one is nothing to the others


@pytest.mark.parametrize("where", ["tls", "handing on", "login"])
async def test_a_bug_in_what_serves_one_peer(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    with logged(bugs=1):
        async with running_server() as server, peers_of(server) as peers:
            if where == "tls":
                monkeypatch.setattr("frp_py.net.transports.tls.wrap_server", fail)
                stream = await connect(server.config.bind_port)
                await stream.send_all(b"\x16\x03\x01" + bytes(20))
                assert await ending(stream) in ("eof", "reset")
            elif where == "handing on":
                monkeypatch.setattr(Entrance, "_hand_on", fail)
                await (await connect(server.config.bind_port)).send_all(bytes(20))
            else:
                monkeypatch.setattr(server.clients, "register", fail)
                await (peer := await peers.connect()).open().send(peer.login())
            await until(lambda: where != "login" or not server.controls.all())
            await trio.sleep(0.02)
            assert (await (await peers.logged_in()).register("it")).error == ""


@BOTH
async def test_a_connection_that_can_not_be_watched(mux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with logged() as lines:
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:

            def refuse(self: Engine, fd: int, events: int, handler: Any) -> None:
                monkeypatch.undo()
                raise OSError(errno.ENOSPC, "No space left on device")

            stream = await connect(server.config.bind_port)
            monkeypatch.setattr(Engine, "watch", refuse)
            await stream.send_all(bytes(20))
            assert await ending(stream) in ("eof", "reset")
            await lines.wait_for("connection from [127.0.0.1] closed: [Errno 28] No space left on device")
            assert server.callers == set()
            assert len(server.lobby) == len(server.first_messages) == 0
            assert (await (await peers.logged_in()).register("it")).error == ""


# time, and the end


async def test_the_preference_for_a_port_is_forgotten_after_a_day(mock_clock: MockClock) -> None:
    mock_clock.rate = 1.0
    with logged():
        async with running_server({"transport.tcpMuxKeepaliveInterval": -1}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            await peer.register("it")
            assert len(server.tcp_ports._reserved) == 1
            for _ in range(26):
                mock_clock.jump(3600)
                await trio.sleep(0.002)
            assert len(server.tcp_ports._reserved) == 1  # in use
            await peer.control.stream.aclose()
            await until(lambda: not server.controls.all())
            for _ in range(26):
                mock_clock.jump(3600)
                await trio.sleep(0.002)
            assert server.tcp_ports._reserved == {}


@BOTH
async def test_logins_while_it_stops(mux: bool) -> None:
    """Nobody gets in any more, and no traceback is written."""
    with logged():
        async with running_server({"transport.tcpMux": mux}) as server, peers_of(server) as peers:
            for peer in [await peers.connect() for _ in range(20)]:
                peer.open().stream.end.feed(memoryview(wire_v1.pack(peer.login())))
            await trio.lowlevel.checkpoint()


async def test_a_client_is_told_that_the_server_stops() -> None:
    with logged() as lines:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def serve(task_status: trio.TaskStatus[Server]) -> None:
                with scope:
                    async with running_server() as server:
                        task_status.started(server)
                        await trio.sleep_forever()

            server = await nursery.start(serve)
            async with running_client(server, {"loginFailExit": False}):
                scope.cancel()
                await lines.wait_for("session with the server ended")


async def test_a_ping_in_the_middle_of_a_stop_hurts_nobody() -> None:
    with logged():
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            await peer.control.send(*[Ping()] * 100)
            server._say_goodbye()
            assert await peer.control.ending() in ("eof", "reset")
