"""Reaching the server through a proxy of the client's own network (wire.md 1.6): HTTP CONNECT or SOCKS5.

The proxy is asked before anything else goes over the connection; behind its answer the connection is as if it had been made directly.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import trio

from frp_py.errors import FrpError
from frp_py.net.http.heads import BadHead, status_line

_HEAD_LIMIT = 16 * 1024
_PORTS = {"http": 80, "socks5": 1080}
_SOCKS_REFUSALS = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}


@dataclass(frozen=True, slots=True)
class Upstream:
    """A proxy on the way to the server."""

    scheme: Literal["http", "socks5"]
    host: str
    port: int
    credentials: tuple[str, str] | None

    @classmethod
    def of(cls, url: str) -> Upstream:
        """The proxy that transport.proxyURL names. Raises FrpError; the password isn't repeated."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise FrpError(f"transport.proxyURL: {error}") from None
        scheme = parts.scheme.lower()
        if scheme not in ("http", "socks5"):
            known = scheme in ("https", "ntlm")
            fault = "is not supported yet" if known else "is not known"
            raise FrpError(f"transport.proxyURL: scheme {scheme!r} {fault}, use http or socks5")
        if not parts.hostname:
            raise FrpError("transport.proxyURL names no host")
        has_user = "@" in parts.netloc
        credentials = (unquote(parts.username or ""), unquote(parts.password or "")) if has_user else None
        return cls("http" if scheme == "http" else "socks5", parts.hostname, port or _PORTS[scheme], credentials)

    async def tunnel(self, sock: socket.socket, host: str, port: int) -> None:
        """Ask for a connection to host:port on a socket that is connected to the proxy. Raises FrpError, OSError."""
        if self.scheme == "http":
            await self._connect(sock, host, port)
        else:
            await self._socks5(sock, host, port)

    async def _connect(self, sock: socket.socket, host: str, port: int) -> None:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", "User-Agent: Mozilla/5.0"]
        if self.credentials is not None:
            lines.append("Proxy-Authorization: Basic " + base64.b64encode(":".join(self.credentials).encode()).decode())
        await _send(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            # byte by byte: what follows the head belongs to the server
            head += await _receive(sock, 1)
            if len(head) > _HEAD_LIMIT:
                raise FrpError(f"proxy {self.host}:{self.port} sends an endless answer")
        line = head.partition(b"\r\n")[0]
        try:
            status = status_line(line)[0]
        except BadHead:
            status = 0
        if status != 200:
            said = line[:200].decode("latin-1").encode("unicode_escape").decode()  # it goes into one line of the log
            raise FrpError(f"proxy {self.host}:{self.port} refused the connection: {said}")

    async def _socks5(self, sock: socket.socket, host: str, port: int) -> None:
        await _send(sock, b"\x05\x02\x00\x02" if self.credentials is not None else b"\x05\x01\x00")
        version, method = await _receive(sock, 2)
        if version != 5:
            raise FrpError(f"proxy {self.host}:{self.port} does not speak SOCKS5")
        if method == 2 and self.credentials is not None:
            user, password = (part.encode() for part in self.credentials)
            if len(user) > 255 or len(password) > 255:
                raise FrpError("transport.proxyURL: user and password of SOCKS5 have 255 bytes at most")
            await _send(sock, b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
            if (await _receive(sock, 2))[1] != 0:
                raise FrpError(f"proxy {self.host}:{self.port} refused user and password")
        elif method != 0:
            raise FrpError(f"proxy {self.host}:{self.port} wants another way of authentication")
        await _send(sock, b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big"))
        _, code, _, kind = await _receive(sock, 4)
        if code:
            raise FrpError(f"proxy {self.host}:{self.port} refused the connection: {_SOCKS_REFUSALS.get(code, f'code {code}')}")
        size = {1: 4, 4: 16}.get(kind)
        if size is None:
            size = (await _receive(sock, 1))[0]
        await _receive(sock, size + 2)


def _socks_address(host: str) -> bytes:
    """A literal as itself; a name is looked up by the proxy."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("idna")
        return b"\x03" + bytes([len(name)]) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


async def _send(sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive(sock: socket.socket, n: int) -> bytes:
    """Exactly n bytes. Raises FrpError at the end of the stream."""
    data = b""
    while len(data) < n:
        try:
            more = sock.recv(n - len(data))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not more:
            raise FrpError("the proxy closed the connection")
        data += more
    return data
