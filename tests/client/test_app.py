"""The client as a whole: the first login, and coming back (behaviour.md 7.1)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from frp_py.client.app import Client
from frp_py.errors import FrpError
from frp_py.protocol.messages import Login, LoginResp
from tests.support.inside import (
    HOST,
    Clock,
    Frps,
    connect,
    ending,
    free_port,
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
