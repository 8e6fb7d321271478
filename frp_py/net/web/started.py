"""When a program began, also where the clock is set afterwards, as on machines whose clock doesn't run while they are off."""

from __future__ import annotations

import time

_SLACK = 5  # s that the clock may be corrected by without another answer


class Started:
    """It begins now."""

    def __init__(self) -> None:
        self._at = int(time.time())
        self._since = time.monotonic()

    @property
    def at(self) -> int:
        """Unix seconds, by the clock as it is set now."""
        at = time.time() - (time.monotonic() - self._since)
        if abs(at - self._at) > _SLACK:
            self._at = int(at)
        return self._at
