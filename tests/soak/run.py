"""One run: users come and go, something is broken every second or two, and now and then everything is counted."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.e2e.test_fuzz import OPENINGS
from tests.soak.programs import Watched
from tests.soak.stage import Slot, Stage, Target, check_output, disturb, recovered
from tests.soak.users import PATIENCE, Fault
from tests.support.programs import HOST, connect, reset

BOUNDS = {
    "start": 20.0,
    "cut": 10.0,  # noticed at once, and tried again at once or in a fraction of a second
    "kill client": 15.0,
    "stop client": 15.0,
    "black hole": 40.0,  # attempts to log in fail meanwhile: the next pause is 20 s at most, and an attempt takes up to 10 s
    "restart server": 40.0,  # the same
    "reload client": 10.0,
}
"""Seconds until all users are served after the cause is gone."""

_LONG = 8.0  # s: visits that take longer are told
_FROZEN = 4.0  # s at most; far less than what is taken for a dead link
_RSS_GROWTH = 12.0  # MB between the counts of one program
_SLACK = {"descriptors": 16, "Task": 8, "MuxLink": 1, "MuxEnd": 12, "SocketEnd": 16, "Relay": 4, "Holder": 10, "Control": 0}
"""How many more than at the first count there may be. An HTTP proxy keeps some connections, a pool some work connections."""


class Soak:
    """A run of so many seconds; everything random comes from the seed."""

    def __init__(
        self, directory: Path, seed: int, seconds: float, *, clients: int = 5, users: int = 8, tell: Callable[[str], None] = print
    ) -> None:
        self.seed = seed
        self._seconds = seconds
        self._random = random.Random(seed)
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
        self._counts: dict[Watched, list[dict[str, float]]] = {}
        self._stage = Stage(directory, clients, self._random)
        self._threads = [threading.Thread(target=self._user, args=(random.Random(f"{seed}/user {n}"),), daemon=True) for n in range(users)]
        self._threads.append(threading.Thread(target=self._rubbish, args=(random.Random(f"{seed}/rubbish"),), daemon=True))

    def run(self) -> list[str]:
        """Returns the faults."""
        stage = self._stage
        try:
            self._recover(stage.targets(), "start")
            for thread in self._threads:
                thread.start()
            self._count()
            half, next_count = self._seconds / 2, min(60.0, self._seconds / 4)
            while self._elapsed < self._seconds and not self._faults:
                time.sleep(self._random.uniform(0.5, 2.0))
                self._event(server_too=self._elapsed < half)
                if self._elapsed > next_count:
                    next_count = self._elapsed + min(60.0, self._seconds / 4)
                    self._count()
            if not self._faults:
                self._count()
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

    def _user(self, rng: random.Random) -> None:
        while not self._over.is_set():
            if self._resting.is_set():
                time.sleep(0.02)
                continue
            with self._lock:
                self._busy += 1
            target, began = rng.choice(self._stage.targets()), time.monotonic()
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
                self.visits[kind] += 1
                took = time.monotonic() - began
                self.longest[kind] = max(self.longest[kind], took)
                if took > _LONG:
                    disturbed = "disturbed" if target.disturbed_until > began else "undisturbed"
                    self._say(f"{kind} at {target.name} took {took:.1f} s, {disturbed}")
            finally:
                with self._lock:
                    self._busy -= 1
            time.sleep(rng.random() * 0.1)

    def _rubbish(self, rng: random.Random) -> None:
        """Strangers at the client port and at the HTTP port."""
        held: list[socket.socket] = []
        while not self._over.is_set():
            time.sleep(0.05)
            if self._resting.is_set():
                while held:
                    held.pop().close()
                continue
            with contextlib.suppress(OSError):
                sock = connect(rng.choice((self._stage.server_port, self._stage.server_port, self._stage.http_port)), 2)
                held.append(sock)
                opening = rng.choice(OPENINGS)
                sock.sendall(
                    rng.choice((opening, opening[: rng.randrange(len(opening))], opening + rng.randbytes(2000), rng.randbytes(500)))
                )
            if len(held) > 20 or (held and rng.random() < 0.5):
                sock = held.pop(rng.randrange(len(held)))
                (reset if rng.random() < 0.5 else socket.socket.close)(sock)
            self.visits["rubbish"] += 1
        for sock in held:
            sock.close()

    # what goes wrong

    def _recover(self, targets: list[Target], what: str) -> None:
        took = recovered(targets, BOUNDS[what], what, lambda: bool(self._faults))
        self._say(
            f"{what}: all served again after {took:.1f} s" if what != "start" else f"all {len(targets)} proxies serve after {took:.1f} s"
        )

    def _event(self, *, server_too: bool) -> None:
        rng, slot = self._random, self._random.choice(self._stage.slots)
        choices: list[Callable[[Slot], None]] = [self._cut, self._black_hole, self._reload, self._reload, self._freeze, self._reload_server]
        if not slot.steady:
            choices += [self._kill, self._stop]
        if server_too:
            choices.append(self._restart_server)
        event = rng.choice(choices)
        self.events[event.__name__.strip("_").replace("_", " ")] += 1
        event(slot)
        for program in self._stage.programs:
            if not program.runs:
                raise Fault(f"{program.name} has ended by itself ({program.process.returncode}):\n{program.output[-2000:]}")
            check_output(program)

    def _cut(self, slot: Slot) -> None:
        disturb(slot.targets)
        slot.wire.cut()
        self._recover(slot.wished(), "cut")

    def _black_hole(self, slot: Slot) -> None:
        swallow, seconds = self._random.choice(({"up"}, {"down"}, {"up", "down"})), self._random.uniform(2, 18)
        disturb(slot.targets)
        slot.wire.swallow = swallow
        time.sleep(seconds)
        slot.wire.swallow = set()
        slot.wire.cut()  # what was swallowed can't be made up for
        self._recover(slot.wished(), "black hole")

    def _freeze(self, slot: Slot) -> None:
        """Nobody may lose anything by it."""
        program = self._random.choice((slot.program, self._stage.server))
        seconds = self._random.uniform(0.5, _FROZEN)
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        program.process.send_signal(signal.SIGCONT)
        self._say(f"{program.name} stood still for {seconds:.1f} s")

    def _kill(self, slot: Slot) -> None:
        disturb(slot.targets)
        slot.program.kill()
        check_output(slot.program)
        slot.start()
        self._recover(slot.wished(), "kill client")

    def _stop(self, slot: Slot) -> None:
        disturb(slot.targets)
        self._ended_well(slot.program)
        slot.start()
        self._recover(slot.wished(), "stop client")

    def _restart_server(self, slot: Slot) -> None:
        for each in self._stage.slots:
            disturb(each.targets)
        if self._random.random() < 0.5:
            self._stage.server.kill()
            check_output(self._stage.server)
        else:
            self._ended_well(self._stage.server)
        time.sleep(self._random.uniform(0, 3))
        self._stage.start_server()
        self._recover(self._stage.targets(), "restart server")

    def _reload(self, slot: Slot) -> None:
        """Those that stay as they are keep their users."""
        changed = [target for target in slot.targets if not target.steady]
        disturb(changed)
        before = {target.name: (target.offered, target.extra) for target in changed}
        for target in changed:
            target.offered = self._random.random() < 0.7
            target.extra = self._random.choice(("", "transport.useEncryption = true", "metadatas.x = '1'"))
        self._apply(slot, before)

    def _apply(self, slot: Slot, before: dict[str, tuple[bool, str]]) -> None:
        slot.reload()
        self._recover(slot.wished(), "reload client")
        end = time.monotonic() + BOUNDS["reload client"]
        for target in slot.targets:
            if not target.offered and before.get(target.name, (False, ""))[0]:
                while target.works():
                    if time.monotonic() > end:
                        raise Fault(f"{target.name} still serves after a reload without it")
                    time.sleep(0.05)

    def _reload_server(self, slot: Slot) -> None:
        """Nobody may notice."""
        self._stage.limit = self._random.randrange(50, 200)
        server = self._stage.server
        server.config_path.write_text(self._stage.server_config())
        server.process.send_signal(signal.SIGHUP)
        self._say("the server reads its file again")

    @staticmethod
    def _ended_well(program: Watched) -> None:
        try:
            program.stop()
        except BaseException as failed:  # pytest's own
            raise Fault(str(failed)) from None

    # what is left

    def _quiet(self) -> Iterator[bool]:
        """True again and again, for a while."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            yield True
            time.sleep(0.2)

    def _count(self) -> None:
        """Everybody rests, all clients offer all: then nothing may be there that was not there the first time."""
        self._resting.set()
        end = time.monotonic() + 2 * PATIENCE
        while self._busy:
            if time.monotonic() > end:
                raise Fault("users do not come to an end")
            time.sleep(0.05)
        for slot in self._stage.slots:
            before = {target.name: (target.offered, target.extra) for target in slot.targets}
            for target in slot.targets:
                if not target.steady:
                    target.offered, target.extra = True, ""
            if before != {target.name: (target.offered, target.extra) for target in slot.targets}:
                self._apply(slot, before)
        for _ in self._quiet():
            if not self._stage.service.open:
                break
        else:
            raise Fault(f"{self._stage.service.open} connections to the service are left, and no users")
        for program in self._stage.programs:
            self._count_one(program)
        self._say("counted: " + ", ".join(f"{p.name} {self._counts[p][-1]['rss']:.1f} MB" for p in self._stage.programs))
        self._resting.clear()

    def _count_one(self, program: Watched) -> None:
        counts = self._counts.setdefault(program, [])
        for _ in self._quiet():
            now: dict[str, float] = {**program.inside(), "descriptors": program.figures.descriptors}
            if not counts or all(now[kind] <= counts[0][kind] + slack for kind, slack in _SLACK.items()):
                break
        else:
            raise Fault(f"{program.name} keeps more than it did: {counts[0]} at first, {now} now")
        counts.append({**now, "rss": program.figures.rss, "at": self._elapsed})
        settled = counts[1:]  # caches and buffers have been filled by then
        if len(settled) > 1 and settled[-1]["rss"] > settled[0]["rss"] + _RSS_GROWTH:
            grown = ", ".join(f"{each['rss']:.1f}" for each in counts)
            raise Fault(f"{program.name} grows: {grown} MB")

    def slopes(self) -> dict[str, float]:
        """MB a minute that programs have grown, of those that were counted often enough."""
        found = {}
        for program, counts in self._counts.items():
            settled = counts[1:]
            if len(settled) > 2:
                slope = statistics.linear_regression([each["at"] for each in settled], [each["rss"] for each in settled]).slope
                found[program.name] = slope * 60
        return found

    def _end(self) -> None:
        """All clients go: names and ports are free for another one, and the programs end well."""
        stage = self._stage
        for slot in stage.slots:
            self._ended_well(slot.program)
        ports = [target.port for slot in stage.slots for target in slot.targets if target.kind == "tcp"]
        for _ in self._quiet():
            free = [port for port in ports if _is_free(port)]
            if len(free) == len(ports):
                break
        else:
            raise Fault(f"ports {sorted(set(ports) - set(free))} are taken, and there are no clients")
        for slot in stage.slots:
            slot.start()
        self._recover(stage.targets(), "start")
        for slot in stage.slots:
            self._ended_well(slot.program)
            if "start error" in slot.program.output.rpartition("login to server success")[2]:
                raise Fault(f"{slot.program.name} did not get all its proxies:\n{slot.program.output[-2000:]}")
        self._ended_well(stage.server)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
