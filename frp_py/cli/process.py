"""A program as a process: limits, signals, the garbage collector, exit codes (config.md 4.8).

SIGINT and SIGTERM cancel the program, which has a second to say goodbye to its users; then, or at a second signal, the
process ends as it is. Either way the exit code is 0 and nothing is printed. At SIGHUP it reads its configuration again.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import trio

from frp_py.errors import FrpError
from frp_py.log import get_logger, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

GRACE = 1.0
"""Seconds between a signal and the end."""

_log = get_logger()


class Service(Protocol):
    """What is run: a server, a client, or several."""

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled or done; FrpError when that can't be."""

    async def reload(self) -> object:
        """Read the configuration again while it runs; FrpError when something is wrong with that, and then nothing has changed."""


class _Started:
    """Is told when the service has started: what is there by now stays, so the collector need not look at it again."""

    def started(self, value: object = None) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)


def run(program: str, service: Service) -> int:
    """Run `service` until it ends or a signal ends it, and return the exit code.

    0 after a signal or a regular end; 1 after an FrpError, whose text is printed on standard output, and after a bug,
    which is logged with its traceback.
    """
    raise_file_limit()
    try:
        trio.run(_supervise, service)
    except BaseException as error:
        leaves = leaves_of(error)
        if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):  # SIGINT before its handler was in place
            return 0
        if all(isinstance(leaf, FrpError) for leaf in leaves):
            print(reason(leaves[0]), flush=True)
            return 1
        if not isinstance(error, Exception):
            raise
        _log.exception("bug in %s", program)
        print(f"{program} ended by a bug: {leaves[0]!r}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _supervise(service: Service) -> None:
    async with trio.open_nursery() as nursery:

        def reload() -> None:
            with suppress(RuntimeError):  # it is stopping just now
                nursery.start_soon(_reload, service)

        with _signals_obeyed(nursery.cancel_scope, reload):
            await service.run(task_status=_Started())
        nursery.cancel_scope.cancel()


async def _reload(service: Service) -> None:
    _log.info("SIGHUP received: reading the configuration again")
    try:
        await service.reload()
    except FrpError as error:
        _log.error("reload config error: %s", error)
    except Exception:
        _log.exception("bug in a reload")


@contextmanager
def _signals_obeyed(scope: trio.CancelScope, reload: Callable[[], None]) -> Iterator[None]:
    """Signals cancel `scope`; SIGHUP calls `reload`. Their handlers also run while a loop that is stuck keeps every task from running."""
    soon = trio.lowlevel.current_trio_token().run_sync_soon
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(0)
        stopping = True
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, GRACE)
        soon(scope.cancel)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        soon(reload, idempotent=True)

    def give_up(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    handlers = {"SIGINT": stop, "SIGTERM": stop, "SIGHUP": hang_up, "SIGALRM": give_up}
    numbers = {getattr(signal, name): handler for name, handler in handlers.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def reason(error: BaseException) -> str:
    """What `error` says, without anything that steers a terminal: it may be a server that says it."""
    return "\n".join(map(printable, str(error).split("\n")))


def leaves_of(error: BaseException) -> list[BaseException]:
    """The exceptions that `error` is made of."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for child in error.exceptions for leaf in leaves_of(child)]
    return [error]


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each user is one or two."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, 1 << 20, 10_240):  # macOS says unlimited and then takes less
        if soft != resource.RLIM_INFINITY and (limit == resource.RLIM_INFINITY or soft < limit):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            except (OSError, ValueError):
                continue
        return
