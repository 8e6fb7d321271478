"""Changes of files are noticed, once, and not before they are complete."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.watch import watch_files


class Watched:
    def __init__(self) -> None:
        self.calls = 0
        self.then: Callable[[], None] = lambda: None

    async def changed(self) -> None:
        self.calls += 1
        self.then()


@asynccontextmanager
async def watching(paths: Callable[[], Iterable[str]]) -> AsyncIterator[Watched]:
    watched = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_files, paths, watched.changed)
        await trio.testing.wait_all_tasks_blocked()
        yield watched
        nursery.cancel_scope.cancel()


async def test_a_change_is_noticed_once_it_is_complete(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    async with watching(lambda: [str(path)]) as watched:
        await trio.sleep(11)
        assert watched.calls == 0
        for size in range(2, 8):  # each look sees something else
            path.write_text("x" * size)
            await trio.sleep(2)
        assert watched.calls == 0
        await trio.sleep(2)
        assert watched.calls == 1
        await trio.sleep(20)
        assert watched.calls == 1


@pytest.mark.parametrize("change", ["replaced", "removed", "made", "touched"])
async def test_what_counts_as_a_change(change: str, tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "a"
    if change != "made":
        path.write_text("1")
    async with watching(lambda: [str(path)]) as watched:
        if change == "replaced":
            (tmp_path / "b").write_text("1")
            stat = path.stat()
            os.utime(tmp_path / "b", ns=(stat.st_atime_ns, stat.st_mtime_ns))
            (tmp_path / "b").rename(path)
        elif change == "removed":
            path.unlink()
        elif change == "made":
            path.write_text("1")
        else:
            os.utime(path, ns=(1, 1))
        await trio.sleep(5)
        assert watched.calls == 1


async def test_what_is_undone_before_it_counts_is_none(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    async with watching(lambda: [str(path)]) as watched:
        await trio.sleep(1)
        path.rename(tmp_path / "b")
        await trio.sleep(2)
        (tmp_path / "b").rename(path)
        await trio.sleep(9)
        assert watched.calls == 0


async def test_other_files_to_look_at_are_no_change_of_them(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What is read says which files there are; one of them changes while it is being read."""
    main, other = tmp_path / "main", tmp_path / "other"
    main.write_text("1")
    other.write_text("1")
    paths = [str(main)]
    async with watching(lambda: paths) as watched:
        main.write_text("22")

        def read() -> None:
            if watched.calls == 1:
                paths.append(str(other))
                main.write_text("333")

        watched.then = read
        await trio.sleep(5)
        assert watched.calls == 1
        await trio.sleep(4)
        assert watched.calls == 2  # for what happened meanwhile, not for the other one
        await trio.sleep(20)
        assert watched.calls == 2


async def test_paths_that_can_not_be_told_for_a_while(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    failing = [False]

    def paths() -> list[str]:
        if failing[0]:
            raise OSError("no such directory")
        return [str(path), "\0"]

    async with watching(paths) as watched:
        failing[0] = True
        await trio.sleep(9)
        path.write_text("22")
        await trio.sleep(9)
        assert watched.calls == 0
        failing[0] = False
        await trio.sleep(5)
        assert watched.calls == 1
