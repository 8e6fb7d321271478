"""What is logged of those who have not shown that they may be here."""

from __future__ import annotations

from frp_py.net.bounded_log import BoundedLog, Budget

_BURST = 200  # lines at once
_RATE = 5.0  # lines a second, later on
_LONGEST = 400  # characters of a line


class StrangersLog(BoundedLog):
    """A logger for them all."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("", Budget(_BURST, _RATE), about="unknown peers", longest=_LONGEST)
