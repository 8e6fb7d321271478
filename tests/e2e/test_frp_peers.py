"""Our programs with peers that behave as frp 0.70: no extension of ours, its windows, its pool, its ways to close."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time

import pytest

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import CloseProxy, Login, LoginResp, NewProxy, NewProxyResp, Ping, Pong, ReqWorkConn, StartWorkConn
from tests.e2e.peers import Conn, Encrypted, FrpClient, FrpServer, Messages, Yamux, key_of
from tests.support.ports import free_port
from tests.support.programs import HOST, TOKEN, World, connect, eventually, exchange, proxy, receive_all, receive_exactly, wait_until_free

BIG = random.Random(2).randbytes(20_000_000)
WIRES = pytest.mark.parametrize("wire", ["v1", "v2"])
MUX = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])


def no_mux(mux: bool) -> str:
    return "" if mux else "transport.tcpMux = false\n"


def bulk(port: int, data: bytes = BIG) -> bytes:
    """Send and receive at the same time; whoever answers echoes."""
    with connect(port, 20) as user:
        sender = threading.Thread(target=user.sendall, args=(data,))
        sender.start()
        answer = receive_exactly(user, len(data))
        sender.join()
    return answer


# a client of frp at our server


@WIRES
@MUX
def test_the_whole_life_of_an_frp_client(world: World, wire: str, mux: bool) -> None:
    frps, port = world.frps(no_mux(mux) + 'auth.additionalScopes = ["HeartBeats", "NewWorkConns"]\n')
    remote, second = free_port(), free_port()
    with FrpClient(port, TOKEN, mux=mux, wire=wire, scopes=True, pool_count=2) as client:
        answer = client.log_in()
        assert len(answer.run_id) == 16
        assert int(answer.run_id, 16) >= 0
        assert answer.version
        assert client.register("it", remote) == NewProxyResp("it", f":{remote}")
        assert client.register("other", second, use_encryption=True) == NewProxyResp("other", f":{second}")
        assert [type(message) for message in client.control.others] == [ReqWorkConn] * 2  # the pool
        now = int(time.time())
        client.control.send(Ping(key_of(TOKEN, now), now))
        assert client.control.expect(Pong) == Pong()
        client.control.send(Ping())
        assert client.control.expect(Pong).error == "token in heartbeat doesn't match token from configuration"
        client.serve_echo()
        assert exchange(remote, b"hello") == b"hello"
        assert bulk(remote) == BIG
        client.control.send(CloseProxy("other"))
        client.control.send(CloseProxy("never there"))
        frps.wait_for("close proxy [never there] success")
        wait_until_free(second)
        users = [connect(remote) for _ in range(100)]
        for user in users:
            user.sendall(b"all at once")
        assert [receive_exactly(user, 11) for user in users] == [b"all at once"] * 100
        for user in users:
            user.close()
    frps.wait_for("client exit success")
    wait_until_free(remote)


@WIRES
@MUX
def test_encryption_with_an_frp_client(world: World, wire: str, mux: bool) -> None:
    _, port = world.frps(no_mux(mux))
    remote = free_port()
    with FrpClient(port, TOKEN, mux=mux, wire=wire) as client:
        client.log_in()
        assert client.register("it", remote, use_encryption=True).error == ""
        client.serve_echo(lambda conn: Encrypted(conn, TOKEN))
        assert bulk(remote) == BIG


@pytest.mark.parametrize("algorithm", ["aes-256-gcm", "xchacha20-poly1305"])
def test_the_first_algorithm_of_the_client_is_taken(world: World, algorithm: str) -> None:
    _, port = world.frps()
    with FrpClient(port, TOKEN, wire="v2", algorithms=("unheard of", algorithm)) as client:
        assert client.log_in().error == ""
        assert client.register("it", free_port()).error == ""


@MUX
def test_start_work_conn_names_user_and_proxy_and_payload_follows(world: World, mux: bool) -> None:
    _, port = world.frps(no_mux(mux))
    remote = free_port()
    with FrpClient(port, TOKEN, mux=mux) as client:
        client.log_in()
        client.register("a.b", remote)
        work = client.work_connection()
        with connect(remote) as user:
            user.sendall(b"first")
            messages = Messages(work, "v1")
            start = messages.expect(StartWorkConn)
            here, there = user.getsockname(), user.getpeername()
            assert start == StartWorkConn("a.b", src_addr=here[0], src_port=here[1], dst_addr=there[0], dst_port=there[1])
            got = messages.rest()
            while len(got) < 5:
                got += work.recv(5)
            assert got == b"first"
            work.sendall(b"answer")
            assert receive_exactly(user, 6) == b"answer"


@MUX
@pytest.mark.parametrize("first", ["user", "client"])
def test_with_an_frp_client_the_first_end_closes_both_ways(world: World, mux: bool, first: str) -> None:
    _, port = world.frps(no_mux(mux))
    remote = free_port()
    with FrpClient(port, TOKEN, mux=mux) as client:
        client.log_in()
        client.register("it", remote)
        work = client.work_connection()
        with connect(remote) as user:
            assert client.started(work).error == ""
            work.sendall(BIG[:200_000])
            if first == "user":
                assert receive_exactly(user, 200_000) == BIG[:200_000]
                user.shutdown(socket.SHUT_WR)
                assert receive_all(user) == b""
                while work.recv(1 << 16):
                    pass
                work.close()
            else:
                work.close()
                assert receive_all(user) == BIG[:200_000]
                if mux:
                    eventually(lambda: work.has_ended, "the client hears it")


def test_idle_work_connections_of_the_pool_are_used_before_new_ones_are_asked_for(world: World) -> None:
    _, port = world.frps()
    remote = free_port()
    with FrpClient(port, TOKEN, pool_count=3) as client:
        client.log_in()
        client.register("it", remote)
        assert len(client.control.others) == 3
        pool = [client.work_connection() for _ in range(3)]
        time.sleep(0.1)
        with connect(remote) as user:
            user.sendall(b"x")
            assert client.started(pool[0]).proxy_name == "it"
            assert isinstance(client.control.receive(), ReqWorkConn)  # one more, for the place that is free


def test_a_user_for_whom_no_work_connection_comes_is_told_after_the_timeout(world: World) -> None:
    frps, port = world.frps("userConnTimeout = 1\n")
    remote = free_port()
    with FrpClient(port, TOKEN) as client:
        client.log_in()
        client.register("it", remote)
        began = time.monotonic()
        with connect(remote) as user, pytest.raises(ConnectionResetError):
            receive_all(user)
        assert 0.9 < time.monotonic() - began < 3
        frps.wait_for("timeout trying to get work connection")
        client.serve_echo()  # late, but those who come now are served
        assert exchange(remote, b"hello") == b"hello"


@WIRES
def test_a_client_whose_heartbeats_stay_away_is_dropped(world: World, wire: str) -> None:
    frps, port = world.frps("transport.heartbeatTimeout = 1\n")
    remote = free_port()
    with FrpClient(port, TOKEN, wire=wire) as client:
        client.log_in()
        client.register("it", remote)
        for _ in range(3):  # each one buys another second
            time.sleep(0.5)
            client.control.send(Ping())
            assert client.control.expect(Pong) == Pong()
        assert "heartbeat timeout" not in frps.output
        assert client.control_ends()
        frps.wait_for("heartbeat timeout", deadline=1)
        wait_until_free(remote)


@pytest.mark.slow
def test_a_client_that_does_not_answer_keep_alive_is_dropped(world: World) -> None:
    frps, port = world.frps("transport.tcpMuxKeepaliveInterval = 1\n")
    with FrpClient(port, TOKEN) as client:
        client.log_in()
        time.sleep(2.5)
        assert client.register("it", free_port()).error == ""  # it answers so far
        assert client.mux is not None
        client.mux.ping(7)
        eventually(lambda: client.mux is not None and client.mux.pings == 1, "the server answers ours")
        client.mux.answers_pings = False
        began = time.monotonic()
        assert client.control_ends()
        assert 9 < time.monotonic() - began < 14
        frps.wait_for("client exit success", deadline=1)


def test_bad_pool_counts_do_no_harm(world: World) -> None:
    _, port = world.frps()
    for count, asked in ((-1000, 0), (2**62, 5)):
        with FrpClient(port, TOKEN, pool_count=count) as client:
            assert client.log_in().error == ""
            assert client.register("it", free_port()).error == ""
            assert len(client.control.others) == asked


def test_login_without_the_hello_of_v2(world: World) -> None:
    _, port = world.frps()
    with FrpClient(port, TOKEN) as client:
        conn = client.dial()
        now = int(time.time())
        conn.sendall(wire_v2.MAGIC + wire_v2.pack(Login(privilege_key=key_of(TOKEN, now), timestamp=now)))
        assert Messages(conn, "v2").expect(LoginResp).error == "missing v2 crypto negotiation"


def test_hellos_that_cannot_be_agreed_on(world: World) -> None:
    _, port = world.frps()
    with FrpClient(port, TOKEN, wire="v2", algorithms=("rot13",)) as client:
        conn = client.dial()
        hello = wire_v2.offer("tcp", tls=False, tcp_mux=True, client_random=bytes(32), algorithms=("rot13",))
        conn.sendall(wire_v2.MAGIC + wire_v2.pack_frame(wire_v2.CLIENT_HELLO, hello))
        messages = Messages(conn, "v2")
        kind, payload = messages.frame()
        assert kind == wire_v2.SERVER_HELLO
        assert payload == b'{"selected":{"message":{"codec":"json"},"crypto":{}},"error":"no supported crypto algorithm"}'
        assert messages.receive() is None


# our client at a server of frp


def frpc_at(world: World, server: FrpServer, mux: bool, wire: str, extra: str = "", proxy_extra: str = "", local_port: int = 0) -> None:
    options = f'transport.tls.enable = false\ntransport.wireProtocol = "{wire}"\n{no_mux(mux)}{extra}'
    world.frpc(server.port, options, proxy("it", local_port or world.service().port, 6000, proxy_extra))


def begin(server: FrpServer, wire: str) -> None:
    """Login, pool, and the proxy, as the server of frp does it: ReqWorkConn before any NewProxyResp."""
    server.begin(version=wire)
    server.ask(server.login.pool_count)
    wish = server.control.expect(NewProxy)
    assert (wish.proxy_name, wish.proxy_type, wish.remote_port) == ("it", "tcp", 6000)
    server.control.send(NewProxyResp("it", ":6000"))


def converse(conn: Conn, data: bytes) -> bytes:
    sender = threading.Thread(target=conn.sendall, args=(data,), daemon=True)
    sender.start()
    got = bytearray()
    while len(got) < len(data) and (piece := conn.recv(1 << 16)):
        got += piece
    sender.join(10)
    return bytes(got)


@WIRES
@MUX
def test_our_client_lives_with_an_frp_server(world: World, wire: str, mux: bool) -> None:
    with FrpServer(TOKEN, mux=mux) as server:
        frpc_at(world, server, mux, wire, "transport.poolCount = 2\n")
        begin(server, wire)
        assert server.login.pool_count == 2
        assert server.login.run_id == ""
        pool = [server.work() for _ in range(2)]
        for new, messages in pool:
            assert new.run_id == "run of the test"
            assert (new.privilege_key, new.timestamp) == ("", 0)
            # StartWorkConn, and payload in the same segment
            start = StartWorkConn("it", src_addr="192.0.2.1", src_port=7, dst_addr="192.0.2.2", dst_port=6000)
            packed = wire_v1.pack(start) if wire == "v1" else wire_v2.pack(start)
            messages.conn.sendall(packed + b"first")
            assert messages.conn.recv(5) == b"first"
            assert converse(messages.conn, BIG) == BIG
            messages.conn.close()
        # many at once
        server.ask(100)
        works = [server.work()[1] for _ in range(100)]
        for messages in works:
            messages.send(StartWorkConn("it"))
            messages.conn.sendall(b"hello")
        assert [messages.conn.recv(5) for messages in works] == [b"hello"] * 100


@WIRES
@MUX
def test_encryption_with_an_frp_server(world: World, wire: str, mux: bool) -> None:
    with FrpServer(TOKEN, mux=mux) as server:
        frpc_at(world, server, mux, wire, proxy_extra="transport.useEncryption = true\n")
        server.begin(version=wire)
        server.ask()
        assert server.control.expect(NewProxy).use_encryption
        server.control.send(NewProxyResp("it", ":6000"))
        messages = server.work()[1]
        messages.send(StartWorkConn("it"))
        assert converse(Encrypted(messages.conn, TOKEN), BIG) == BIG


@MUX
def test_the_first_end_closes_both_ways_at_an_frp_server(world: World, mux: bool) -> None:
    heard = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(BIG[:300_000])
        connection.shutdown(socket.SHUT_WR)
        heard.append(receive_all(connection))

    with FrpServer(TOKEN, mux=mux) as server:
        frpc_at(world, server, mux, "v1", local_port=world.service(talk).port)
        begin(server, "v1")
        messages = server.work()[1]
        messages.send(StartWorkConn("it"))
        got = bytearray()
        while piece := messages.conn.recv(1 << 16):
            got += piece
        assert got == BIG[:300_000]
        eventually(lambda: heard == [b""], "the service is closed too")


@MUX
def test_what_an_frp_server_may_not_start(world: World, mux: bool) -> None:
    with FrpServer(TOKEN, mux=mux) as server:
        frpc_at(world, server, mux, "v1")
        begin(server, "v1")
        world.programs[0].wait_for("start proxy success")
        server.ask(2)
        for start in (StartWorkConn("unknown"), StartWorkConn("it", error="no"), None):
            conn = server.work()[1].conn
            conn.sendall(wire_v1.pack(start) if start is not None else wire_v1.pack(ReqWorkConn()))
            try:
                assert conn.recv(1) == b""
            except ConnectionResetError:
                pass
        server.ask()
        messages = server.work()[1]  # and the client goes on
        messages.send(StartWorkConn("it"))
        assert converse(messages.conn, b"hello") == b"hello"


@WIRES
@MUX
def test_our_client_beats_and_proves_itself_where_configured(world: World, wire: str, mux: bool) -> None:
    with FrpServer(TOKEN, mux=mux) as server:
        extra = 'auth.additionalScopes = ["HeartBeats", "NewWorkConns"]\ntransport.heartbeatInterval = 1\ntransport.heartbeatTimeout = 2\n'
        frpc_at(world, server, mux, wire, extra)
        begin(server, wire)
        new = server.work()[0]
        assert new.privilege_key == key_of(TOKEN, new.timestamp)
        for _ in range(2):
            ping = next((m for m in server.control.others if isinstance(m, Ping)), None) or server.control.expect(Ping)
            server.control.others.clear()
            assert ping.privilege_key == key_of(TOKEN, ping.timestamp)
            server.control.send(Pong())
        began = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while server.control.receive() is not None:  # from now on they aren't answered
                pass
        assert 1 < time.monotonic() - began < 4
        world.programs[0].wait_for("heartbeat timeout", deadline=1)
        server.lose()
        begin_again(server, wire)


def begin_again(server: FrpServer, wire: str) -> None:
    server.mux = None
    begin(server, wire)
    assert server.login.run_id == "run of the test"


def test_a_pong_with_an_error_ends_the_session(world: World) -> None:
    with FrpServer(TOKEN) as server:
        frpc_at(world, server, True, "v1", "transport.heartbeatInterval = 20\n")
        begin(server, "v1")
        if not any(isinstance(message, Ping) for message in server.control.others):
            server.control.expect(Ping)
        server.control.send(Pong("not like that"))
        assert server.mux is not None
        mux = server.mux
        eventually(lambda: not mux.is_open, "the client closes its link")
        world.programs[0].wait_for("pong message contains error: not like that", deadline=1)
        begin_again(server, "v1")


@pytest.mark.slow
def test_our_client_answers_pings_and_expects_answers(world: World) -> None:
    with FrpServer(TOKEN) as server:
        frpc_at(world, server, True, "v1", "transport.tcpMuxKeepaliveInterval = 1\n")
        begin(server, "v1")
        mux = server.mux
        assert mux is not None
        mux.ping(42)
        eventually(lambda: mux.pings == 1, "it answers")
        mux.answers_pings = False
        took = eventually(lambda: not mux.is_open, "it gives the link up", 14)
        assert took > 8
        world.programs[0].wait_for("keep-alive not answered", deadline=1)
        begin_again(server, "v1")


@WIRES
def test_a_refused_login(world: World, wire: str) -> None:
    with FrpServer(TOKEN) as server:
        frpc_at(world, server, True, wire)
        server.begin(version=wire, error="not you")
        assert world.programs[0].wait() == 1
        assert "login to the server failed: not you. With" in world.programs[0].output


def test_the_client_says_what_it_closes_when_it_is_told_to_end(world: World) -> None:
    """CloseProxy for each proxy on orderly shutdown (wire.md 6.5), then the transport."""
    with FrpServer(TOKEN) as server:
        frpc_at(world, server, True, "v1")
        begin(server, "v1")
        world.programs[0].wait_for("start proxy success")
        world.programs[0].stop()
        assert server.control.expect(CloseProxy) == CloseProxy("it")


# what is against the rules ends the link, and nothing else


BREACHES = {
    "version": b"\x01" + bytes(11),
    "type": b"\x00\x04" + bytes(10),
    "data beyond the window": b"\x00\x00\x00\x01\x00\x00\x00\x63\xff\xff\xff\xff" + bytes(100),
    "opened twice": b"\x00\x01\x00\x01\x00\x00\x00\x63\x00\x00\x00\x00" * 2,
    "stream 0": b"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    "go away": b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    "window overflow": b"\x00\x01\x00\x01\x00\x00\x00\x63\xff\xff\xff\xff" + b"\x00\x01\x00\x00\x00\x00\x00\x63\xff\xff\xff\xff",
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_yamux_ends_the_link_of_the_one_who_did_it(world: World, breach: str) -> None:
    tunnel = world.tunnel(world.service().port)
    with connect(tunnel.server_port) as bad:
        bad.sendall(BREACHES[breach])
        try:
            receive_all(bad)
        except ConnectionResetError:
            pass
    assert exchange(tunnel.port, b"hello") == b"hello"
    assert "link ended" in tunnel.server.wait_for("link ended", deadline=1)


def test_a_flood_of_streams_and_pings_is_bounded(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    before = tunnel.server.figures.rss
    with FrpClient(tunnel.server_port, TOKEN) as client:
        assert client.mux is not None
        assert client.log_in().error == ""
        for _ in range(3000):
            client.mux.open()
        eventually(lambda: exchange(tunnel.port, b"hello") == b"hello", "others are served")
    with connect(tunnel.server_port) as flood, pytest.raises(OSError):
        flood.sendall((b"\x00\x02\x00\x01\x00\x00\x00\x00" + os.urandom(4)) * 10_000_000)  # and reads no answer
    assert exchange(tunnel.port, b"hello") == b"hello"
    assert tunnel.server.figures.rss - before < 25


def test_yamux_of_the_tests_is_what_it_claims() -> None:
    """The two ends of it understand each other, so that its faults are the other side's."""
    with socket.create_server((HOST, 0)) as listener:
        near, far = Yamux(connect(listener.getsockname()[1]), client=True), Yamux(listener.accept()[0], client=False)
        stream = near.open()
        other = far.accept()
        threading.Thread(target=lambda: (stream.sendall(BIG), stream.close()), daemon=True).start()  # type: ignore[func-returns-value]
        got = bytearray()
        while piece := other.recv(1 << 16):
            got += piece
        assert got == BIG
        assert near.faults == far.faults == []
        near.close()
        far.close()
