"""A web server on loopback, in the test's own loop, and users who ask it."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
import trustme

from frp_py.config.common import TlsFiles, WebServerConfig
from frp_py.net.web.operations import Operation, RawRoute
from frp_py.net.web.request import Request
from frp_py.net.web.service import WebService
from tests.support.net import running_engine

HOST = "127.0.0.1"
USER, PASSWORD = "admin", "a pass: wörd"


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """The field that gives a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def files(authority: trustme.CA, folder: Path, name: str) -> TlsFiles:
    certificate = authority.issue_cert("localhost", common_name=name)
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
    return TlsFiles(cert_file=str(folder / f"{name}.crt"), key_file=str(folder / f"{name}.key"))


def trusting(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(protocols)
    return context


async def hello(request: Request) -> str:
    return f"hello {request.peer}"


async def say_back(request: Request) -> bytes:
    return await request.body()


async def wait(request: Request) -> None:
    await trio.sleep_forever()


async def break_off(request: Request) -> None:
    raise ValueError("a bug")


OPERATIONS = (
    Operation("GET", "/hello", hello, "Say hello"),
    Operation("PUT", "/body", say_back, "Say the body"),
    Operation("GET", "/wait", wait, "Wait"),
    Operation("GET", "/bug", break_off, "Break"),
)

FIELDS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}


class Answer(msgspec.Struct):
    """A response; the names of `fields` are in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class User:
    """One connection. All answers are read strictly: a field must not come twice."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        self.stream = stream
        self.host = host
        self.data = bytearray()

    async def ask(
        self,
        target: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        host: str | None = None,
    ) -> Answer:
        await self.send(target, fields, method=method, body=body, host=host)
        return await self.answer()

    async def send(
        self,
        target: str,
        fields: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        host: str | None = None,
    ) -> None:
        lines = {"Host": self.host if host is None else host, **(fields or {})}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        await self.stream.send_all(head.encode() + (body or b""))

    async def answer(self) -> Answer:
        head = await self.until(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in fields, line
            fields[name.lower()] = value
        body = b""
        if "content-length" in fields:
            body = await self.exactly(int(fields["content-length"]))
        return Answer(int(first.split(" ")[1]), fields, body)

    async def until(self, end: bytes) -> bytes:
        while end not in self.data:
            await self._more()
        n = self.data.index(end) + len(end)
        return await self.exactly(n)

    async def exactly(self, n: int) -> bytes:
        while len(self.data) < n:
            await self._more()
        data = bytes(self.data[:n])
        del self.data[:n]
        return data

    async def _more(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise EOFError(bytes(self.data))
        self.data += data

    async def is_over(self) -> bool:
        """Wait until the server has closed it, or reset it."""
        try:
            while data := await self.stream.receive_some(65536):
                self.data += data
        except trio.BrokenResourceError:
            pass
        return True


class Site:
    """A running server."""

    def __init__(self, service: WebService, port: int, nursery: trio.Nursery) -> None:
        self.service = service
        self.port = port
        self.host = f"{HOST}:{port}"
        self.scope = nursery.cancel_scope

    @asynccontextmanager
    async def user(self, *, tls: ssl.SSLContext | None = None, source: str = "", to: str = HOST) -> AsyncIterator[User]:
        """A connection from the address `source` of this machine to another of its addresses."""
        sock = trio.socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        if source:
            await sock.bind((source, 0))
        await sock.connect((to, self.port))
        stream: trio.abc.Stream = trio.SocketStream(sock)
        if tls is not None:
            stream = trio.SSLStream(trio.SocketStream(sock), tls, server_hostname="localhost", https_compatible=True)
        try:
            yield User(stream, self.host)
        finally:
            sock.close()

    async def ask(self, target: str, fields: Mapping[str, str] | None = None, **how: Any) -> Answer:
        """On a connection of its own, with the password unless `fields` are given."""
        async with self.user() as user:
            return await user.ask(target, basic() if fields is None else fields, **how)


@asynccontextmanager
async def running_site(
    operations: Sequence[Operation] = (),
    raw: Sequence[RawRoute] = (),
    *,
    password: str = PASSWORD,
    program: str = "frpc",
    pages: str = "client",
    **config: Any,
) -> AsyncIterator[Site]:
    user = USER if password else ""
    settings = WebServerConfig(**{"addr": HOST, "user": user, "password": password, **config})
    async with running_engine() as engine:
        service = WebService(engine, settings, program=program, operations=operations, raw=raw, pages=pages)
        _, port = service.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            with trio.fail_after(1000):
                yield Site(service, port, nursery)
            nursery.cancel_scope.cancel()
