"""The user interface: files of a folder, each read when somebody asks for it and kept until it changes."""

from __future__ import annotations

import os
import stat
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import trio
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from frp_py.log import get_logger
from frp_py.net.http.conditions import Version, accepts_gzip, judge
from frp_py.net.web.request import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frp_py.net.web.operations import Handler
    from frp_py.net.web.request import Request

log = get_logger()

_BUNDLED = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "dashboard")
_LARGEST = 16 << 20  # bytes of a file
_KEPT = 8 << 20  # bytes of all files in memory
_THREADS = 4  # that wait for slow disks; a dead one takes no more of those that the rest of the program needs
_UNPACKED = "application/octet-stream"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".map": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".ttf": "font/ttf",
    ".ico": "image/x-icon",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
_PACKED_ALREADY = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp", "font/woff", "font/woff2", _UNPACKED))


class Page(NamedTuple):
    """A file; `packed` is its content by gzip, empty when that isn't worth while."""

    path: str
    content: bytes
    packed: bytes
    kind: str
    version: Version
    changed: int


class Pages:
    """The files that come with this program for `name`, or those of another folder instead."""

    def __init__(self, name: str, assets_dir: str) -> None:
        self._is_bundled = not assets_dir
        self._root = os.path.join(_BUNDLED, name) if self._is_bundled else assets_dir
        self._shared = os.path.join(_BUNDLED, "shared") if self._is_bundled else ""
        if assets_dir and not os.path.isdir(assets_dir):
            log.warning("webServer.assetsDir %s is no directory: there are no pages", assets_dir)
        self._kept: dict[str, Page] = {}
        self._size = 0
        self._threads = trio.CapacityLimiter(_THREADS)

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """Paths and what answers there."""
        return (("/", self._to_start), ("/favicon.ico", self._favicon), ("/static/{path:path}", self._file))

    async def _to_start(self, request: Request) -> Response:
        return RedirectResponse("/static/", 301)

    async def _favicon(self, request: Request) -> Response:
        return await self._answer(request, "favicon.ico")

    async def _file(self, request: Request) -> Response:
        try:
            return await self._answer(request, decoded(request.path_parameters["path"]))
        except ValueError:
            return _missing()

    async def _answer(self, request: Request, path: str) -> Response:
        place = self._place(path)
        try:
            if place is None:
                return _missing()
            if self._is_bundled:
                page = self._load(*place)
            else:  # whatever it lies on may be slow
                page = await trio.to_thread.run_sync(self._load, *place, abandon_on_cancel=True, limiter=self._threads)
        except OSError as error:
            log.debug("web server: %s", error)
            return _missing()
        self._keep(page)
        packed = bool(page.packed) and accepts_gzip(request.fields)
        version = page.version._replace(tag=b"W/" + page.version.tag) if packed else page.version
        headers = {
            "etag": version.tag.decode(),
            "last-modified": version.last_modified.decode(),
            "cache-control": "no-cache",
            "vary": "accept-encoding",
        }
        if judge(request.fields, version).status == 304:
            return Response(status_code=304, headers=headers)
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(page.packed if packed else page.content, headers=headers, media_type=page.kind)

    def _place(self, path: str) -> tuple[str, str] | None:
        """The folder and the file in it; None for what can't be one."""
        parts = path.split("/")
        if not parts[-1]:
            parts[-1] = "index.html"
        if any(not part or part.startswith(".") or "\0" in part or "\\" in part for part in parts):
            return None
        if self._shared and parts[0] == "shared":
            return self._shared, os.path.join(*parts[1:]) if parts[1:] else ""
        return self._root, os.path.join(*parts)

    def _load(self, root: str, path: str) -> Page:
        """Raises OSError."""
        root = os.path.realpath(root)
        path = os.path.realpath(os.path.join(root, path), strict=True)
        if os.path.commonpath((root, path)) != root:
            raise FileNotFoundError(f"{path} is outside {root}")
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
                raise FileNotFoundError(f"{path} is no file of at most {_LARGEST} bytes")
            page = self._kept.get(path)
            if page is not None and (page.changed, len(page.content)) == (found.st_mtime_ns, found.st_size):
                return page
            with open(fd, "rb", closefd=False) as file:
                content = file.read(_LARGEST)
        finally:
            os.close(fd)
        kind = _TYPES.get(os.path.splitext(path)[1].lower(), _UNPACKED)
        packed = b"" if kind in _PACKED_ALREADY or len(content) < 512 else zlib.compress(content, 9, wbits=31)
        tag = b'"%b"' % sha256(content).hexdigest()[:24].encode()
        return Page(path, content, packed, kind, Version(len(content), int(found.st_mtime), tag), found.st_mtime_ns)

    def _keep(self, page: Page) -> None:
        if self._kept.get(page.path) is page:
            return
        old = self._kept.pop(page.path, None)
        if old is not None:
            self._size -= len(old.content) + len(old.packed)
        size = len(page.content) + len(page.packed)
        if self._size + size <= _KEPT:
            self._kept[page.path] = page
            self._size += size


def _missing() -> Response:
    return PlainTextResponse("404 page not found\n", 404)
