"""One session, against servers made by hand (behaviour.md 7.2 and 7.3, wire.md 6 and 7)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.client import session as session_module
from frp_py.client.app import Client
from frp_py.client.phase import Phase
from frp_py.client.plugins.base import Plugin
from frp_py.client.proxies.base import LocalSide
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import CloseProxy, Login, NewProxy, NewProxyResp, NewWorkConn, Ping, Pong, ReqWorkConn, StartWorkConn
from tests.support.inside import (
    HOST,
    TOKEN,
    Clock,
    ServerSide,
    Talk,
    ending,
    frpc_config,
    frps,
    logged,
    proxy,
    receive_all,
    receive_exactly,
    running_frpc,
    service,
)
from tests.support.net import descriptors, until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
WIRES = pytest.mark.parametrize("wire", ["v1", "v2"])
QUIET = {"transport.tcpMuxKeepaliveInterval": -1}


def side(client: Client, name: str) -> LocalSide:
    assert client.session is not None
    return client.session.proxies[name]


def phase(client: Client, name: str = "it") -> Phase:
    return side(client, name).phase


async def started(talk: Talk, name: str = "it", **fields: Any) -> None:
    await talk.send_raw(talk.wire.pack(StartWorkConn(name, **fields)))


async def synchronised(session: ServerSide) -> None:
    """The client has dealt with all that was sent to it until now."""
    work = await session.ask()
    await work.stream.aclose()


@BOTH
@WIRES
async def test_a_whole_life_with_the_server_of_frp(mux: bool, wire: str) -> None:
    with logged() as lines:
        async with frps(mux=mux, wire=wire) as server, service() as web:
            async with running_frpc(server, {"user": "u"}, [proxy("it", web.port, 7, metadatas={"a": "b"})]) as client:
                session = await server.session(run_id="r1")
                wish = await session.accept("u.it")
                assert (wish.proxy_type, wish.remote_port, wish.metas) == ("tcp", 7, {"a": "b"})
                await lines.wait_for("[r1] [it] start proxy success")
                assert side(client, "u.it").remote_address == ":1"
                work = await session.ask()
                assert session.offered == NewWorkConn("r1")
                await work.send_raw(work.wire.pack(StartWorkConn("u.it", "192.0.2.1", HOST, 5, 7)) + b"early")
                there = await web.accept()
                assert await receive_exactly(there, 5) == b"early"
                await there.send_all(b"answer")
                await there.aclose()
                assert await receive_exactly(work.stream, 6) == b"answer"
                assert await work.ending() == "eof"
                await work.stream.aclose()
                await until(lambda: not client.users)
            assert await session.control.expect(CloseProxy) == CloseProxy("u.it")
            assert await session.control.ending() == "eof"


# proxies


async def test_without_an_answer_it_asks_again_after_20_s(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    async with frps() as server, running_frpc(server, QUIET, [proxy("it", 1)]) as client:
        session = await server.session()
        first = await session.control.expect(NewProxy)
        assert phase(client) is Phase.WAIT_START
        await clock.forward(17)
        await synchronised(session)
        assert session.control.data == b""
        await clock.forward(5)
        assert await session.control.expect(NewProxy) == first
        await session.control.send(NewProxyResp("it", ":1"))
        await until(lambda: phase(client) is Phase.RUNNING)


async def test_after_a_refusal_it_asks_again_after_30_s(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, running_frpc(server, QUIET, [proxy("it", 1)]) as client:
            session = await server.session()
            first = await session.control.expect(NewProxy)
            await session.control.send(NewProxyResp("it", error="no luck"))
            await lines.wait_for("[it] start error: no luck")
            assert (phase(client), side(client, "it").error) == (Phase.START_ERROR, "no luck")
            await clock.forward(28)
            await synchronised(session)
            assert phase(client) is Phase.START_ERROR
            await clock.forward(7)
            assert await session.control.expect(NewProxy) == first
            await session.control.send(NewProxyResp("it", ":1"))
            await lines.wait_for("[it] start proxy success")
            assert side(client, "it").error == ""


async def test_each_answer_counts_once() -> None:
    with logged() as lines:
        async with frps() as server, running_frpc(server, None, [proxy("it", 1)]) as client:
            session = await server.session()
            await session.accept("it")
            await session.control.send(NewProxyResp("it", error="too late"), NewProxyResp("it", ":2"), NewProxyResp("what"))
            await synchronised(session)
            assert (phase(client), side(client, "it").remote_address) == (Phase.RUNNING, ":1")
            assert lines.count("start proxy success") == 1
            assert lines.count("answer for proxy [it] ignored") == 2
            assert lines.count("answer for proxy [what] ignored") == 1


async def test_a_wish_that_is_too_long_costs_only_that_proxy(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        proxies = [proxy("big", 1, metadatas={"a": "x" * 10300}), proxy("it", 2)]
        async with frps() as server, running_frpc(server, QUIET, proxies) as client:
            session = await server.session()
            await session.accept("it")
            await until(lambda: phase(client) is Phase.RUNNING)
            assert phase(client, "big") is Phase.START_ERROR
            text = "NewProxy message of 10"
            assert text in side(client, "big").error
            await lines.wait_for(f"[big] start error: {text}")
            await clock.forward(29)
            assert lines.count("start error") == 1
            await clock.forward(6)
            assert lines.count("start error") == 2
            assert phase(client) is Phase.RUNNING


async def test_on_wire_v2_the_same_wish_fits() -> None:
    async with frps(wire="v2") as server, running_frpc(server, None, [proxy("big", 1, metadatas={"a": "x" * 10300})]):
        session = await server.session()
        assert len((await session.accept("big")).metas["a"]) == 10300


# heartbeats


async def test_heartbeats(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps(mux=False) as server, running_frpc(server):
            session = await server.session()
            for _ in range(3):
                assert await session.control.expect(Ping) == Ping()
                await session.control.send(Pong())
                await clock.forward(31)
            assert lines.count("send heartbeat to server") == 4
            assert "heartbeat timeout" not in lines


@BOTH
async def test_without_a_pong_the_session_is_given_up(mux: bool, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    changes = {"transport.heartbeatInterval": 10, "transport.heartbeatTimeout": 25, **QUIET}
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server, changes, [proxy("it", 1)]):
            session = await server.session()
            await session.accept("it")
            await clock.forward(20)
            await session.control.send(Pong())
            await synchronised(session)
            await clock.forward(23)
            assert "heartbeat timeout" not in lines
            await clock.forward(3)
            await lines.wait_for("session with the server ended: heartbeat timeout")
            assert await session.control.ending() in ("eof", "reset")
            again = await server.session()
            assert again.login.run_id == "r"
            await again.accept("it")


async def test_a_pong_with_an_error_ends_the_session() -> None:
    with logged() as lines:
        async with frps() as server, running_frpc(server, {"transport.heartbeatInterval": 10}):
            session = await server.session()
            await session.control.expect(Ping)
            await session.control.send(Pong("bad key"))
            await lines.wait_for("pong message contains error: bad key")
            await lines.wait_for("session with the server ended: bad key")
            await server.session()


@pytest.mark.parametrize("scopes", [[], ["HeartBeats"], ["NewWorkConns"], ["HeartBeats", "NewWorkConns"]], ids=str)
async def test_what_is_proved_when(scopes: list[str]) -> None:
    async with frps() as server, running_frpc(server, {"auth.additionalScopes": scopes, "transport.heartbeatInterval": 10}):
        session = await server.session()
        assert session.login.privilege_key == privilege_key(TOKEN, session.login.timestamp)
        assert abs(session.login.timestamp - time.time()) < 60
        ping = await session.control.expect(Ping)
        await session.ask()
        for message, scope in ((ping, "HeartBeats"), (session.offered, "NewWorkConns")):
            proof = (message.privilege_key, message.timestamp)
            if scope in scopes:
                assert proof == (privilege_key(TOKEN, message.timestamp), message.timestamp)
                assert message.timestamp
            else:
                assert proof == ("", 0)


# work connections


@BOTH
async def test_a_work_connection_for_nobody(mux: bool) -> None:
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server, None, [proxy("it", 1)]):
            session = await server.session()
            refused = await session.ask()
            await started(refused, "", error="no")
            assert await refused.ending() == "eof"
            await lines.wait_for("StartWorkConn contains error: no")


async def test_a_server_does_not_fill_the_log() -> None:
    with logged() as lines:
        async with frps() as server, running_frpc(server, None, [proxy("it", 1)]):
            session = await server.session()
            await session.control.send(*[NewProxyResp("\n" * 3000) for _ in range(500)])
            await session.accept("it")
            await lines.wait_for("start proxy success")
            assert 200 <= lines.count("answer for proxy [") <= 210
            assert max(map(len, lines.texts)) < 2600
            unknown = await session.ask()
            await started(unknown, "unknown")
            assert await unknown.ending() in ("eof", "reset")


@BOTH
@pytest.mark.parametrize("sent", [b"?" * 20, b"s" + b"\xff" * 20, b"h\0\0\0\0\0\0\0\2{}"], ids=["type", "length", "Ping"])
async def test_a_work_connection_that_says_something_else(mux: bool, sent: bytes) -> None:
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server, None, [proxy("it", 1)]) as client:
            session = await server.session()
            work = await session.ask()
            await work.send_raw(sent)
            assert await work.ending() in ("eof", "reset")
            await lines.wait_for("work connection closed: ")
            await synchronised(session)
            assert client.session is not None
            idle = client.session._idle
            await until(lambda: idle == set())


@BOTH
async def test_a_server_that_closes_idle_work_connections(mux: bool) -> None:
    with logged():
        async with frps(mux=mux) as server, running_frpc(server) as client:
            session = await server.session()
            for abort in (False, True):
                work = await session.ask()
                if abort:
                    work.stream.end.abort()
                else:
                    await work.stream.aclose()
            assert client.session is not None
            idle = client.session._idle
            await until(lambda: idle == set())


@BOTH
async def test_users_who_are_faster_than_the_answer(mux: bool) -> None:
    """Their connections overtake NewProxyResp: they are served when it is there."""
    with logged():
        async with frps(mux=mux) as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]) as client:
            session = await server.session()
            await session.control.expect(NewProxy)
            work = await session.ask()
            await started(work)
            await work.send_raw(b"quick")
            gone = await session.ask()
            await started(gone)
            gone.stream.end.abort()
            await synchronised(session)
            assert phase(client) is Phase.WAIT_START
            await session.control.send(NewProxyResp("it", ":1"))
            there = await web.accept()
            assert await receive_exactly(there, 5) == b"quick"
            await there.aclose()
            await work.stream.aclose()


@BOTH
async def test_users_who_are_faster_than_a_refusal(mux: bool) -> None:
    with logged():
        async with frps(mux=mux) as server, running_frpc(server, None, [proxy("it", 1)]):
            session = await server.session()
            await session.control.expect(NewProxy)
            work = await session.ask()
            await started(work)
            await session.control.send(NewProxyResp("it", error="no"))
            assert await work.ending() in ("eof", "reset")


async def test_the_server_opens_streams_only_where_that_was_agreed() -> None:
    with logged():
        async with frps() as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]):
            session = await server.session(features=(HALF_CLOSE,))
            await session.accept("it")
            work = session.open()
            await started(work)
            assert await work.ending() == "reset"
        async with frps() as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]):
            session = await server.session(features=(DIRECT,))
            await session.accept("it")
            work = session.open()
            await started(work)
            await work.send_raw(b"x")
            assert await receive_exactly(await web.accept(), 1) == b"x"
            await work.stream.aclose()


@BOTH
@pytest.mark.parametrize("keeps", [True, False], ids=["ours", "frp"])
async def test_half_closed_connections_are_kept_for_who_says_he_can(mux: bool, keeps: bool) -> None:
    with logged():
        async with frps(mux=mux) as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]):
            session = await server.session(features=(HALF_CLOSE,) if keeps else ())
            assert HALF_CLOSE in session.login.features
            await session.accept("it")
            work = await session.ask()
            await started(work)
            there = await web.accept()
            await work.send_raw(b"question")
            await work.stream.send_eof()
            assert await receive_all(there) == b"question"
            if keeps:
                await there.send_all(b"answer")
                await there.aclose()
                assert await receive_all(work.stream) == b"answer"
            else:
                assert await receive_all(work.stream) == b""
                await there.aclose()
            await work.stream.aclose()


@BOTH
@pytest.mark.parametrize("host", [HOST, "localhost", "::1"])
async def test_where_the_service_may_be(mux: bool, host: str) -> None:
    with logged():
        async with (
            frps(mux=mux) as server,
            service("::1" if host == "::1" else HOST) as web,
            running_frpc(server, None, [proxy("it", web.port, localIP=host)]),
        ):
            session = await server.session()
            await session.accept("it")
            for n in range(3):
                work = await session.ask()
                await started(work)
                await work.send_raw(b"%d" % n)
                there = await web.accept()
                assert await receive_exactly(there, 1) == b"%d" % n
                await there.aclose()
                await work.stream.aclose()


@BOTH
async def test_a_service_that_is_down_is_one_users_trouble(mux: bool) -> None:
    with logged() as lines:
        port = free_port()
        async with frps(mux=mux) as server, running_frpc(server, None, [proxy("it", port)]) as client:
            session = await server.session()
            await session.accept("it")
            work = await session.ask()
            await started(work)
            assert await work.ending() == "reset"
            await lines.wait_for(f"[it] connect to local service [127.0.0.1:{port}] error: connect: connection refused")
            assert phase(client) is Phase.RUNNING
            async with service(port=port) as web:
                work = await session.ask()
                await started(work)
                await work.send_raw(b"x")
                there = await web.accept()
                assert await receive_exactly(there, 1) == b"x"
                await there.aclose()
                await work.stream.aclose()


async def test_a_user_who_leaves_while_the_service_is_being_reached() -> None:
    with logged():
        async with frps() as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]) as client:
            session = await server.session()
            await session.accept("it")
            work = await session.ask()
            await started(work)
            work.stream.end.abort()
            with trio.move_on_after(0.2):
                assert await ending(await web.accept()) in ("eof", "reset")
            await until(lambda: not client.users)


async def test_a_burst_of_requests() -> None:
    """More than may wait for their acknowledgement: the others come when there is room."""
    with logged() as lines:
        async with frps() as server, running_frpc(server):
            session = await server.session()
            await session.control.send(*[ReqWorkConn()] * 600)
            for _ in range(600):
                await session.work()
            assert "not opened" not in lines


@BOTH
async def test_a_flood_of_requests(mux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more wait for their user than there is reason for, and who asks for more doesn't fill the log."""
    monkeypatch.setattr(session_module, "_MOST_IDLE", 20)
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server):
            session = await server.session()
            await session.control.send(*[ReqWorkConn()] * 1000)
            works = [await session.work() for _ in range(20)]
            await lines.wait_for("work connection not opened: too many wait for their user")
            with trio.move_on_after(0.1):
                await server.next_talk()
                raise AssertionError("one too many")
            assert lines.count("not opened") == 1
            for work in works[:5]:
                await work.stream.aclose()
            with trio.fail_after(5):
                while True:  # until it knows that they are gone
                    await session.control.send(ReqWorkConn())
                    with trio.move_on_after(0.05):
                        await session.work()
                        break


async def test_streams_that_are_opened_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_MOST_IDLE", 20)
    with logged():
        async with frps() as server, running_frpc(server):
            session = await server.session(features=(DIRECT,))
            await synchronised(session)
            talks = [session.open() for _ in range(30)]
            for talk in talks:
                await talk.send_raw(b"s")
            for talk in talks[20:]:
                assert await talk.ending() == "reset"
            assert not any(talk.stream.is_lost for talk in talks[:20])


async def test_an_answer_that_is_repeated_while_its_proxy_is_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[Callable[[str], None]] = []
    monkeypatch.setattr(LocalSide, "prepare", lambda self, done: prepared.append(done))
    with logged() as lines:
        async with frps() as server, running_frpc(server, None, [proxy("it", 1)]) as client:
            session = await server.session()
            await session.accept("it")
            await session.control.send(*[NewProxyResp("it", ":1")] * 10)
            await synchronised(session)
            assert len(prepared) == 1
            prepared[0]("")
            assert phase(client) is Phase.RUNNING
            assert lines.count("start proxy success") == 1


# ends


@BOTH
async def test_nothing_idle_outlives_the_session(mux: bool) -> None:
    """Without streams too, where each work connection has a transport connection of its own."""
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server):
            session = await server.session()
            works = [await session.ask() for _ in range(5)]
            await session.control.stream.aclose()
            await lines.wait_for("session with the server ended: ")
            for work in works:
                assert await work.ending() in ("eof", "reset")
            await server.session()


async def test_users_outlive_the_session_where_their_connections_do() -> None:
    with logged() as lines:
        async with frps(mux=False) as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]) as client:
            session = await server.session()
            await session.accept("it")
            work = await session.ask()
            await started(work)
            there = await web.accept()
            await session.control.stream.aclose()
            await lines.wait_for("session with the server ended")
            await server.session()
            await work.send_raw(b"still here")
            assert await receive_exactly(there, 10) == b"still here"
            await work.stream.aclose()
            assert await ending(there) == "eof"
            await there.aclose()
            await until(lambda: not client.users)


@BOTH
async def test_what_a_server_sends_against_the_rules(mux: bool) -> None:
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server):
            session = await server.session()
            await session.control.send_raw(b"\0" * 64)
            await lines.wait_for("session with the server ended: ")
            await server.session()


async def test_messages_that_are_due_elsewhere_are_ignored() -> None:
    with logged():
        async with frps() as server, running_frpc(server, None, [proxy("it", 1)]) as client:
            session = await server.session()
            await session.control.send(StartWorkConn("it"), Ping(), Login(), NewProxy("it"))
            await session.accept("it")
            await until(lambda: phase(client) is Phase.RUNNING)


@BOTH
async def test_a_link_that_is_cut(mux: bool) -> None:
    """Nothing says that it is running when it is not, and it all comes back."""
    with logged() as lines:
        async with frps(mux=mux) as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]) as client:
            for n in range(3):
                session = await server.session()
                await session.accept("it")
                await lines.wait_for("start proxy success", n + 1)
                old = side(client, "it")
                session.cut()
                await lines.wait_for("session with the server ended", n + 1)
                assert old.phase is Phase.CLOSED
                assert client.session is None or client.session.proxies.get("it") is not old


async def test_a_bug_in_the_session_ends_the_session_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: LocalSide) -> NewProxy:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    with logged(bugs=1) as lines:
        monkeypatch.setattr("frp_py.client.proxies.tcp.TcpLocal.wish", fail)
        async with frps() as server, running_frpc(server, None, [proxy("it", 1)]):
            session = await server.session()
            await lines.wait_for("session with the server ended: an error of this program")
            assert await session.control.ending() in ("eof", "reset")
            again = await server.session()
            await again.accept("it")


async def test_a_bug_at_the_end_of_a_proxy_keeps_no_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: LocalSide) -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    with logged(bugs=1):
        async with frps(mux=False) as server, running_frpc(server, None, [proxy("it", 1)]):
            session = await server.session()
            await session.accept("it")
            work = await session.ask()
            monkeypatch.setattr(LocalSide, "close", fail)
            await session.control.stream.send_eof()
            assert await session.control.ending() in ("eof", "reset")
            assert await work.ending() in ("eof", "reset")
            await server.session()


# another configuration


def changed(client: Client, proxies: list[dict[str, Any]], **common: Any) -> None:
    """What a reload does to a session."""
    assert client.session is not None
    client.session.apply(frpc_config(1, common, proxies))


@BOTH
async def test_what_is_as_before_goes_on_undisturbed(mux: bool) -> None:
    with logged() as lines:
        async with frps(mux=mux) as server, service() as web:
            before = [proxy("same", web.port), proxy("gone", 1), proxy("changed", 1)]
            async with running_frpc(server, {"transport.heartbeatInterval": -1}, before) as client:
                session = await server.session()
                for name in ("same", "gone", "changed"):
                    await session.accept(name)
                await lines.wait_for("start proxy success", 3)
                work = await session.ask()
                await started(work, "same")
                there = await web.accept()
                idle = await session.ask()
                kept = side(client, "same")
                changed(client, [proxy("same", web.port), proxy("new", 2), proxy("changed", 2)])
                await lines.wait_for("proxy removed: [gone changed]")
                await lines.wait_for("proxy added: [new changed]")
                # all that ends is told before what begins
                assert [(await session.control.receive()) for _ in range(2)] == [CloseProxy("gone"), CloseProxy("changed")]
                await session.accept("new")
                await session.accept("changed")
                await until(lambda: phase(client, "changed") is phase(client, "new") is Phase.RUNNING)
                assert session.control.data == b""
                assert side(client, "same") is kept
                assert "gone" not in client.session.proxies  # type: ignore[union-attr]
                await work.send_raw(b"x")
                assert await receive_exactly(there, 1) == b"x"
                await started(idle, "same")
                await idle.send_raw(b"y")
                assert await receive_exactly(await web.accept(), 1) == b"y"


async def test_nothing_is_done_about_what_is_the_same() -> None:
    with logged() as lines:
        async with frps() as server, running_frpc(server, None, [proxy("it", 1)]) as client:
            session = await server.session()
            await session.accept("it")
            await lines.wait_for("start proxy success")
            before = len(lines.texts)
            changed(client, [proxy("it", 1)])
            await synchronised(session)
            assert session.control.data == b""
            assert lines.texts[before:] == []


async def test_users_of_a_proxy_that_is_gone_stay_and_no_more_come() -> None:
    with logged():
        async with frps() as server, service() as web, running_frpc(server, None, [proxy("it", web.port)]) as client:
            session = await server.session()
            await session.accept("it")
            work, late = await session.ask(), await session.ask()
            await started(work)
            there = await web.accept()
            changed(client, [])
            await work.send_raw(b"x")
            assert await receive_exactly(there, 1) == b"x"
            await started(late)
            assert await late.ending() in ("eof", "reset")


@pytest.mark.parametrize("answered", [False, True], ids=["withdrawn", "asked twice"])
async def test_an_answer_to_an_earlier_wish_is_not_taken_for_that_to_the_new_one(answered: bool, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, running_frpc(server, QUIET, [proxy("it", 1)]) as client:
            session = await server.session()
            await session.control.expect(NewProxy)
            stale = 1
            if answered:  # it was asked again after 20 s, and then once more
                await clock.forward(24)
                await session.control.expect(NewProxy)
                stale = 2
            changed(client, [proxy("it", 2)])
            assert await session.control.expect(CloseProxy) == CloseProxy("it")
            await session.control.expect(NewProxy)
            await session.control.send(*[NewProxyResp("it", ":1")] * stale, NewProxyResp("it", error="port not allowed"))
            await lines.wait_for("[it] start error: port not allowed")
            assert (phase(client), side(client, "it").remote_address) == (Phase.START_ERROR, "")
            assert "start proxy success" not in lines
            await clock.forward(34)
            await session.accept("it")
            await lines.wait_for("[it] start proxy success")


async def test_the_health_of_a_proxy_that_is_gone_is_not_watched(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    check: dict[str, Any] = {"healthCheck": {"type": "tcp", "intervalSeconds": 1}}
    with logged():
        async with frps() as server, service() as web, running_frpc(server, QUIET, [proxy("it", web.port, **check)]) as client:
            session = await server.session()
            await (await web.accept()).aclose()
            await session.accept("it")
            assert client.session is not None
            tasks = len(client.session.nursery.child_tasks)
            changed(client, [proxy("other", web.port, **check)], **QUIET)
            await (await web.accept()).aclose()
            await session.accept("other")
            await until(lambda: len(client.session.nursery.child_tasks) == tasks)  # type: ignore[union-attr]
            changed(client, [], **QUIET)
            await until(lambda: len(client.session.nursery.child_tasks) == tasks - 1)  # type: ignore[union-attr]
            await clock.forward(5)
            with trio.move_on_after(0.1):
                await web.accept()
                pytest.fail("it was probed")


async def test_a_plugin_that_is_ready_too_late_gives_back_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    go, closed = trio.Event(), trio.Event()
    prepare, close = Plugin.prepare, Plugin.close

    async def slowly(self: Plugin[Any]) -> None:
        await go.wait()
        await prepare(self)

    def noted(self: Plugin[Any]) -> None:
        close(self)
        closed.set()

    monkeypatch.setattr(Plugin, "prepare", slowly)
    monkeypatch.setattr(Plugin, "close", noted)
    with logged() as lines:
        wishes = [proxy("it", 0, plugin={"type": "unix_domain_socket", "unixPath": "/none"})]
        async with frps() as server, running_frpc(server, None, wishes) as client:
            session = await server.session()
            await session.accept("it")
            await until(lambda: side(client, "it").is_preparing)
            gone = side(client, "it")
            changed(client, [])
            await session.control.expect(CloseProxy)
            go.set()
            with trio.fail_after(5):
                await closed.wait()
            assert gone.phase is Phase.CLOSED
            assert "start proxy success" not in lines


def stcp_visitor(name: str, port: int, kind: str = "stcp", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "serverName": "s", "secretKey": "k", "bindAddr": HOST, "bindPort": port, **more}


@pytest.mark.parametrize("kind", ["stcp", "sudp"])
async def test_visitors_are_exchanged_at_the_same_port(kind: str) -> None:
    one, two = free_port(), free_port()
    with logged() as lines:
        async with frps() as server:
            before = {"visitors": [stcp_visitor("same", one, kind), stcp_visitor("changed", two, kind)]}
            async with running_frpc(server, before) as client:
                await server.session()
                await lines.wait_for("start visitor success", 2)
                assert client.session is not None
                same = client.session.visitors["same"]
                descriptors_before = descriptors()
                changed(client, [], visitors=[stcp_visitor("same", one, kind), stcp_visitor("changed", two, kind, serverName="t")])
                await lines.wait_for("visitor removed: [changed]")
                await lines.wait_for("visitor added: [changed]")
                await lines.wait_for("[changed] start visitor success", 2)
                assert client.session.visitors["same"] is same
                assert descriptors() == descriptors_before
                changed(client, [])
                await lines.wait_for("visitor removed: [same changed]")
                assert descriptors() == descriptors_before - 2
                assert client.session.visitors == {}


async def test_visitors_that_can_not_start_are_tried_again_and_no_longer_once_they_run(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, service() as taken, running_frpc(server, QUIET) as client:
            session = await server.session()
            await synchronised(session)
            assert client.session is not None
            changed(client, [], visitors=[stcp_visitor("it", taken.port)], **QUIET)
            await lines.wait_for("[it] start error: listen tcp")
            assert client.session.visitors["it"].error
            await clock.forward(11)
            await lines.wait_for("try to start visitor [it]")
            await lines.wait_for("[it] start error: listen tcp", 2)
            changed(client, [], visitors=[stcp_visitor("it", free_port())], **QUIET)
            await lines.wait_for("[it] start visitor success")
            tasks = len(client.session.nursery.child_tasks)
            await clock.forward(11)
            await until(lambda: len(client.session.nursery.child_tasks) == tasks - 1)  # type: ignore[union-attr]
            assert lines.count("try to start visitor") == 1


async def test_heartbeats_begin_change_and_end(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, running_frpc(server, QUIET) as client:
            session = await server.session()
            await synchronised(session)
            await clock.forward(5)
            assert "heartbeat" not in lines
            changed(client, [], **{"transport.heartbeatInterval": 2, "transport.heartbeatTimeout": 4}, **QUIET)
            for _ in range(4):
                await session.control.expect(Ping)
                await session.control.send(Pong())
                await synchronised(session)
                await clock.forward(2)
            changed(client, [], **QUIET)
            await synchronised(session)
            before = lines.count("send heartbeat")
            await clock.forward(9)
            assert lines.count("send heartbeat") == before
            changed(client, [], **{"transport.heartbeatInterval": 2, "transport.heartbeatTimeout": 4}, **QUIET)
            await clock.forward(6)
            await lines.wait_for("session with the server ended: heartbeat timeout")


# a server that means harm


@BOTH
async def test_services_that_are_not_declared_are_not_reached(mux: bool) -> None:
    """Neither is one whose proxy the server has refused: its owner takes it for unreachable."""
    with logged():
        async with frps(mux=mux) as server, service() as web, running_frpc(server, QUIET, [proxy("it", web.port)]) as client:
            session = await server.session()
            await session.control.expect(NewProxy)
            await session.control.send(NewProxyResp("it", error="no"))
            await until(lambda: phase(client) is Phase.START_ERROR)
            for name in ("it", "other", "", f"{HOST}:{web.port}"):
                work = await session.ask()
                await started(work, name, src_addr=HOST, src_port=1, dst_addr=HOST, dst_port=web.port)
                assert await work.ending() == "reset"
            with trio.move_on_after(0.1):
                await web.accept()
                pytest.fail("it was reached")


@pytest.mark.parametrize("wire", ["v2"])
async def test_what_the_server_says_does_not_fill_the_log(wire: str) -> None:
    """A message has 64 KiB, and a refusal may come for each proxy twice a minute."""
    with logged() as lines:
        async with frps(wire=wire) as server, running_frpc(server, {**QUIET, "loginFailExit": False}, [proxy("it", 1)]) as client:
            session = await server.session()
            await session.control.expect(NewProxy)
            await session.control.send(NewProxyResp("it", error="x" * 60_000))
            await lines.wait_for("start error: xxx")
            await session.control.send(Pong("y" * 60_000))
            await lines.wait_for("pong message contains error: yyy")
            await server.session(error="z" * 60_000)
            await lines.wait_for("connect to server error: zzz")
            assert max(map(len, lines.texts)) < 2200
            assert len(client.way.error) <= 2000


async def test_a_run_id_that_is_too_long_is_none() -> None:
    """It stands in each line of the log."""
    with logged() as lines:
        async with frps() as server, running_frpc(server, {**QUIET, "loginFailExit": False}):
            await server.session(run_id="r" * 1025)
            await lines.wait_for("connect to server error: the server gives a run id that is too long")


async def test_users_who_come_before_the_answer_are_counted_for_all_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may have sent a window; a server that never answers is not to fill the memory with them."""
    monkeypatch.setattr(session_module, "_EARLY", 3)
    with logged():
        async with (
            frps() as server,
            service() as web,
            running_frpc(server, QUIET, [proxy("a", web.port), proxy("b", web.port)]) as client,
        ):
            session = await server.session()
            for name in "ab":
                assert (await session.control.expect(NewProxy)).proxy_name == name
            works = [await session.ask() for _ in range(5)]
            for work, name in zip(works, "abbab", strict=True):
                await started(work, name)
                await synchronised(session)
            assert client.session is not None
            assert client.session.early == 3
            assert [await work.ending() for work in works[3:]] == ["reset", "reset"]
            await session.control.send(NewProxyResp("b", ":1"))
            for _ in range(2):
                await (await web.accept()).aclose()
            assert client.session.early == 1
            await session.control.send(NewProxyResp("a", error="no"))
            assert await works[0].ending() == "reset"
            assert client.session.early == 0
