"""One run: users come and go, something is broken every second or two, and now and then everything is counted."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.e2e.test_fuzz import OPENINGS
from tests.soak.counts import Counts, patiently
from tests.soak.faults import BOUNDS, Faults
from tests.soak.plan import plan
from tests.soak.stage import Stage, check_output
from tests.soak.users import PATIENCE, Fault
from tests.soak.words import check_gone, wrong_words
from tests.support.programs import HOST, connect, reset

_LONG = 8.0  # s: visits that take longer are told
_TOO_LONG = 12.0  # s: those that nothing disturbs may not, besides the time for which a program stood still
_LONG_RUN = 60  # s: from there on the last count waits for what is kept for a minute


class Soak:
    """A run of so many seconds; everything random comes from the seed."""

    def __init__(
        self, directory: Path, seed: int, seconds: float, *, clients: int = 6, users: int = 12, tell: Callable[[str], None] = print
    ) -> None:
        self.seed = seed
        self._seconds = seconds
        self._tell = tell
        self._began = time.monotonic()
        self._found: list[str] = []
        self._over = threading.Event()
        self._resting = threading.Event()
        self._busy = 0
        self._lock = threading.Lock()
        self.visits: Counter[str] = Counter()
        self.longest: defaultdict[str, float] = defaultdict(float)
        """Seconds of the longest visit of each kind."""
        self.served = 0
        """Connections that the services had."""
        self.counts = Counts()
        self._stage = Stage(directory, clients, random.Random(seed))
        self.faults = Faults(self._stage, self._say, lambda: bool(self._found))
        self._threads = [threading.Thread(target=self._user, args=(number,), daemon=True) for number in range(users)]
        self._threads.append(threading.Thread(target=self._rubbish, daemon=True))

    def run(self) -> list[str]:
        """Returns the faults."""
        stage = self._stage
        try:
            self._settle()
            self._count_all()  # before anybody has been served
            self.faults.recover(stage.targets(), "start")
            for thread in self._threads:
                thread.start()
            self._count()
            half, next_count = self._seconds / 2, min(60.0, self._seconds / 4)
            events = plan(self.seed, [slot.steady for slot in stage.slots])
            while self._elapsed < self._seconds and not self._found:
                event = next(events)
                time.sleep(event.pause)
                self.faults.happen(event, server_too=self._elapsed < half)
                if self._elapsed > next_count:
                    next_count = self._elapsed + min(60.0, self._seconds / 4)
                    self._count()
            if not self._found:
                self._count(strict=self._seconds >= _LONG_RUN)
                self.counts.check_slopes()
                self.faults.check_medians()
        except Fault as fault:
            self._fault(str(fault))
            for program in stage.programs:
                with contextlib.suppress(Fault):
                    check_output(program)
                    continue
                self._fault(f"{program.name} has met a bug")
        finally:
            self._over.set()
            self._resting.clear()
            for thread in self._threads:
                if thread.is_alive():
                    thread.join(2 * PATIENCE)
        with contextlib.ExitStack() as stack:
            stack.callback(stage.close)
            try:
                if not self._found:
                    self._end()
            except Fault as fault:
                self._fault(str(fault))
        self.served = stage.served
        return self._found

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _say(self, what: str) -> None:
        self._tell(f"{self._elapsed:7.1f} s  {what}")

    def _fault(self, what: str) -> None:
        self._found.append(what)
        self._say(f"FAULT: {what}")

    # users

    def _user(self, number: int) -> None:
        places = self._stage.places
        for visit in count():
            rng = random.Random(f"{self.seed}/user {number}/{visit}")
            target = rng.choice(places)
            while self._resting.is_set() and not self._over.is_set():
                time.sleep(0.02)
            if self._over.is_set():
                return
            if not target.offered:
                continue
            with self._lock:
                self._busy += 1
            began, stood_still = time.monotonic(), self.faults.stood_still
            try:
                kind = target.use(rng)
            except Fault as fault:
                self._fault(f"{target.name} ({target.kind}): {fault}")
            except (OSError, ValueError) as error:
                if target.disturbed_until < began:
                    self._fault(f"{target.name} ({target.kind}, {target.extra or 'plain'}), which nothing disturbs: {error}")
                self.visits["broken off"] += 1
                time.sleep(0.2)
            except Exception as error:
                self._fault(f"bug in the soak: {error!r}")
            else:
                took = time.monotonic() - began
                with self._lock:
                    self.visits[kind] += 1
                    self.longest[kind] = max(self.longest[kind], took)
                if took > _TOO_LONG + self.faults.stood_still - stood_still and target.disturbed_until < began:
                    self._fault(f"{kind} at {target.name}, which nothing disturbs, took {took:.1f} s")
                elif took > _LONG:
                    disturbed = "disturbed" if target.disturbed_until > began else "undisturbed"
                    self._say(f"{kind} at {target.name} took {took:.1f} s, {disturbed}")
            finally:
                with self._lock:
                    self._busy -= 1
            time.sleep(rng.random() * 0.1)

    def _rubbish(self) -> None:
        """Strangers at all ports that the servers listen on."""
        rng = random.Random(f"{self.seed}/rubbish")
        ports = [port for server in self._stage.servers for port in (server.port, server.port, server.web_port, *server.ports.values())]
        held: list[socket.socket] = []
        while not self._over.is_set():
            time.sleep(0.05)
            if self._resting.is_set():
                while held:
                    held.pop().close()
                continue
            port, opening, how = rng.choice(ports), rng.choice(OPENINGS), rng.random()
            data = (opening, opening[: rng.randrange(len(opening))], opening + rng.randbytes(2000), rng.randbytes(500))[rng.randrange(4)]
            with contextlib.suppress(OSError):
                sock = connect(port, 2)
                held.append(sock)
                sock.sendall(data)
            if len(held) > 20 or (held and how < 0.5):
                sock = held.pop(0)
                (reset if how < 0.25 else socket.socket.close)(sock)
            self.visits["rubbish"] += 1
        for sock in held:
            sock.close()

    # what is left

    def _count(self, *, strict: bool = False) -> None:
        """Everybody rests, all clients offer all: then what programs say of themselves must be so, and nothing may be left of users."""
        self._resting.set()
        end = time.monotonic() + 2 * PATIENCE
        while self._busy:
            if time.monotonic() > end:
                raise Fault("users do not come to an end")
            time.sleep(0.05)
        for slot in self._stage.slots:
            before = self.faults.offered(slot)
            for target in slot.targets:
                target.offered, target.extra = True, target.extra if target.steady else ""
            self.faults.apply(slot, before)
        if self._found:
            return  # by a user, meanwhile
        for _ in patiently():
            if not self._stage.open:
                break
        else:
            raise Fault(f"{self._stage.open} connections to the services are left, and no users")
        self._count_all(strict=strict)
        self._say("counted: " + ", ".join(map(self.counts.told, self._stage.programs)))
        self._resting.clear()

    def _settle(self) -> None:
        """All have started, and have the connections that they will have at rest: pools, and one for each udp proxy."""
        self._check_words(20, strict=False)
        before: list[int] = []
        for _ in patiently():
            now = [program.figures.descriptors for program in self._stage.programs]
            if now == before:
                break
            before = now
            time.sleep(1)

    def _count_all(self, *, strict: bool = False) -> None:
        """One deadline for all of it: whoever needs longer than that has had the time of the others too."""
        patience = 75.0 if strict else 20.0
        end = time.monotonic() + patience
        self._check_words(patience, strict=strict)
        for program, kept in self._stage.with_kept():
            self.counts.take(program, self._elapsed, kept=kept, strict=strict, patience=end - time.monotonic())

    def _check_words(self, patience: float, *, strict: bool) -> None:
        """What the web servers say: what runs is said to run, nothing else is, and nobody is said to use it."""
        wrong = ["no program has started"]
        for _ in patiently(patience):
            with contextlib.suppress(OSError):
                wrong = [*wrong_words(self._stage, kept=("sudp",) if strict else ("sudp", "http"))]
            if not wrong:
                return
        raise Fault("; ".join(wrong[:5]))

    def _end(self) -> None:
        """All clients go: names and ports are free for another one, and the programs end well."""
        stage = self._stage
        for slot in stage.slots:
            self.faults.ended_well(slot.program)
        check_gone(stage, stage.slots, BOUNDS["gone"])
        for _ in patiently():
            taken = [port for port, udp in stage.ports() if not _is_free(port, udp=udp)]
            if not taken:
                break
        else:
            raise Fault(f"ports of {', '.join(stage.whose(taken))} are taken, and there are no clients")
        for slot in stage.slots:
            slot.start()
        self.faults.recover(stage.targets(), "start")
        for slot in stage.slots:
            self.faults.ended_well(slot.program)
            if "start error" in slot.program.output.rpartition("login to server success")[2]:
                raise Fault(f"{slot.program.name} did not get all its proxies:\n{slot.program.output[-2000:]}")
        for server in stage.servers:
            self.faults.ended_well(server.program)


def _is_free(port: int, *, udp: bool) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not udp)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
