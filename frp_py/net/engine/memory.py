"""Gives the memory back that a rush leaves behind.

The allocator of glibc keeps what is free between things that are not: after a crowd of users who didn't read, 200 MB for ever. Looking
for such memory takes microseconds as a rule, but 10 ms when it lies in 100,000 pieces, and then giving it back 100 ms: that is done in a
quiet second.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine

_EACH = 10  # s between two looks
_WORTH = 16 << 20  # bytes, below which it isn't
_BUSY = 0.3  # s of processor time in a second


class _Info(ctypes.Structure):
    """struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


class Trimmer:
    """Looks every now and then. `free()` tells how many bytes are free inside the allocator, `trim()` gives back what can be given back."""

    def __init__(self, free: Callable[[], int], trim: Callable[[], object]) -> None:
        self._free = free
        self._trim = trim
        self._mark = free()  # what is given back counts as free all the same
        self._seconds = 0
        self._used = time.process_time()

    def each_second(self) -> None:
        """To be called once a second."""
        used = time.process_time()
        is_busy = used - self._used > _BUSY
        self._used = used
        self._seconds += 1
        if self._seconds < _EACH or is_busy:
            return
        self._seconds = 0
        free = self._free()
        self._mark = min(self._mark, free)
        if free - self._mark >= _WORTH:
            self._trim()
            self._mark = self._free()


def give_back(engine: Engine) -> None:
    """Give memory back from now on, where the system's allocator doesn't do so by itself."""
    libc = ctypes.CDLL(None)
    try:
        info, trim = libc.mallinfo2, libc.malloc_trim
    except AttributeError:
        return
    info.restype = _Info
    trim.argtypes = [ctypes.c_size_t]
    engine.each_second(Trimmer(lambda: int(info().fordblks), lambda: trim(0)).each_second)
