"""stcp and sudp with real programs: who is let in, in which words, and what passes."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from tests.e2e.test_udp import UdpService, answers, ask, free_udp_port, user
from tests.e2e.test_udp import services as services  # a fixture
from tests.support.ports import free_port
from tests.support.programs import HOST, Program, World, connect, eventually, exchange, receive_all, receive_exactly, works


def secret(kind: str, name: str, local_port: int, key: str = "sesame", extra: str = "") -> str:
    return f'\n[[proxies]]\nname = "{name}"\ntype = "{kind}"\nlocalPort = {local_port}\nsecretKey = "{key}"\n{extra}\n'


def visitor(kind: str, name: str, target: str, port: int, key: str = "sesame", extra: str = "") -> str:
    return (
        f'\n[[visitors]]\nname = "{name}"\ntype = "{kind}"\nserverName = "{target}"\nsecretKey = "{key}"\n'
        f'bindAddr = "{HOST}"\nbindPort = {port}\n{extra}\n'
    )


def pair(
    world: World, proxies: str, visitors: str, *, server: str = "", owner: str = "", guest: str = ""
) -> tuple[Program, Program, Program]:
    frps, server_port = world.frps(server)
    theirs = world.frpc(server_port, owner + server, proxies)
    theirs.wait_for("start proxy success", count=proxies.count("[[proxies]]"))
    ours = world.frpc(server_port, guest + server, visitors)
    ours.wait_for("start visitor success", count=visitors.count("[[visitors]]"))
    return frps, theirs, ours


ENCRYPTED = "transport.useEncryption = true\ntransport.useCompression = true\n"


@pytest.mark.parametrize(
    ("common", "owner", "guest", "proxy_extra", "visitor_extra"),
    [
        ("", "", "", "", ""),
        ("", "", 'transport.wireProtocol = "v2"\n', ENCRYPTED, ""),
        ("", 'transport.wireProtocol = "v2"\n', "", "", ENCRYPTED),
        ("transport.tcpMux = false\n", "", "", ENCRYPTED, ENCRYPTED),
    ],
    ids=["plain", "proxy-encrypted", "visitor-encrypted", "nomux-encrypted"],
)
def test_bytes_pass(world: World, common: str, owner: str, guest: str, proxy_extra: str, visitor_extra: str) -> None:
    service = world.service()
    port = free_port()
    frps, _, ours = pair(
        world,
        secret("stcp", "ssh", service.port, extra=proxy_extra),
        visitor("stcp", "v", "ssh", port, extra=visitor_extra),
        server=common,
        owner=owner,
        guest=guest,
    )
    assert "[v] start visitor success" in ours.output
    assert "visitor added: [v]" in ours.output
    frps.wait_for("new proxy [ssh] type [stcp] success")
    data = os.urandom(3 << 20)
    with connect(port) as sock:
        threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
        assert receive_exactly(sock, len(data)) == data
    for _ in range(20):
        assert works(port)
    frps.wait_for("get a user connection [", count=21)


def test_the_service_speaks_first(world: World) -> None:
    def banner(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-test\r\n")
        while data := connection.recv(100):
            connection.sendall(data.upper())

    service = world.service(banner)
    port = free_port()
    pair(world, secret("stcp", "ssh", service.port), visitor("stcp", "v", "ssh", port))
    with connect(port) as sock:
        assert receive_exactly(sock, 14) == b"SSH-2.0-test\r\n"
        sock.sendall(b"hello")
        assert receive_exactly(sock, 5) == b"HELLO"


def test_a_user_who_says_all_and_finishes_gets_his_answer(world: World) -> None:
    def count(connection: socket.socket) -> None:
        total = 0
        while data := connection.recv(1 << 16):
            total += len(data)
        connection.sendall(b"%d" % total)

    service = world.service(count)
    port = free_port()
    pair(world, secret("stcp", "it", service.port), visitor("stcp", "v", "it", port))
    with connect(port) as sock:
        sock.sendall(bytes(100_000))
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"100000"


def test_many_users_at_once(world: World) -> None:
    service = world.service()
    port = free_port()
    pair(world, secret("stcp", "it", service.port), visitor("stcp", "v", "it", port))
    socks = [connect(port) for _ in range(300)]
    for i, sock in enumerate(socks):
        sock.sendall(b"%05d" % i)
    for i, sock in enumerate(socks):
        assert receive_exactly(sock, 5) == b"%05d" % i
        sock.close()
    eventually(lambda: service.open == 0, "all are closed")


def fails(port: int) -> bool:
    try:
        return exchange(port, b"?") == b""
    except ConnectionResetError:
        return True


def test_who_is_let_in(world: World) -> None:
    service = world.service()
    proxies = (
        secret("stcp", "mine", service.port)
        + secret("stcp", "bobs", service.port, extra='allowUsers = ["bob"]')
        + secret("stcp", "all", service.port, extra='allowUsers = ["*"]')
    )
    frps, server_port = world.frps()
    world.frpc(server_port, 'user = "alice"\n', proxies).wait_for("start proxy success", count=3)
    ports = {who: {what: free_port() for what in ("mine", "bobs", "all", "none", "wrong")} for who in ("alice", "bob", "")}
    for who, at in ports.items():
        visitors = "".join(
            visitor(
                "stcp",
                what,
                {"none": "nothing", "wrong": "all"}.get(what, what),
                port,
                "x" if what == "wrong" else "sesame",
                'serverUser = "alice"',
            )
            for what, port in at.items()
        )
        world.frpc(server_port, f'user = "{who}"\n' if who else "", visitors).wait_for("start visitor success", count=5)
    for who, what in (("alice", "mine"), ("bob", "bobs"), ("alice", "all"), ("bob", "all"), ("", "all")):
        assert works(ports[who][what]), (who, what)
    for who, what, text in (
        ("bob", "mine", "visitor connection of [alice.mine] user [bob] not allowed"),
        ("", "mine", "visitor connection of [alice.mine] user [] not allowed"),
        ("alice", "bobs", "visitor connection of [alice.bobs] user [alice] not allowed"),
        ("alice", "none", "custom listener for [alice.nothing] doesn't exist"),
        ("alice", "wrong", "visitor connection of [alice.all] auth failed"),
        ("bob", "wrong", "visitor connection of [alice.all] auth failed"),
    ):
        assert fails(ports[who][what]), (who, what)
        frps.wait_for(text, deadline=2)
        for program in world.programs:
            if f"error: {text}" in program.output:
                break
        else:
            pytest.fail(f"nobody was told: {text}")


def test_without_a_server_user_it_is_the_own_one(world: World) -> None:
    service = world.service()
    port = free_port()
    me = 'user = "me"\n'
    pair(world, secret("stcp", "it", service.port), visitor("stcp", "v", "it", port), owner=me, guest=me)
    assert works(port)


def test_a_server_that_does_not_tell_details(world: World) -> None:
    port = free_port()
    _, server_port = world.frps("detailedErrorsToClient = false\n")
    frpc = world.frpc(server_port, "", visitor("stcp", "v", "nothing", port))
    frpc.wait_for("start visitor success")
    assert fails(port)
    frpc.wait_for("[v] start new visitor connection error: register visitor conn error", deadline=2)


def test_a_visitor_without_a_port(world: World) -> None:
    _, server_port = world.frps()
    world.frpc(server_port, "", visitor("stcp", "v", "nothing", -1)).wait_for("[v] start visitor success")


@pytest.mark.slow
def test_a_port_that_is_taken_is_tried_again(world: World) -> None:
    _, server_port = world.frps()
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        frpc = world.frpc(server_port, "", visitor("stcp", "v", "it", port))
        frpc.wait_for(f"[v] start error: listen tcp {HOST}:{port}: bind: address already in use")
    frpc.wait_for("try to start visitor [v]", deadline=14)
    frpc.wait_for("[v] start visitor success", deadline=1)


def test_visitors_come_back_with_the_session(world: World) -> None:
    service = world.service()
    port = free_port()
    frps, server_port = world.frps()
    theirs = world.frpc(server_port, "", secret("stcp", "it", service.port))
    theirs.wait_for("start proxy success")
    wire = world.wire(server_port)
    ours = world.frpc(wire.port, "", visitor("stcp", "v", "it", port))
    ours.wait_for("start visitor success")
    assert works(port)
    wire.cut()
    ours.wait_for("start visitor success", count=2)
    assert works(port)
    theirs.kill()
    frps.wait_for("client exit success", count=2)
    assert fails(port)


@pytest.mark.parametrize("wires", [("v1", "v1"), ("v1", "v2"), ("v2", "v1"), ("v2", "v2")], ids="-".join)
@pytest.mark.parametrize(
    ("common", "proxy_extra", "visitor_extra"),
    [("", "", ""), ("transport.tcpMux = false\n", ENCRYPTED, "transport.useEncryption = true\n")],
    ids=["mux", "nomux-encrypted"],
)
def test_datagrams_pass(world: World, services: Any, wires: tuple[str, str], common: str, proxy_extra: str, visitor_extra: str) -> None:
    service: UdpService = services()
    port = free_udp_port()
    pair(
        world,
        secret("sudp", "it", service.port, extra=proxy_extra),
        visitor("sudp", "v", "it", port, extra=visitor_extra),
        server=common,
        owner=f'transport.wireProtocol = "{wires[0]}"\n',
        guest=f'transport.wireProtocol = "{wires[1]}"\n',
    )
    with user(port) as one, user(port) as two:
        for n in (1, 0, 700, 1500):
            data = os.urandom(n)
            assert ask(one, data) == data
            assert ask(two, data) == data
        one.send(bytes(1600))
        assert one.recv(2000) == bytes(1500)
    assert len(service.users) == 2


def test_two_visitors_of_one_service(world: World, services: Any) -> None:
    service: UdpService = services()
    ports = [free_udp_port(), free_udp_port()]
    visitors = visitor("sudp", "a", "it", ports[0]) + visitor("sudp", "b", "it", ports[1])
    pair(world, secret("sudp", "it", service.port), visitors)
    with user(ports[0]) as one, user(ports[1]) as two:
        for _ in range(3):
            assert ask(one, b"one") == b"one"
            assert ask(two, b"two") == b"two"


def test_a_sudp_visitor_tries_again_with_later_datagrams(world: World, services: Any) -> None:
    service: UdpService = services()
    port = free_udp_port()
    _, server_port = world.frps()
    ours = world.frpc(server_port, "", visitor("sudp", "v", "it", port))
    ours.wait_for("start visitor success")
    with user(port) as sock:
        assert not answers(sock)
        ours.wait_for("[v] start new visitor connection error: custom listener for [it] doesn't exist")
        theirs = world.frpc(server_port, "", secret("sudp", "it", service.port))
        theirs.wait_for("start proxy success")
        eventually(lambda: answers(sock), "it works")
        theirs.kill()
        eventually(lambda: not answers(sock), "it has noticed")
        world.frpc(server_port, "", secret("sudp", "it", service.port)).wait_for("start proxy success")
        eventually(lambda: answers(sock), "it works again")
