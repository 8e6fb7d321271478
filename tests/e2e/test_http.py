"""Web sites through real programs: bodies both ways, whole and in pieces, and what is between the connections."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.http import Recorder, User, curl, get, nginx_in, read_request, service, web, web_tunnel
from tests.support.ports import free_port
from tests.support.programs import HOST, World, eventually


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[int]:
    with nginx_in(tmp_path) as port:
        yield port


def test_a_page_with_all_its_objects(world: World, nginx: int, tmp_path: Path) -> None:
    objects = {f"{i}.bin": os.urandom(200 + i * 997) for i in range(80)}
    for name, content in objects.items():
        (tmp_path / "files" / name).write_bytes(content)
    it = web_tunnel(world, web("web", nginx))
    config = tmp_path / "urls"
    config.write_text("".join(f'url = "http://web.test:{it.port}/files/{name}"\noutput = "{tmp_path}/got-{name}"\n' for name in objects))
    curl("--parallel", "--parallel-max", "6", "--resolve", f"web.test:{it.port}:{HOST}", "--config", str(config))
    for name, content in objects.items():
        assert (tmp_path / f"got-{name}").read_bytes() == content


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_big_bodies_both_ways_through_nginx(world: World, nginx: int, tmp_path: Path, version: str) -> None:
    big = os.urandom(1 << 20) * 24
    source = tmp_path / "source"
    source.write_bytes(big)
    it = web_tunnel(world, web("web", nginx))
    base = ["--resolve", f"web.test:{it.port}:{HOST}", version, "--write-out", "%{http_version} %{http_code}", "--output"]
    url = f"http://web.test:{it.port}/files/big"
    spoken = "2" if "2" in version else "1.1"
    assert curl(*base, "/dev/null", "--upload-file", str(source), url) == f"{spoken} 201"
    got = tmp_path / "got"
    assert curl(*base, str(got), url) == f"{spoken} 200"
    assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(big).digest()
    assert hashlib.sha256((tmp_path / "files" / "big").read_bytes()).digest() == hashlib.sha256(big).digest()


@pytest.mark.parametrize(
    ("mux", "options"),
    [
        ("true", ""),
        ("false", ""),
        ("true", "transport.useEncryption = true\ntransport.useCompression = true"),
        ("false", 'transport.useEncryption = true\ntransport.bandwidthLimit = "1MB"\ntransport.bandwidthLimitMode = "server"'),
    ],
)
def test_keep_alive_reuses_connections_to_the_service(world: World, mux: str, options: str) -> None:
    backend = world.service(Recorder())
    it = web_tunnel(world, web("web", backend.port, options), server=f"transport.tcpMux = {mux}", client=f"transport.tcpMux = {mux}")
    for _ in range(3):
        with it.user() as user:
            for i in range(5):
                request = b"POST /%d HTTP/1.1\r\nHost: web.test\r\nContent-Length: 20000\r\n\r\n" % i + b"x" * 20000
                body = user.send(request).answer().body
                assert body.startswith(b"POST /%d " % i)
                assert body.count(b"x") == 20000
    assert backend.connections == 1


def test_the_pool_keeps_five_connections(world: World) -> None:
    backend = world.service(Recorder())
    it = web_tunnel(world, web("web", backend.port))
    users = [it.user() for _ in range(12)]
    gate = threading.Barrier(12)

    def visit(user: User) -> int:
        gate.wait()
        return user.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 2\r\n\r\na").send(b"b").answer().status

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(visit, users)) == [200] * 12
    eventually(lambda: backend.open <= 5, "not more than five are kept")
    for user in users:
        user.close()


def test_a_service_that_does_not_read_stops_its_user(world: World) -> None:
    go = threading.Event()
    size = 64 << 20

    def handle(connection: socket.socket) -> None:
        go.wait(20)
        file = connection.makefile("rb")
        while file.readline() != b"\r\n":
            pass
        left = size
        while left:
            left -= len(file.read(min(left, 1 << 16)))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    it = web_tunnel(world, web("web", service(world, handle)))
    before = world.programs[0].figures.rss
    with it.user(1) as user:
        user.send(b"PUT / HTTP/1.1\r\nHost: web.test\r\nContent-Length: %d\r\n\r\n" % size)
        sent = 0
        try:
            while sent < size:
                sent += user.sock.send(bytes(1 << 16))
        except TimeoutError:
            pass
        assert sent < size / 2
        assert world.programs[0].figures.rss < before + 20
        go.set()
        user.sock.settimeout(20)
        user.send(bytes(size - sent))
        assert user.answer().body == b"done"


def test_100_continue_comes_from_the_service(world: World) -> None:
    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += file.readline()
        if b"/no " in head:
            connection.sendall(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            return
        if b"/silent " not in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + file.read(5))

    it = web_tunnel(world, web("web", service(world, handle)))
    head = b"POST %b HTTP/1.1\r\nHost: web.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with it.user() as user:
        assert user.send(head % b"/").answer().status == 100
        assert user.send(b"hello").answer().body == b"hello"
    with it.user() as user:  # this one never says that it wants the body
        assert user.send(head % b"/silent").answer().status == 100
        assert user.send(b"hello").answer().body == b"hello"
    with it.user() as user:
        answer = user.send(head % b"/no").answer()
        assert answer.status == 417
        assert answer.get("Connection") == "close"
        assert user.rest() == b""


def test_an_early_response_reaches_a_user_who_still_sends(world: World) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        connection.recv(1 << 16)

    it = web_tunnel(world, web("web", service(world, handle)))
    with it.user() as user:
        user.send(b"PUT / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 100000\r\n\r\nabc")
        answer = user.answer()
        assert (answer.status, answer.body, answer.get("Connection")) == (413, b"big", "close")


def test_a_stale_connection_is_replaced(world: World) -> None:
    seen: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        """Answers one request, and closes when the next one comes."""
        file = connection.makefile("rb")
        seen.append(read_request(file) or b"")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        read_request(file)

    backend = world.service(handle)
    it = web_tunnel(world, web("web", backend.port))
    with it.user() as user:
        for i in range(4):
            assert user.send(get(b"/%d" % i)).answer().body == b"ok"
        assert backend.connections == 4
        # a request that might be done twice is not repeated
        assert user.send(b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 2\r\n\r\nab").answer().status == 404
        assert user.send(get()).answer().body == b"ok"
        assert user.send(b"DELETE / HTTP/1.1\r\nHost: web.test\r\nIdempotency-Key: 1\r\n\r\n").answer().body == b"ok"
    assert not any(request.startswith(b"POST") for request in seen)


def test_a_service_that_does_not_answer(world: World) -> None:
    def handle(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    it = web_tunnel(world, web("web", service(world, handle)), server="vhostHTTPTimeout = 1")
    with it.user() as user:
        answer = user.send(get()).answer()
        assert (answer.status, answer.body, answer.get("Content-Length")) == (504, b"", "0")
        assert user.send(get(b"/", b"nobody.test")).answer().status == 404  # the connection goes on


def test_a_service_that_is_not_there(world: World) -> None:
    it = web_tunnel(world, web("web", free_port()))
    with it.user() as user:
        assert user.send(get()).answer().status == 404
        assert user.send(get()).answer().status == 404
    world.programs[1].wait_for("connect to local service", count=2)
