"""The engine: one trio task that waits on an epoll object and runs a batch of callbacks each time.

User bytes never cause a task switch. While events keep coming the engine stays in its own epoll, a few milliseconds at the
most, before it gives trio a turn; what links have to send is collected meanwhile and flushed once a batch.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Protocol

import trio

from frp_py.log import get_logger
from frp_py.protocol.yamux import Budget, Buffers

log = get_logger()

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

SCRATCH_SIZE = 256 * 1024

_EVENTS = 256  # a batch
_LINGER = 0.003  # s to wait for the next batch before trio gets its turn; with 1 ms the timer costs 10 us a round trip and hop
_TURN = 0.004  # s after which trio gets its turn whatever is going on
_FEW = 16  # events that are dealt with without a look at the clock
_BEFORE = 4  # events of those who don't wait, before as many at least of the others
_LONG = 0.02  # s after which even a batch is broken off: handlers that users keep busy for milliseconds are not to hold up the clients


class Closable(Protocol):
    """A socket, as far as the engine closes it."""

    def close(self) -> None:
        """Close it."""


class Timeouts:
    """Things that all have the same time from when they are added: a dict entry each, and one look a second."""

    __slots__ = ("_deadlines", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadlines: dict[Callable[[], None], float] = {}  # in the order of the deadlines

    def add(self, expire: Callable[[], None]) -> None:
        """Call `expire` when the time is up, within a second, unless it is discarded before."""
        self._deadlines.pop(expire, None)
        self._deadlines[expire] = trio.current_time() + self.seconds

    def change(self, seconds: float) -> None:
        """Give everything that is added from now on another time; what is there gets no longer than that either."""
        self.seconds = seconds
        if self._deadlines:
            latest = trio.current_time() + seconds
            self._deadlines = {expire: min(deadline, latest) for expire, deadline in self._deadlines.items()}

    def discard(self, expire: Callable[[], None]) -> None:
        """`expire` is called no more; that it was never added is fine."""
        self._deadlines.pop(expire, None)

    def __len__(self) -> int:
        return len(self._deadlines)

    def sweep(self, now: float) -> None:
        """Call what is due."""
        while self._deadlines:
            expire, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                return
            del self._deadlines[expire]
            expire()


class _NoEpoll:
    """What is left of the epoll object of an engine that has stopped: sockets can still be closed."""

    def register(self, fd: int, events: int) -> None: ...

    def modify(self, fd: int, events: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def close(self) -> None: ...

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        return []

    def fileno(self) -> int:
        return -1


class Engine:
    """The driver of all sockets that carry user bytes, and of the links; `run` must be running for anything to happen.

    Handlers are called as handler(events) in the engine's task, and must not block or await. An exception that leaves one is a bug: it is
    logged, and the descriptor is watched no longer.
    """

    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(SCRATCH_SIZE))
        """For the use of one callback: the next one receives its own bytes into it."""
        self.buffers = Buffers()
        self.window_budget = Budget()
        self.busy = False
        """In a batch: what is queued now is dealt with at its end."""
        self.tasks_wait = False
        """Set by who made a trio task runnable, so that it gets its turn after this batch."""
        self.long_work = trio.Lock()
        """Held by tasks for work that others can make long: one of them does a piece of it each time trio has gone round."""
        self._epoll: select.epoll | _NoEpoll = select.epoll()
        self._first: select.epoll | _NoEpoll = select.epoll()  # what is looked at first when a batch was broken off
        self._put_off: list[tuple[int, int]] = []  # events of that batch
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._rung = False
        self._stopped = False
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._flushes: list[Callable[[], None]] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._graves: list[Closable] = []
        self._timeouts: list[Timeouts] = []
        self._each_second: dict[Callable[[], None], None] = {}
        self._alarms: list[tuple[float, int, Callable[[], None]]] = []
        self._alarm_order = itertools.count()
        self._alarm_scope = trio.CancelScope()
        self.lingering = self.timeouts(2)
        """For those who may go on sending a little after all was said to them."""
        self.watch(self._bell, READ, self._on_bell)

    # descriptors

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call handler(events) when something of `events` (READ, WRITE; errors always) happens on `fd`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def prefer(self, fd: int) -> None:
        """From now until it is closed, what comes on the watched `fd` doesn't wait when the others have more to do than there is time."""
        self._first.register(fd, READ)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events on the watched `fd`."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, which is still open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            if self._put_off:
                self._put_off = [event for event in self._put_off if event[0] != fd]

    def bury(self, sock: Closable, fd: int) -> None:
        """Close a socket when the batch is over, so that its number doesn't come back while this batch still has events for it."""
        self._handlers.pop(fd, None)
        if self._stopped:
            sock.close()
            return
        self._graves.append(sock)
        if not self.busy:
            self._ring()

    # work

    def flush_later(self, flush: Callable[[], None]) -> None:
        """Call `flush` once, when the batch is over."""
        self._flushes.append(flush)
        if not self.busy:
            self._ring()

    def soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the next batch."""
        self._soon.append(callback)
        if not self.busy:
            self._ring()

    def at(self, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` at trio time `when` or a little later. There is no taking it back: the callback sees whether it still applies."""
        heapq.heappush(self._alarms, (when, next(self._alarm_order), callback))
        if self._alarms[0][0] == when:
            self._alarm_scope.deadline = when

    def each_second(self, callback: Callable[[], None]) -> None:
        """Call `callback` about once a second, until `not_each_second`."""
        self._each_second[callback] = None

    def not_each_second(self, callback: Callable[[], None]) -> None:
        """Don't any more."""
        self._each_second.pop(callback, None)

    def timeouts(self, seconds: float) -> Timeouts:
        """A new set of things to end after `seconds`."""
        timeouts = Timeouts(seconds)
        self._timeouts.append(timeouts)
        return timeouts

    # running

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve during the `async with` block, to its very end: a cancelled block can still say goodbye to whom it serves."""

        async def shielded(*, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope(shield=True) as scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.run)
                    task_status.started(scope)

        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True):  # what is cancelled before it has started would never end
                scope = await nursery.start(shielded)
            try:
                yield
            except Exception as error:
                failure = error  # it comes out as it is, not in a group
            finally:
                scope.cancel()
        if failure is not None:
            raise failure

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. What is watched is left as it is then: whoever opened it closes it, and may do so later."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tick)
                nursery.start_soon(self._run_alarms)
                task_status.started()
                while True:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
                    self._turn()
        finally:
            self._guard(partial(self.lingering.sweep, math.inf))
            self._put_off = []
            self.finish_batch()
            self._stopped = self._rung = True
            self._epoll.close()
            self._first.close()
            self._epoll = self._first = _NoEpoll()
            os.close(self._bell)

    def _turn(self) -> None:
        """Batches until nothing happens for a moment, or trio has to have its turn."""
        began = perf_counter()
        until, at_last = began + _TURN, began + _LONG
        self.busy = True
        poll, get = self._epoll.poll, self._handlers.get
        linger = 0.0
        try:
            if self._put_off:
                self._go_on(at_last)
            while not self._put_off:
                events = poll(linger, _EVENTS)
                if not events and not self._soon:
                    break
                if len(events) > _FEW:
                    self._handle_many(events, at_last)
                else:  # nearly every time, so there is no call for it
                    for fd, event in events:
                        handler = get(fd)
                        if handler is not None:
                            try:
                                handler(event)
                            except Exception:
                                log.exception("bug in the handler of descriptor %d", fd)
                                self.unwatch(fd)
                if self._flushes or self._soon or self._graves:
                    self.finish_batch(at_last)
                if self.tasks_wait or perf_counter() > until:
                    break
                linger = 0.0 if self._soon else _LINGER
        finally:
            self.tasks_wait = False
            self.busy = False
            if self._soon or self._put_off:
                self._ring()

    def _handle_many(self, events: list[tuple[int, int]], at_last: float, least: int = 1) -> None:
        """Call the handlers; what isn't done at `at_last`, beyond the first `least`, is put off until trio had its turn."""
        get = self._handlers.get
        for at, (fd, event) in enumerate(events, 1):
            handler = get(fd)
            if handler is not None:
                try:
                    handler(event)
                except Exception:
                    log.exception("bug in the handler of descriptor %d", fd)
                    self.unwatch(fd)
            if perf_counter() > at_last and at >= least:
                self._put_off = events[at:]
                return

    def _go_on(self, at_last: float) -> None:
        """With what was put off, behind a few of those who don't wait for it: each time some of the others come too."""
        first, others = self._first.poll(0, _BEFORE), self._put_off
        self._put_off = []
        self._handle_many(first + others, at_last, len(first) + _BEFORE)
        self.finish_batch(at_last)

    def finish_batch(self, at_last: float = math.inf) -> None:
        """Do what was put off until now: callbacks, but none is begun later than `at_last`, flushes, closing."""
        if self._soon:
            for _ in range(len(self._soon)):
                self._guard(self._soon.popleft())
                if perf_counter() > at_last:
                    break
        while self._flushes:
            flushes, self._flushes = self._flushes, []
            for flush in flushes:
                try:
                    flush()
                except Exception:
                    log.exception("bug in %r", flush)
        if self._graves and not self._put_off:
            graves, self._graves = self._graves, []
            for sock in graves:
                try:
                    sock.close()
                except OSError as error:
                    log.debug("closing a socket: %s", error)

    def _guard(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            log.exception("bug in %r", callback)

    def _ring(self) -> None:
        """What was queued outside a batch doesn't wait for the next event."""
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._bell, 1)

    def _on_bell(self, events: int) -> None:
        self._rung = False
        os.eventfd_read(self._bell)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(1)
            now = trio.current_time()
            for timeouts in self._timeouts:
                self._guard(partial(timeouts.sweep, now))
            for callback in list(self._each_second):
                self._guard(callback)

    async def _run_alarms(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._alarms[0][0] if self._alarms else float("inf")) as self._alarm_scope:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._alarms and self._alarms[0][0] <= now:
                self._guard(heapq.heappop(self._alarms)[2])
