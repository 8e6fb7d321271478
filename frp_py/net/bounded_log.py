"""Logs of what others bring about.

They decide how often something happens and what it looks like, so both are bounded: long lines are cut, and of many lines the rest is
counted. Nobody fills the disk who floods a port, or registers and closes proxies all day long.
"""

from __future__ import annotations

import sys

import trio

from frp_py.log import ERROR, INFO, WARNING, Logger

_NOTICES = 10.0  # s, at least, between two lines that say how many were left out
_LONGEST_PREFIX = 300  # characters: names are made up by clients


class Budget:
    """Lines that may still be written: `burst` at once, `rate` a second later on. With `within`, each needs room there too."""

    __slots__ = ("_burst", "_left", "_looked_at", "_noticed_at", "_rate", "_within", "kept_back")

    def __init__(self, burst: int, rate: float, within: Budget | None = None) -> None:
        self._burst = burst
        self._rate = rate
        self._within = within
        self._left = float(burst)
        self._looked_at = self._noticed_at = -float("inf")
        self.kept_back = 0

    def take(self, now: float) -> bool:
        """Whether one more line may be written."""
        left = min(self._left + (now - self._looked_at) * self._rate, self._burst)
        self._looked_at = now
        self._left = left
        if left < 1 or (self._within is not None and not self._within.take(now)):
            self.kept_back += 1
            return False
        self._left = left - 1
        return True

    def notice(self, now: float) -> int:
        """How many lines there were no room for, if it is time to say so."""
        if not self.kept_back or now - self._noticed_at < _NOTICES:
            return 0
        self._noticed_at = now
        kept_back, self.kept_back = self.kept_back, 0
        return kept_back


class BoundedLog(Logger):
    """A logger with a budget, which those made by `with_prefix` share. `about` says in its notices whose lines were left out."""

    __slots__ = ("_about", "_budget", "_longest")

    def __init__(self, prefix: str, budget: Budget, *, about: str, longest: int = 2500) -> None:
        super().__init__(prefix)
        self._budget = budget
        self._about = about
        self._longest = longest  # characters of a line

    def with_prefix(self, prefix: str) -> BoundedLog:
        """A logger whose lines carry `[prefix] ` after the prefixes of this one."""
        return self.with_budget(self._budget, prefix, self._about)

    def with_budget(self, budget: Budget, prefix: str, about: str) -> BoundedLog:
        """The same with a budget of its own."""
        prefix = f"{self._prefix}[{prefix[:_LONGEST_PREFIX]}] "
        return BoundedLog(prefix, budget, about=about, longest=self._longest)

    def info(self, fmt: str, *args: object) -> None:
        """As Logger.info, if there is room for one more line."""
        if self.isEnabledFor(INFO):
            self._write_some(INFO, fmt, args)

    def warning(self, fmt: str, *args: object) -> None:
        """As Logger.warning, if there is room for one more line."""
        if self.isEnabledFor(WARNING):
            self._write_some(WARNING, fmt, args)

    def error(self, fmt: str, *args: object) -> None:
        """As Logger.error, if there is room for one more line."""
        if self.isEnabledFor(ERROR):
            self._write_some(ERROR, fmt, args)

    def _write_some(self, level: int, fmt: str, args: tuple[object, ...]) -> None:
        budget, now = self._budget, trio.current_time()
        if not budget.take(now):
            return
        frame = sys._getframe(2)
        if left_out := budget.notice(now):
            self._write(WARNING, "%d lines about %s were left out", (left_out, self._about), frame)
        text = fmt % args
        self._write(level, "%s", (text if len(text) <= self._longest else f"{text[: self._longest]}...",), frame)
