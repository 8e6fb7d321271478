"""A real nginx behind the tunnel."""

from __future__ import annotations

import hashlib
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.programs import HOST, World, connect, eventually, need, receive_exactly

HELD = 1000
PAGE = b"a small page\n"


class Nginx:
    """nginx with a directory of files; PUT writes into it."""

    def __init__(self, directory: Path) -> None:
        nginx = need("nginx")
        self.root = directory / "www"
        self.root.mkdir()
        self.root.chmod(0o777)
        self.port = free_port()
        (self.root / "page").write_bytes(PAGE)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
        config = directory / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;\n"
            f"worker_rlimit_nofile 10000; events {{ worker_connections 8000; }}\n"
            f"http {{ access_log off; {paths} keepalive_timeout 600s; keepalive_requests 1000000; client_max_body_size 0;\n"
            f"server {{ listen {HOST}:{self.port} backlog=4096; root {self.root}; dav_methods PUT; }} }}\n"
        )
        self.process = subprocess.Popen([nginx, "-c", config, "-p", directory, "-e", directory / "nginx.err"])
        eventually(self._answers, "nginx answers")

    def _answers(self) -> bool:
        try:
            connect(self.port, 1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    tmp_path.chmod(0o755)
    server = Nginx(tmp_path)
    yield server
    server.close()


def get(sock: socket.socket, path: str = "page") -> bytes:
    """One request on a connection that stays open."""
    sock.sendall(f"GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, "the connection has ended"
        head += piece
    assert head.startswith(b"HTTP/1.1 200 ")
    size = int(head.lower().split(b"content-length:")[1].split()[0])
    return receive_exactly(sock, size)


@pytest.mark.slow
def test_a_thousand_connections_are_held_while_new_ones_are_served(world: World, nginx: Nginx) -> None:
    tunnel = world.tunnel(nginx.port)
    figures = tunnel.server.figures, tunnel.client.figures
    with connect(tunnel.port) as warm:
        assert get(warm) == PAGE
    before = [each.rss for each in figures]
    held = []
    for _ in range(HELD):
        sock = connect(tunnel.port)
        assert get(sock) == PAGE
        held.append(sock)
    during = [each.rss for each in figures]
    began = time.monotonic()
    for _ in range(500):
        with connect(tunnel.port) as sock:
            assert get(sock) == PAGE
    took = time.monotonic() - began
    each_one = sum(during) - sum(before)
    print(f"{HELD} held: {each_one * 1024 / HELD:.1f} KB each over both programs; 500 more in {took:.2f} s")
    assert each_one * 1024 / HELD < 8
    assert took < 10
    assert [get(sock) for sock in held] == [PAGE] * HELD  # and they are still good
    for sock in held:
        sock.close()
    for each in figures:
        eventually(lambda each=each: each.descriptors < 50, "descriptors are closed")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("common", "extra"),
    [("", ""), ("transport.tcpMux = false\n", ""), ("", "transport.useEncryption = true\ntransport.useCompression = true\n")],
    ids=["mux", "nomux", "changed"],
)
def test_downloads_and_uploads(world: World, nginx: Nginx, common: str, extra: str) -> None:
    curl = need("curl")
    tunnel = world.tunnel(nginx.port, server=common, client=common, proxy_extra=extra)
    data = random.Random(5).randbytes(1 << 20) * 50
    digest = hashlib.sha256(data).digest()
    (nginx.root / "big").write_bytes(data)
    base = f"http://{HOST}:{tunnel.port}"
    runs = [subprocess.Popen([curl, "-sf", "-o", world.directory / f"got{n}", f"{base}/big"]) for n in range(4)]
    runs += [subprocess.Popen([curl, "-sf", "-T", nginx.root / "big", f"{base}/up{n}"]) for n in range(2)]
    assert [run.wait(60) for run in runs] == [0] * 6
    for path in (*(world.directory / f"got{n}" for n in range(4)), *(nginx.root / f"up{n}" for n in range(2))):
        assert hashlib.sha256(path.read_bytes()).digest() == digest, path
