"""Which of the inputs that a guided run has found are worth being kept for all times."""

from __future__ import annotations

import sys

from tests.fuzz.corpus import FOUND, ROOT, WORK, write
from tests.fuzz.cuts import Target
from tests.fuzz.seeds import inputs
from tests.fuzz.targets import TARGETS

KEPT_SIZE = 2048
KEPT = 40
"""Files of one target."""


def lines_of(target: Target, data: bytes) -> frozenset[tuple[str, int, int]]:
    """The steps from line to line in our own code that an input causes."""
    steps: set[tuple[str, int, int]] = set()
    last = 0
    package = str(ROOT / "frp_py")

    def trace(frame, event, argument):  # type: ignore[no-untyped-def]
        nonlocal last
        if not frame.f_code.co_filename.startswith(package):
            return None
        steps.add((frame.f_code.co_filename, last, frame.f_lineno))
        last = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return frozenset(steps)


def keep(name: str) -> int:
    """Take the inputs that reach something new into the corpus, the short ones first; returns how many."""
    seen: set[tuple[str, int, int]] = set()
    for data in inputs(name):
        seen |= lines_of(TARGETS[name], data)
    taken = 0
    for path in sorted((WORK / name).glob("*"), key=lambda path: (path.stat().st_size, path.name)):
        data = path.read_bytes()
        if (
            len(data) <= KEPT_SIZE
            and len(list((FOUND / name).glob("*"))) < KEPT
            and not seen.issuperset(new := lines_of(TARGETS[name], data))
        ):
            seen |= new
            write(FOUND / name, data)
            taken += 1
    return taken
