"""One run: users come and go, something is broken every second or two, and now and then everything is counted."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from itertools import count
from pathlib import Path

from tests.e2e.test_fuzz import OPENINGS
from tests.soak.counts import Counts, patiently
from tests.soak.plan import Event, plan
from tests.soak.programs import Watched
from tests.soak.stage import CHANGES, Slot, Stage, check_output, recovered
from tests.soak.targets import Target
from tests.soak.users import PATIENCE, Fault, ask_json
from tests.support.programs import HOST, connect, reset

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
    "dead link": 16.0,  # both sides ask after a second of silence and wait for 10 s, or wait for 8 s of heartbeats
}
"""Seconds until all users are served after the cause is gone; or until that is noticed."""

_LONG = 8.0  # s: visits that take longer are told
_FROZEN = 4.0  # s at most; far less than what is taken for a dead link
_LONG_RUN = 60  # s: from there on the last count waits for what is kept for a minute


class Soak:
    """A run of so many seconds; everything random comes from the seed."""

    def __init__(
        self, directory: Path, seed: int, seconds: float, *, clients: int = 6, users: int = 8, tell: Callable[[str], None] = print
    ) -> None:
        self.seed = seed
        self._seconds = seconds
        self._tell = tell
        self._began = time.monotonic()
        self._faults: list[str] = []
        self._over = threading.Event()
        self._resting = threading.Event()
        self._busy = 0
        self._lock = threading.Lock()
        self.visits: Counter[str] = Counter()
        self.longest: defaultdict[str, float] = defaultdict(float)
        """Seconds of the longest visit of each kind."""
        self.events: Counter[str] = Counter()
        self.recoveries: defaultdict[str, list[float]] = defaultdict(list)
        """Seconds that each recovery took, by its cause."""
        self.counts = Counts()
        self._stage = Stage(directory, clients, random.Random(seed))
        self._threads = [threading.Thread(target=self._user, args=(number,), daemon=True) for number in range(users)]
        self._threads.append(threading.Thread(target=self._rubbish, daemon=True))

    def run(self) -> list[str]:
        """Returns the faults."""
        stage = self._stage
        try:
            self._recover(stage.targets(), "start")
            for thread in self._threads:
                thread.start()
            self._count()
            half, next_count = self._seconds / 2, min(60.0, self._seconds / 4)
            events = plan(self.seed, [slot.steady for slot in stage.slots])
            while self._elapsed < self._seconds and not self._faults:
                event = next(events)
                time.sleep(event.pause)
                self._happen(event, server_too=self._elapsed < half)
                if self._elapsed > next_count:
                    next_count = self._elapsed + min(60.0, self._seconds / 4)
                    self._count()
            if not self._faults:
                self._count(strict=self._seconds >= _LONG_RUN)
                self.counts.check_slopes()
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
                if not self._faults:
                    self._end()
            except Fault as fault:
                self._fault(str(fault))
        return self._faults

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _say(self, what: str) -> None:
        self._tell(f"{self._elapsed:7.1f} s  {what}")

    def _fault(self, what: str) -> None:
        self._faults.append(what)
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
            began = time.monotonic()
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
                if took > _LONG:
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

    # what goes wrong

    def _recover(self, targets: Iterable[Target], what: str) -> None:
        targets = list(targets)
        took = recovered(targets, BOUNDS[what], what, lambda: bool(self._faults))
        self.recoveries[what].append(took)
        self._say(f"{what}: all {len(targets)} concerned are served after {took:.1f} s")

    def _happen(self, event: Event, *, server_too: bool) -> None:
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
        self._recover(concerned, "cut")

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
        self._recover(concerned, "black hole")

    def _freeze(self, slot: Slot, rng: random.Random) -> None:
        """Nobody may lose anything by it."""
        seconds = rng.uniform(0.5, _FROZEN)
        program, thing = (slot.program, slot.name) if rng.random() < 0.5 else (slot.server.program, slot.server.name)
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        program.process.send_signal(signal.SIGCONT)
        self._recover(self._stage.targets(thing), "freeze")

    def _kill(self, slot: Slot, rng: random.Random) -> None:
        concerned = self._disturbed(slot.name)
        slot.program.kill()
        check_output(slot.program)
        slot.start()
        self._recover(concerned, "kill client")

    def _stop(self, slot: Slot, rng: random.Random) -> None:
        concerned = self._disturbed(slot.name)
        self._ended_well(slot.program)
        slot.start()
        self._recover(concerned, "stop client")

    def _restart_server(self, slot: Slot, rng: random.Random) -> None:
        server, killed, seconds = slot.server, rng.random() < 0.5, rng.uniform(0, 3)
        concerned = self._disturbed(server.name)
        if killed:
            server.program.kill()
            check_output(server.program)
        else:
            self._ended_well(server.program)
        time.sleep(seconds)
        server.start()
        self._recover(concerned, "restart server")

    def _change(self, slot: Slot, rng: random.Random) -> None:
        """Wish something else of those that reloads may touch."""
        for target in slot.targets:
            if not target.steady:
                target.disturb()
                target.offered = rng.random() < 0.7
                target.extra = rng.choice(CHANGES)

    def _reload(self, slot: Slot, rng: random.Random) -> None:
        """Those that stay as they are keep their users."""
        before = self._offered(slot)
        self._change(slot, rng)
        self._apply(slot, before)

    def _reload_often(self, slot: Slot, rng: random.Random) -> None:
        """One while the one before is being carried out; the last one counts."""
        before = self._offered(slot)
        for _ in range(rng.randrange(3, 8)):
            self._change(slot, rng)
            before |= self._offered(slot)
            slot.reload()
            time.sleep(rng.choice((0.0, 0.02, 0.2)))
        self._change(slot, rng)
        self._apply(slot, before)

    @staticmethod
    def _offered(slot: Slot) -> set[Target]:
        return {target for target in slot.targets if target.offered}

    def _apply(self, slot: Slot, before: set[Target]) -> None:
        slot.reload()
        self._recover(slot.wished(), "reload client")
        end = time.monotonic() + BOUNDS["reload client"]
        for target in before - self._offered(slot):
            while target.works():
                if time.monotonic() > end:
                    raise Fault(f"{target.name} still serves after a reload without it")
                time.sleep(0.05)

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
    def _ended_well(program: Watched) -> None:
        try:
            program.stop()
        except BaseException as failed:  # pytest's own
            raise Fault(str(failed)) from None

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
            before = self._offered(slot)
            for target in slot.targets:
                target.offered, target.extra = True, target.extra if target.steady else ""
            self._apply(slot, before)
        for _ in patiently():
            if not self._stage.open:
                break
        else:
            raise Fault(f"{self._stage.open} connections to the services are left, and no users")
        self._check_words(strict=strict)
        for program in self._stage.programs:
            self.counts.take(program, self._elapsed, strict=strict)
        self._say("counted: " + ", ".join(map(self.counts.told, self._stage.programs)))
        self._resting.clear()

    def _check_words(self, *, strict: bool) -> None:
        """What the web servers say: what runs is said to run, nothing else is, and nobody is said to use it."""
        for _ in patiently(75 if strict else 20):
            wrong = [*self._wrong_words(kept=("sudp",) if strict else ("sudp", "http"))]
            if not wrong:
                return
        raise Fault("; ".join(wrong[:5]))

    def _wrong_words(self, kept: Collection[str]) -> Iterable[str]:
        """`kept`: kinds whose connections may outlive their users."""
        for server in self._stage.servers:
            slots = [slot for slot in self._stage.slots if slot.server is server]
            wished = {(target.name, target.kind) for slot in slots for target in slot.wished()}
            for kind in {kind for _, kind in wished}:
                for proxy in ask_json(server.web_port, f"/api/proxy/{kind}")["proxies"]:
                    is_wished = (proxy["name"], kind) in wished
                    if proxy["status"] != ("online" if is_wished else "offline"):
                        yield f"{server.name} says that {proxy['name']} is {proxy['status']}"
                    elif proxy["curConns"] and kind not in kept:
                        yield f"{server.name} says that {proxy['name']} has {proxy['curConns']} users"
                    wished.discard((proxy["name"], kind))
            if wished:
                yield f"{server.name} does not know {wished}"
            if (clients := ask_json(server.web_port, "/api/serverinfo")["clientCounts"]) != len(slots):
                yield f"{server.name} says that it has {clients} clients"
        for slot in self._stage.slots:
            said = {each["name"]: each["status"] for group in ask_json(slot.web_port, "/api/status").values() for each in group}
            if said != dict.fromkeys((target.name for target in slot.wished()), "running"):
                yield f"{slot.name} says: {said}"

    def _end(self) -> None:
        """All clients go: names and ports are free for another one, and the programs end well."""
        stage = self._stage
        for slot in stage.slots:
            self._ended_well(slot.program)
        for _ in patiently():
            taken = [port for port, udp in stage.ports() if not _is_free(port, udp=udp)]
            if not taken:
                break
        else:
            raise Fault(f"ports {taken} are taken, and there are no clients")
        for slot in stage.slots:
            slot.start()
        self._recover(stage.targets(), "start")
        for slot in stage.slots:
            self._ended_well(slot.program)
            if "start error" in slot.program.output.rpartition("login to server success")[2]:
                raise Fault(f"{slot.program.name} did not get all its proxies:\n{slot.program.output[-2000:]}")
        for server in stage.servers:
            self._ended_well(server.program)


def _is_free(port: int, *, udp: bool) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not udp)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
