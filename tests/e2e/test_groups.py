"""Groups through real programs: several clients share what users ask for."""

from __future__ import annotations

import socket
import ssl
from collections import Counter

import pytest
import trustme

from tests.support.ports import free_port
from tests.support.programs import Handler, Program, World, connect, eventually, receive_all


def saying(name: str) -> Handler:
    def handle(connection: socket.socket) -> None:
        connection.sendall(name.encode())

    return handle


def member(kind: str, name: str, port: int, lines: str, key: str = "k", group: str = "g") -> str:
    return (
        f'\n[[proxies]]\nname = "{name}"\ntype = "{kind}"\nlocalPort = {port}\n{lines}\n'
        f'loadBalancer.group = "{group}"\nloadBalancer.groupKey = "{key}"\n'
    )


def who_answers(port: int) -> str:
    with connect(port) as sock:
        return receive_all(sock).decode()


def join(world: World, server_port: int, kind: str, names: str, lines: str) -> list[Program]:
    clients = []
    for name in names:
        service = world.service(saying(name))
        client = world.frpc(server_port, "", member(kind, name, service.port, lines))
        client.wait_for(f"[{name}] start proxy success")
        clients.append(client)
    return clients


def test_tcp_members_take_turns_and_come_and_go(world: World) -> None:
    frps, server_port = world.frps()
    port = free_port()
    clients = join(world, server_port, "tcp", "abc", f"remotePort = {port}")
    assert [who_answers(port) for _ in range(6)] == list("abcabc")
    clients[0].kill()  # who has the port in its name
    frps.wait_for("client exit success")
    assert Counter(who_answers(port) for _ in range(6)) == {"b": 3, "c": 3}
    clients[1].stop()
    clients[2].stop()
    frps.wait_for("client exit success", count=3)
    with pytest.raises(ConnectionRefusedError):
        who_answers(port)
    join(world, server_port, "tcp", "d", f"remotePort = {port}")
    assert who_answers(port) == "d"


def test_tcp_members_without_a_port_share_one(world: World) -> None:
    frps, server_port = world.frps()
    join(world, server_port, "tcp", "ab", "")
    ports = {frps.wait_for("tcp proxy listen port [", count=n).rpartition("[")[2].rstrip("]") for n in (1, 2)}
    (port,) = ports
    assert {who_answers(int(port)) for _ in range(2)} == {"a", "b"}


def test_a_busy_member_stops_nobody_else(world: World) -> None:
    """One client gets no work connections through: only its own users wait."""
    _, server_port = world.frps("userConnTimeout = 3\n")
    port = free_port()
    wire = world.wire(server_port)
    slow = world.frpc(wire.port, "", member("tcp", "slow", world.service(saying("slow")).port, f"remotePort = {port}"))
    slow.wait_for("[slow] start proxy success")
    join(world, server_port, "tcp", "f", f"remotePort = {port}")
    wire.swallow = {"up", "down"}
    answers = []
    waiting = []
    for _ in range(8):
        sock = connect(port, 1)
        try:
            answers.append(sock.recv(10))
            sock.close()
        except TimeoutError:
            waiting.append(sock)
    assert answers == [b"f"] * 4
    assert len(waiting) == 4
    for sock in waiting:
        sock.close()
    wire.cut()


def test_who_may_not_join(world: World) -> None:
    frps, server_port = world.frps(f"vhostHTTPSPort = {free_port()}\ntcpmuxHTTPConnectPort = {free_port()}\n")
    port = free_port()
    https, mux = 'customDomains = ["a.example"]', 'multiplexer = "httpconnect"\ncustomDomains = ["a.example"]\n'
    frpc = world.frpc(
        server_port,
        "",
        member("tcp", "t0", 1, f"remotePort = {port}")
        + member("tcp", "t1", 1, f"remotePort = {port + 1}", key="wrong")
        + member("tcp", "t2", 1, f"remotePort = {port}", key="wrong")
        + member("https", "s0", 1, https)
        + member("https", "s1", 1, 'customDomains = ["b.example"]', key="wrong")
        + member("https", "s2", 1, https, key="wrong")
        + member("https", "s3", 1, https, group="another")
        + member("https", "s4", 1, 'customDomains = ["c.example", "d.example"]', group="two")
        + member("tcpmux", "m0", 1, mux + 'httpUser = "u"')
        + member("tcpmux", "m1", 1, mux + 'httpUser = "v"')
        + member("tcpmux", "m2", 1, mux + 'httpUser = "u"', key="wrong")
        + f'\n[[proxies]]\nname = "s5"\ntype = "https"\nlocalPort = 1\n{https}\n',
    )
    for name in ("t0", "s0", "m0"):
        frpc.wait_for(f"[{name}] start proxy success")
    for name, text in (
        ("t1", "group should have same remote port"),
        ("t2", "group auth failed"),
        ("s1", "group params invalid"),
        ("s2", "group auth failed"),
        ("s3", "router config conflict"),
        ("s4", "group params invalid"),
        ("s5", "router config conflict"),
        ("m1", "group params invalid"),
        ("m2", "group auth failed"),
    ):
        frpc.wait_for(f"[{name}] start error: {text}")
    other = world.frpc(server_port, "", member("https", "s6", 1, 'customDomains = ["c.example"]', group="two", key="new"))
    other.wait_for("[s6] start proxy success")  # s4 has left nothing behind
    assert frps.runs


def test_https_members_take_turns(world: World) -> None:
    port = free_port()
    _, server_port = world.frps(f"vhostHTTPSPort = {port}\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a.example").configure_cert(context)
    clients = []
    for name in "ab":

        def handle(connection: socket.socket, name: str = name) -> None:
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(name.encode())

        client = world.frpc(server_port, "", member("https", name, world.service(handle).port, 'customDomains = ["a.example"]'))
        client.wait_for(f"[{name}] start proxy success")
        clients.append(client)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE

    def answer() -> str:
        with connect(port) as sock, trusting.wrap_socket(sock, server_hostname="a.example") as tls:
            return tls.recv(10).decode()

    assert [answer() for _ in range(4)] == list("abab")
    clients[1].stop()
    assert [answer() for _ in range(2)] == ["a", "a"]


def test_tcpmux_members_take_turns(world: World) -> None:
    port = free_port()
    _, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\n")
    join(world, server_port, "tcpmux", "ab", 'multiplexer = "httpconnect"\ncustomDomains = ["a.example"]')

    def answer() -> str:
        with connect(port) as sock:
            sock.sendall(b"CONNECT a.example:1 HTTP/1.1\r\n\r\n")
            return receive_all(sock).decode()[-1]

    assert [answer() for _ in range(4)] == list("abab")


def test_joining_and_leaving_at_once(world: World) -> None:
    """Clients that come and go all the time: while one is there, the port is."""
    _, server_port = world.frps()
    port = free_port()
    join(world, server_port, "tcp", "s", f"remotePort = {port}")
    for _ in range(2):
        others = [
            world.frpc(server_port, "", member("tcp", f"o{i}", world.service(saying("o")).port, f"remotePort = {port}")) for i in range(3)
        ]
        for i, other in enumerate(others):
            other.wait_for(f"[o{i}] start proxy success")
        answers = Counter(who_answers(port) for _ in range(8))
        assert answers == {"s": 2, "o": 6}
        for other in others:
            other.stop()
        eventually(lambda: {who_answers(port)} == {"s"}, "only the first is left")
