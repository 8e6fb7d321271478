"""HTTP/2 by prior knowledge on the HTTP port."""

from __future__ import annotations

import contextlib
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.events
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import H2Error

from tests.support.http import Recorder, curl, nginx_in, read_request, service, web, web_tunnel
from tests.support.programs import HOST, World, eventually


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[int]:
    with nginx_in(tmp_path) as port:
        yield port


def test_http_2_with_prior_knowledge(world: World, nginx: int, tmp_path: Path) -> None:
    (tmp_path / "files" / "a").write_bytes(b"a" * 100_000)
    it = web_tunnel(world, web("web", nginx))
    resolve = ["--resolve", f"web.test:{it.port}:{HOST}", "--resolve", f"other.test:{it.port}:{HOST}", "--http2-prior-knowledge"]
    assert curl(*resolve, f"http://web.test:{it.port}/who") == "127.0.0.1 web.test GET\n"
    assert "HTTP/2 404" in curl(*resolve, "--include", f"http://other.test:{it.port}/")
    assert curl(*resolve, f"http://web.test:{it.port}/files/a") == "a" * 100_000
    assert curl(*resolve, "--head", f"http://web.test:{it.port}/files/a").startswith("HTTP/2 200")


class H2User:
    """A user of HTTP/2 who multiplexes; responses are kept by stream."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection((HOST, port), 10)
        self.core = H2Connection(H2Configuration(header_encoding=None))
        self.core.initiate_connection()
        self.status: dict[int, bytes] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.trailers: dict[int, list[tuple[bytes, bytes]]] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.closed = False
        self.acknowledges = True

    def request(self, path: str, *, method: str = "GET", body: bytes | None = None, end: bool = True) -> int:
        stream = self.core.get_next_available_stream_id()
        headers = [
            (":method", method),
            (":path", path),
            (":scheme", "http"),
            (":authority", "web.test"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
        ]
        self.core.send_headers(stream, headers, end_stream=body is None and end)
        if body is not None:
            self.core.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def flush(self) -> None:
        self.sock.sendall(self.core.data_to_send())

    def run(self, until: Callable[[], bool]) -> None:
        while not until() and not self.closed:
            data = self.sock.recv(1 << 16)
            if not data:
                self.closed = True
                return
            for event in self.core.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.status[event.stream_id] = dict(event.headers)[b":status"]
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] += event.data
                    if self.acknowledges:
                        self.core.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    self.trailers[event.stream_id] = [(bytes(name), bytes(value)) for name, value in event.headers]
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    self.resets[event.stream_id] = event.error_code
                elif isinstance(event, h2.events.ConnectionTerminated):
                    self.closed = True
            self.flush()


def test_h2_multiplexes(world: World) -> None:
    recorder = Recorder()
    it = web_tunnel(world, web("web", service(world, recorder)))
    user = H2User(it.port)
    with user.sock:
        bodies = {user.request(f"/{i}", method="POST", body=b"%d" % i * 100): i for i in range(100)}
        user.run(lambda: user.ended >= bodies.keys())
        for stream, i in bodies.items():
            assert user.status[stream] == b"200"
            assert user.bodies[stream].startswith(b"POST /%d HTTP/1.1\r\nHost: web.test\r\n" % i)
            assert b"\r\ncookie: a=b; c=d\r\n" in user.bodies[stream]
            assert user.bodies[stream].count(b"%d" % i * 100) == 1


def test_h2_bodies_in_pieces_and_trailers(world: World) -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n"
    requests = []

    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while (request := read_request(file)) is not None:
            requests.append(request)
            connection.sendall(response)

    it = web_tunnel(world, web("web", service(world, handle)))
    user = H2User(it.port)
    with user.sock:
        stream = user.request("/a", method="POST", end=False)
        for piece in (b"one", b"two"):
            user.core.send_data(stream, piece)
            user.flush()
        user.core.send_headers(stream, [("x-up", "1")], end_stream=True)
        user.flush()
        user.run(lambda: stream in user.ended)
        assert (user.status[stream], user.bodies[stream], user.trailers[stream]) == (b"200", b"hello", [(b"x-t", b"y")])
        assert b"Transfer-Encoding: chunked\r\n" in requests[0]
        assert requests[0].endswith(b"0\r\nx-up: 1\r\n\r\n")


def test_h2_a_stream_that_is_not_read_stops_its_service_only(world: World) -> None:
    size = 32 << 20
    sent = []

    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while (request := read_request(file)) is not None:
            if request.startswith(b"GET /big"):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(size >> 16):
                    connection.sendall(bytes(1 << 16))
                    sent.append(1)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    backend = world.service(handle)
    it = web_tunnel(world, web("web", backend.port))
    before = world.programs[0].figures.rss
    user = H2User(it.port)
    user.core.increment_flow_control_window(1 << 24)
    with user.sock:
        user.acknowledges = False
        big = user.request("/big")
        user.run(lambda: len(user.bodies[big]) >= 65535)
        for _ in range(100):
            stream = user.request("/")
            user.run(lambda stream=stream: stream in user.ended)  # type: ignore[misc]
            assert user.bodies[stream] == b"ok"
        assert len(sent) << 16 < size / 2
        assert world.programs[0].figures.rss < before + 20
        user.core.reset_stream(big)
        user.flush()
        eventually(lambda: backend.open <= 1, "the service hears that nobody wants it")


def test_h2_hostile_users(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, Recorder())))
    user = H2User(it.port)
    with user.sock:  # opens streams and gives them up
        with contextlib.suppress(OSError):
            for _ in range(2000):
                user.core.reset_stream(user.request("/"))
                user.flush()
        with contextlib.suppress(OSError, H2Error):
            user.run(lambda: False)
    for rubbish in (b"\xff" * 100, b"\0\0\1\0\0\0\0\0\1x", b"\0\x40\1\1\0\0\0\0\1" + bytes(16385), b"\0\0\0\4\1\0\0\0\0" * 10):
        with socket.create_connection((HOST, it.port), 10) as sock:
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + rubbish)
            sock.shutdown(1)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(1 << 16):
                    pass
    user = H2User(it.port)
    with user.sock:
        wrong = [
            user.request("no-slash"),
            user.request("/%zz"),
            user.request("/", method="G T"),
        ]
        good = user.request("/good")
        user.run(lambda: user.ended >= {*wrong, good} or bool(user.resets))
        assert [user.status[stream] for stream in wrong] == [b"400"] * 3
        assert user.status[good] == b"200"
