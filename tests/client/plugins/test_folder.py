from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frp_py.client.plugins import folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "file").write_text("inside")
    (root / "file").write_text("inside")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "file").write_text("outside")
    (tmp_path / "file").write_text("outside")
    (root / "link-in").symlink_to("a/b/file")
    (root / "link-in-absolute").symlink_to(root / "a")
    (root / "a" / "up").symlink_to("../file")
    (root / "link-out").symlink_to("../file")
    (root / "link-out-dir").symlink_to("../root2")
    (root / "link-out-absolute").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "socket"))
    return root


def read(root: Path, *parts: str) -> bytes:
    found = folder.find(str(root), parts)
    try:
        return b"" if found.is_directory else os.read(found.fd, 100)
    finally:
        os.close(found.fd)


@pytest.mark.parametrize(
    "parts", [("file",), ("a", "b", "file"), ("link-in",), ("link-in-absolute", "b", "file"), ("a", "up"), ("a", "..", "file")]
)
def test_what_is_inside_is_found(root: Path, parts: tuple[str, ...]) -> None:
    assert read(root, *parts) == b"inside"


@pytest.mark.parametrize(
    "parts",
    [
        *(("..", "file"), ("..", "root2", "file"), ("link-out",), ("link-out-dir", "file"), ("link-out-dir",), ("link-out-absolute",)),
        *(("loop",), ("pipe",), ("socket",), ("nothing",), ("file", "x"), ("/etc/passwd",), ("a", "/etc/passwd"), ("x" * 5000,)),
    ],
)
def test_nothing_else_is(root: Path, parts: tuple[str, ...]) -> None:
    with pytest.raises(OSError):
        read(root, *parts)


def test_directories_and_a_folder_that_is_a_link(root: Path) -> None:
    assert read(root) == b""
    (root.parent / "alias").symlink_to(root)
    assert read(root.parent / "alias", "file") == b"inside"
    assert read(Path("/"), "etc", "passwd")


def test_a_path_longer_than_the_system_opens_is_not_looked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    real = os.lstat

    def lstat(path: str) -> os.stat_result:
        looked_at.append(path)
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    (root / "again").symlink_to(".")
    with pytest.raises(OSError, match="File name too long"):
        read(root, *["again"] * 10_000)
    with pytest.raises(FileNotFoundError):
        read(root, *["x"] * 2000)
    assert len(looked_at) < 100, "nor is what stands behind a name that isn't there"


def test_a_link_put_there_in_between_leads_nowhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath

    def and_then_swapped(path: str, *, strict: bool = False) -> str:
        found = real(path, strict=strict)
        if path.endswith("file"):
            os.rename(root / "a" / "b", root / "moved")
            (root / "a" / "b").symlink_to(root.parent / "root2")
        return found

    monkeypatch.setattr(os.path, "realpath", and_then_swapped)
    with pytest.raises(OSError):
        read(root, "a", "b", "file")


def test_no_descriptor_is_left(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for parts in (("file",), ("pipe",), ("loop",), ("a", "b", "nothing"), ("link-out",)):
        try:
            read(root, *parts)
        except OSError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/", []),
        ("/a//b/./c/", ["a", "b", "c"]),
        ("/../x", None),
        ("/a/..", None),
        ("/..", None),
        ("/a\0b", None),
        ("/...", ["..."]),
        ("/a..b", ["a..b"]),
    ],
)
def test_parts(path: str, parts: list[str] | None) -> None:
    assert folder.parts_of(path) == parts


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "file", "link-out", "link-out-dir", "up", "root2", "\0", "/"]), max_size=6))
def test_no_path_finds_what_is_outside(root: Path, names: list[str]) -> None:
    parts = folder.parts_of("/".join(names))
    try:
        content = read(root, *parts) if parts is not None else b""
    except (OSError, ValueError):
        return
    assert content in (b"", b"inside")


def test_a_listing(root: Path) -> None:
    (root / 'x"<y>&:?#%').write_text("")
    os.mkdir(os.fsencode(root) + b"/\xff")
    found = folder.find(str(root), ())
    try:
        page = folder.listing(str(root), found).decode()
    finally:
        os.close(found.fd)
    assert '<a href="a/">a/</a>' in page
    assert '<a href="x%22%3Cy%3E%26%3A%3F%23%25">x&quot;&lt;y&gt;&amp;:?#%</a>' in page
    assert '<a href="%FF/">\ufffd/</a>' in page
    assert "link-in" in page
    assert "link-out" not in page
    names = [line.partition(">")[2].removesuffix("</a>") for line in page.splitlines() if line.startswith("<a")]
    assert names == ["a/", "file", "link-in", "link-in-absolute/", "loop", "pipe", "socket", "x&quot;&lt;y&gt;&amp;:?#%", "\ufffd/"]
