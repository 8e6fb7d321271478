"""udp, stcp and sudp with peers that behave as frp 0.70, spoken to byte by byte."""

from __future__ import annotations

import socket
import time

import pytest

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import (
    Message,
    NewProxy,
    NewProxyResp,
    NewVisitorConn,
    NewVisitorConnResp,
    Ping,
    ReqWorkConn,
    StartWorkConn,
    UDPAddress,
    UDPPacket,
)
from tests.e2e.peers import Conn, Encrypted, FrpClient, FrpServer, Messages, SocketConn, Stream, key_of
from tests.e2e.test_secret import secret, visitor
from tests.e2e.test_udp import free_udp_port, udp_proxy, user
from tests.e2e.test_udp import services as services
from tests.support.ports import free_port
from tests.support.programs import HOST, TOKEN, World, connect, receive_exactly

WIRES = pytest.mark.parametrize("wire", ["v1", "v2"])
MUX = pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
KEY = "a secret key"


def no_mux(mux: bool) -> str:
    return "" if mux else "transport.tcpMux = false\n"


def started(conn: Conn, wire: str) -> tuple[StartWorkConn, Messages]:
    messages = Messages(conn, wire)
    return messages.expect(StartWorkConn), messages


def register(client: FrpClient, wish: NewProxy) -> NewProxyResp:
    client.control.send(wish)
    return client.control.expect(NewProxyResp)


@WIRES
@MUX
def test_a_client_of_frp_with_a_udp_proxy(world: World, wire: str, mux: bool) -> None:
    _, server_port = world.frps(no_mux(mux))
    port = free_udp_port()
    with FrpClient(server_port, TOKEN, mux=mux, wire=wire, pool_count=0) as client, user(port) as sock:
        client.log_in()
        assert register(client, NewProxy("it", "udp", remote_port=port)) == NewProxyResp("it", f":{port}")
        began = time.monotonic()
        client.control.expect(ReqWorkConn)  # without any traffic
        assert 0.3 < time.monotonic() - began < 3
        start, stream = started(client.work_connection(), wire)
        assert start == StartWorkConn("it")
        me = UDPAddress(HOST, sock.getsockname()[1])
        for content in (b"one", b"", b"two"):
            sock.send(content)
            assert stream.expect(UDPPacket) == UDPPacket(content, user_address=me)
            stream.send(Ping())
            stream.send(UDPPacket(content + b"!", user_address=me))
            assert sock.recv(100) == content + b"!"
        stream.conn.close()
        client.control.expect(ReqWorkConn)  # it is wanted again
        start, stream = started(client.work_connection(), wire)
        sock.send(b"three")
        assert stream.expect(UDPPacket).content == b"three"
        for _ in range(3):
            stream.send(UDPPacket(b"x", user_address=UDPAddress("not an address", 1)))
        stream.send(UDPPacket(b"four", user_address=me))
        assert sock.recv(100) == b"four"


@WIRES
@MUX
def test_a_server_of_frp_with_our_udp_proxy(world: World, services: object, wire: str, mux: bool) -> None:
    service = services()  # type: ignore[operator]
    with FrpServer(TOKEN, mux=mux) as server:
        client = f'{no_mux(mux)}transport.tls.enable = false\ntransport.wireProtocol = "{wire}"\n'
        frpc = world.frpc(server.port, client, udp_proxy("it", service.port, 7))
        server.begin(version=wire)
        assert server.control.expect(NewProxy) == NewProxy("it", "udp", remote_port=7)
        server.control.send(NewProxyResp("it", ":7"))
        frpc.wait_for("[it] start proxy success")

        def work() -> Messages:
            server.ask()
            _, stream = server.work()
            stream.send(StartWorkConn("it"))
            return stream

        stream = work()
        people = [UDPAddress("192.0.2.1", 5), UDPAddress("2001:db8::1", 5, "eth7"), UDPAddress("192.0.2.1", 6)]
        for who in people * 2:
            stream.send(UDPPacket(b"hello", user_address=who))
            assert stream.expect(UDPPacket) == UDPPacket(b"hello", user_address=who)
        assert len(service.users) == 3
        newer = work()
        newer.send(UDPPacket(b"again", user_address=people[0]))
        assert newer.expect(UDPPacket) == UDPPacket(b"again", user_address=people[0])
        assert len(service.users) == 3
        assert stream.receive() is None  # the former one is closed


def visit(client: FrpClient, wire: str, name: str, *, encrypted: bool = False, run_id: str | None = None) -> Messages:
    """A visitor connection with its first message sent."""
    now = int(time.time())
    wish = NewVisitorConn(client.run_id if run_id is None else run_id, name, key_of(KEY, now), now, use_encryption=encrypted)
    conn = client.dial()
    conn.sendall(wire_v1.pack(wish) if wire == "v1" else wire_v2.MAGIC + wire_v2.pack(wish))
    return Messages(conn, wire)


@WIRES
@MUX
def test_stcp_between_clients_of_frp(world: World, wire: str, mux: bool) -> None:
    _, server_port = world.frps(no_mux(mux))
    with (
        FrpClient(server_port, TOKEN, mux=mux, wire="v1", user="alice") as owner,
        FrpClient(server_port, TOKEN, mux=mux, wire=wire, user="bob") as guest,
    ):
        owner.log_in()
        guest.log_in()
        wish = NewProxy("alice.it", "stcp", sk=KEY, allow_users=("bob",), use_encryption=True)
        assert register(owner, wish) == NewProxyResp("alice.it")
        stream = visit(guest, wire, "alice.it", encrypted=True)
        assert stream.receive() == NewVisitorConnResp("alice.it")
        ours = Encrypted(stream.conn, KEY)
        ours.sendall(b"early")
        conn = owner.work_connection()
        start, work = started(conn, "v1")
        assert (start.proxy_name, start.src_addr, start.dst_addr, start.dst_port) == ("alice.it", HOST, HOST, server_port)
        assert start.src_port
        theirs = Encrypted(conn, TOKEN)
        rest = work.rest()
        first = theirs._decryptor.update(rest) if rest else b""
        assert bytes(first) or theirs.recv(100) == b"early"
        theirs.sendall(b"late")
        assert ours.recv(100) == b"late"
        conn.close()
        assert ours.recv(100) == b""


@MUX
def test_a_visitor_is_refused_in_words(world: World, mux: bool) -> None:
    _, server_port = world.frps(no_mux(mux))
    with FrpClient(server_port, TOKEN, mux=mux, user="alice") as owner:
        owner.log_in()
        register(owner, NewProxy("it", "stcp", sk="another key"))
        register(owner, NewProxy("open", "stcp", sk=KEY, allow_users=("*",)))
        for name, run_id, text in (
            ("it", "nobody", "no client control found for run id [nobody]"),
            ("none", None, "custom listener for [none] doesn't exist"),
            ("it", None, "visitor connection of [it] auth failed"),
        ):
            stream = visit(owner, "v1", name, run_id=run_id)
            assert stream.receive() == NewVisitorConnResp(name, text)
            assert stream.receive() is None
        assert visit(owner, "v1", "open", run_id="").receive() == NewVisitorConnResp("open")
        again = NewProxy("it", "stcp", sk="third key")
        with FrpClient(server_port, TOKEN, mux=mux) as other:
            other.log_in()
            assert register(other, again) == NewProxyResp("it", error="proxy [it] already exists")


def test_a_service_that_speaks_first_does_not_overtake_the_answer(world: World) -> None:
    service = world.service(lambda connection: connection.sendall(b"banner"))
    _, server_port = world.frps()
    world.frpc(server_port, "", secret("stcp", "it", service.port, KEY)).wait_for("start proxy success")
    with FrpClient(server_port, TOKEN) as guest:
        guest.log_in()
        for _ in range(20):
            stream = visit(guest, "v1", "it")
            assert stream.receive() == NewVisitorConnResp("it")
            data = stream.rest()
            while len(data) < 6:
                data += stream.conn.recv(100)
            assert data == b"banner"


@WIRES
@pytest.mark.parametrize("owner_wire", ["v1", "v2"])
def test_sudp_between_clients_of_frp(world: World, wire: str, owner_wire: str) -> None:
    _, server_port = world.frps()
    with (
        FrpClient(server_port, TOKEN, wire=owner_wire) as owner,
        FrpClient(server_port, TOKEN, wire=wire) as guest,
    ):
        owner.log_in()
        guest.log_in()
        register(owner, NewProxy("it", "sudp", sk=KEY))
        stream = visit(guest, wire, "it")
        assert stream.receive() == NewVisitorConnResp("it")
        conn = owner.work_connection()
        _, work = started(conn, owner_wire)
        packet = UDPPacket(b"question", user_address=UDPAddress(HOST, 99))
        stream.send(packet)
        assert work.expect(UDPPacket) == packet
        answers: list[Message] = [Ping(), UDPPacket(b"answer", user_address=UDPAddress(HOST, 99)), Ping()]
        for answer in answers:
            work.send(answer)
        assert [stream.receive() for _ in answers] == answers
        stream.conn.close()
        assert work.receive() is None


def has_come(conn: Conn) -> bool:
    """Whether something waits to be received."""
    if isinstance(conn, SocketConn):
        conn._sock.setblocking(False)
        try:
            return bool(conn._sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            conn._sock.settimeout(15)
    assert isinstance(conn, Stream)
    return bool(conn._data)


@WIRES
@MUX
def test_our_visitors_at_a_server_of_frp(world: World, wire: str, mux: bool) -> None:
    tcp_port, udp_port = free_port(), free_udp_port()
    with FrpServer(TOKEN, mux=mux) as server:
        client = f'user = "me"\n{no_mux(mux)}transport.tls.enable = false\ntransport.wireProtocol = "{wire}"\n'
        visitors = visitor("stcp", "t", "it", tcp_port, KEY, 'serverUser = "you"') + visitor("sudp", "u", "it", udp_port, KEY)
        frpc = world.frpc(server.port, client, visitors)
        server.begin(version=wire)
        frpc.wait_for("start visitor success", count=2)

        def accept() -> tuple[NewVisitorConn, Messages]:
            conn = server.accept()
            if wire == "v2":
                assert conn.recv(7) == wire_v2.MAGIC
            stream = Messages(conn, wire)
            return stream.expect(NewVisitorConn), stream

        with connect(tcp_port) as sock:
            sock.sendall(b"hello")
            wish, stream = accept()
            assert wish == NewVisitorConn("run of the test", "you.it", key_of(KEY, wish.timestamp), wish.timestamp)
            time.sleep(0.05)
            assert not has_come(stream.conn)  # it sends no payload before the answer
            stream.send(NewVisitorConnResp("you.it"))
            assert stream.conn.recv(100) == b"hello"
            stream.conn.sendall(b"welcome")
            assert receive_exactly(sock, 7) == b"welcome"
        with connect(tcp_port) as sock:
            _, stream = accept()
            stream.send(NewVisitorConnResp("you.it", "no"))
            stream.conn.close()
            frpc.wait_for("[t] start new visitor connection error: no")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        with user(udp_port) as sock:
            sock.send(b"question")
            wish, stream = accept()
            assert wish.proxy_name == "me.it"
            stream.send(NewVisitorConnResp("me.it"))
            packet = stream.expect(UDPPacket)
            assert packet == UDPPacket(b"question", user_address=UDPAddress(HOST, sock.getsockname()[1]))
            stream.send(Ping())
            stream.send(packet)
            assert sock.recv(100) == b"question"
            stream.conn.close()
            time.sleep(0.1)
            sock.send(b"another")  # asks for a connection again
            _, stream = accept()
            stream.send(NewVisitorConnResp("me.it"))
            assert stream.expect(UDPPacket).content == b"another"


@pytest.mark.slow
def test_a_server_of_frp_that_does_not_answer_a_visitor(world: World) -> None:
    port = free_port()
    with FrpServer(TOKEN) as server:
        frpc = world.frpc(server.port, "transport.tls.enable = false\n", visitor("stcp", "t", "it", port, KEY))
        server.begin()
        frpc.wait_for("start visitor success")
        with connect(port, 15) as sock:
            server.accept()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        frpc.wait_for("the server did not answer in time", deadline=1)
