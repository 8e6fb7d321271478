"""What our own requests are answered with, and what paths lead to."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

from frp_py.client import health as probing
from frp_py.client.plugins.folder import find, link_to, parts_of
from frp_py.config.proxies import HealthCheck, HttpHeader
from frp_py.errors import FrpError
from frp_py.net.http.rules import unescaped_path
from frp_py.net.transports.upstream import Upstream
from frp_py.net.web.request import decoded

T = TypeVar("T")


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Of a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("it waits")


class _Answering:
    """A socket, and a stream, on which all of an answer is there at once, and then the end."""

    def __init__(self, data: bytes) -> None:
        self.left = data
        self.sent = bytearray()

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def recv(self, n: int) -> bytes:
        data, self.left = self.left[:n], self.left[n:]
        return data

    async def send_all(self, data: bytes) -> None:
        self.sent += data

    async def receive_some(self, n: int) -> bytes:
        return self.recv(n)


def upstream(data: bytes) -> None:
    """Proxies on the way to the server, asked for ourselves: what follows their consent belongs to the server."""
    for kind, credentials in (("http", None), ("socks5", None), ("socks5", ("name", "word"))):
        proxy = _Answering(data)
        try:
            _result(Upstream(kind, "proxy", 1, credentials).tunnel(cast(socket.socket, proxy), "server.test", 7000))  # type: ignore[arg-type]
        except FrpError:
            continue
        if kind == "http":
            head = data[: len(data) - len(proxy.left)]
            assert head.find(b"\r\n\r\n") == len(head) - 4, "a byte of the server was taken, or one of the proxy left"
            assert re.match(rb"HTTP/1\.[01] +200[ \t\r]", head)
        else:
            answer = data[2 + 2 * (data[1] == 2) :]
            size = {1: 4, 4: 16}.get(answer[3]) or 1 + answer[4]
            assert answer[1] == 0
            assert proxy.left == answer[4 + size + 2 :]
            assert data[1] == 0 or (credentials and data[3] == 0)


_CHECK = HealthCheck(type="http", path="/health", http_headers=(HttpHeader("Authorization", "secret"), HttpHeader("X-Probe", "1")))


def health(data: bytes) -> None:
    """A local service that answers a health check, with redirects where it likes to: a blank line ends each of its answers."""
    answers = iter(re.split(rb"(?<=\r\n\r\n)", data))
    asked: list[tuple[str, str, int, _Answering]] = []

    @contextlib.asynccontextmanager
    async def stream(scheme: str, host: str, port: int) -> AsyncIterator[Any]:
        service = _Answering(next(answers, b""))
        asked.append((scheme, host, port, service))
        yield service

    before, probing._stream = probing._stream, cast(Any, stream)
    try:
        _result(probing.probe_http("127.0.0.1", 80, _CHECK))
    except (probing.ProbeError, OSError, ValueError):
        pass
    finally:
        probing._stream = before
    assert len(asked) <= 10
    elsewhere = False
    for scheme, host, port, service in asked:
        assert scheme in ("http", "https")
        assert service.sent.count(b"\r\n\r\n") == 1
        elsewhere |= (host, port) != ("127.0.0.1", 80)
        assert not elsewhere or b"secret" not in service.sent, "another host is told what is meant for the service"


@cache
def _folder() -> Path:
    """A folder with ways out of it."""
    outer = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, outer)
    root = outer / "root"
    (root / "a" / "b").mkdir(parents=True)
    (outer / "root2").mkdir()
    for inside in ("f", "a/f", "a/b/f"):
        (root / inside).write_text("inside")
    for outside in ("f", "root2/f"):
        (outer / outside).write_text("outside")
    for link, target in (("in", "a/b"), ("out", ".."), ("o", "../root2"), ("a/up", "../f"), ("self", "self"), ("etc", "/etc")):
        (root / link).symlink_to(target)
    return root


def paths(data: bytes) -> None:
    """Of requests for files: what is found is inside. Names in those of the web API are what they are when they are encoded again."""
    with contextlib.suppress(ValueError):
        name = decoded(data.decode("latin-1"))
        assert decoded(quote(name, safe="")) == name
    root = _folder()
    parts = parts_of(unescaped_path(b"/" + data))
    if parts is None:
        return
    assert all(link_to(part + "/")[-1:] == "/" for part in parts)
    try:
        found = find(str(root), parts)
    except OSError:
        return
    try:
        where = os.readlink(f"/proc/self/fd/{found.fd}")
        assert where == str(root.resolve()) or where.startswith(f"{root.resolve()}/")
        assert found.is_directory or os.read(found.fd, 10) == b"inside"
    finally:
        os.close(found.fd)
