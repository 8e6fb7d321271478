"""Half a minute of garbage at the client port, while users are served."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.messages import Login, NewWorkConn
from tests.e2e.peers import INCREMENT, SYN, WINDOW, FrpClient, key_of
from tests.support.programs import TOKEN, World, connect, eventually, exchange, reset

SECONDS = 30
ATTACKERS = 4


def frame(kind: int, flags: int, stream: int, length: int) -> bytes:
    return bytes((0, kind)) + flags.to_bytes(2, "big") + stream.to_bytes(4, "big") + length.to_bytes(4, "big")


def login(token: str) -> bytes:
    now = int(time.time())
    return wire_v1.pack(Login(version="0.70.1", privilege_key=key_of(token, now), timestamp=now))


def client_hello() -> bytes:
    """What a TLS client sends first."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="frps.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def opened(data: bytes) -> bytes:
    """A stream with this in it."""
    return frame(WINDOW, SYN, 1, INCREMENT) + frame(0, 0, 1, len(data)) + data


OPENINGS = (
    client_hello(),
    b"\x17" + client_hello(),
    opened(login("wrong")),
    opened(login(TOKEN)),
    opened(wire_v2.MAGIC + wire_v2.pack_frame(wire_v2.CLIENT_HELLO, b"{}")),
    opened(wire_v1.pack(NewWorkConn("nobody"))),
    opened(b"o" + (1 << 62).to_bytes(8, "big")),
    opened(wire_v2.MAGIC + b"\x00\x01\x00\x00\xff\xff\xff\xff"),
    frame(0, SYN, 1, 0xFFFFFFFF),
    b"".join(frame(WINDOW, SYN, 2 * n + 1, INCREMENT) for n in range(500)),
    frame(2, SYN, 0, 7) * 2000,
    b"GET /~!frp HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
)


class Attacker:
    """Opens connections and sends what must not be sent, from a seed."""

    def __init__(self, port: int, seed: int) -> None:
        self.connections = 0
        self.over = False
        self._port = port
        self._random = random.Random(seed)
        self._held: list[socket.socket] = []

    def run(self) -> None:
        kinds: tuple[Callable[[], bytes], ...] = (self._noise, self._cut, self._cut, self._spoilt, self._spoilt, self._whole)
        while not self.over:
            with contextlib.suppress(OSError):
                sock = connect(self._port, 2)
                self.connections += 1
                if self._random.random() < 0.1:
                    self._inside_tls(sock)
                    continue
                with contextlib.suppress(OSError):
                    sock.sendall(self._random.choice(kinds)())
                self._leave(sock)
            time.sleep(0.001)
        for sock in self._held:
            sock.close()

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.randrange(1, 5000))

    def _whole(self) -> bytes:
        return self._random.choice(OPENINGS)

    def _cut(self) -> bytes:
        opening = self._whole()
        return opening[: self._random.randrange(len(opening))]

    def _spoilt(self) -> bytes:
        return self._whole() + self._noise()

    def _inside_tls(self, sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(sock) as tls:
            tls.sendall(self._spoilt())

    def _leave(self, sock: socket.socket) -> None:
        chance = self._random.random()
        if chance < 0.3:
            reset(sock)
        elif chance < 0.6:
            sock.close()
        else:  # stay, until there are many
            self._held.append(sock)
            if len(self._held) > 150:
                self._held.pop(self._random.randrange(150)).close()


@pytest.mark.slow
def test_garbage_at_the_client_port_harms_nobody(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    figures = tunnel.server.figures
    assert exchange(tunnel.port, b"hello") == b"hello"
    before, descriptors = figures.rss, figures.descriptors
    attackers = [Attacker(tunnel.server_port, seed) for seed in range(ATTACKERS)]
    threads = [threading.Thread(target=attacker.run) for attacker in attackers]
    # a few who send a byte now and then
    slow = [connect(tunnel.server_port, 20) for _ in range(20)]
    drops = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", opened(login(TOKEN))[:-1]]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    peak, slowest, served, fed = before, 0.0, 0, 0
    try:
        while time.monotonic() - began < SECONDS:
            start = time.monotonic()
            assert exchange(tunnel.port, b"x" * 20_000, 5) == b"x" * 20_000
            slowest = max(slowest, time.monotonic() - start)
            served += 1
            peak = max(peak, figures.rss)
            if time.monotonic() - began > fed:
                for number, sock in enumerate(slow):
                    drop = drops[number % 2]
                    with contextlib.suppress(OSError):
                        sock.sendall(drop[fed % len(drop) : fed % len(drop) + 1])
                fed += 1
            time.sleep(0.02)
        for sock in slow:  # whatever they send, they are put out after 10 s
            sock.settimeout(1)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(1000):
                    pass
    finally:
        for attacker in attackers:
            attacker.over = True
        for thread in threads:
            thread.join(10)
        for sock in slow:
            sock.close()
    connections = sum(attacker.connections for attacker in attackers)
    eventually(lambda: figures.descriptors <= descriptors + 2, "all descriptors are closed", 15)
    print(
        f"{connections} hostile connections, {served} users served, the slowest in {slowest * 1000:.0f} ms; "
        f"frps {before:.1f} -> {figures.rss:.1f} MB, at most {peak:.1f}; cpu {figures.cpu:.1f} s"
    )
    assert connections > 500
    assert served > SECONDS
    assert peak < before + 60
    assert slowest < 3
    with FrpClient(tunnel.server_port, TOKEN) as client:
        assert client.log_in().error == ""
