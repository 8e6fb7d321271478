"""What each program has when everybody rests: nothing may be there that was not there the first time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from tests.soak.programs import Watched
from tests.soak.users import Fault

_EXACT = ("Control", "ClientEntry", "Listening", "Monitor", "Public", "Local", "Task")
"""How the names of kinds end of which there are as many as there were."""

_GONE_AT_LAST = ("Relay", "UserRelay", "SocketEnd", "TlsEnd", "MuxEnd")
"""Kinds of which there are as many as there were once nothing is kept any more."""

_CACHED = {"RequestFields": 1024, "Response": 512, "Line": 1000, "PacketStream": 8, "PacketReader": 8}
"""Kinds that are kept for their own sake, up to so many; each udp proxy keeps the connection of its first datagram."""

_LOOSE, _STRICT = 24, 4
"""How many more there may be of others. HTTP keeps connections to services for a minute: within it, and later."""

_RSS_GROWTH = 12.0  # MB between the counts of one program
_SLOPE = 1.0  # MB a minute, of those that were counted often enough to tell
_OFTEN = 6  # counts
_STEP = 5.0  # MB that the heap may grow by at once, whenever that is: over two minutes it would pass for a slope
_SETTLED = 2  # counts, after which what is loaded or cached at first is there


def patiently(seconds: float = 20) -> Iterator[bool]:
    """True once, and again and again for a while."""
    end = time.monotonic() + seconds
    yield True
    while time.monotonic() < end:
        time.sleep(0.2)
        yield True


class Counts:
    """Those of all programs; one that was started again has to do with what the one before it had."""

    def __init__(self) -> None:
        self._first: dict[str, list[dict[str, float]]] = {}
        """The first two counts, by the program's name."""
        self._rss: dict[Watched, list[tuple[float, float]]] = {}

    def take(self, program: Watched, at: float, *, kept: int = 0, strict: bool = False, patience: float = 20) -> None:
        """Count what `program` has at the second `at`; `strict`: what is kept for a minute must go too, but for `kept` descriptors.
        Raises Fault after `patience` s.
        """
        counts = self._first.setdefault(program.name, [])
        first = _at_first(counts, strict=strict)
        for _ in patiently(patience):
            figures = program.figures
            now: dict[str, float] = {**program.inside(), "descriptors": figures.descriptors, "threads": figures.threads}
            more = {kind: n for kind, n in now.items() if first and n > _most(kind, first.get(kind, 0), kept=kept, strict=strict)}
            if not more:
                break
        else:
            told = ", ".join(f"{kind}: {first.get(kind, 0):g} at first, {n:g} now" for kind, n in more.items())
            raise Fault(f"{program.name} keeps more than it did: {told}")
        if len(counts) < 2:
            counts.append(now)
        rss = self._rss.setdefault(program, [])
        rss.append((at, program.figures.rss))
        settled = rss[_SETTLED:]  # caches and buffers have been filled by then
        if len(settled) > 1 and settled[-1][1] > settled[0][1] + _RSS_GROWTH:
            raise Fault(f"{program.name} grows: {', '.join(f'{mb:.1f}' for _, mb in rss)} MB")

    def told(self, program: Watched) -> str:
        """How much memory it had at its last count."""
        return f"{program.name} {self._rss[program][-1][1]:.1f} MB"

    def check_slopes(self) -> None:
        """Raises Fault for one that has grown all along."""
        for program, slope in self._slopes().items():
            rss = self._rss[program]
            if slope > _SLOPE and len(rss) >= _OFTEN and rss[-1][1] > rss[_SETTLED][1] + _STEP:
                raise Fault(f"{program.name} grows by {slope:.2f} MB a minute: {', '.join(f'{mb:.1f}' for _, mb in rss)} MB")

    def summary(self) -> str:
        """Memory at first and at last, and by how much it has grown, of those that were counted often enough."""
        return ", ".join(
            f"{program.name} {self._rss[program][0][1]:.1f} to {self._rss[program][-1][1]:.1f} MB ({slope:+.2f} a minute)"
            for program, slope in self._slopes().items()
        )

    def _slopes(self) -> dict[Watched, float]:
        found = {}
        for program, rss in self._rss.items():
            if len(settled := rss[_SETTLED:]) > 2:
                slope = statistics.linear_regression([at for at, _ in settled], [mb for _, mb in settled]).slope
                found[program] = slope * 60
        return found


def _at_first(counts: list[dict[str, float]], *, strict: bool) -> dict[str, float]:
    """What is compared with: the second count. The first is of before anybody was served, when much of our code was not even loaded;
    but no descriptor comes by that, and those that HTTP and udp kept at the second one would hide as many that are lost.
    """
    if len(counts) < 2:
        return {}
    return {**counts[1], "descriptors": counts[0]["descriptors"]} if strict else counts[1]


def _most(kind: str, at_first: float, *, kept: int, strict: bool) -> float:
    if kind.endswith(_EXACT) or (strict and kind in _GONE_AT_LAST):
        return at_first
    if kind == "threads":
        return at_first + 1  # a worker that is not needed any more ends only after some seconds
    if kind == "descriptors":
        return at_first + kept + (0 if strict else _LOOSE)
    if kind.startswith("config "):
        at_first *= 2  # that of the file, and the one that is carried out
    return at_first + _CACHED.get(kind, 0) + (_STRICT if strict else _LOOSE)
