"""The side of a wrapping end that faces the end below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from frp_py.protocol.yamux import BLOCKED

if TYPE_CHECKING:
    from frp_py.protocol.yamux import PullFrom


class Wrapping(Protocol):
    """An end that changes what it receives from the end below."""

    scratch: memoryview
    """Memory to receive into."""

    @property
    def undelivered(self) -> int:
        """Bytes received that the sink above has not passed on."""

    def arrived(self, data: memoryview) -> int:
        """Take bytes from below; returns how many of them aren't through yet."""


class Inward:
    """The sink of the end below."""

    __slots__ = ("_outer",)

    def __init__(self, outer: Wrapping) -> None:
        self._outer = outer

    @property
    def kept(self) -> int:
        """Bytes not passed on yet."""
        return self._outer.undelivered

    def pull(self, recv_into: PullFrom) -> int:
        """Receive, and pass on what that becomes."""
        outer = self._outer
        if outer.undelivered:
            return BLOCKED
        n = recv_into(outer.scratch)
        if n:
            outer.arrived(outer.scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Pass on what it becomes."""
        return self._outer.arrived(data)
