"""What runs during a soak: one server, some clients with their wires, and what each of them is to offer."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tests.soak import users
from tests.soak.programs import Watched
from tests.soak.users import Fault
from tests.soak.wire import Wire
from tests.support.programs import HOST, TOKEN, Program, Service, free_port

_EXTRAS = ("", "transport.useEncryption = true", "transport.useCompression = true")


@dataclass
class Target:
    """A proxy that users go to."""

    name: str
    kind: str
    port: int
    """Of the users; for http that of the server."""
    extra: str = ""
    steady: bool = True
    """Never touched by a reload."""
    offered: bool = True
    disturbed_until: float = 0.0
    """When it last was not to be relied on; inf: it isn't now."""

    @property
    def host(self) -> str:
        """The domain of an http proxy."""
        return f"{self.name}.test".replace("_", "-")

    def use(self, rng: random.Random) -> str:
        """One visit of a user; returns what kind it was."""
        if self.kind == "http":
            users.web(self.port, self.host, rng)
        elif self.kind == "udp":
            users.datagrams(self.port, rng)
        else:
            visit = rng.choice(users.USES)
            visit(self.port, rng)
            return visit.__name__.replace("_", " ")
        return self.kind

    def works(self) -> bool:
        """Whether it serves now."""
        rng = random.Random(0)
        try:
            if self.kind == "http":
                users.web(self.port, self.host, rng)
            elif self.kind == "udp":
                users.datagrams(self.port, rng, count=1)
            else:
                with socket.create_connection((HOST, self.port), 2) as sock:
                    sock.sendall(b"eping")
                    return sock.recv(4, socket.MSG_WAITALL) == b"ping"
        except OSError:
            return False
        return True


class Slot:
    """A client's place: its wire, its file, and the program while it runs."""

    def __init__(self, stage: Stage, number: int, rng: random.Random) -> None:
        self.number = number
        self.wire = Wire(stage.server_port)
        self.steady = number < 2
        """Its program is never ended, so that what it leaks adds up."""
        self.lock = threading.Lock()
        """Held by what disturbs it."""
        self._stage = stage
        name = f"s{number}"
        self.targets = [Target(f"{name}_{i}", "tcp", free_port(), extra) for i, extra in enumerate(_EXTRAS)]
        self.targets += [Target(f"{name}_udp", "udp", free_port()), Target(f"{name}_web", "http", stage.http_port)]
        self.targets += [Target(f"{name}_v{i}", "tcp", free_port(), steady=False) for i in range(3)]
        self._options = (
            f"transport.tls.enable = {rng.choice(('true', 'true', 'false'))}\n"
            f"transport.poolCount = {rng.choice((0, 1, 5))}\n"
            f'transport.wireProtocol = "{rng.choice(("v1", "v2"))}"\n'
        )
        self.program = self.start()

    def config(self) -> str:
        """The client's file."""
        text = (
            f'serverAddr = "{HOST}"\nserverPort = {self.wire.port}\nauth.token = "{TOKEN}"\nlog.disablePrintColor = true\n'
            f"loginFailExit = false\ntransport.tcpMuxKeepaliveInterval = 1\n{self._options}"
        )
        local = {"tcp": self._stage.service.port, "http": self._stage.web.port, "udp": self._stage.udp_port}
        for target in self.targets:
            if target.offered:
                where = f'customDomains = ["{target.host}"]' if target.kind == "http" else f"remotePort = {target.port}"
                text += f'\n[[proxies]]\nname = "{target.name}"\ntype = "{target.kind}"\nlocalPort = {local[target.kind]}\n'
                text += f"{where}\n{target.extra}\n"
        return text

    def start(self) -> Watched:
        """Start the program (again)."""
        self.program = Watched("client", self._stage.directory, f"client{self.number}", self.config())
        return self.program

    def reload(self) -> None:
        """Give it its file anew."""
        self.program.config_path.write_text(self.config())
        self.program.process.send_signal(signal.SIGHUP)

    def wished(self) -> list[Target]:
        """What it is to offer now."""
        return [target for target in self.targets if target.offered]


class Stage:
    """Everything that runs."""

    def __init__(self, directory: Path, clients: int, rng: random.Random) -> None:
        self.directory = directory
        self.server_port, self.http_port, self.udp_port = free_port(), free_port(), free_port()
        self.service = Service(users.serve)
        self.web = Service(users.serve_web)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((HOST, self.udp_port))
        threading.Thread(target=self._answer, daemon=True).start()
        self.limit = 100
        self.server = self.start_server()
        self.slots = [Slot(self, number, rng) for number in range(clients)]

    def _answer(self) -> None:
        while True:
            try:
                self._udp.sendto(*self._udp.recvfrom(65536))
            except OSError:
                return

    def server_config(self) -> str:
        """The server's file."""
        return (
            f'bindAddr = "{HOST}"\nbindPort = {self.server_port}\nvhostHTTPPort = {self.http_port}\nauth.token = "{TOKEN}"\n'
            f"log.disablePrintColor = true\ntransport.tcpMuxKeepaliveInterval = 1\nmaxPortsPerClient = {self.limit}\n"
        )

    def start_server(self) -> Watched:
        """Start the server (again)."""
        self.server = Watched("server", self.directory, "server", self.server_config())
        return self.server

    @property
    def programs(self) -> list[Watched]:
        """All that are to run."""
        return [self.server, *(slot.program for slot in self.slots)]

    def targets(self) -> list[Target]:
        """All that is to be offered."""
        return [target for slot in self.slots for target in slot.wished()]

    def close(self) -> None:
        """End whatever still runs."""
        for program in self.programs:
            if program.runs:
                program.kill()
        for slot in self.slots:
            slot.wire.close()
        self.service.close()
        self.web.close()
        self._udp.close()


def disturb(targets: Iterable[Target]) -> None:
    """From now on nobody may rely on them."""
    for target in targets:
        target.disturbed_until = inf


def recovered(targets: Iterable[Target], bound: float, what: str, over: Callable[[], bool] = lambda: False) -> float:
    """Wait until all of them serve, and may be relied on again; returns the seconds. Raises Fault after `bound` s."""
    began, waiting = time.monotonic(), list(targets)
    while waiting:
        served = [target for target in waiting if target.works()]
        for target in served:
            target.disturbed_until = time.monotonic()
            waiting.remove(target)
        if waiting and (time.monotonic() - began > bound or over()):
            raise Fault(f"{', '.join(target.name for target in waiting)}: not back {bound:g} s after: {what}")
        if not served:
            time.sleep(0.05)
    return time.monotonic() - began


def check_output(program: Program) -> None:
    """Raises Fault when it has met a bug."""
    try:
        program.check_output()
    except BaseException as failed:  # pytest's own
        raise Fault(str(failed)) from None
