"""What goes wrong, and that it is over within its bound."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from tests.soak.plan import Event
from tests.soak.programs import Watched
from tests.soak.stage import CHANGES, Slot, Stage, check_output, recovered
from tests.soak.targets import Target
from tests.soak.users import Fault, ask_json
from tests.soak.words import check_gone, check_removed

BOUNDS = {
    "start": 20.0,
    "cut": 10.0,  # noticed at once, and tried again at once or in a fraction of a second
    "kill client": 15.0,
    "stop client": 15.0,
    "black hole": 40.0,  # attempts to log in fail meanwhile: the next pause is 20 s at most, and an attempt takes up to 10 s
    "restart server": 40.0,  # the same
    "reload client": 10.0,
    "reload server": 5.0,
    "freeze": 5.0,
    "gone": 5.0,
    "dead link": 16.0,  # both sides ask after a second of silence and wait for 10 s, or wait for 8 s of heartbeats
}
"""Seconds until all users are served after the cause is gone; or until that is noticed."""

MEDIANS = {
    "cut": 4.0,
    "kill client": 6.0,
    "stop client": 4.0,
    "black hole": 8.0,
    "restart server": 12.0,
    "reload client": 3.0,
    "reload server": 1.0,
    "freeze": 3.0,
    "dead link": 13.0,
}
"""The same for the median of those that happened often enough: one may be unlucky, most may not."""

_OFTEN = 5  # times
_FROZEN = 4.0  # s at most; far less than what is taken for a dead link


class Faults:
    """Breaks things on a stage. `over`: something has been found meanwhile, and nothing needs to be waited for."""

    def __init__(self, stage: Stage, say: Callable[[str], None], over: Callable[[], bool]) -> None:
        self.events: Counter[str] = Counter()
        self.recoveries: defaultdict[str, list[float]] = defaultdict(list)
        """Seconds that each recovery took, by its cause."""
        self.stood_still = 0.0
        """Seconds for which programs were frozen so far."""
        self._stage = stage
        self._say = say
        self._over = over

    def recover(self, targets: Iterable[Target], what: str) -> None:
        """Raises Fault when they aren't served within the bound of the cause."""
        targets = list(targets)
        took = recovered(targets, BOUNDS[what], what, self._over)
        if took is None:
            return
        self.recoveries[what].append(took)
        self._say(f"{what}: all {len(targets)} concerned are served after {took:.1f} s")

    def check_medians(self) -> None:
        """Raises Fault when recoveries from a cause took too long on the whole."""
        for what, bound in MEDIANS.items():
            took = self.recoveries.get(what, [])
            if len(took) >= _OFTEN and (median := statistics.median(took)) > bound:
                raise Fault(f"{what}: {median:.1f} s in the median until all were served, {bound:g} s at most are expected")

    def happen(self, event: Event, *, server_too: bool) -> None:
        """`server_too`: servers may be started anew. In the second half they aren't, so that what they leak adds up."""
        kind = event.kind if server_too or event.kind != "restart server" else "cut"
        slot = self._stage.slots[event.slot]
        self.events[kind] += 1
        self._say(f"#{event.number} {kind}, {slot.name}")
        acts = {
            "cut": self._cut,
            "black hole": self._black_hole,
            "freeze": self._freeze,
            "reload client": self._reload,
            "many reloads": self._reload_often,
            "reload server": self._reload_server,
            "kill client": self._kill,
            "stop client": self._stop,
            "restart server": self._restart_server,
        }
        acts[kind](slot, event.rng)
        for program in self._stage.programs:
            if not program.runs:
                raise Fault(f"{program.name} has ended by itself ({program.process.returncode}):\n{program.output[-2000:]}")
            check_output(program)

    def _disturbed(self, *things: str) -> list[Target]:
        """From now on nobody relies on what needs one of these things."""
        targets = self._stage.targets(*things)
        for target in targets:
            target.disturb()
        return targets

    def _cut(self, slot: Slot, rng: random.Random) -> None:
        concerned = self._disturbed(slot.wire_name)
        slot.wire.cut()
        self.recover(concerned, "cut")

    def _black_hole(self, slot: Slot, rng: random.Random) -> None:
        """For a moment, or until both sides have noticed by themselves."""
        swallow, short, seconds = rng.choice(({"up"}, {"down"}, {"up", "down"})), rng.random() < 0.5, rng.uniform(1, 6)
        concerned, session = self._disturbed(slot.wire_name), slot.wire.oldest()
        slot.wire.swallow = swallow
        began = time.monotonic()
        if short or session is None:
            time.sleep(seconds)
        else:
            while holders := slot.wire.holders(session):
                if time.monotonic() - began > BOUNDS["dead link"]:
                    raise Fault(f"{' and '.join(holders)} of {slot.name} have not noticed that nothing comes from the other side")
                time.sleep(0.05)
            self.recoveries["dead link"].append(time.monotonic() - began)
        slot.wire.swallow = set()
        slot.wire.cut()  # what was swallowed can't be made up for
        self.recover(concerned, "black hole")

    def _freeze(self, slot: Slot, rng: random.Random) -> None:
        """Nobody may lose anything by it."""
        seconds = rng.uniform(0.5, _FROZEN)
        program, thing = (slot.program, slot.name) if rng.random() < 0.5 else (slot.server.program, slot.server.name)
        began = time.monotonic()
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        program.process.send_signal(signal.SIGCONT)
        self.stood_still += time.monotonic() - began
        self.recover(self._stage.targets(thing), "freeze")

    def _kill(self, slot: Slot, rng: random.Random) -> None:
        concerned = self._disturbed(slot.name)
        slot.program.kill()
        check_output(slot.program)
        self._is_gone(slot, rng)
        slot.start()
        self.recover(concerned, "kill client")

    def _stop(self, slot: Slot, rng: random.Random) -> None:
        concerned = self._disturbed(slot.name)
        self.ended_well(slot.program)
        self._is_gone(slot, rng)
        slot.start()
        self.recover(concerned, "stop client")

    def _is_gone(self, slot: Slot, rng: random.Random) -> None:
        """Every second time: the server says so. Otherwise it comes back at once."""
        if rng.random() < 0.5:
            check_gone(self._stage, [slot], BOUNDS["gone"])

    def _restart_server(self, slot: Slot, rng: random.Random) -> None:
        server, killed, seconds = slot.server, rng.random() < 0.5, rng.uniform(0, 3)
        concerned = self._disturbed(server.name)
        if killed:
            server.program.kill()
            check_output(server.program)
        else:
            self.ended_well(server.program)
        time.sleep(seconds)
        server.start()
        self.recover(concerned, "restart server")

    def _change(self, slot: Slot, rng: random.Random) -> None:
        """Wish something else of those that reloads may touch."""
        for target in slot.targets:
            if not target.steady:
                target.disturb()
                target.offered = rng.random() < 0.7
                target.extra = rng.choice(CHANGES[:-1] if target.kind == "udp" else CHANGES)

    def _reload(self, slot: Slot, rng: random.Random) -> None:
        """Those that stay as they are keep their users."""
        before = self.offered(slot)
        self._change(slot, rng)
        self.apply(slot, before)

    def _reload_often(self, slot: Slot, rng: random.Random) -> None:
        """One while the one before is being carried out; the last one counts."""
        before = self.offered(slot)
        for _ in range(rng.randrange(3, 8)):
            self._change(slot, rng)
            before |= self.offered(slot)
            slot.reload()
            time.sleep(rng.choice((0.0, 0.02, 0.2)))
        self._change(slot, rng)
        self.apply(slot, before)

    @staticmethod
    def offered(slot: Slot) -> set[Target]:
        """What is to be there before a reload."""
        return {target for target in slot.targets if target.offered}

    def apply(self, slot: Slot, before: set[Target]) -> None:
        """Let the client read its file again: what is in it serves, what was in it serves no longer."""
        slot.reload()
        self.recover(slot.wished(), "reload client")
        if self._over():
            return
        end, removed = time.monotonic() + BOUNDS["reload client"], before - self.offered(slot)
        for target in removed:
            while target.works():
                if time.monotonic() > end:
                    raise Fault(f"{target.name} still serves after a reload without it")
                time.sleep(0.05)
        check_removed(slot.server, removed, BOUNDS["gone"])

    def _reload_server(self, slot: Slot, rng: random.Random) -> None:
        """Nobody may notice, and what the file says now must hold."""
        server, began = slot.server, time.monotonic()
        server.reload(rng.randrange(50, 200))
        while ask_json(server.web_port, "/api/serverinfo")["maxPortsPerClient"] != server.limit:
            if time.monotonic() - began > BOUNDS["reload server"]:
                raise Fault(f"{server.name} does not do what its file says")
            time.sleep(0.02)
        self.recoveries["reload server"].append(time.monotonic() - began)

    @staticmethod
    def ended_well(program: Watched) -> None:
        """Stop it; raises Fault when it doesn't end as it should."""
        try:
            program.stop()
        except BaseException as failed:  # pytest's own
            raise Fault(str(failed)) from None
