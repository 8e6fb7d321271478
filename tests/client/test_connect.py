"""The way to the server, and the login (wire.md 1 and 6.1)."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.client.connect import Connector
from frp_py.errors import FrpError
from frp_py.net.engine.loop import Engine
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import Login, LoginResp, Pong
from frp_py.version import FRP_VERSION
from tests.support.inside import HOST, TOKEN, Clock, Frps, Talk, frpc_config, frps, logged
from tests.support.net import descriptors, until
from tests.support.ports import free_port

WIRES = pytest.mark.parametrize("wire", ["v1", "v2"])


@asynccontextmanager
async def connector(port: int, **changes: Any) -> AsyncIterator[Connector]:
    engine = Engine()
    async with engine.running():
        yield Connector(frpc_config(port, changes), engine, TOKEN)


def with_wire(wire: str) -> dict[str, Any]:
    return {"transport.wireProtocol": wire, "transport.tcpMux": False}


async def failure_to_log_in(made: Connector, run_id: str = "") -> str:
    """Why the login on a new connection fails."""
    stream = made.control_stream(await made.connect())
    with pytest.raises(FrpError) as failure:
        await made.log_in(stream, run_id)
    stream.close()
    return str(failure.value)


async def no_connection(made: Connector) -> str:
    with pytest.raises(FrpError) as failure:
        await made.connect()
    return str(failure.value)


# connecting


async def test_nobody_listens() -> None:
    port = free_port()
    async with connector(port) as made:
        assert await no_connection(made) == f"dial tcp {HOST}:{port}: connect: connection refused"


async def test_a_name_that_is_none() -> None:
    async with connector(1, serverAddr="name.invalid") as made:
        assert (await no_connection(made)).startswith("dial tcp: lookup name.invalid: ")


async def test_a_server_that_does_not_shake_hands(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with socket.create_server((HOST, 0)) as silent:
        async with connector(silent.getsockname()[1], **{"transport.tls.enable": True}) as made:
            before, reasons = descriptors(), []

            async def connect() -> None:
                reasons.append(await no_connection(made))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect)
                await clock.forward(9)
                assert reasons == []
                await clock.forward(2)
            assert reasons == ["tls: handshake with the server not finished within 10 s"]
            assert descriptors() == before


async def test_a_server_without_tls() -> None:
    async with frps(mux=False) as server, connector(server.port, **{"transport.tls.enable": True}) as made:

        async def answer() -> None:
            await (await server.next_talk()).send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert (await no_connection(made)).startswith("tls: ")


@pytest.mark.parametrize("name", [".leading.dot", "a..b"])
async def test_a_server_name_that_is_none(name: str) -> None:
    async with frps() as server, connector(server.port, **{"transport.tls.enable": True, "transport.tls.serverName": name}) as made:
        before = descriptors()
        assert (await no_connection(made)).startswith("tls: ")
        await until(lambda: descriptors() <= before)


async def test_a_certificate_that_is_not_there(tmp_path: Any) -> None:
    files = {"transport.tls.enable": True, "transport.tls.trustedCaFile": str(tmp_path / "ca.pem")}
    async with frps() as server, connector(server.port, **files) as made:
        assert await no_connection(made) == f"open {tmp_path}/ca.pem: no such file or directory"


# logging in


async def answering(server: Frps, answer: bytes) -> tuple[Talk, Login]:
    """Receive a login of wire v1 and send `answer`."""
    talk = await server.next_talk()
    login = await talk.receive()
    assert isinstance(login, Login)
    await talk.send_raw(answer)
    return talk, login


@WIRES
async def test_what_a_login_says(wire: str) -> None:
    changes = {**with_wire(wire), "user": "u", "clientID": "c", "metadatas": {"a": "b"}, "transport.poolCount": 3}
    async with frps(mux=False, wire=wire) as server, connector(server.port, **changes) as made:
        stream = made.control_stream(await made.connect())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.log_in, stream, "earlier")
            login = (await server.session()).login
        assert login.privilege_key == privilege_key(TOKEN, login.timestamp)
        assert (login.version, login.hostname, login.run_id) == (FRP_VERSION, socket.gethostname(), "earlier")
        assert (login.user, login.client_id, login.metas, login.pool_count) == ("u", "c", {"a": "b"}, 3)
        assert login.features == (HALF_CLOSE, DIRECT)
        assert login.os
        assert login.arch
        stream.close()


@WIRES
async def test_what_comes_behind_the_answer_is_kept(wire: str) -> None:
    async with frps(mux=False, wire=wire) as server, connector(server.port, **with_wire(wire)) as made:
        stream = made.control_stream(await made.connect())
        results = []

        async def log_in() -> None:
            results.append(await made.log_in(stream, ""))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(log_in)
            session = await server.session(run_id="r")
            await session.control.send(Pong("one"))
        [logged_in] = results
        data = logged_in.rest
        while not (messages := logged_in.wire.Reader().receive_data(logged_in.open(data)) if data else []):
            data = await stream.receive_some()
        assert messages == [Pong("one")]
        assert logged_in.answer.run_id == "r"
        stream.close()


@WIRES
async def test_the_server_s_reason(wire: str) -> None:
    async with frps(mux=False, wire=wire) as server, connector(server.port, **with_wire(wire)) as made, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: server.session(error="token in login doesn't match token from configuration"))
        assert await failure_to_log_in(made) == "token in login doesn't match token from configuration"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (wire_v1.pack(Pong()), "the server sent Pong where LoginResp was due"),
        (b"\0" * 20, "the server sent something else than a message"),
        (b"1" + b"\xff" * 8, "LoginResp message length -1 is not within 0 to 10240"),
        (b"1\0\0\0\0\0\0\0\2[]", "LoginResp message is not valid: "),
    ],
    ids=["Pong", "type", "length", "json"],
)
async def test_an_answer_that_is_none(answer: bytes, reason: str) -> None:
    async with frps(mux=False) as server, connector(server.port, **with_wire("v1")) as made, trio.open_nursery() as nursery:
        nursery.start_soon(answering, server, answer)
        assert (await failure_to_log_in(made)).startswith(reason)


@pytest.mark.parametrize("abort", [True, False], ids=["reset", "closed"])
async def test_a_server_that_hangs_up(abort: bool) -> None:
    async with frps(mux=False) as server, connector(server.port, **with_wire("v1")) as made:

        async def hang_up() -> None:
            talk = await server.next_talk()
            await talk.receive()
            if abort:
                talk.stream.end.abort()
            else:
                await talk.stream.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            reason = await failure_to_log_in(made)
        assert reason == "Connection reset by peer" if abort else reason.endswith("(is transport.tcpMux the same on both sides?)")


@WIRES
async def test_a_server_that_does_not_answer(wire: str, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    async with frps(mux=False, wire=wire) as server, connector(server.port, **with_wire(wire)) as made:
        reasons = []

        async def log_in() -> None:
            reasons.append(await failure_to_log_in(made))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(log_in)
            await server.next_talk()
            await clock.forward(9)
            assert reasons == []
            await clock.forward(2)
        assert reasons == ["the server did not answer the login within 10 s"]


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        (wire_v2.CLIENT_HELLO, b"{}", "the server sent a frame of type 1 where its hello was due"),
        (wire_v2.SERVER_HELLO, b'{"error":"no"}', "the server refuses wire v2: no"),
        (wire_v2.SERVER_HELLO, b"{}", "the server selected the message codec '', which was not offered"),
        (
            wire_v2.SERVER_HELLO,
            b'{"selected":{"message":{"codec":"json"}}}',
            "the server selected the crypto algorithm '', which was not offered",
        ),
        (wire_v2.SERVER_HELLO, b"{", "ServerHello message is not valid: "),
    ],
    ids=["kind", "error", "codec", "algorithm", "json"],
)
async def test_a_hello_that_is_none(kind: int, payload: bytes, reason: str) -> None:
    async with frps(mux=False, wire="v2") as server, connector(server.port, **with_wire("v2")) as made:

        async def answer() -> None:
            await (await server.next_talk()).send_raw(wire_v2.pack_frame(kind, payload))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            assert (await failure_to_log_in(made)).startswith(reason)


async def test_a_login_that_is_too_long() -> None:
    changes = {**with_wire("v1"), "metadatas": {"a": "x" * 10300}}
    with logged():
        async with frps(mux=False) as server, connector(server.port, **changes) as made:
            assert (await failure_to_log_in(made)).startswith("Login message of 10")


async def test_a_token_from_the_environment_that_is_no_text() -> None:
    engine = Engine()
    async with frps(mux=False) as server, engine.running():
        made = Connector(frpc_config(server.port, with_wire("v1")), engine, "\udcff")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answering, server, wire_v1.pack(LoginResp(error="seen")))
            assert await failure_to_log_in(made) == "seen"
