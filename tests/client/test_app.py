"""The client as a whole: the first login, and coming back (behaviour.md 7.1)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.client.app import Client
from frp_py.config.common import LogConfig
from frp_py.errors import ConfigError, FrpError
from frp_py.net.engine.listen import tcp_listener
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import CloseProxy, Login, LoginResp, Ping
from tests.client.helpers import filed
from tests.support.inside import (
    HOST,
    TOKEN,
    Clock,
    Frps,
    connect,
    ending,
    frpc_config,
    frps,
    logged,
    proxy,
    receive_exactly,
    running_client,
    running_frpc,
    running_server,
    service,
)
from tests.support.net import alive, descriptors, until
from tests.support.ports import free_port

BOTH = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
NOT_AGAIN = ". With loginFailExit enabled, no additional retries will be attempted"


@BOTH
async def test_when_the_first_login_is_refused_it_ends(mux: bool) -> None:
    with logged() as lines:
        async with frps(mux=mux) as server:
            client = Client(frpc_config(server.port, {"transport.tcpMux": mux}))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: server.session(error="no"))
                with pytest.raises(FrpError) as failure:
                    await client.run()
            assert str(failure.value) == f"login to the server failed: no{NOT_AGAIN}"
        assert lines.count("try to connect to server...") == 1
        assert lines.count("connect to server error: no") == 1


async def test_when_there_is_no_server_it_ends() -> None:
    port = free_port()
    with pytest.raises(FrpError) as failure:
        await Client(frpc_config(port)).run()
    assert str(failure.value) == f"login to the server failed: dial tcp {HOST}:{port}: connect: connection refused{NOT_AGAIN}"


@BOTH
async def test_it_tries_on_when_told_so(mux: bool, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """About 2, 4, 8 and then 10 s."""
    clock = Clock(mock_clock)
    monkeypatch.setattr("random.random", lambda: 0.0)
    with logged() as lines:
        async with frps(mux=mux) as server, running_frpc(server, {"loginFailExit": False}) as client:
            server.refuses = True
            tries = [trio.current_time()]
            await lines.wait_for("connect to server error")
            while len(tries) < 6:
                await clock.forward(1)
                await trio.sleep(0.01)
                if lines.count("connect to server error") > len(tries):
                    tries.append(trio.current_time())
            pauses = [after - before for before, after in pairwise(tries)]
            assert pauses == pytest.approx([2, 4, 8, 10, 10], abs=1.2)
            server.refuses = False
            await clock.forward(11)
            await server.session()
            await lines.wait_for("login to server success, get run id [r]")
            assert client.session is not None


async def test_after_a_loss_it_is_back_at_once_with_its_run_id() -> None:
    with logged() as lines:
        async with frps() as server, running_frpc(server) as client:
            session = await server.session(run_id="mine")
            await lines.wait_for("get run id [mine]")
            began = time.perf_counter()
            session.cut()
            again = await server.session()
            assert time.perf_counter() - began < 0.5
            assert again.login.run_id == "mine"
            await lines.wait_for("login to server success, get run id [mine]", 2)
            assert client.session is not None


async def test_sessions_that_die_at_once_are_not_retried_all_the_time(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(mock_clock)
    monkeypatch.setattr("random.random", lambda: 0.0)
    logins: list[float] = []

    async def hang_up(server: Frps) -> None:
        while True:
            with suppress(trio.TooSlowError):
                session = await server.session()
                logins.append(trio.current_time())
                session.cut()

    with logged():
        async with frps() as server, running_frpc(server), trio.open_nursery() as nursery:
            nursery.start_soon(hang_up, server)
            for _ in range(60):
                await clock.forward(1)
                await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
    assert 8 <= len(logins) <= 16


async def test_after_a_loss_the_pauses_between_logins_grow(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(mock_clock)
    monkeypatch.setattr("random.random", lambda: 0.0)
    with logged() as lines:
        async with frps() as server, running_frpc(server):
            session = await server.session()
            server.refuses = True
            session.cut()
            tries: list[float] = []
            while len(tries) < 7:
                await clock.forward(1)
                await trio.sleep(0.01)
                if lines.count("connect to server error") > len(tries):
                    tries.append(trio.current_time())
            pauses = [after - before for before, after in pairwise(tries)]
            assert pauses == pytest.approx([2, 4, 8, 16, 20, 20], abs=1.2)  # and it does not end, whatever loginFailExit says


@BOTH
async def test_a_stop_in_the_midst_of_a_login_leaves_nothing(mux: bool) -> None:
    with logged():
        async with frps(mux=mux) as server:
            await trio.sleep(0.01)
            before = descriptors()
            async with running_frpc(server):
                talk = await server.next_talk()
                assert isinstance(await talk.receive(), Login)
            assert await talk.ending() in ("eof", "reset")
            await until(lambda: descriptors() <= before + 1)


async def test_a_login_that_is_answered_and_cut_off() -> None:
    with logged() as lines:
        async with frps() as server, running_frpc(server):
            talk = await server.next_talk()
            await talk.receive()
            await talk.send(LoginResp(run_id="mine"))
            server.links[-1].close()
            await lines.wait_for("session with the server ended")
            assert (await server.session()).login.run_id == "mine"


# with our own server


@asynccontextmanager
async def tunnel(mux: bool, **changes: object) -> AsyncIterator[int]:
    """Through our own server and client to an echo service; the port for users."""
    port = free_port()
    common = {"transport.tcpMux": mux}

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_eof()

    with logged() as lines:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host=HOST)
            nursery.start_soon(trio.serve_listeners, echo, listeners)
            local_port = listeners[0].socket.getsockname()[1]
            async with (
                running_server(common) as server,
                running_client(server, {**common, **changes}, [proxy("it", local_port, port)]),
            ):
                await lines.wait_for("[it] start proxy success")
                yield port
            nursery.cancel_scope.cancel()


@BOTH
@pytest.mark.parametrize("wire", ["v1", "v2"])
async def test_users_come_and_go(mux: bool, wire: str) -> None:
    async with tunnel(mux, **{"transport.wireProtocol": wire}) as port:
        for n in range(5):
            users = [await connect(port) for _ in range(10)]
            for user in users:
                await user.send_all(b"x%d" % n)
            for user in users:
                assert await receive_exactly(user, 2) == b"x%d" % n
                await user.send_eof()
                assert await ending(user) == "eof"


@BOTH
async def test_nothing_is_left_of_them(mux: bool) -> None:
    async with tunnel(mux, **{"transport.poolCount": 0}) as port:
        before = {}
        for n in range(40):
            user = await connect(port)
            await user.send_all(b"x")
            assert await receive_exactly(user, 1) == b"x"
            await user.send_eof()
            assert await ending(user) == "eof"
            await user.aclose()
            if n == 2:
                await trio.sleep(0.02)
                before = alive()
        await until(lambda: sum(alive().values()) <= sum(before.values()), 10)


async def test_a_server_that_is_restarted(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with service() as web:
            port, remote = free_port(), free_port()
            bind = {"bindPort": port}
            client = Client(frpc_config(port, {"loginFailExit": False}, [proxy("it", web.port, remote)]))
            async with trio.open_nursery() as nursery:
                async with running_server(bind):
                    nursery.start_soon(client.run)
                    await lines.wait_for("[it] start proxy success")
                async with running_server(bind):
                    await clock.forward(3)
                    await lines.wait_for("[it] start proxy success", 2)
                    user = await connect(remote)
                    await user.send_all(b"x")
                    there = await web.accept()
                    assert await receive_exactly(there, 1) == b"x"
                    await user.aclose()
                    await there.aclose()
                    nursery.cancel_scope.cancel()


# another configuration


async def test_a_reload_changes_proxies_and_visitors_and_tells_which(tmp_path: Path) -> None:
    visitor = {"name": "v", "type": "stcp", "serverName": "s", "bindPort": -1}
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, proxies=[proxy("a", 1), proxy("b", 1)]) as it:
            session = await server.session()
            await session.accept("a")
            await session.accept("b")
            done = await it.reload(proxies=[proxy("b", 2), proxy("c", 1)], visitors=[visitor])
            assert (done.proxies.removed, [p.name for p in done.proxies.changed], [p.name for p in done.proxies.added]) == (
                ["a"],
                ["b"],
                ["c"],
            )
            assert ([v.name for v in done.visitors.added], done.applied, done.restart) == (["v"], [], [])
            assert [await session.control.receive() for _ in range(2)] == [CloseProxy("a"), CloseProxy("b")]
            order = ["visitor added: [v]", "proxy removed: [a b]", "proxy added: [c b]", "success reload conf"]
            said = [line for line in lines.texts if any(text in line for text in order)]
            assert [text for line in said for text in order if text in line] == order
            await session.accept("c")
            await session.accept("b")
            again = await it.client.reload()
            assert (again.proxies, again.visitors) == (([], [], []), ([], [], []))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"serverPort": "x"}, "cannot unmarshal string into int"),
        ({"log.level": "loud"}, "invalid log level"),
        ({"what": 1}, 'unknown field "what"'),
        ({"proxies": [{"name": "a", "type": "tcp"}] * 2}, "proxy name [a] is duplicated"),
        ({"auth": {"tokenSource": {"type": "file", "file": {"path": "/none/at/all"}}}}, "failed to resolve auth.tokenSource"),
        ({"transport.tls": {"enable": True, "trustedCaFile": "/none/at/all"}}, "open /none/at/all: no such file"),
        ({"proxies": [{"name": "a", "type": "xtcp"}]}, "is not supported yet"),
    ],
    ids=str,
)
async def test_with_a_bad_file_nothing_changes(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, proxies=[proxy("it", 1)]) as it:
            session = await server.session()
            await session.accept("it")
            await lines.wait_for("start proxy success")
            before, count = it.client.config, len(lines.texts)
            with pytest.raises(ConfigError) as failure:
                await it.reload(**changes)
            assert text in str(failure.value)
            assert it.client.config == before
            assert lines.texts[count:] == []


async def test_without_a_file_there_is_no_reload() -> None:
    with logged():
        async with frps() as server, running_frpc(server) as client:
            with pytest.raises(ConfigError, match=r"^frpc has no config file path$"):
                await client.reload()


async def test_what_is_applied_and_what_needs_a_restart(tmp_path: Path) -> None:
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path) as it:
            session = await server.session()
            done = await it.reload(**{"user": "u", "log.level": "debug", "metadatas.a": "b", "transport.poolCount": 3, "serverPort": 1})
            assert done.applied == ["transport.poolCount", "metadatas"]
            assert done.restart == ["user", "serverPort", "log.level"]  # nobody said whose log it is
            await lines.wait_for("restart needed for: user, serverPort, log.level")
            session.cut()
            login = (await server.session()).login
            assert (login.user, login.pool_count, login.metas) == ("", 3, {"a": "b"})


async def test_a_reload_before_it_has_begun(tmp_path: Path) -> None:
    with logged():
        async with frps() as server, filed(server, tmp_path) as it:  # its task has not had its turn yet
            done = await it.reload(watchConfig=True, proxies=[proxy("it", 1)])
            assert done.applied == ["watchConfig"]
            await (await server.session()).accept("it")
            assert it.client._watching is not None


async def test_how_to_log_is_passed_on(tmp_path: Path) -> None:
    told: list[LogConfig] = []
    with logged():
        async with frps() as server, filed(server, tmp_path) as it:
            await server.session()
            it.client._renew_log = told.append
            done = await it.reload(**{"log.level": "debug"})
            assert (done.applied, [each.level for each in told]) == (["log.level"], ["debug"])
            await it.client.reload()
            assert len(told) == 1


async def test_another_token_is_for_the_next_login(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another")
    with logged():
        async with frps() as server, filed(server, tmp_path, {"auth.additionalScopes": ["HeartBeats"]}) as it:
            session = await server.session()
            source = {"tokenSource": {"type": "file", "file": {"path": str(tmp_path / "token")}}}
            it.write(**{"auth": source, "transport.heartbeatInterval": 10})
            await it.client.reload()
            ping = await session.control.expect(Ping)  # the session goes on as it was agreed
            assert ping.privilege_key == privilege_key(TOKEN, ping.timestamp)
            assert it.client.session is not None
            assert it.client.session.token == TOKEN
            session.cut()
            talk = await server.next_talk()
            login = await talk.receive()
            assert isinstance(login, Login)
            assert login.privilege_key == privilege_key("another", login.timestamp)


async def test_without_a_session_a_reload_is_for_the_next_one(mock_clock: MockClock, tmp_path: Path) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, proxies=[proxy("a", 1)]) as it:
            server.refuses = True
            await lines.wait_for("connect to server error")
            server.refuses = False
            await it.reload(proxies=[proxy("b", 1)])
            await trio.sleep(0.01)
            assert lines.count("try to connect") == 1
            await clock.forward(3)
            await (await server.session()).accept("b")
            assert "proxy removed" not in lines


async def test_when_it_may_have_been_the_reason_the_next_attempt_is_at_once(mock_clock: MockClock, tmp_path: Path) -> None:
    Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path) as it:
            await server.session(error="token in login doesn't match")
            await lines.wait_for("connect to server error")
            assert it.client.way.phase == "waiting"
            await it.reload(**{"auth.token": "another"})
            login = await (await server.next_talk()).receive()
            assert isinstance(login, Login)
            assert login.privilege_key == privilege_key("another", login.timestamp)


async def test_the_file_is_watched_when_that_is_asked_for(mock_clock: MockClock, tmp_path: Path) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, {"transport.tcpMuxKeepaliveInterval": -1}) as it:
            session = await server.session()
            it.write(proxies=[proxy("a", 1)])
            await clock.forward(9)
            assert "success reload conf" not in lines
            await it.reload(watchConfig=True, includes=[str(tmp_path / "*.toml")])
            await clock.forward(3)
            it.write(watchConfig=True, includes=[str(tmp_path / "*.toml")], proxies=[proxy("a", 1)])
            await clock.forward(5)
            await session.accept("a")
            (tmp_path / "more.toml").write_text('[[proxies]]\nname = "b"\ntype = "tcp"\nlocalPort = 1\n')
            await clock.forward(5)
            await session.accept("b")
            (tmp_path / "more.toml").write_text("[[")
            await clock.forward(5)
            await lines.wait_for("reload config error: load additional config from")
            it.write(watchConfig=False)
            await clock.forward(5)
            await lines.wait_for("proxy removed: [a b]")
            it.write(proxies=[proxy("a", 1)])
            count = lines.count("success reload conf")
            await clock.forward(9)
            assert lines.count("success reload conf") == count == 4


async def test_a_stop_withdraws_and_ends_after_a_while(tmp_path: Path) -> None:
    with logged():
        async with frps() as server, filed(server, tmp_path, proxies=[proxy("it", 1)]) as it:
            session = await server.session()
            await session.accept("it")
            it.client.stop(0.05)
            it.client.stop(0.05)
            assert await session.control.expect(CloseProxy) == CloseProxy("it")
            assert not it.stopped.is_set()
            with pytest.raises(FrpError, match="is being stopped"):
                await it.client.reload()
            with trio.fail_after(5):
                await it.stopped.wait()
            assert await session.control.ending() == "eof"


async def test_the_admin_server_is_there_before_anything_connects_and_gone_when_the_login_fails(tmp_path: Path) -> None:
    port = free_port()
    web = free_port()
    with logged() as lines:
        client = Client(frpc_config(port, {"webServer.port": web}))
        with pytest.raises(FrpError, match=r"^login to the server failed"):
            await client.run()
        said = ("admin server listen on", "try to connect to server", "connect to server error")
        assert [text for line in lines.texts for text in said if text in line] == [*said]
        tcp_listener(HOST, web).close()
        with closing(tcp_listener(HOST, web)), pytest.raises(FrpError, match=rf"listen tcp {HOST}:{web}: bind: address already in use$"):
            await Client(frpc_config(port, {"webServer.port": web})).run()
