"""static_file: serves the files of a folder, read-only (behaviour.md 8.3)."""

from __future__ import annotations

import mimetypes
import os
import zlib
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio

from frp_py.client.plugins import folder
from frp_py.client.plugins.folder import Found
from frp_py.client.plugins.http_plugin import HttpPlugin, User
from frp_py.config.plugins import StaticFilePlugin
from frp_py.net.http.auth import allows, basic_credentials
from frp_py.net.http.conditions import Version, accepts_gzip, judge
from frp_py.net.http.heads import Field, values_of
from frp_py.net.http.pages import TEXT, content_type, reason_of, unauthorized
from frp_py.net.http.rules import unescaped_path

if TYPE_CHECKING:
    from frp_py.net.serving.exchange import Exchange

_PIECE = 256 * 1024  # bytes read at a time
_WRONG_PASSWORD = 0.2  # s that the answer waits
_PACKED_ALREADY = ("image/", "video/", "audio/", "font/woff", "application/zip", "application/gzip", "application/x-7z", "application/x-xz")
_HTML = b"text/html; charset=utf-8"

_types = mimetypes.MimeTypes()  # the table that comes with Python: what the system has differs from one to the next


_threads = trio.CapacityLimiter(16)  # of our own: a disk that hangs must not keep others from looking up names

Args = TypeVarTuple("Args")
Result = TypeVar("Result")


class StaticFile(HttpPlugin[StaticFilePlugin]):
    """Serves `localPath`."""

    async def prepare(self) -> None:
        """Make ready. A folder that isn't there may come yet."""
        options = self.options
        self._folder = options.local_path
        if not await _in_thread(os.path.isdir, self._folder):
            self.log.warning("static_file: %s is no directory, there is nothing to serve as yet", options.local_path)
        prefix = options.strip_prefix.strip("/")
        self._prefix = f"/{prefix}/" if prefix else "/"
        await super().prepare()

    async def answer(self, exchange: Exchange, user: User) -> None:
        """Serve one request."""
        path = unescaped_path(exchange.target)
        if not path.startswith(self._prefix):
            await _text(exchange, 404)
        elif exchange.method != b"GET":
            await _text(exchange, 405, [(b"Allow", b"GET")])
        elif not self._allowed(exchange):
            await trio.sleep(_WRONG_PASSWORD)
            status, fields, body = unauthorized(proxy=False)
            await exchange.answer(status, fields, body)
        else:
            await self._serve_path(exchange, path[len(self._prefix) - 1 :])

    def _allowed(self, exchange: Exchange) -> bool:
        given = values_of(exchange.fields, b"authorization")
        credentials = basic_credentials(given[0]) if given else None
        return allows(credentials, self.options.http_user, self.options.http_password)

    async def _serve_path(self, exchange: Exchange, path: str) -> None:
        if path.endswith("/index.html"):
            await _redirect(exchange, b"./")
            return
        parts = folder.parts_of(path)
        if parts is None:
            await _text(exchange, 404)
            return
        try:
            found = await _find(self._folder, parts)
        except OSError as error:
            await _text(exchange, 403 if isinstance(error, PermissionError) else 404)
            return
        try:
            if not found.is_directory:
                if path.endswith("/"):
                    await _text(exchange, 404)
                else:
                    await self._serve_file(exchange, found)
            elif not path.endswith("/"):
                await _redirect(exchange, folder.link_to(parts[-1] + "/").encode())
            else:
                await self._serve_directory(exchange, found, parts)
        finally:
            os.close(found.fd)

    async def _serve_directory(self, exchange: Exchange, found: Found, parts: list[str]) -> None:
        try:
            index = await _find(self._folder, [*parts, "index.html"])
        except OSError:
            pass
        else:
            try:
                if not index.is_directory:
                    await self._serve_file(exchange, index)
                    return
            finally:
                os.close(index.fd)
        try:
            page = await _in_thread(folder.listing, self._folder, found)
        except OSError:
            await _text(exchange, 403)
            return
        fields = [(b"Content-Type", _HTML), (b"Vary", b"Accept-Encoding")]
        if accepts_gzip(exchange.fields):
            fields.append((b"Content-Encoding", b"gzip"))
            page = await _in_thread(_pack, page)
        await exchange.answer(200, fields, page)

    async def _serve_file(self, exchange: Exchange, found: Found) -> None:
        start = await _read(found.fd, 0, min(_PIECE, found.size))
        kind = _kind(found.path, start)
        packed = (
            accepts_gzip(exchange.fields)
            and not values_of(exchange.fields, b"range")
            and found.size > 0
            and not kind.decode().startswith(_PACKED_ALREADY)
        )
        tag = b'"%x-%x"' % (found.modified_ns, found.size)
        version = Version(found.size, found.modified_ns // 1_000_000_000, b"W/" + tag if packed else tag)
        verdict = judge(exchange.fields, version)
        fields = [(b"ETag", version.tag), (b"Last-Modified", version.last_modified), (b"Vary", b"Accept-Encoding")]
        if verdict.status == 304:
            await exchange.answer(304, fields)
        elif verdict.status == 412:
            await exchange.answer(412, fields)
        elif verdict.status == 416:
            await _text(exchange, 416, [*fields, (b"Content-Range", b"bytes */%d" % found.size)])
        elif verdict.status == 206:
            await _serve_ranges(exchange, found, [*fields, (b"Accept-Ranges", b"bytes")], kind, verdict.ranges)
        elif packed:
            await _serve_packed(exchange, found, [*fields, (b"Content-Type", kind), (b"Content-Encoding", b"gzip")], start)
        else:
            await exchange.respond(200, [*fields, (b"Accept-Ranges", b"bytes"), (b"Content-Type", kind)], found.size)
            await exchange.send(start)
            await _send_part(exchange, found.fd, len(start), found.size)
            await exchange.end()


async def _in_thread(act: Callable[[*Args], Result], *args: *Args) -> Result:
    """What may block. When it does for ever, whoever waits can still be cancelled."""
    return await trio.to_thread.run_sync(act, *args, abandon_on_cancel=True, limiter=_threads)


class _Finding:
    """A search that can be given up while it is blocked, without a descriptor being lost."""

    def __init__(self, root: str, parts: Sequence[str]) -> None:
        self._root = root
        self._parts = parts
        self._lock = Lock()
        self._given_up = False
        self._found: Found | None = None

    def run(self) -> Found:
        found = folder.find(self._root, self._parts)
        with self._lock:
            if self._given_up:
                os.close(found.fd)
            self._found = found
        return found

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._found is not None:
                os.close(self._found.fd)


async def _find(root: str, parts: Sequence[str]) -> Found:
    """As folder.find."""
    finding = _Finding(root, parts)
    try:
        return await _in_thread(finding.run)
    except trio.Cancelled:
        finding.give_up()
        raise


def _pack(data: bytes) -> bytes:
    return zlib.compress(data, 6, wbits=31)


async def _serve_ranges(exchange: Exchange, found: Found, fields: list[Field], kind: bytes, ranges: tuple[tuple[int, int], ...]) -> None:
    if len(ranges) == 1:
        (begin, end) = ranges[0]
        lines = [*fields, (b"Content-Type", kind), (b"Content-Range", b"bytes %d-%d/%d" % (begin, end - 1, found.size))]
        await exchange.respond(206, lines, end - begin)
        await _send_part(exchange, found.fd, begin, end)
        await exchange.end()
        return
    boundary = os.urandom(16).hex().encode()
    heads = [
        b"--%b\r\nContent-Type: %b\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (boundary, kind, begin, end - 1, found.size)
        for begin, end in ranges
    ]
    last = b"--%b--\r\n" % boundary
    length = sum(len(head) + end - begin + 2 for head, (begin, end) in zip(heads, ranges, strict=True)) + len(last)
    await exchange.respond(206, [*fields, (b"Content-Type", b"multipart/byteranges; boundary=" + boundary)], length)
    for head, (begin, end) in zip(heads, ranges, strict=True):
        await exchange.send(head)
        await _send_part(exchange, found.fd, begin, end)
        await exchange.send(b"\r\n")
    await exchange.send(last)
    await exchange.end()


async def _serve_packed(exchange: Exchange, found: Found, fields: list[Field], start: bytes) -> None:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)

    def pack(data: bytes, at: int) -> tuple[bytes, int]:
        """In a thread: pack `data`, or what comes at `at`; what that became, and where to go on."""
        data = data or os.pread(found.fd, min(_PIECE, found.size - at), at)
        at += len(data)
        packed = packer.compress(data)
        return (packed + packer.flush(), -1) if at >= found.size or not data else (packed, at)

    data, at = await _in_thread(pack, start, 0)
    if at < 0:
        await exchange.answer(200, fields, data)
        return
    await exchange.respond(200, fields)
    await exchange.send(data)
    while at >= 0:
        data, at = await _in_thread(pack, b"", at)
        await exchange.send(data)
    await exchange.end()


async def _send_part(exchange: Exchange, fd: int, begin: int, end: int) -> None:
    """A file that has become shorter meanwhile ends the answer before its time, and so the connection."""
    while begin < end and (data := await _read(fd, begin, min(_PIECE, end - begin))):
        await exchange.send(data)
        begin += len(data)


async def _read(fd: int, at: int, size: int) -> bytes:
    try:
        return await _in_thread(os.pread, fd, size, at) if size else b""
    except OSError:
        return b""


def _kind(path: str, start: bytes) -> bytes:
    kind, coding = _types.guess_type(path, strict=False)
    if coding is not None:
        return {"gzip": b"application/gzip", "bzip2": b"application/x-bzip2", "xz": b"application/x-xz"}.get(
            coding, b"application/octet-stream"
        )
    if kind is None:
        return content_type(start)
    if kind == "application/javascript":
        kind = "text/javascript"
    return f"{kind}; charset=utf-8".encode() if kind.startswith("text/") else kind.encode()


async def _text(exchange: Exchange, status: int, fields: list[Field] | None = None) -> None:
    body = b"%d %b\n" % (status, reason_of(status).lower())
    await exchange.answer(status, [*(fields or ()), TEXT, (b"X-Content-Type-Options", b"nosniff")], body)


async def _redirect(exchange: Exchange, location: bytes) -> None:
    _, mark, query = exchange.target.partition(b"?")
    await exchange.answer(301, [(b"Location", location + mark + query)])
