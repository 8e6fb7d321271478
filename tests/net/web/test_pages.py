from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
import trio

from frp_py.net.web import pages
from tests.net.web.helpers import Site, basic, running_site
from tests.support.inside import logged
from tests.support.net import until

HTML = b"<!doctype html><title>x</title>"
SCRIPT = b"export const text = 'abcabcabc';\n" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user interface, and what lies beside it."""
    assets = tmp_path / "assets"
    (assets / "js").mkdir(parents=True)
    (assets / "index.html").write_bytes(HTML)
    (assets / "js" / "app.js").write_bytes(SCRIPT)
    (assets / "favicon.ico").write_bytes(b"icon")
    (assets / "name with ä.css").write_bytes(b"a{}")
    (assets / ".hidden").write_bytes(b"hidden")
    (assets / "strange.xyz").write_bytes(b"<script>")
    (tmp_path / "secret").write_bytes(b"secret")
    (assets / "out").symlink_to(tmp_path / "secret")
    (assets / "in.js").symlink_to("js/app.js")
    os.mkfifo(assets / "fifo")
    return assets


async def get(site: Site, target: str, **fields: str) -> tuple[int, bytes]:
    answer = await site.ask(target, {**basic(), **fields})
    return answer.status, answer.body


async def test_assets_dir(folder: Path) -> None:
    async with running_site(assets_dir=str(folder)) as site:
        root = await site.ask("/")
        assert (root.status, root.fields["location"]) == (301, "/static/")
        assert await get(site, "/static/") == (200, HTML)
        assert await get(site, "/static/index.html") == (200, HTML)
        assert await get(site, "/static/js/app.js") == (200, SCRIPT)
        assert await get(site, "/static/in.js") == (200, SCRIPT)
        assert await get(site, "/static/name%20with%20%C3%A4.css") == (200, b"a{}")
        assert await get(site, "/favicon.ico") == (200, b"icon")
        # made by others, it may have styles within
        assert "style-src 'self' 'unsafe-inline';" in root.fields["content-security-policy"]
        assert "script-src 'self';" in root.fields["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        *("nothing", "js", "js/", "index.html/", "js//app.js", "/index.html", ".hidden", "out", "fifo", "js/./app.js", "%ff", "a%00b"),
        *("../secret", "%2e%2e/secret", "..%2fsecret", "js/../../secret", "..%5csecret", "%2fetc/passwd", "x" * 5000),
    ],
)
async def test_what_isnt_there_or_isnt_for_everybody(path: str, folder: Path) -> None:
    async with running_site(assets_dir=str(folder)) as site:
        assert await get(site, f"/static/{path}") == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("", "text/html; charset=utf-8"), ("js/app.js", "text/javascript; charset=utf-8"), ("strange.xyz", "application/octet-stream")],
)
async def test_types_come_from_a_table(path: str, kind: str, folder: Path) -> None:
    async with running_site(assets_dir=str(folder)) as site:
        assert (await site.ask(f"/static/{path}")).fields["content-type"] == kind


async def test_compressed_for_those_who_like_it(folder: Path) -> None:
    async with running_site(assets_dir=str(folder)) as site:
        answer = await site.ask("/static/js/app.js", {**basic(), "Accept-Encoding": "gzip"})
        assert (answer.fields["content-encoding"], answer.fields["vary"]) == ("gzip", "accept-encoding")
        assert gzip.decompress(answer.body) == SCRIPT
        small = await site.ask("/static/", {**basic(), "Accept-Encoding": "gzip"})
        assert "content-encoding" not in small.fields


async def test_what_hasnt_changed_isnt_sent_again(folder: Path) -> None:
    async with running_site(assets_dir=str(folder)) as site:
        for encoding in ("identity", "gzip"):
            first = await site.ask("/static/js/app.js", {**basic(), "Accept-Encoding": encoding})
            assert first.fields["cache-control"] == "no-cache"
            tag = first.fields["etag"]
            again = await site.ask("/static/js/app.js", {**basic(), "Accept-Encoding": encoding, "If-None-Match": f'"x", {tag}'})
            assert (again.status, again.body, again.fields["etag"]) == (304, b"", tag)
            assert (await get(site, "/static/js/app.js", **{"If-None-Match": '"x"'}))[0] == 200
            assert (await get(site, "/static/js/app.js", **{"If-Modified-Since": first.fields["last-modified"]}))[0] == 304
        (folder / "js" / "app.js").write_bytes(b"new")
        assert await get(site, "/static/js/app.js", **{"If-None-Match": tag}) == (200, b"new")


async def test_what_is_kept_in_memory_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_KEPT", 3000)
    monkeypatch.setattr(pages, "_LARGEST", 5000)
    (folder / "large.js").write_bytes(b"x" * 5001)
    it = pages.Pages("client", str(folder))
    with pytest.raises(OSError, match="is no file of at most"):
        it._load(str(folder), "large.js")
    for n in range(10):
        (folder / f"{n}.png").write_bytes(b"x" * 1000)
        it._keep(it._load(str(folder), f"{n}.png"))
    assert it._size == sum(len(page.content) for page in it._kept.values()) == 3000
    (folder / "0.png").write_bytes(b"y" * 100)
    it._keep(it._load(str(folder), "0.png"))
    assert it._size == 2100


async def test_a_dead_disk_takes_few_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_back = threading.Event()
    monkeypatch.setattr(pages.Pages, "_load", lambda self, root, path: is_back.wait())
    limiter = trio.to_thread.current_default_thread_limiter()
    async with running_site(assets_dir=str(folder)) as site, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(site.ask, "/static/")
        try:
            await until(lambda: len(site.service._crowd) == 0 and site.service._connections == 10)
            assert limiter.borrowed_tokens == 0
        finally:
            is_back.set()
        nursery.cancel_scope.cancel()


async def test_the_bundled_pages_and_what_they_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("server", "client", "shared"):
        (tmp_path / "dashboard" / name).mkdir(parents=True)
        (tmp_path / "dashboard" / name / "index.html").write_text(name)
    (tmp_path / "dashboard" / "README.md").write_text("not for users")
    monkeypatch.setattr(pages, "_BUNDLED", str(tmp_path / "dashboard"))
    async with running_site(pages="server") as site:
        assert await get(site, "/static/") == (200, b"server")
        assert await get(site, "/static/shared/") == (200, b"shared")
        for target in ("/static/shared", "/static/client/", "/static/README.md", "/static/shared/../README.md", "/favicon.ico"):
            assert (await get(site, target))[0] == 404


async def test_without_pages_there_is_nothing(tmp_path: Path) -> None:
    with logged() as lines:
        async with running_site(assets_dir=str(tmp_path / "none")) as site:
            assert (await get(site, "/static/"))[0] == 404
    assert lines.warnings == [f"webServer.assetsDir {tmp_path / 'none'} is no directory: there are no pages"]
    async with running_site(pages="none") as site:
        assert await get(site, "/static/") == (404, b"404 page not found\n")
        assert (await site.ask("/")).status == 301


async def test_the_bundled_folders_are_there() -> None:
    for name in ("server", "client"):
        async with running_site(pages=name) as site:
            assert b"<!doctype html>" in (await get(site, "/static/"))[1].lower()
            assert (await get(site, "/static/shared/style.css"))[0] == 200
