"""Upgrades, CONNECT, shared ports, and users and clients who come and go."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest
from websockets.sync.client import connect as websocket
from websockets.sync.server import serve as serve_websocket

from tests.support.http import Recorder, User, Web, basic, curl, get, saying, service, web, web_tunnel
from tests.support.ports import free_port
from tests.support.programs import HOST, World, eventually

# other protocols


def test_websocket(world: World) -> None:
    def handle(connection: object) -> None:
        for message in connection:  # type: ignore[attr-defined]
            connection.send(message)  # type: ignore[attr-defined]

    with serve_websocket(handle, HOST, 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        it = web_tunnel(world, web("web", port, 'responseHeaders.set.X-Set = "1"'))
        with websocket("ws://web.test/chat", sock=socket.create_connection((HOST, it.port)), max_size=None) as connection:
            assert connection.response is not None
            assert connection.response.headers["X-Set"] == "1"
            for message in ("hello", os.urandom(3 << 20), ""):
                connection.send(message)
                assert connection.recv(10) == message
            assert connection.ping().wait(10)
        server.shutdown()


def test_an_upgrade_that_is_refused_is_an_ordinary_response(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, saying(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"))))
    with it.user() as user:
        for _ in range(2):
            answer = user.send(get(fields=b"Connection: Upgrade\r\nUpgrade: websocket\r\n")).answer()
            assert answer.status == 426


def test_connect(world: World) -> None:
    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.readline()
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n" + head)
        while data := file.read1(1 << 16):
            connection.sendall(data)

    it = web_tunnel(world, web("web", service(world, handle), 'httpUser = "u"\nhttpPassword = "p"'))
    head = b"CONNECT web.test:22 HTTP/1.1\r\nHost: web.test:22\r\nProxy-Authorization: " + basic("u", "p") + b"\r\nX: y\r\n\r\n"
    with it.user() as user:
        user.send(head + b"early")
        expected = b"HTTP/1.1 200 Connected\r\n\r\n" + head + b"early"
        assert user.receive(len(expected)) == expected
        assert user.send(b"more").receive(4) == b"more"
    with it.user() as user:
        answer = user.send(b"CONNECT web.test:22 HTTP/1.1\r\nHost: web.test:22\r\n\r\n").answer()
        assert answer.status == 407
    with it.user() as user:
        answer = user.send(b"CONNECT x.test:22 HTTP/1.1\r\nHost: x.test:22\r\n\r\n").answer()
        assert (answer.status, answer.get("Content-Type")) == (404, "text/html")
        assert (answer.get("Server") or "").startswith("frp/")
        assert user.rest() == b""


def test_one_port_for_clients_and_users(world: World) -> None:
    port = free_port()
    frps, _ = world.frps(f"vhostHTTPPort = {port}", port=port)
    frps.wait_for(f"http service listen on {HOST}:{port}")
    world.frpc(port, "", web("web", service(world, Recorder()))).wait_for("start proxy success")
    with User(port) as user:
        for _ in range(2):
            assert user.send(get()).answer().status == 200
    assert curl("--http2-prior-knowledge", "-H", "Host: web.test", f"http://{HOST}:{port}/h2").startswith("GET /h2 ")


def test_the_port_is_taken(world: World) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        config = f'bindAddr = "{HOST}"\nbindPort = {free_port()}\nvhostHTTPPort = {port}\n'
        program = world.start("server", config)
        assert program.wait() == 1
        assert f"create vhost http listener error, listen tcp {HOST}:{port}: bind: address already in use" in program.output


# who comes and goes


def test_users_who_leave_take_their_service_along(world: World) -> None:
    def handle(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    backend = world.service(handle)
    it = web_tunnel(world, web("web", backend.port))
    frps = world.programs[0]
    before = frps.figures.descriptors
    for data in (get(), b"PUT / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 9\r\n\r\nabc"):
        user = it.user().send(data)
        eventually(lambda: backend.open == 1, "the service is asked")
        user.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        user.close()
        eventually(lambda: backend.open == 0, "the service hears of it")
    eventually(lambda: frps.figures.descriptors == before, "nothing is left")


def test_the_client_goes_and_comes_back(world: World) -> None:
    backend = service(world, Recorder())
    it: Web = web_tunnel(world, web("web", backend))
    with it.user() as user:
        assert user.send(get()).answer().status == 200
        world.programs[1].kill()
        world.programs[0].wait_for("client exit success")
        assert user.send(get()).answer().status == 404
        world.frpc(it.server_port, "", web("web", backend)).wait_for("start proxy success")
        assert user.send(get()).answer().status == 200


def test_a_server_that_stops_lets_its_users_go(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, Recorder())))
    with it.user() as user:
        assert user.send(get()).answer().status == 200
        began = time.monotonic()
        world.programs[0].stop()
        with pytest.raises((ConnectionResetError, AssertionError)):
            user.send(get()).answer()
        assert time.monotonic() - began < 5


def test_no_descriptor_is_left_behind(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, Recorder())))
    frps, frpc = world.programs
    with it.user() as user:
        user.send(get()).answer()
    before = frps.figures.descriptors
    for _ in range(100):
        with it.user() as user:
            user.send(get(fields=b"Connection: close\r\n")).answer()
    eventually(lambda: frps.figures.descriptors <= before, "all users are gone")
    assert frpc.runs
