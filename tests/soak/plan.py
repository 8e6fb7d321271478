"""What goes wrong, and in which order: all of it comes from the seed, and each event from the seed and its number alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

KINDS = {
    "cut": 3,
    "black hole": 2,
    "freeze": 2,
    "reload client": 3,
    "many reloads": 2,
    "reload server": 2,
    "kill client": 4,
    "stop client": 2,
    "restart server": 1,
}
"""How often each happens, in proportion to the others; where one can't happen, the others share its place."""

_OF_CLIENTS = ("kill client", "stop client")
_STEADY = 3  # times as often as others they meet what doesn't end them: what they leak adds up


@dataclass(frozen=True)
class Event:
    """One thing that goes wrong, `pause` s after the one before is over. The details come from `rng`."""

    number: int
    pause: float
    kind: str
    slot: int
    rng: random.Random


def plan(seed: int, steady: Sequence[bool]) -> Iterator[Event]:
    """Events without end; `steady` says of each slot whether its client is never ended."""
    for number in count(1):
        rng = random.Random(f"{seed}/event {number}")
        pause, slot = rng.uniform(0.3, 1.5), rng.choices(range(len(steady)), [_STEADY if each else 1 for each in steady])[0]
        kinds = [kind for kind in KINDS if not (steady[slot] and kind in _OF_CLIENTS)]
        yield Event(number, pause, rng.choices(kinds, [KINDS[kind] for kind in kinds])[0], slot, rng)
