"""The states of a proxy at the client, as a table (behaviour.md 7.3)."""

from __future__ import annotations

from enum import Enum, auto


class Phase(Enum):
    """Where a proxy stands; the values are the words of `frpc status`."""

    NEW = "new"
    WAIT_START = "wait start"
    START_ERROR = "start error"
    RUNNING = "running"
    CHECK_FAILED = "check failed"
    CLOSED = "closed"


class Signal(Enum):
    """What moves it."""

    ASKED = auto()
    """NewProxy was sent, for the first time or again."""
    ACCEPTED = auto()
    REFUSED = auto()
    """By the server, or its local side could not be made ready."""
    UNHEALTHY = auto()
    STOPPED = auto()


NEXT: dict[tuple[Phase, Signal], Phase] = {
    (Phase.NEW, Signal.ASKED): Phase.WAIT_START,
    (Phase.WAIT_START, Signal.ASKED): Phase.WAIT_START,
    (Phase.START_ERROR, Signal.ASKED): Phase.WAIT_START,
    (Phase.CHECK_FAILED, Signal.ASKED): Phase.WAIT_START,
    (Phase.WAIT_START, Signal.ACCEPTED): Phase.RUNNING,
    (Phase.WAIT_START, Signal.REFUSED): Phase.START_ERROR,
    (Phase.RUNNING, Signal.UNHEALTHY): Phase.CHECK_FAILED,
    (Phase.WAIT_START, Signal.UNHEALTHY): Phase.CHECK_FAILED,
    **{(phase, Signal.STOPPED): Phase.CLOSED for phase in Phase if phase is not Phase.CLOSED},
}


def after(phase: Phase, signal: Signal) -> Phase:
    """The phase that follows. Raises RuntimeError for a pair that isn't in the table: that is a bug."""
    try:
        return NEXT[phase, signal]
    except KeyError:
        raise RuntimeError(f"a proxy in phase {phase.value!r} can't take {signal.name}") from None
