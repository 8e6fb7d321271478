"""Noticing that configuration files have changed, by looking at them: that works on every file system and for every editor."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable

import trio

INTERVAL = 2.0
"""Seconds between looks."""

_State = tuple[int, int, int, int] | None


async def watch_files(paths: Callable[[], Iterable[str]], changed: Callable[[], Awaitable[object]], interval: float = INTERVAL) -> None:
    """Call `changed()` each time files of `paths()` have changed, come or gone, until cancelled.

    A change counts when two looks in a row, `interval` s apart, see the same: what is still being written is not read.
    `paths` is asked at each look; one at which it raises OSError is left out.
    """
    seen = known = _look(paths) or {}
    while True:
        await trio.sleep(interval)
        now = _look(paths)
        if now is None:
            continue
        if now == seen and seen != known:
            await changed()
            # It may have changed which files there are to look at; of the others, none is looked at as if for the first time.
            now = known = {path: now.get(path, state) for path, state in (_look(paths) or now).items()}
        seen = now


def _look(paths: Callable[[], Iterable[str]]) -> dict[str, _State] | None:
    try:
        return {path: _state(path) for path in paths()}
    except OSError:
        return None


def _state(path: str) -> _State:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
