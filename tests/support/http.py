"""HTTP by hand, for tests that must see every byte."""

from __future__ import annotations

import base64
import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from tests.support.ports import free_port
from tests.support.programs import HOST, Handler, World, connect, eventually, need

_LARGE = 1 << 24


@dataclass
class Answer:
    """A response as it came."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    trailers: bytes = b""

    def get(self, name: str) -> str | None:
        """The only value of a field."""
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        assert len(values) <= 1, values
        return values[0] if values else None


class User:
    """A connection on which messages are written byte by byte."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self.sock = connect(port, timeout)
        self._file: BinaryIO = self.sock.makefile("rb")

    def send(self, data: bytes) -> User:
        self.sock.sendall(data)
        return self

    def answer(self, *, head: bool = False) -> Answer:
        """The next response; `head`: to a HEAD request."""
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        status = int(line.split()[1])
        fields = []
        while (line := self._file.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), line
            name, _, value = line.decode("latin-1").partition(":")
            fields.append((name, value.strip()))
        answer = Answer(status, fields, b"")
        if head or status < 200 or status in (204, 304):
            return answer
        length = answer.get("Content-Length")
        if answer.get("Transfer-Encoding") is not None:
            assert answer.get("Transfer-Encoding") == "chunked"
            assert length is None
            while size := int(self._file.readline(), 16):
                answer.body += self._exactly(size)
                assert self._file.read(2) == b"\r\n"
            while (line := self._file.readline()) != b"\r\n":
                assert line
                answer.trailers += line
        elif length is not None:
            answer.body = self._exactly(int(length))
        else:
            answer.body = self._file.read()
        return answer

    def _exactly(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) < n:
            raise EOFError(f"{len(data)} of {n} bytes")
        return data

    def rest(self) -> bytes:
        """All until the end."""
        return self._file.read()

    def receive(self, n: int) -> bytes:
        """The next n bytes."""
        return self._exactly(n)

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def __enter__(self) -> User:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Recorder:
    """A service that keeps each request as it came, and answers with just these bytes."""

    requests: list[bytes] = field(default_factory=list)
    head: bytes = b""
    """Fields added to the answers."""
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        while (request := read_request(file)) is not None:
            with self._lock:
                self.requests.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (self.head, len(request)))
            if not request.startswith(b"HEAD "):
                connection.sendall(request)


def read_request(file: BinaryIO) -> bytes | None:
    """One request with its body; None when it is cut off, or too large for a test."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = file.readline()
        if not line:
            return None
        head += line
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in lower:
        body = line = b""
        while size := int((line := file.readline()).partition(b";")[0] or b"0", 16):
            if size > _LARGE:
                return None
            body += line + file.read(size + 2)
        body += line
        while line and line != b"\r\n":
            line = file.readline()
            body += line
        return head + body if line else None
    if b"\r\ncontent-length: " in lower:
        length = int(lower.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])
        body = file.read(length) if length <= _LARGE else b""
        return head + body if len(body) == length else None
    return head


def web(name: str, local_port: int, extra: str = "", domains: str = '"web.test"') -> str:
    """The lines of an http proxy in a client's file."""
    return f'\n[[proxies]]\nname = "{name}"\ntype = "http"\nlocalPort = {local_port}\ncustomDomains = [{domains}]\n{extra}\n'


@dataclass
class Web:
    """A server with an HTTP port, and a client."""

    port: int
    server_port: int
    world: World

    def user(self, timeout: float = 10) -> User:
        return User(self.port, timeout)


def web_tunnel(world: World, proxies: str, *, server: str = "", client: str = "", count: int = 1) -> Web:
    """Both programs; `proxies` are lines of `web`."""
    port = free_port()
    _, server_port = world.frps(f"vhostHTTPPort = {port}\n{server}")
    frpc = world.frpc(server_port, client, proxies)
    frpc.wait_for("start proxy success", count=count)
    return Web(port, server_port, world)


def service(world: World, handle: Handler) -> int:
    """The port of a service."""
    return world.service(handle).port


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
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@contextlib.contextmanager
def nginx_in(tmp_path: Path) -> Iterator[int]:
    """The port of an nginx with files below /files, and uploads by PUT."""
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

    def listens() -> bool:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            return False
        return True

    try:
        eventually(listens, "nginx listens")
        yield port
    finally:
        process.terminate()
        process.wait(10)
