"""What is logged of those who have not shown that they may be here.

They decide how often something happens and what it looks like, so both are bounded: long lines are cut, and of many lines
the rest is counted. Who floods the client port doesn't fill the disk.
"""

from __future__ import annotations

import sys

import trio

from frp_py.log import INFO, WARNING, Logger

_BURST = 200  # lines at once
_RATE = 5.0  # lines a second, later on
_LENGTH = 400  # characters of a line


class _Budget:
    """Lines that may still be written."""

    __slots__ = ("kept_back", "left", "looked_at")

    def __init__(self) -> None:
        self.left = float(_BURST)
        self.looked_at = -float("inf")
        self.kept_back = 0


class StrangersLog(Logger):
    """A logger for them all; those made by `with_prefix` share its budget."""

    __slots__ = ("_budget",)

    def __init__(self, prefix: str = "", budget: _Budget | None = None) -> None:
        super().__init__(prefix)
        self._budget = budget or _Budget()

    def with_prefix(self, prefix: str) -> StrangersLog:
        """A logger whose lines carry `[prefix] ` after the prefixes of this one."""
        return StrangersLog(f"{self._prefix}[{prefix}] ", self._budget)

    def info(self, fmt: str, *args: object) -> None:
        """As Logger.info, if there is room for one more line."""
        if self.isEnabledFor(INFO):
            self._write_some(INFO, fmt, args)

    def warning(self, fmt: str, *args: object) -> None:
        """As Logger.warning, if there is room for one more line."""
        if self.isEnabledFor(WARNING):
            self._write_some(WARNING, fmt, args)

    def _write_some(self, level: int, fmt: str, args: tuple[object, ...]) -> None:
        budget, now = self._budget, trio.current_time()
        budget.left = min(budget.left + (now - budget.looked_at) * _RATE, _BURST)
        budget.looked_at = now
        if budget.left < 1:
            budget.kept_back += 1
            return
        budget.left -= 1
        frame = sys._getframe(2)
        if budget.kept_back:
            kept_back, budget.kept_back = budget.kept_back, 0
            self._write(WARNING, "%d lines about unknown peers were left out", (kept_back,), frame)
        text = fmt % args
        self._write(level, "%s", (text if len(text) <= _LENGTH else f"{text[:_LENGTH]}...",), frame)
