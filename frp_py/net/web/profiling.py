"""What the program is doing, as text: its tasks, its threads, and where it spends its time (behaviour.md 11.1, `pprofEnable`)."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Task

from frp_py.net.web.operations import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from frp_py.net.web.operations import Handler
    from frp_py.net.web.request import Request

_LONGEST = 50.0  # s
_SAMPLE = 0.01  # s between two looks
_STEPS = 20_000  # of a trace
_DEEPEST = 60  # frames shown of a stack
_TURN = 200  # lines listed before others get their turn: 2 ms
_INDEX = """/debug/pprof/

goroutine  the tasks and the threads, and where each of them stands
profile    where the time goes: stacks, sampled during ?seconds=N (30)
trace      which task ran when, and for how long, during ?seconds=N (1)
cmdline    the command line
symbol     whether there are names (there are)
"""


class Profiling:
    """The routes; only one request at a time measures."""

    def __init__(self) -> None:
        self._measures = False
        self._listing = trio.Lock()

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """Paths and what answers there."""
        return (
            ("/debug/pprof/", self._index),
            ("/debug/pprof/goroutine", self._goroutine),
            ("/debug/pprof/cmdline", self._cmdline),
            ("/debug/pprof/symbol", self._symbol),
            ("/debug/pprof/profile", self._profile),
            ("/debug/pprof/trace", self._trace),
        )

    async def _index(self, request: Request) -> str:
        return _INDEX

    async def _goroutine(self, request: Request) -> str:
        lines = []
        async with self._listing:
            for line in _tasks():
                lines.append(line)
                if len(lines) % _TURN == 0:
                    await trio.lowlevel.checkpoint()
        return "\n".join((*lines, *_threads()))

    async def _cmdline(self, request: Request) -> str:
        return "\0".join(sys.argv)

    async def _symbol(self, request: Request) -> str:
        return "num_symbols: 1\n"

    async def _profile(self, request: Request) -> str:
        seconds = _seconds(request, 30)
        with self._measuring():
            sampler = _Sampler(threading.get_ident())
            thread = threading.Thread(target=sampler.run, name="profile", daemon=True)
            thread.start()
            try:
                await trio.sleep(seconds)
            finally:
                sampler.over.set()
            return "".join(f"{stack} {count}\n" for stack, count in sampler.stacks.most_common())

    async def _trace(self, request: Request) -> str:
        seconds = _seconds(request, 1)
        with self._measuring():
            steps = _Steps()
            trio.lowlevel.add_instrument(steps)
            try:
                await trio.sleep(seconds)
            finally:
                trio.lowlevel.remove_instrument(steps)
            return "".join(steps.lines)

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Raises ApiError."""
        if self._measures:
            raise ApiError(503, "somebody else measures already")
        self._measures = True
        try:
            yield
        finally:
            self._measures = False


def _seconds(request: Request, default: float) -> float:
    """Raises ApiError."""
    try:
        seconds = float(request.query.get("seconds") or default)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= _LONGEST:
        raise ApiError(400, f"seconds must be above 0 and at most {_LONGEST:.0f}")
    return seconds


class _Sampler:
    """Looks at what a thread does, from another one: stacks in the form `outer;inner count` that flame graphs are made of."""

    def __init__(self, thread: int) -> None:
        self.stacks: Counter[str] = Counter()
        self.over = threading.Event()
        self._thread = thread

    def run(self) -> None:
        """Until `over`."""
        while not self.over.wait(_SAMPLE):
            frame = sys._current_frames().get(self._thread)
            names = []
            while frame is not None:
                code = frame.f_code
                names.append(f"{frame.f_globals.get('__name__', '?')}.{code.co_qualname}:{frame.f_lineno}")
                frame = frame.f_back
            self.stacks[";".join(reversed(names))] += 1


class _Steps(trio.abc.Instrument):
    """The steps of all tasks, a line each: when (s), how long (ms), which task."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._began = self._since = time.perf_counter()

    def before_task_step(self, task: Task) -> None:
        self._since = time.perf_counter()

    def after_task_step(self, task: Task) -> None:
        if len(self.lines) < _STEPS:
            took = time.perf_counter() - self._since
            self.lines.append(f"{self._since - self._began:.6f} {took * 1000:.3f} {task.name}\n")


def _tasks() -> Iterator[str]:
    """Each task with the frames in which it waits, outermost first. Tasks may come and go meanwhile."""
    root = trio.lowlevel.current_root_task()
    waiting = [(root, 0)] if root is not None else []
    number = 0
    while waiting:
        task, depth = waiting.pop()
        if task.coro.cr_frame is None:
            continue  # it has ended
        number += 1
        yield f"task {number} [depth {depth}] {task.name}:"
        for frame, line in list(task.iter_await_frames())[-_DEEPEST:]:
            yield _place(frame, line)
        yield ""
        waiting += [(child, depth + 1) for nursery in task.child_nurseries for child in nursery.child_tasks]


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, top in sys._current_frames().items():
        yield f"thread {names.get(ident, ident)}:"
        for frame, line in list(traceback.walk_stack(top))[:_DEEPEST][::-1]:
            yield _place(frame, line)
        yield ""


def _place(frame: FrameType, line: int) -> str:
    return f"    {frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}:{line}"
