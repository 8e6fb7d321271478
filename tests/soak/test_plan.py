from __future__ import annotations

from collections import Counter
from itertools import islice

from tests.soak.plan import KINDS, Event, plan

STEADY = [True, True, False, False]


def first(seed: int, n: int) -> list[Event]:
    return [*islice(plan(seed, STEADY), n)]


def test_a_seed_is_a_plan() -> None:
    def details(seed: int) -> list[tuple[object, ...]]:
        return [(e.number, e.pause, e.kind, e.slot, e.rng.random()) for e in first(seed, 50)]

    assert details(5) == details(5) != details(6)


def test_an_event_does_not_depend_on_what_those_before_it_drew() -> None:
    events = plan(5, STEADY)
    for each in islice(events, 9):
        each.rng.random()
    assert next(events).rng.random() == first(5, 10)[-1].rng.random()


def test_everything_happens_and_steady_clients_are_not_ended() -> None:
    events = first(1, 1000)
    kinds = Counter(event.kind for event in events)
    assert kinds.keys() == KINDS.keys()
    assert min(kinds.values()) > 20
    assert all(not STEADY[event.slot] for event in events if event.kind in ("kill client", "stop client"))
