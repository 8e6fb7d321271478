"""The token bucket of `bandwidthLimit` (behaviour.md 6.1): one per proxy, for all its connections and both directions.

Whoever has moved bytes takes as many tokens and waits as long as it is told before it moves more. Tokens may go below
zero, so takers are served in the order in which they came, and nothing is kept for them here.
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


class Both:
    """Two buckets that the same bytes are taken from: the slower one decides."""

    __slots__ = ("_a", "_b", "slice_size")

    def __init__(self, a: Bucket, b: Bucket) -> None:
        self._a = a
        self._b = b
        self.slice_size = min(a.slice_size, b.slice_size)

    def take(self, size: int, now: float) -> float:
        """Takes `size` tokens from each; seconds to wait before moving more."""
        return max(self._a.take(size, now), self._b.take(size, now))
