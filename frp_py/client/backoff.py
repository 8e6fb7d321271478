"""How long the client waits before it tries again (behaviour.md 7.1). Time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Callable

_FACTOR = 2.0
_FIRST = 2.0  # s; doubled, with up to a tenth more, it is the first pause of a series
_JITTER = 0.1
_FAST = (0.2, 0.3)  # s
_WINDOW = 60.0  # s
_FAST_TRIES = 3


class Attempts:
    """Pauses between login attempts: about 2, 4, 8 ... s up to `cap`."""

    def __init__(self, cap: float, random: Callable[[], float]) -> None:
        self._cap = cap
        self._random = random
        self._last = 0.0

    def next_pause(self) -> float:
        """Seconds to wait after one more failure."""
        jitter = 1 + _JITTER * self._random()
        self._last = min((self._last * _FACTOR if self._last else _FIRST) * jitter, self._cap)
        return self._last


class Losses:
    """Pauses after the loss of a session: none at first, longer when sessions are lost as soon as they are there."""

    def __init__(self, random: Callable[[], float], cap: float = 20.0) -> None:
        self._random = random
        self._cap = cap
        self._count = 0
        self._last = 0.0
        self._window_until = 0.0
        self._fast_left = 0

    def next_pause(self, now: float, lasted: float) -> float:
        """Seconds to wait after a session that lasted `lasted` s has been lost at `now`."""
        if lasted > _WINDOW:
            self._count = 0  # it worked: what went before is forgotten
        self._count += 1
        if self._count == 1:
            return 0.0
        if self._count <= 3:
            self._last = self._fast()
            return self._last
        if self._count == 4 or now > self._window_until:
            self._window_until = now + _WINDOW
            self._fast_left = _FAST_TRIES
            if self._count == 4:
                self._last = min(self._last * _FACTOR * (1 + _JITTER * self._random()), self._cap)
                return self._last
        if self._fast_left > 0:
            self._fast_left -= 1
            self._last = self._fast()
        else:
            self._last = min(self._last * _FACTOR * (1 + _JITTER * self._random()), self._cap)
        return self._last

    def _fast(self) -> float:
        low, high = _FAST
        return low + (high - low) * self._random()
