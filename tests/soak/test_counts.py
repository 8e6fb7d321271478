"""A leak is worth a fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.soak import counts
from tests.soak.counts import Counts
from tests.soak.programs import Watched
from tests.soak.users import Fault


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "patiently", lambda seconds=20: iter((True,)))


class Program:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.name = "it"
        self.kinds = {"Task": 3, "TcpPublic": 5, "Relay": 1}
        self.figures = SimpleNamespace(descriptors=10, rss=50.0, threads=1)

    def inside(self) -> dict[str, int]:
        return dict(self.kinds)

    def as_watched(self) -> Watched:
        return cast(Watched, cast(Any, self))


def take(program: Program, *, times: int = 1, grows: float = 0.0) -> Counts:
    taken = Counts()
    for minute in range(times):
        taken.take(program.as_watched(), 60.0 * minute)
        program.figures.rss += grows
    return taken


@pytest.mark.parametrize(
    ("kind", "more", "strict"),
    [("TcpPublic", 1, False), ("Task", 1, False), ("Relay", 25, False), ("New", 25, False), ("New", 5, True), ("Relay", 1, True)],
)
def test_what_is_left_is_found(kind: str, more: int, strict: bool) -> None:
    program = Program()
    taken = take(program, times=2)
    program.kinds[kind] = program.kinds.get(kind, 0) + more - 1
    taken.take(program.as_watched(), 60, strict=strict)
    program.kinds[kind] += 1
    with pytest.raises(Fault, match=f"it keeps more than it did: {kind}"):
        taken.take(program.as_watched(), 120, strict=strict)


def test_descriptors_count() -> None:
    program = Program()
    taken = take(program, times=2)
    program.figures.descriptors += 33
    with pytest.raises(Fault, match="descriptors: 10 at first, 43 now"):
        taken.take(program.as_watched(), 60)


def test_at_last_no_descriptor_is_left() -> None:
    program = Program()
    taken = take(program, times=2)
    program.figures.descriptors += 2
    taken.take(program.as_watched(), 60, kept=2, strict=True)
    with pytest.raises(Fault, match="descriptors: 10 at first, 12 now"):
        taken.take(program.as_watched(), 60, kept=1, strict=True)


def test_threads_end() -> None:
    program = Program()
    taken = take(program, times=2)
    program.figures.threads += 2
    with pytest.raises(Fault, match="threads: 1 at first, 3 now"):
        taken.take(program.as_watched(), 60)


def test_who_was_started_anew_has_no_more_than_the_one_before() -> None:
    taken = take(Program(), times=2)
    again = Program()
    again.kinds["Task"] += 1
    with pytest.raises(Fault, match="Task: 3 at first, 4 now"):
        taken.take(again.as_watched(), 60, strict=True)


def test_memory_that_grows() -> None:
    take(Program(), times=12).check_slopes()
    take(Program(), times=5, grows=2).check_slopes()  # too seldom to tell
    with pytest.raises(Fault, match=r"grows by 1\.10 MB a minute"):
        take(Program(), times=12, grows=1.1).check_slopes()
    with pytest.raises(Fault, match=r"it grows: 50\.0, 57\.0, 64\.0, 71\.0, 78\.0 MB"):
        take(Program(), times=6, grows=7)


def test_a_step_of_the_heap_is_no_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program()
    taken = Counts()
    for second, rss in ((3, 46.2), (8, 57.9), (34, 63.4), (67, 63.9), (101, 66.0), (136, 66.0), (197, 66.0)):
        program.figures.rss = rss
        taken.take(program.as_watched(), second)
    taken.check_slopes()
    monkeypatch.setattr(counts, "_STEP", 0)
    with pytest.raises(Fault, match="it grows by 1"):
        taken.check_slopes()
