"""A soak is worth what its users notice."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.soak import users
from tests.soak.users import Broken, Fault
from tests.support.ports import free_port
from tests.support.programs import Handler, Service, connect, receive_exactly

TCP = [users.echo, users.half_close, users.slow_reader, users.keeper, users.many]


@contextmanager
def service(handle: Handler) -> Iterator[int]:
    it = Service(handle)
    yield it.port
    it.close()


Use = Callable[[users.Dial, random.Random], None]


def visit(use: Use, port: int) -> None:
    for seed in range(3):
        use(lambda: connect(port, users.PATIENCE), random.Random(seed))


def web(dial: users.Dial, rng: random.Random) -> None:
    with dial() as sock:
        port = sock.getpeername()[1]
    users.web(port, "x", rng)


def changed(connection: socket.socket) -> None:
    """One bit of the 50th byte, or of the first, is wrong."""
    near, far = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), far:
            users.serve(far)

    threading.Thread(target=serve, daemon=True).start()

    def forward() -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                near.sendall(data)
            near.shutdown(socket.SHUT_WR)

    threading.Thread(target=forward, daemon=True).start()
    data = bytearray(near.recv(1 << 16))
    data[min(50, len(data) - 1)] ^= 1
    connection.sendall(data)
    while more := near.recv(1 << 16):
        connection.sendall(more)


@pytest.mark.parametrize("use", [*users.USES, users.leaver])
def test_who_is_served_is_content(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "pause", lambda seconds: None)
    with service(users.serve) as port:
        visit(use, port)


@pytest.mark.parametrize("use", TCP)
def test_a_changed_byte_is_a_fault(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "pause", lambda seconds: None)
    with service(changed) as port, pytest.raises(Fault):
        visit(use, port)


@pytest.mark.parametrize("use", TCP)
def test_an_early_end_is_no_fault_by_itself(use: Use) -> None:
    with service(lambda connection: None) as port, pytest.raises(OSError):
        visit(use, port)


@pytest.mark.parametrize("use", [*TCP, web])
def test_silence_is_a_fault(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "PATIENCE", 0.2)

    def silent(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass
        receive_exactly(connection, 1)
        time.sleep(1)

    with service(silent) as port, pytest.raises(Fault):
        visit(use, port)


def test_web_users_compare_bodies() -> None:
    def lying(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")

    def refusing(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")

    with service(users.serve_web) as port:
        visit(web, port)
    with service(lying) as port, pytest.raises(Fault):
        visit(web, port)
    with service(refusing) as port, pytest.raises(Broken):
        visit(web, port)


@pytest.mark.parametrize("use", [users.half_close, users.slow_reader])
def test_who_is_led_to_another_service_notices(use: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "pause", lambda seconds: None)
    with service(lambda connection: users.serve(connection, b"another")) as port, pytest.raises(Fault):
        use(lambda: connect(port, users.PATIENCE), random.Random(1), b"this one")


@pytest.mark.parametrize(("answers", "failure"), [([1] * 7 + [0] * 3, None), ([1] * 6 + [0] * 4, Broken), ([2, 1], Fault)])
def test_datagrams_may_be_lost_but_not_many_and_none_comes_twice(answers: list[int], failure: type[Exception] | None) -> None:
    """How often each is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer() -> None:
            for times in answers:
                data, peer = sock.recvfrom(2000)
                for _ in range(times):
                    sock.sendto(data, peer)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(failure) if failure else contextlib.nullcontext():
            users.datagrams(sock.getsockname()[1], random.Random(3), count=len(answers), late=0.1)
        thread.join()


def test_datagrams_that_nobody_sent_are_a_fault() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

        def answer(change: bytes) -> None:
            data, peer = sock.recvfrom(2000)
            sock.sendto(data + change, peer)

        threading.Thread(target=answer, args=(b"",), daemon=True).start()
        users.datagrams(port, random.Random(1), count=1)
        threading.Thread(target=answer, args=(b"x",), daemon=True).start()
        with pytest.raises(Fault):
            users.datagrams(port, random.Random(1), count=1)
    with pytest.raises(OSError):
        users.datagrams(free_port(), random.Random(1), count=1, late=0)
