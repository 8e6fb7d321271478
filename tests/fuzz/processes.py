"""Targets side by side, each in a process of its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator

from tests.fuzz.corpus import LOGS


def side_by_side(jobs: int, names: list[str], run: Callable[[str], None]) -> Iterator[tuple[str, int]]:
    """Each in a process of its own, which writes into a file in LOGS; yields names and exit codes as they end."""
    LOGS.mkdir(parents=True, exist_ok=True)
    waiting, running = names[::-1], dict[int, str]()
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop()
            running[_forked(name, run)] = name
        pid, status = os.wait()
        yield running.pop(pid), os.waitstatus_to_exitcode(status)


def _forked(name: str, run: Callable[[str], None]) -> int:
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    code = 1
    try:
        with (LOGS / name).open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)
        run(name)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
