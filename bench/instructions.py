"""Instructions for each request and connection: `python -m bench.instructions [CHECKOUT ...]`, with valgrind.

Times swing by a third on a machine that isn't alone; what callgrind counts is the same within a few percent each time. So this tells
whether a change of the hot path gave anything: name the checkouts of before and after. There is one user, since who is faster
works in smaller batches; only user mode is counted, of one program at a time, and system calls cost more than their instructions:
`make bench` has the last word.
"""

from __future__ import annotations

import re
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contestants import Pair, Setup, Tunnel
from bench.places import LOOPBACK
from bench.services import services
from bench.system import ROOT, Unavailable, connected, find

FEW, MANY = 200, 1200
# A program takes fifty times as long here; the engine's turns have to, too, or it would run around in trio most of the time.
_SLOWLY = (
    "import runpy, sys; from frp_py.net.engine import loop; loop._TURN, loop._LINGER = 0.2, 0.15; sys.argv[0] = 'frp_py'; "
    "runpy.run_module('frp_py', run_name='__main__')"
)


def _answered(user: socket.socket) -> None:
    data = b""
    while b"hello\n" not in data:
        piece = user.recv(65536)
        if not piece:
            raise EOFError(data.decode("latin-1"))
        data += piece


def _request(connection: str) -> bytes:
    return f"GET / HTTP/1.1\r\nHost: web.test\r\nUser-Agent: x\r\nAccept: */*\r\nConnection: {connection}\r\n\r\n".encode()


def requests(service: str) -> Callable[[Tunnel, int], None]:
    """On a connection that stays open."""

    def run(tunnel: Tunnel, count: int) -> None:
        with connected(tunnel.ports[service]) as user:
            for _ in range(count):
                user.sendall(_request("keep-alive"))
                _answered(user)

    return run


def connections(tunnel: Tunnel, count: int) -> None:
    """A new one for each request."""
    for _ in range(count):
        with connected(tunnel.ports["web"]) as user:
            user.sendall(_request("close"))
            _answered(user)


LOADS = {"request": requests("web"), "vhost request": requests("vhost"), "connection": connections}


def counted(checkout: Path, side: int, load: Callable[[Tunnel, int], None], local: dict[str, int]) -> float:
    """Instructions of frps (side 0) or frpc (1) for a unit of the load. Raises Unavailable."""
    totals = []
    for count in (FEW, MANY):
        with TemporaryDirectory(prefix="bench-") as directory:
            log = Path(directory) / "callgrind.log"
            valgrind = [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={directory}/out", f"--log-file={log}"]
            commands = []
            for number, role in enumerate(("server", "client")):
                command = ["env", "-C", str(checkout), *(valgrind if number == side else ()), sys.executable, "-c", _SLOWLY, role]
                commands.append(shlex.join(command))
            with Pair(*commands, patience=120).between(LOOPBACK, local, Path(directory), Setup()) as tunnel:
                load(tunnel, count)
            found = re.findall(r"Collected : (\d+)", log.read_text())
            if not found:
                raise Unavailable(f"callgrind has counted nothing: {log.read_text()[-300:]}")
            totals.append(int(found[-1]))
    return (totals[1] - totals[0]) / (MANY - FEW)


def main() -> None:
    checkouts = [Path(word).resolve() for word in sys.argv[1:]] or [ROOT]
    with TemporaryDirectory(prefix="bench-") as directory, services(Path(directory), []) as local:
        for what, load in LOADS.items():
            for side, name in enumerate(("frps", "frpc")):
                counts = [counted(checkout, side, load, local) for checkout in checkouts]
                cells = [f"{count:>9,.0f}" + (f" ({count / counts[0]:.2f})" if at else "") for at, count in enumerate(counts)]
                print(f"{what + ', ' + name:<22}" + "  ".join(cells), flush=True)


if __name__ == "__main__":
    try:
        main()
    except Unavailable as reason:
        sys.exit(f"bench: {reason}")
