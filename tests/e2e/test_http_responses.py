"""Responses of all kinds of services, as users get them."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.support.http import get, once, read_request, saying, service, web, web_tunnel
from tests.support.programs import World

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


INVALID = [
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
]


def test_an_invalid_response_is_answered_by_the_page(world: World) -> None:
    responses = iter(INVALID)

    def handle(connection: socket.socket) -> None:
        once(next(responses))(connection)

    it = web_tunnel(world, web("web", service(world, handle)))
    with it.user() as user:
        for response in INVALID:
            answer = user.send(get()).answer()
            assert answer.status == 404, response[:100]
            assert b"was not found" in answer.body
            assert answer.get("Content-Type") == "text/html; charset=utf-8"
            assert answer.get("Server") is None
    world.programs[0].wait_for("do http proxy request [host: web.test] error: ", count=len(INVALID))


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
