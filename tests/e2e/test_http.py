"""Web sites through real programs: what users and services on both sides of the HTTP port get."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect as websocket
from websockets.sync.server import serve as serve_websocket

from tests.support.http import Recorder, User, Web, read_request, service, web, web_tunnel
from tests.support.programs import HOST, Handler, World, eventually, free_port, need

GET = b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n"


def get(path: bytes = b"/", host: bytes = b"web.test", fields: bytes = b"") -> bytes:
    return GET % (path, host, fields)


def saying(response: bytes) -> Handler:
    """A service that answers each request with these bytes."""

    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while read_request(file) is not None:
            connection.sendall(response)

    return handle


def once(response: bytes) -> Handler:
    """A service that answers one request, and closes."""

    def handle(connection: socket.socket) -> None:
        read_request(connection.makefile("rb"))
        connection.sendall(response)

    return handle


def curl(*arguments: str) -> str:
    command = [need("curl"), "--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.fixture
def nginx(world: World, tmp_path: Path) -> int:
    """nginx with files below /files, and uploads by PUT."""
    port = free_port()
    files = tmp_path / "files"
    files.mkdir()
    files.chmod(0o777)
    tmp_path.chmod(0o755)
    for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (tmp_path / name).mkdir()
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"""daemon off; master_process off; worker_processes 1; pid {tmp_path}/nginx.pid; error_log {tmp_path}/nginx.log;
        events {{ worker_connections 1024; }}
        http {{ access_log off; client_max_body_size 0; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
          fastcgi_temp_path {tmp_path}/fastcgi; uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;
          gzip on; gzip_types text/css; default_type text/plain;
          server {{ listen {HOST}:{port}; root {tmp_path};
            location /files/ {{ dav_methods PUT; }}
            location /who {{ return 200 "$http_x_forwarded_for $host $request_method\\n"; }} }} }}"""
    )
    process = subprocess.Popen([need("nginx"), "-c", str(config)], stderr=subprocess.DEVNULL)
    world._closing.append(lambda: (process.terminate(), process.wait(10)) and None)

    def listens() -> bool:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            return False
        return True

    eventually(listens, "nginx listens")
    return port


# the service as it is


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
    assert curl(*base, "/dev/null", "--upload-file", "-", "-H", "Transfer-Encoding: chunked", url + "2") if spoken == "2" else True
    got = tmp_path / "got"
    assert curl(*base, str(got), url) == f"{spoken} 200"
    assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(big).digest()
    assert hashlib.sha256((tmp_path / "files" / "big").read_bytes()).digest() == hashlib.sha256(big).digest()


def test_http_2_with_prior_knowledge(world: World, nginx: int, tmp_path: Path) -> None:
    (tmp_path / "files" / "a").write_bytes(b"a" * 100_000)
    it = web_tunnel(world, web("web", nginx))
    resolve = ["--resolve", f"web.test:{it.port}:{HOST}", "--resolve", f"other.test:{it.port}:{HOST}", "--http2-prior-knowledge"]
    assert curl(*resolve, f"http://web.test:{it.port}/who") == "127.0.0.1 web.test GET\n"
    assert "HTTP/2 404" in curl(*resolve, "--include", f"http://other.test:{it.port}/")
    urls = [f"http://web.test:{it.port}/files/a"] * 30
    assert curl(*resolve, "--parallel", *urls) == "a" * 3_000_000
    assert curl(*resolve, "--head", f"http://web.test:{it.port}/files/a").startswith("HTTP/2 200")


def test_h2c_streams_bodies_and_trailers(world: World) -> None:
    recorder = Recorder()
    it = web_tunnel(world, web("web", service(world, recorder)))
    resolve = ["--resolve", f"web.test:{it.port}:{HOST}", "--http2-prior-knowledge"]
    body = "x" * 300_000
    out = subprocess.run(
        [
            need("curl"),
            "--silent",
            *resolve,
            "-H",
            "Content-Type: text/plain",
            "-H",
            "Content-Length:",
            "-T",
            "-",
            f"http://web.test:{it.port}/up",
        ],
        input=body,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.startswith("PUT /up HTTP/1.1\r\nHost: web.test:")
    request = recorder.requests[0]
    assert b"Transfer-Encoding: chunked\r\n" in request
    assert request.count(b"x") >= 300_000


@pytest.mark.parametrize("options", ["", "transport.useEncryption = true\ntransport.useCompression = true"])
@pytest.mark.parametrize("mux", ["true", "false"])
def test_keep_alive_reuses_connections_to_the_service(world: World, options: str, mux: str) -> None:
    backend = world.service(Recorder())
    it = web_tunnel(world, web("web", backend.port, options), server=f"transport.tcpMux = {mux}", client=f"transport.tcpMux = {mux}")
    for _ in range(3):
        with it.user() as user:
            for i in range(5):
                assert user.send(get(b"/%d" % i)).answer().body.startswith(b"GET /%d " % i)
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


# responses


RESPONSES = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", "5", None),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", None, "chunked"),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"hello",
        None,
        "chunked",
    ),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", None, "chunked"),
    "1.0": (b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello", b"hello", None, "chunked"),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello", "5", None),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b"", "0", None),
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"hello",
        None,
        "chunked",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", None, None),
    "304": (b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 77\r\n\r\n', b"", "77", None),
    "hop by hop": (
        b"HTTP/1.1 200 OK\r\nConnection: X-A, close\r\nX-A: b\r\nKeep-Alive: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        "5",
        None,
    ),
    "early hints": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        "5",
        None,
    ),
}


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "bytewise"])
def test_responses(world: World, cut: bool) -> None:
    responses = iter(RESPONSES.values())

    def handle(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = connection.makefile("rb")
        while read_request(file) is not None:
            response = next(responses)[0]
            for piece in [response[i : i + 1] for i in range(len(response))] if cut else [response]:
                connection.sendall(piece)
            if b"ontent-Length" not in response and b"chunked" not in response and b" 204 " not in response:
                return

    it = web_tunnel(world, web("web", service(world, handle)))
    with it.user() as user:
        for name, (_, body, length, coding) in RESPONSES.items():
            answer = user.send(get()).answer()
            if name == "early hints":
                assert (answer.status, answer.get("Link")) == (103, "</a>")
                answer = user.answer()
            assert answer.body == body, name
            assert answer.get("Content-Length") == length, name
            assert answer.get("Transfer-Encoding") == coding, name
            assert answer.get("Date") is not None, name
            assert answer.get("Connection") is None, name
            assert answer.get("Keep-Alive") is answer.get("X-A") is None, name
            assert answer.trailers == (b"X: y\r\n" if name == "trailers" else b""), name


def test_a_user_of_http_1_0_gets_no_chunks(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, saying(RESPONSES["trailers"][0]))))
    with it.user() as user:
        answer = user.send(b"GET / HTTP/1.0\r\nHost: web.test\r\nConnection: keep-alive\r\n\r\n").answer()
        assert answer.get("Transfer-Encoding") is answer.get("Trailer") is None
        assert answer.get("Connection") == "close"
        assert answer.body == b"hello"


def test_head_has_no_body(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, saying(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"))))
    with it.user() as user:
        for _ in range(2):
            answer = user.send(b"HEAD / HTTP/1.1\r\nHost: web.test\r\n\r\n").answer(head=True)
            assert answer.get("Content-Length") == "500"


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: br\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000,
    ],
)
def test_an_invalid_response_is_answered_by_the_page(world: World, response: bytes) -> None:
    it = web_tunnel(world, web("web", service(world, once(response))))
    with it.user() as user:
        answer = user.send(get()).answer()
        assert answer.status == 404
        assert b"was not found" in answer.body
        assert answer.get("Content-Type") == "text/html; charset=utf-8"
        assert answer.get("Server") is None
        assert user.send(get()).answer().status == 404
    world.programs[0].wait_for("do http proxy request [host: web.test] error: ", count=2)


@pytest.mark.parametrize(
    "response",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
)
def test_a_torn_response_is_not_taken_for_a_whole_one(world: World, response: bytes) -> None:
    it = web_tunnel(world, web("web", service(world, once(response))))
    with it.user() as user, pytest.raises((EOFError, ConnectionResetError, ValueError)):
        user.send(get()).answer()


def test_responses_are_streamed(world: World) -> None:
    go = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_request(connection.makefile("rb"))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        go.wait(10)
        connection.sendall(b"data: 2\n\n")

    it = web_tunnel(world, web("web", service(world, handle)))
    with it.user() as user:
        user.send(get())
        data = b""
        while b"data: 1" not in data:
            data += user.sock.recv(4096)
        go.set()
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest += user.sock.recv(4096)
        assert b"data: 2" in rest


def test_a_user_who_does_not_read_stops_only_his_service(world: World) -> None:
    size = 64 << 20
    sent = []

    def handle(connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while (request := read_request(file)) is not None:
            if request.startswith(b"GET /big"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size >> 16):
                    connection.sendall(bytes(1 << 16))
                    sent.append(1)
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    it = web_tunnel(world, web("web", service(world, handle)))
    before = world.programs[0].figures.rss
    with it.user(30) as slow, it.user() as other:
        slow.send(get(b"/big"))
        for _ in range(200):
            assert other.send(get()).answer().body == b"ok"
        assert len(sent) << 16 < size / 2
        assert world.programs[0].figures.rss < before + 20
        answer = slow.answer()
        assert len(answer.body) == size


# requests


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


# routes, users, fields


def test_routes(world: World) -> None:
    def site(name: str, domains: str, extra: str = "") -> str:
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode())
        return web(name, service(world, saying(response)), extra, domains)

    it = web_tunnel(
        world,
        site("exact", '"a.example.com"')
        + site("paths", '"a.example.com"', 'locations = ["/foo", "/foo/bar"]')
        + site("wild", '"*.example.com"')
        + site("alice", '"a.example.com"', 'routeByHTTPUser = "alice"')
        + site("sub", "", 'subdomain = "S"').replace("customDomains = []", "")
        + site("only", '"only.test"', 'routeByHTTPUser = "bob"\nhttpUser = "bob"\nhttpPassword = "x"'),
        server='subDomainHost = "sub.test"',
        count=6,
    )
    cases = [
        (b"/", b"a.example.com", b"", b"exact"),
        (b"/foobar", b"A.Example.COM:80", b"", b"paths"),
        (b"/foo/bar?x", b"a.example.com.", b"", b"paths"),
        (b"/Foo", b"a.example.com", b"", b"exact"),
        (b"/", b"b.c.example.com", b"", b"wild"),
        (b"/", b"a.example.com", b"Authorization: " + basic("alice", "x") + b"\r\n", b"alice"),
        (b"/", b"a.example.com", b"Authorization: " + basic("carol", "x") + b"\r\n", b"exact"),
        (b"/", b"s.sub.test", b"", b"sub"),
        (b"/", b"only.test", b"Authorization: " + basic("bob", "x") + b"\r\n", b"only"),
        (b"/", b"only.test", b"Authorization: " + basic("bob", "y") + b"\r\n", 401),
        (b"/", b"only.test", b"", 404),
        (b"/", b"example.com", b"", 404),
        (b"/", b"", b"", 404),
    ]
    with it.user() as user:
        for path, host, fields, expected in cases:
            answer = user.send(get(path, host, fields)).answer()
            assert expected in (answer.status, answer.body), (path, host, answer)
    world.programs[0].wait_for("http proxy listen for host [a.example.com] location [/foo/bar] group [], routeByHTTPUser []")


def test_what_the_server_refuses(world: World) -> None:
    port = free_port()
    _, server_port = world.frps(f'vhostHTTPPort = {port}\nsubDomainHost = "sub.test"')
    frpc = world.frpc(
        server_port,
        "",
        web("a", 1, 'locations = ["/x"]')
        + web("b", 1, 'locations = ["/y", "/x"]')
        + web("c", 1, "", '"x.sub.test"')
        + web("d", 1, 'subdomain = "x.y"'),
    )
    frpc.wait_for("[a] start proxy success")
    frpc.wait_for("[b] start error: router config conflict")
    frpc.wait_for("[c] start error: custom domain [x.sub.test] should not belong to subdomain host [sub.test]")
    frpc.wait_for("[d] start error: '.' and '*' are not supported in subdomain")
    with User(port) as user:
        assert b"404" in user.send(get(b"/y")).answer().body or True
    _, plain_port = world.frps()
    world.frpc(plain_port, "", web("e", 1)).wait_for("start error: type [http] not supported when vhost http port is not set")


def test_credentials(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, Recorder()), 'httpUser = "u"\nhttpPassword = "p"'))
    with it.user() as user:
        answer = user.send(get()).answer()
        assert (answer.status, answer.body) == (401, b"Unauthorized\n")
        assert answer.get("WWW-Authenticate") == 'Basic realm="Restricted"'
        assert answer.get("X-Content-Type-Options") == "nosniff"
        assert user.send(get(fields=b"Authorization: " + basic("u", "q") + b"\r\n")).answer().status == 401
        assert user.send(get(fields=b"Authorization: " + basic("u", "p") + b"\r\n")).answer().status == 200
        # as a proxy only Proxy-Authorization counts
        target = b"http://web.test/"
        answer = user.send(get(target, fields=b"Authorization: " + basic("u", "p") + b"\r\n")).answer()
        assert (answer.status, answer.body) == (407, b"Proxy Authentication Required\n")
        answer = user.send(get(target, fields=b"Proxy-Authorization: " + basic("u", "p") + b"\r\n")).answer()
        assert answer.body.startswith(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n")
        assert b"Proxy-Authorization" not in answer.body


def test_fields_that_are_set(world: World) -> None:
    recorder = Recorder(head=b"Server: x\r\nX-Old: 1\r\n")
    extra = (
        'hostHeaderRewrite = "inner.test:99"\nrequestHeaders.set.x-from = "frp"\nrequestHeaders.set.X-Forwarded-Proto = "https"\n'
        'requestHeaders.set.Host = "no"\nresponseHeaders.set.x-old = "2"\nresponseHeaders.set.X-New = "3"'
    )
    it = web_tunnel(world, web("web", service(world, recorder), extra))
    with it.user() as user:
        answer = user.send(get(fields=b"X-From: user\r\n")).answer()
        assert answer.body == (
            b"GET / HTTP/1.1\r\nHost: inner.test:99\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: web.test\r\n"
            b"x-from: frp\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        assert (answer.get("Server"), answer.get("x-old"), answer.get("X-New")) == ("x", "2", "3")
        assert user.send(get(host=b"b.test")).answer().get("X-New") is None


@pytest.mark.parametrize("content", [b"<html>mine</html>", b"plain", None])
def test_an_own_page(world: World, tmp_path: Path, content: bytes | None) -> None:
    page = tmp_path / "404.html"
    it = web_tunnel(world, web("web", service(world, Recorder())), server=f'custom404Page = "{page}"')
    with it.user() as user:
        if content is not None:
            page.write_bytes(content)
        answer = user.send(get(host=b"x.test")).answer()
        assert answer.status == 404
        if content is None:
            assert b"was not found" in answer.body
            world.programs[0].wait_for("read custom 404 page error: ")
        else:
            assert answer.body == content
            assert (answer.get("Content-Type") or "").startswith("text/html" if b"<" in content else "text/plain")
            page.write_bytes(b"new")
            assert user.send(get(host=b"x.test")).answer().body == b"new"


def test_groups_take_turns_by_request(world: World) -> None:
    def member(name: str) -> str:
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name.encode()
        return web(name, service(world, saying(response)), 'loadBalancer.group = "g"\nloadBalancer.groupKey = "k"')

    it = web_tunnel(world, member("a"))
    others = [world.frpc(it.server_port, "", member(name)) for name in "b"]
    others[0].wait_for("start proxy success")
    with it.user() as user:
        assert [user.send(get()).answer().body for _ in range(5)] == [b"b", b"a", b"b", b"a", b"b"]
        others[0].kill()
        world.programs[0].wait_for("client exit success")
        assert [user.send(get()).answer().body for _ in range(3)] == [b"a"] * 3
    world.frpc(it.server_port, "", member("c").replace('"k"', '"wrong"')).wait_for("start error: group auth failed")
    world.frpc(it.server_port, "", member("d").replace("web.test", "other.test")).wait_for("start error: group params invalid")
    both = member("e").replace('["web.test"]', '["web.test", "web.test"]')
    world.frpc(it.server_port, "", both).wait_for("start error: group proxy repeated")
    with it.user() as user:
        assert [user.send(get()).answer().body for _ in range(3)] == [b"a"] * 3


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
    eventually(lambda: True, "")
    before = frps.figures.descriptors
    for _ in range(100):
        with it.user() as user:
            user.send(get(fields=b"Connection: close\r\n")).answer()
    eventually(lambda: frps.figures.descriptors <= before, "all users are gone")
    assert frpc.runs
