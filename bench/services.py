"""What is behind the tunnel, in a process of its own.

`python -m bench.services` prints the ports of its services as JSON and runs until its input ends. One thread and one epoll serve all
connections, so that thousands of them cost little. `echo` answers with what comes; `sink` takes `PUT ` and a length of 12 digits,
swallows that much and says so in 12 digits, or takes `GET ` and a length, and sends that much; `udp` answers each datagram with itself.
"""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.system import HOST, Unavailable, find, free_ports, python, running, wait_for

HEAD = 16
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_buffer = memoryview(bytearray(1 << 20))
_zeros = memoryview(bytes(1 << 20))


class _Echo:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.kept = b""

    def turn(self, events: int) -> int:
        """Returns what it waits for next; 0: it is over."""
        if not self.kept:
            n = self.sock.recv_into(_buffer[: 1 << 16])
            if not n:
                return 0
            self.kept = bytes(_buffer[:n])
        try:
            self.kept = self.kept[self.sock.send(self.kept) :]
        except BlockingIOError:
            return _WRITE
        return _WRITE if self.kept else _READ


class _Sink:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.head = b""
        self.left = 0

    def turn(self, events: int) -> int:
        if len(self.head) < HEAD:
            data = self.sock.recv(HEAD - len(self.head))
            self.head += data
            if len(self.head) == HEAD:
                self.left = int(self.head[4:])
            elif not data:
                return 0
            else:
                return _READ
            return _READ if self.head[:4] == b"PUT " else _WRITE
        if self.head[:4] == b"GET ":
            if not self.left:
                return _READ if self.sock.recv(1) else 0
            self.left -= self.sock.send(_zeros[: self.left])
            return _WRITE if self.left else _READ
        if self.left:
            n = self.sock.recv_into(_buffer[: min(self.left, len(_buffer))])
            self.left -= n
            if not n:
                return 0
            if not self.left:
                self.sock.sendall(b"%012d" % int(self.head[4:]))
            return _READ
        return _READ if self.sock.recv(1) else 0


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    selector = selectors.DefaultSelector()
    ports = {}
    for name, kind in (("echo", _Echo), ("sink", _Sink)):
        listener = socket.create_server((HOST, 0), backlog=4096)
        listener.setblocking(False)
        ports[name] = listener.getsockname()[1]
        selector.register(listener, _READ, kind)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    udp.bind((HOST, 0))
    udp.setblocking(False)
    ports["udp"] = udp.getsockname()[1]
    selector.register(udp, _READ)
    selector.register(sys.stdin, _READ)
    print(json.dumps(ports), flush=True)
    while True:
        for key, events in selector.select():
            if key.fileobj is sys.stdin:
                return
            assert isinstance(key.fileobj, socket.socket)
            with contextlib.suppress(BlockingIOError):
                if key.fileobj is udp:
                    for _ in range(64):
                        udp.sendto(*udp.recvfrom(65536))
                elif isinstance(key.data, type):
                    sock, _ = key.fileobj.accept()
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(sock, _READ, key.data(sock))
                else:
                    try:
                        wanted = key.data.turn(events)
                    except BlockingIOError:
                        continue
                    except OSError:
                        wanted = 0  # a tunnel that was taken down
                    if not wanted:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
                    elif wanted != key.events:
                        selector.modify(key.fileobj, wanted, key.data)


@contextmanager
def services(directory: Path, prefix: list[str]) -> Iterator[dict[str, int]]:
    """The ports of echo, sink and udp, and of a web server, `web`, where nginx is installed."""
    with running([*prefix, *python("bench.services")], directory / "services.log", pipe=True) as process:
        assert process.popen.stdout is not None
        ports: dict[str, int] = json.loads(process.popen.stdout.readline())
        try:
            nginx = find("nginx")
        except Unavailable:
            yield ports
            return
        (web,) = free_ports(1)
        paths = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = directory / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid {directory}/nginx.pid; error_log {directory}/nginx.err;"
            "events { worker_connections 16384; }"
            f"http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600; {paths}"
            f'server {{ listen {HOST}:{web} backlog=4096; location / {{ return 200 "hello\\n"; }} }} }}'
        )
        with running([*prefix, nginx, "-c", str(config)], directory / "nginx.log") as server:
            if not prefix:
                wait_for(web, server)
            yield {**ports, "web": web}


if __name__ == "__main__":
    main()
