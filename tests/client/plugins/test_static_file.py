from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from frp_py.client.plugins import folder, static_file
from frp_py.client.plugins.folder import Found


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [
        ("a.html", b"", b"text/html; charset=utf-8"),
        ("a.js", b"", b"text/javascript; charset=utf-8"),
        ("a.css", b"", b"text/css; charset=utf-8"),
        ("a.png", b"", b"image/png"),
        ("a.tar.gz", b"", b"application/gzip"),
        ("a.unknown", b"plain words", b"text/plain; charset=utf-8"),
        ("unknown", b"\0\1\2", b"application/octet-stream"),
        ("page", b"<!doctype html>\n", b"text/html; charset=utf-8"),
    ],
)
def test_kinds_of_files(name: str, start: bytes, kind: bytes) -> None:
    assert static_file._kind(name, start) == kind


async def test_a_disk_that_hangs_holds_nobody_and_loses_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, done = threading.Event(), threading.Event()
    real = folder.find

    def hanging(root: str, parts: Sequence[str]) -> Found:
        go_on.wait(10)
        return real(root, parts)

    monkeypatch.setattr(folder, "find", hanging)
    close = os.close

    def closing(fd: int) -> None:
        close(fd)
        done.set()

    (tmp_path / "file").write_text("x")
    with trio.move_on_after(0.05) as scope:
        await static_file._find(str(tmp_path), ["file"])
    assert scope.cancelled_caught
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "close", closing)
    go_on.set()
    assert await trio.to_thread.run_sync(done.wait, 5)
    for _ in range(100):
        if len(os.listdir("/proc/self/fd")) <= before:
            break
        await trio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
    found = await static_file._find(str(tmp_path), ["file"])
    assert found.size == 1
    close(found.fd)
