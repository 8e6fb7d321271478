"""The token bucket of `bandwidthLimit` (behaviour.md 6.1): one per proxy, for all its connections and both directions.

Whoever is to move bytes waits until nothing is owed (`take(0, now)` tells how long that is), takes as many tokens and moves them.
Tokens may go below zero, by one slice: it may be more than the bucket holds.
"""


class Bucket:
    """Holds at most one second's bytes, and is full at first."""

    __slots__ = ("_rate", "_then", "_tokens", "slice_size")

    slice_size: int
    """Bytes to move at a time: 20 ms of the rate, so that no stall is felt, but from 512 bytes to 64 KiB."""

    def __init__(self, rate: float, now: float) -> None:
        """`rate` in bytes per second, above 0; `now` in seconds of any clock that doesn't go back."""
        if not rate > 0:
            raise RuntimeError(f"a rate of {rate} bytes per second lets nothing through")
        self._rate = rate
        self._tokens = rate
        self._then = now
        self.slice_size = min(max(int(rate / 50), 512), 65536)

    def take(self, size: int, now: float) -> float:
        """Takes `size` tokens; seconds to wait before moving more, often 0.0."""
        tokens = min(self._tokens + (now - self._then) * self._rate, self._rate) - size
        self._tokens = tokens
        self._then = now
        return -tokens / self._rate if tokens < 0 else 0.0

    def give_back(self, size: int) -> None:
        """`size` tokens were not needed."""
        self._tokens = min(self._tokens + size, self._rate)
