"""Users and what they expect.

Each function is one visit: it raises `Fault` for what must never happen, and OSError for what may while something is broken on the way.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from http.client import HTTPConnection, HTTPException
from time import sleep as pause
from typing import Any, TypeAlias

import trustme

from tests.support.programs import HOST, connect, receive_exactly, reset

Dial: TypeAlias = Callable[[], socket.socket]
"""Makes a user's connection to the service."""

PATIENCE = 30.0
"""Seconds after which a user who hears nothing has been forgotten: also a dead link is noticed long before."""


_MANY, _MANY_TIME = 200, 5.0  # connections of one visit, on a machine that serves as many within so many seconds
_LATE = 6.0  # s after which a datagram won't come: a program may stand still for 4

AUTHORITY = trustme.CA()
"""Vouches for the service under TLS."""


class Fault(Exception):
    """Something that must never happen."""


class Broken(OSError):
    """A connection ended before its time."""


def serve(connection: socket.socket, name: bytes = b"") -> None:
    """The service: a byte that says what is wanted, then that."""
    match connection.recv(1):
        case b"e":  # echo
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        case b"h":  # take all up to the end, answer with its hash
            digest = hashlib.sha256(name)
            while data := connection.recv(1 << 16):
                digest.update(data)
            connection.sendall(digest.digest())
        case b"d":  # a seed and a length: that much noise
            seed, size = receive_exactly(connection, 8), int(receive_exactly(connection, 8) or b"0")
            for piece in noise(name + seed, size):
                connection.sendall(piece)


@cache
def _served_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("*.soak.test").configure_cert(context)
    return context


def serve_tls(connection: socket.socket, name: bytes = b"") -> None:
    """The same service under TLS."""
    with _served_tls().wrap_socket(connection, server_side=True) as tls:
        serve(tls, name)


def noise(seed: bytes, size: int) -> list[bytes]:
    """`size` bytes made of a seed, in pieces."""
    rng = random.Random(seed)
    return [rng.randbytes(min(1 << 16, size - at)) for at in range(0, size, 1 << 16)]


def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except TimeoutError:
        raise Fault(f"a user could send nothing for {PATIENCE:g} s") from None


def _receive(sock: socket.socket, n: int) -> bytes:
    try:
        return sock.recv(n)
    except TimeoutError:
        raise Fault(f"a user heard nothing for {PATIENCE:g} s") from None


@contextlib.contextmanager
def _connected(dial: Dial) -> Iterator[socket.socket]:
    try:
        sock = dial()
    except TimeoutError:
        raise Fault(f"no connection within {PATIENCE:g} s") from None
    with sock:
        yield sock


def through_connect(sock: socket.socket, host: str) -> socket.socket:
    """Ask the other side for `host`, as users of tcpmux do."""
    try:
        sock.sendall(b"CONNECT %b:80 HTTP/1.1\r\nHost: %b:80\r\n\r\n" % (host.encode(), host.encode()))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            if not byte:
                raise Broken("no answer to CONNECT")
            head += byte
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Broken(f"CONNECT was answered with {head!r}")
    except BaseException:
        sock.close()
        raise
    return sock


def echo(dial: Dial, rng: random.Random, name: bytes = b"") -> None:
    """Send and receive at once; all that comes back is what was sent."""
    data = rng.randbytes(rng.choice((1, 100, 5_000, 200_000, 2_000_000)))
    with _connected(dial) as sock:
        sending = threading.Thread(target=_quietly, args=(sock, b"e" + data))
        sending.start()
        got = bytearray()
        try:
            while len(got) < len(data):
                piece = _receive(sock, 1 << 18)
                if not piece:
                    raise Broken(f"echo ended after {len(got)} of {len(data)} bytes")
                got += piece
                if got[-len(piece) :] != data[len(got) - len(piece) : len(got)]:
                    raise Fault(f"echo is wrong within the bytes up to {len(got)}")
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sending.join(PATIENCE)


def _quietly(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # whoever receives notices
        sock.sendall(data)


def half_close(dial: Dial, rng: random.Random, name: bytes = b"") -> None:
    """The answer comes after the end of what is sent."""
    data = rng.randbytes(rng.choice((1, 10_000, 500_000)))
    with _connected(dial) as sock:
        _send(sock, b"h" + data)
        sock.shutdown(socket.SHUT_WR)
        got = bytearray()
        while piece := _receive(sock, 100):
            got += piece
    if len(got) < 32:
        raise Broken("no whole answer after a half-close")
    if bytes(got) != hashlib.sha256(name + data).digest():
        raise Fault("the service has seen other bytes, or fewer, and took them for the whole")


def slow_reader(dial: Dial, rng: random.Random, name: bytes = b"") -> None:
    """A download that is read with pauses."""
    size, seed = rng.choice((300_000, 3_000_000)), rng.randbytes(8)
    expected = b"".join(noise(name + seed, size))
    with _connected(dial) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)  # under a segment of loopback, 64 KB, the kernel crawls by itself
        _send(sock, b"d" + seed + b"%08d" % size)
        at, pauses = 0, rng.randrange(1, 20)
        while at < size:
            piece = _receive(sock, 1 << 16)
            if not piece:
                raise Broken(f"download ended after {at} of {size} bytes")
            if piece != expected[at : at + len(piece)]:
                raise Fault(f"download is wrong within the bytes from {at}")
            at += len(piece)
            if pauses and rng.random() < 0.3:
                pauses -= 1
                pause(rng.random() * 0.2)
        if _receive(sock, 1):
            raise Fault("a download has too many bytes")


def leaver(dial: Dial, rng: random.Random, name: bytes = b"") -> None:
    """Goes away in the midst of it, with or without a word."""
    with _connected(dial) as sock, contextlib.suppress(OSError):
        _send(sock, b"d" + rng.randbytes(8) + b"%08d" % 5_000_000)
        for _ in range(rng.randrange(5)):
            _receive(sock, 10_000)
        if rng.random() < 0.5:
            reset(sock)


def keeper(dial: Dial, rng: random.Random, name: bytes = b"") -> None:
    """Stays for some seconds and says little."""
    with _connected(dial) as sock:
        _send(sock, b"e")
        for _ in range(rng.randrange(3, 12)):
            word = rng.randbytes(rng.randrange(1, 64))
            _send(sock, word)
            got = b""
            while len(got) < len(word):
                piece = _receive(sock, 64)
                if not piece:
                    raise Broken("a connection at rest was ended")
                got += piece
            if got != word:
                raise Fault("a connection at rest has heard something else")
            pause(rng.random() * 0.5)


def many(dial: Dial, rng: random.Random, name: bytes = b"") -> None:
    """Comes again and again, with little each time: what happens to one connection in thousands shows only so."""
    end = time.monotonic() + _MANY_TIME
    for _ in range(_MANY):
        word = rng.randbytes(rng.randrange(1, 200))
        with _connected(dial) as sock:
            _send(sock, b"e" + word)
            got = b""
            while len(got) < len(word):
                piece = _receive(sock, 200)
                if not piece:
                    raise Broken("a short echo ended early")
                got += piece
            if got != word:
                raise Fault("a short echo is wrong")
        if time.monotonic() > end:
            break


def web(port: int, host: str, rng: random.Random, name: bytes = b"") -> None:
    """Some requests on one connection."""
    with _connected(lambda: connect(port, PATIENCE)) as sock, sock.makefile("rb") as file:
        for _ in range(rng.randrange(1, 6)):
            body = rng.randbytes(rng.choice((0, 10, 100_000)))
            _send(sock, b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n" % (host.encode(), len(body)) + body)
            try:
                line, length = file.readline(), -1
                while (field := file.readline()) not in (b"\r\n", b""):
                    if field.lower().startswith(b"content-length:"):
                        length = int(field.partition(b":")[2])
                answer = file.read(length) if length > 0 else b""
            except TimeoutError:
                raise Fault(f"a user of HTTP heard nothing for {PATIENCE:g} s") from None
            if not line.startswith(b"HTTP/1.1 200 "):
                raise Broken(f"answered with {line!r}")
            if len(answer) != length:
                raise Broken("an answer was cut off")
            if answer != hashlib.sha256(name + body).hexdigest().encode():
                raise Fault("the service has seen another body")


def serve_web(connection: socket.socket, name: bytes = b"") -> None:
    """Answers with the hash of each body."""
    with connection.makefile("rb") as file:
        while file.readline():
            length = 0
            while (field := file.readline()) not in (b"\r\n", b""):
                if field.lower().startswith(b"content-length:"):
                    length = int(field.partition(b":")[2])
            body = file.read(length)
            if len(body) < length:
                return
            answer = hashlib.sha256(name + body).hexdigest().encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


def datagrams(port: int, rng: random.Random, count: int = 10, late: float = _LATE) -> None:
    """Some may be lost; none may come that was not sent, or twice. If many are, `late` s after the last one, the way is broken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((HOST, port))
        sent = [rng.randbytes(rng.choice((1, 100, 1200))) for _ in range(count)]
        got = []
        for datagram in sent:
            sock.send(datagram)
            with contextlib.suppress(TimeoutError):
                got.append(sock.recv(2000))
        end = time.monotonic() + late
        while len(got) < 0.7 * count and (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                got.append(sock.recv(2000))
    if not set(got) <= set(sent):
        raise Fault("a datagram has come that nobody sent")
    if twice := Counter(got) - Counter(sent):
        raise Fault(f"{twice.total()} datagrams have come more often than they were sent")
    if len(got) < 0.7 * count:
        raise Broken(f"only {len(got)} of {count} datagrams came back")


_USER, _PASSWORD = "admin", "a password of the soak"
_PAGES = ("/healthz", "/static/")
_SERVER_PAGES = (*_PAGES, "/metrics", "/api/serverinfo", "/api/clients", "/api/proxy/tcp", "/api/proxy/http", "/api/v2/system/info")
_CLIENT_PAGES = (*_PAGES, "/api/status", "/api/config")


def web_server(port: int) -> str:
    """The lines of a file that make a program have one."""
    return f'webServer.addr = "{HOST}"\nwebServer.port = {port}\nwebServer.user = "{_USER}"\nwebServer.password = "{_PASSWORD}"\n'


def ask(port: int, path: str) -> bytes:
    """What a program's web server says. Raises Broken when it is no answer."""
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    credentials = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
    with contextlib.closing(connection):
        try:
            connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
            answer = connection.getresponse()
            body = answer.read()
        except TimeoutError:
            raise Fault(f"{path} of a web server was not answered within {PATIENCE:g} s") from None
        except HTTPException as error:
            raise Broken(f"{path} of a web server: {error!r}") from None
    if answer.status != 200:
        raise Broken(f"{path} of a web server was answered with {answer.status}")
    return body


def ask_json(port: int, path: str) -> Any:
    """The same for what says JSON."""
    return json.loads(ask(port, path))


def api(port: int, of_server: bool, rng: random.Random) -> None:
    """Somebody looks at a program's pages."""
    for path in rng.sample(_SERVER_PAGES if of_server else _CLIENT_PAGES, 3):
        if path.startswith("/api") and path != "/api/config":
            ask_json(port, path)
        elif not ask(port, path) and path != "/healthz":
            raise Fault(f"{path} of a web server says nothing")


USES: tuple[Callable[..., None], ...] = (echo, echo, half_close, slow_reader, leaver, keeper, many)
"""Of the service."""

USES_OF_TLS = (slow_reader, leaver, keeper)
"""Of the service under TLS, where nobody sends and receives at once, or closes by half: Python's sockets can't."""
