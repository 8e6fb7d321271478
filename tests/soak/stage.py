"""What runs during a soak: servers, clients with their wires, and what each of them is to offer.

One server multiplexes its clients' connections, the other doesn't; each client belongs to one of them, and has the visitors to the
secret proxies of the one before it.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path

from tests.soak import users
from tests.soak.programs import Watched
from tests.soak.targets import BY_NAME, SECRET, Target
from tests.soak.users import Fault
from tests.soak.wire import Wire
from tests.support.ports import free_port
from tests.support.programs import HOST, TOKEN, Program, Service

_ENCRYPTED, _COMPRESSED = "transport.useEncryption = true", "transport.useCompression = true"
_KINDS = {
    "tcp": ("", _ENCRYPTED, _COMPRESSED),
    "udp": ("",),
    "http": ("", _COMPRESSED),
    "https": (_ENCRYPTED,),
    "tcpmux": (f"{_ENCRYPTED}\n{_COMPRESSED}",),
    "stcp": ("", f"{_ENCRYPTED}\n{_COMPRESSED}"),
    "sudp": (f"{_ENCRYPTED}\n{_COMPRESSED}",),
}
"""The steady proxies of each client, and how their traffic travels."""

CHANGES = (
    "",
    _ENCRYPTED,
    "metadatas.x = '1'",
    "transport.bandwidthLimit = '4MB'",
    "healthCheck.type = 'tcp'\nhealthCheck.intervalSeconds = 1",
)
"""What reloads make of the others; the last is not for udp."""

_CHANGING = ("tcp", "tcp", "udp", "http", "https")
_STEADY = 3  # clients


class Server:
    """A server's place: its ports, its file, and the program while it runs."""

    def __init__(self, directory: Path, number: int, *, mux: bool) -> None:
        self.name = f"server{number}"
        self.mux = mux
        self.port, self.web_port = free_port(), free_port()
        self.ports = {kind: free_port() for kind in BY_NAME}
        self.limit = 100
        self.api = Target(f"{self.name}_api", "api", self.web_port, frozenset((self.name,)))
        self._directory = directory
        self.program = self.start()

    def config(self) -> str:
        """The server's file."""
        by_name = "\n".join(f"{BY_NAME[kind]} = {port}" for kind, port in self.ports.items())
        alive = "tcpMuxKeepaliveInterval = 1" if self.mux else "heartbeatTimeout = 8"
        return (
            f'bindAddr = "{HOST}"\nbindPort = {self.port}\n{by_name}\nauth.token = "{TOKEN}"\nlog.disablePrintColor = true\n'
            f"transport.tcpMux = {str(self.mux).lower()}\ntransport.{alive}\nmaxPortsPerClient = {self.limit}\nenablePrometheus = true\n"
            f"{users.web_server(self.web_port)}"
        )

    def start(self) -> Watched:
        """Start the program (again)."""
        self.program = Watched("server", self._directory, self.name, self.config())
        return self.program

    def reload(self, limit: int) -> None:
        """Give it a file in which something else stands."""
        self.limit = limit
        self.program.reload(self.config())


class Slot:
    """A client's place: its wire, its file, and the program while it runs."""

    def __init__(self, stage: Stage, number: int, options: str) -> None:
        self.number = number
        self.name = f"client{number}"
        self.server = stage.servers[number % _STEADY == _STEADY - 1]
        self.wire = Wire(self.server.port)
        self.steady = number < _STEADY
        """Its program is never ended, so that what it leaks adds up."""
        self._stage = stage
        self._options = options
        self.visited: list[Target] = []
        """The secret proxies that it has visitors to."""
        self.targets = [
            self._target(f"{kind}{i}", kind, extra, steady=True) for kind, extras in _KINDS.items() for i, extra in enumerate(extras)
        ]
        self.targets += [self._target(f"v{i}", kind, "", steady=False) for i, kind in enumerate(_CHANGING)]
        self.web_port = free_port()
        self.api = Target(f"{self.name}_api", "api", self.web_port, frozenset((self.name,)))
        self.program: Watched

    @property
    def wire_name(self) -> str:
        """As targets need it."""
        return f"wire{self.number}"

    def _target(self, name: str, kind: str, extra: str, *, steady: bool) -> Target:
        port = self.server.ports[kind] if kind in BY_NAME else free_port()
        return Target(f"s{self.number}_{name}", kind, port, frozenset((self.name, self.wire_name, self.server.name)), extra, steady)

    def visit(self, other: Slot) -> None:
        """Have visitors to the secret proxies of `other`."""
        self.visited = [target for target in other.targets if target.kind in SECRET]
        for target in self.visited:
            target.needs |= {self.name, self.wire_name}

    def config(self) -> str:
        """The client's file."""
        alive = "tcpMuxKeepaliveInterval = 1" if self.server.mux else "heartbeatInterval = 1\ntransport.heartbeatTimeout = 8"
        text = (
            f'serverAddr = "{HOST}"\nserverPort = {self.wire.port}\nauth.token = "{TOKEN}"\nlog.disablePrintColor = true\n'
            f"loginFailExit = false\ntransport.tcpMux = {str(self.server.mux).lower()}\ntransport.{alive}\n{self._options}"
            f"{users.web_server(self.web_port)}"
        )
        for target in self.wished():
            text += f'\n[[proxies]]\nname = "{target.name}"\ntype = "{target.kind}"\nlocalPort = {self._stage.local_port(target)}\n'
            if target.kind in BY_NAME:
                text += f'customDomains = ["{target.host}"]\n'
            else:
                text += f'secretKey = "{target.name}"\n' if target.kind in SECRET else f"remotePort = {target.port}\n"
            text += 'multiplexer = "httpconnect"\n' * (target.kind == "tcpmux") + f"{target.extra}\n"
        for target in self.visited:
            text += f'\n[[visitors]]\nname = "{target.name}"\ntype = "{target.kind}"\nserverName = "{target.name}"\n'
            text += f'secretKey = "{target.name}"\nbindPort = {target.port}\n{target.extra}\n'
        return text

    def start(self) -> Watched:
        """Start the program (again)."""
        self.program = Watched("client", self._stage.directory, self.name, self.config())
        return self.program

    def reload(self) -> None:
        """Give it its file anew."""
        self.program.reload(self.config())

    def wished(self) -> list[Target]:
        """What it is to offer now."""
        return [target for target in self.targets if target.offered]


class Stage:
    """Everything that runs."""

    def __init__(self, directory: Path, clients: int, rng: random.Random) -> None:
        self.directory = directory
        self._services: dict[str, Service] = {}
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((HOST, 0))
        threading.Thread(target=self._answer, daemon=True).start()
        self.servers = [Server(directory, number, mux=mux) for number, mux in enumerate((True, False)) if mux or clients >= _STEADY]
        ways = list(product(("true", "false"), ("v1", "v2")))
        rng.shuffle(ways)
        self.slots = []
        for number in range(clients):
            tls, wire = ways[number % len(ways)]
            options = f'transport.tls.enable = {tls}\ntransport.wireProtocol = "{wire}"\ntransport.poolCount = {rng.choice((0, 1, 5))}\n'
            self.slots.append(Slot(self, number, options))
        for server in self.servers:
            ring = [slot for slot in self.slots if slot.server is server]
            for slot, other in zip(ring, ring[1:] + ring[:1], strict=True):
                slot.visit(other)
        for slot in self.slots:
            slot.start()

    def _answer(self) -> None:
        while True:
            try:
                self._udp.sendto(*self._udp.recvfrom(65536))
            except OSError:
                return

    def local_port(self, target: Target) -> int:
        """Of the service behind a proxy: each has its own, so that nobody is led to another one unnoticed."""
        if SECRET.get(target.kind, target.kind) == "udp":
            return int(self._udp.getsockname()[1])
        if target.name not in self._services:
            serve = {"http": users.serve_web, "https": users.serve_tls}.get(target.kind, users.serve)
            self._services[target.name] = Service(partial(serve, name=target.name.encode()))
        return self._services[target.name].port

    @property
    def programs(self) -> list[Watched]:
        """All that are to run."""
        return [*(server.program for server in self.servers), *(slot.program for slot in self.slots)]

    def with_kept(self) -> list[tuple[Watched, int]]:
        """The same, and how many connections of sudp each keeps once it has been used: without multiplexing a client has one of its
        proxy and one of its visitor.
        """
        kept = {
            server.program: 0 if server.mux else 2 * len([slot for slot in self.slots if slot.server is server]) for server in self.servers
        }
        return [*kept.items(), *((slot.program, 0 if slot.server.mux else 2) for slot in self.slots)]

    @property
    def places(self) -> list[Target]:
        """All that users may ever go to."""
        return [
            *(target for slot in self.slots for target in slot.targets),
            *(slot.api for slot in self.slots),
            *(server.api for server in self.servers),
        ]

    def targets(self, *needing: str) -> list[Target]:
        """All that is to be offered, or of it what needs one of these programs and wires."""
        return [target for target in self.places if target.offered and (not needing or not target.needs.isdisjoint(needing))]

    @property
    def open(self) -> int:
        """Connections to the services."""
        return sum(self._services[target.name].open for target in self.places if target.name in self._services and target.kind != "http")

    @property
    def served(self) -> int:
        """Connections that the services have had."""
        return sum(service.connections for service in self._services.values())

    def ports(self) -> list[tuple[int, bool]]:
        """Those that must be free when there are no clients, and whether they are of udp."""
        return [(each.port, each.kind in ("udp", "sudp")) for each in self.places if each.kind not in BY_NAME and each.kind != "api"]

    def whose(self, ports: list[int]) -> list[str]:
        """What these ports are for."""
        return [f"{each.name} ({each.kind}, {each.port})" for each in self.places if each.port in ports]

    def close(self) -> None:
        """End whatever still runs."""
        for program in self.programs:
            if program.runs:
                program.kill()
        for slot in self.slots:
            slot.wire.close()
        for service in self._services.values():
            service.close()
        self._udp.close()


def recovered(targets: Iterable[Target], bound: float, what: str, over: Callable[[], bool] = lambda: False) -> float | None:
    """Wait until all of them serve, and may be relied on again; returns the seconds, None when it's `over` before. Raises Fault after
    `bound` s.
    """
    began, waiting = time.monotonic(), list(targets)
    while waiting:
        served = [target for target in waiting if target.works()]
        for target in served:
            target.disturbed_until = time.monotonic()
            waiting.remove(target)
        if waiting and over():
            return None
        if waiting and time.monotonic() - began > bound:
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
