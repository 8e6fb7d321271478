"""Users and what they expect.

Each function is one visit: it raises `Fault` for what must never happen, and OSError for what may while something is broken on the way.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Callable
from time import sleep as pause

from tests.support.programs import HOST, connect, receive_exactly, reset

PATIENCE = 30.0
"""Seconds after which a user who hears nothing has been forgotten: also a dead link is noticed long before."""


class Fault(Exception):
    """Something that must never happen."""


class Broken(OSError):
    """A connection ended before its time."""


def serve(connection: socket.socket) -> None:
    """The service: a byte that says what is wanted, then that."""
    match connection.recv(1):
        case b"e":  # echo
            while data := connection.recv(1 << 16):
                connection.sendall(data)
        case b"h":  # take all up to the end, answer with its hash
            digest = hashlib.sha256()
            while data := connection.recv(1 << 16):
                digest.update(data)
            connection.sendall(digest.digest())
        case b"d":  # a seed and a length: that much noise
            seed, size = receive_exactly(connection, 8), int(receive_exactly(connection, 8) or b"0")
            for piece in noise(seed, size):
                connection.sendall(piece)


def noise(seed: bytes, size: int) -> list[bytes]:
    """`size` bytes made of a seed, in pieces."""
    rng = random.Random(seed)
    block = rng.randbytes(1 << 16)
    return [block[: min(1 << 16, size - at)] for at in range(0, size, 1 << 16)]


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


def _user(port: int) -> socket.socket:
    try:
        return connect(port, PATIENCE)
    except TimeoutError:
        raise Fault(f"no connection within {PATIENCE:g} s") from None


def echo(port: int, rng: random.Random) -> None:
    """Send and receive at once; all that comes back is what was sent."""
    data = rng.randbytes(rng.choice((1, 100, 5_000, 200_000, 2_000_000)))
    with _user(port) as sock:
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


def half_close(port: int, rng: random.Random) -> None:
    """The answer comes after the end of what is sent."""
    data = rng.randbytes(rng.choice((1, 10_000, 500_000)))
    with _user(port) as sock:
        _send(sock, b"h" + data)
        sock.shutdown(socket.SHUT_WR)
        got = bytearray()
        while piece := _receive(sock, 100):
            got += piece
    if len(got) < 32:
        raise Broken("no whole answer after a half-close")
    if bytes(got) != hashlib.sha256(data).digest():
        raise Fault("the service has seen other bytes, or fewer, and took them for the whole")


def slow_reader(port: int, rng: random.Random) -> None:
    """A download that is read with pauses."""
    size, seed = rng.choice((300_000, 3_000_000)), rng.randbytes(8)
    expected = b"".join(noise(seed, size))
    with _user(port) as sock:
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


def leaver(port: int, rng: random.Random) -> None:
    """Goes away in the midst of it, with or without a word."""
    sock = _user(port)
    with sock, contextlib.suppress(OSError):
        _send(sock, b"d" + rng.randbytes(8) + b"%08d" % 5_000_000)
        for _ in range(rng.randrange(5)):
            _receive(sock, 10_000)
        if rng.random() < 0.5:
            reset(sock)


def keeper(port: int, rng: random.Random) -> None:
    """Stays for some seconds and says little."""
    with _user(port) as sock:
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


def web(port: int, host: str, rng: random.Random) -> None:
    """Some requests on one connection."""
    with _user(port) as sock, sock.makefile("rb") as file:
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
            if answer != hashlib.sha256(body).hexdigest().encode():
                raise Fault("the service has seen another body")


def serve_web(connection: socket.socket) -> None:
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
            answer = hashlib.sha256(body).hexdigest().encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


def datagrams(port: int, rng: random.Random, count: int = 10) -> None:
    """Some may be lost; none may come that was not sent. If all are lost, the way is broken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((HOST, port))
        sent = [rng.randbytes(rng.choice((1, 100, 1200))) for _ in range(count)]
        got = []
        for datagram in sent:
            sock.send(datagram)
            with contextlib.suppress(TimeoutError):
                got.append(sock.recv(2000))
    if not set(got) <= set(sent):
        raise Fault("a datagram has come that nobody sent")
    if not got:
        raise Broken("all datagrams were lost")


USES: tuple[Callable[[int, random.Random], None], ...] = (echo, echo, half_close, slow_reader, leaver, keeper)
"""Of the tcp service."""
