"""Health checks against something that listens."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from frp_py.cli.health import check_client, check_server
from frp_py.config import client_from_dict, server_from_dict
from frp_py.errors import FrpError


@contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def pong(connection: socket.socket) -> None:
    header = connection.recv(12)
    assert header == bytes([0, 2, 0, 1, 0, 0, 0, 0]) + header[8:]
    for byte in bytes([0, 2, 0, 2, 0, 0, 0, 0]) + header[8:]:
        connection.send(bytes([byte]))


def test_a_server_that_answers_is_well() -> None:
    with listening(pong) as port:
        assert check_server(server_from_dict({"bindPort": port})) == f"frps answers on 127.0.0.1 port {port}"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400"])
def test_something_else_on_the_port_is_not_well(answer: bytes) -> None:
    with listening(lambda c: c.recv(12) and c.send(answer)) as port, pytest.raises(FrpError, match="no frps answers"):
        check_server(server_from_dict({"bindPort": port}))


def test_nothing_on_the_port_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError, match="refused"):
        check_server(server_from_dict({"bindPort": port}))


def test_without_a_multiplexer_a_server_that_accepts_is_well() -> None:
    with listening(lambda c: c.recv(1)) as port:
        check_server(server_from_dict({"bindPort": port, "transport": {"tcpMux": False}}))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_client_is_well_while_it_is_connected() -> None:
    done = threading.Event()
    with listening(lambda c: done.wait(5)) as port:
        config = client_from_dict({"serverAddr": "127.0.0.1", "serverPort": port}, environ={})
        with pytest.raises(FrpError, match=f"no connection to port {port} of 127"):
            check_client(config)
        with socket.create_connection(("127.0.0.1", port)):
            assert str(port) in check_client(config)
            done.set()
