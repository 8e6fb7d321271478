"""What is done to a tunnel, and what is measured meanwhile. A load takes a tunnel and a scale, and returns figures by their units.

Run as a program it is the load in the background of others: `python -m bench.loads PORT SECONDS STREAMS` uploads, and prints the bytes.
"""

from __future__ import annotations

import re
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from bench.contestants import Tunnel
from bench.system import HOST, Unavailable, connected, exactly, find, python, running

Figures: TypeAlias = dict[str, float]
Load: TypeAlias = "Callable[[Tunnel, Scale], Figures]"

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Scale:
    """How much."""

    bulk: int = 1_000_000_000
    """Bytes."""
    seconds: float = 4.0
    trips: int = 4000
    users: int = 10_000
    clients: int = 1000
    proxies: int = 2000
    """Of one client."""
    returning: int = 500
    """Clients that come back at once."""
    cuts: int = 3


QUICK = Scale(bulk=30_000_000, seconds=1.0, trips=300, users=200, clients=20, proxies=50, returning=20, cuts=1)


def start(tunnel: Tunnel, scale: Scale) -> Figures:
    """From the start of a program until it serves."""
    return {f"{name} ms": 1000 * seconds for name, seconds in zip(("frps", "frpc"), tunnel.started, strict=True)}


def upload(port: int, size: int) -> None:
    with connected(port) as sock:
        sock.sendall(b"PUT %012d" % size)
        chunk = memoryview(bytes(_CHUNK))
        for sent in range(0, size, _CHUNK):
            sock.sendall(chunk[: size - sent])
        if exactly(sock, 12) != b"%012d" % size:
            raise RuntimeError("bytes were lost")


def download(port: int, size: int) -> None:
    with connected(port) as sock:
        sock.sendall(b"GET %012d" % size)
        buffer, got = bytearray(_CHUNK), 0
        while n := sock.recv_into(buffer, min(_CHUNK, size - got)):
            got += n
            if got == size:
                return
    raise RuntimeError("bytes were lost")


def bulk(service: str = "sink", transfer: Callable[[int, int], None] = upload, streams: int = 1, part: float = 1.0) -> Load:
    """So many streams at once; `part`: of the bytes of the scale."""

    def run(tunnel: Tunnel, scale: Scale) -> Figures:
        size = int(scale.bulk * part) // streams
        failures: list[Exception] = []

        def one() -> None:
            try:
                transfer(tunnel.ports[service], size)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=one) for _ in range(streams)]
        cpu, began = tunnel.cpu, time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        if failures:
            raise failures[0]
        return {"MB/s": size * streams / 1e6 / took, "CPU s/GB": (tunnel.cpu - cpu) / (size * streams / 1e9)}

    return run


def requests(users: int, *, service: str = "web", close: bool = False) -> Load:
    """wrk, for so many users; `close`: a connection for each request."""

    def run(tunnel: Tunnel, scale: Scale) -> Figures:
        fields = (["Connection: close"] if close else []) + (["Host: web.test"] if service == "vhost" else [])
        command = [*tunnel.place.near, find("wrk"), "-t1", f"-c{users}", "--latency"]
        command += [part for field in fields for part in ("-H", field)]
        url = f"http://{HOST}:{tunnel.ports[service]}/"

        def wrk(seconds: float) -> str:
            return subprocess.run([*command, f"-d{seconds:g}", url], capture_output=True, text=True, check=True).stdout

        wrk(1)
        cpu = tunnel.cpu
        out = wrk(scale.seconds)
        used = tunnel.cpu - cpu
        if bad := re.search(r"Socket errors: .*|Non-2xx.*", out):
            print(f"    wrk: {bad[0]}", file=sys.stderr)
        count = int(re.findall(r"(\d+) requests in", out)[0])
        found = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
        assert found is not None
        return {
            "conn/s" if close else "req/s": float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0]),
            "p99 us": float(found[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[found[2]],
            "CPU us each": used / max(count, 1) * 1e6,
        }

    return run


def round_trips(tunnel: Tunnel, scale: Scale) -> Figures:
    """One user who waits for each answer."""
    times: list[float] = []
    with connected(tunnel.ports["echo"]) as sock:
        end = time.monotonic() + 3 * scale.seconds
        while len(times) < scale.trips and time.monotonic() < end:
            began = time.perf_counter()
            sock.sendall(bytes(64))
            exactly(sock, 64)
            times.append((time.perf_counter() - began) * 1e6)
    times = sorted(times[min(200, len(times) // 10) :])
    return {"p50 us": times[len(times) // 2], "p99 us": times[len(times) * 99 // 100]}


def mixed(tunnel: Tunnel, scale: Scale) -> Figures:
    """The same, while four others upload as fast as they can."""
    seconds = 3 * scale.seconds + 2
    command = [*tunnel.place.near, *python("bench.loads", str(tunnel.ports["sink"]), str(seconds), "4")]
    with TemporaryDirectory(prefix="bench-") as directory, running(command, Path(directory) / "log", pipe=True) as uploads:
        time.sleep(1)
        figures = round_trips(tunnel, scale)
        assert uploads.popen.stdin is not None
        assert uploads.popen.stdout is not None
        uploads.popen.stdin.close()
        done, took = map(float, uploads.popen.stdout.readline().split())
    return {**figures, "MB/s": done / 1e6 / took}


def datagrams(tunnel: Tunnel, scale: Scale) -> Figures:
    """512 bytes each, 64 on their way at once."""
    got, sent, window, cpu = 0, 0, 64, tunnel.cpu
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.connect((HOST, tunnel.ports["udp"]))
        sock.settimeout(0.5)
        began = time.monotonic()
        for _ in range(window):
            sent += sock.send(bytes(512)) // 512
        while time.monotonic() - began < scale.seconds:
            try:
                sock.recv(2048)
                got += 1
            except TimeoutError:
                pass  # all of them were lost: go on
            sent += sock.send(bytes(512)) // 512
    lost = max(0, sent - got - window)
    return {"packets/s": got / scale.seconds, "% lost": 100 * lost / sent, "CPU us each": (tunnel.cpu - cpu) / max(got, 1) * 1e6}


def idle_users(tunnel: Tunnel, scale: Scale) -> Figures:
    """Connections that were used once."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(scale.users, (limit - 300) // 2)  # a HAProxy needs two descriptors for each
    before = tunnel.memory
    with ExitStack() as stack:
        users = []
        for _ in range(count):
            user = stack.enter_context(connected(tunnel.ports["echo"]))
            user.sendall(b"x")
            users.append(user)
        for user in users:
            exactly(user, 1)
        time.sleep(1)
        return {"at rest MB": before / 1024, "KB per user": (tunnel.memory - before) / count}


def idle_clients(tunnel: Tunnel, scale: Scale) -> Figures:
    """Clients with one proxy each; what they cost the server."""
    kilobytes, seconds = _at_rest(tunnel, scale.clients)
    return {"KB per client": kilobytes / scale.clients, "CPU ms per login": seconds / scale.clients * 1e3}


def idle_proxies(tunnel: Tunnel, scale: Scale) -> Figures:
    """Proxies of one client; what they cost the server."""
    kilobytes, seconds = _at_rest(tunnel, 1, scale.proxies)
    return {"KB per proxy": kilobytes / scale.proxies, "CPU us per registration": seconds / scale.proxies * 1e6}


def _at_rest(tunnel: Tunnel, clients: int, proxies: int = 1) -> tuple[float, float]:
    """Kilobytes that the server has more, and seconds of its processor, with so many clients that have so many proxies each."""
    server = tunnel.processes[0]
    before, cpu = server.memory, server.cpu
    with TemporaryDirectory(prefix="bench-") as directory:
        command = python("bench.clients", str(tunnel.server_port), str(clients), str(proxies))
        with running(command, Path(directory) / "log", pipe=True) as owners:
            assert owners.popen.stdout is not None
            if owners.popen.stdout.readline() != "all\n":
                raise Unavailable(f"the clients were not served: {(Path(directory) / 'log').read_text()[-300:]}")
            used = server.cpu - cpu
            time.sleep(1)
            return server.memory - before, used


def storm(tunnel: Tunnel, scale: Scale) -> Figures:
    """The server is killed and started again; all clients come back."""
    assert tunnel.restart is not None
    with TemporaryDirectory(prefix="bench-") as directory:
        command = python("bench.clients", str(tunnel.server_port), str(scale.returning), "1")
        with running(command, Path(directory) / "log", pipe=True) as clients:
            assert clients.popen.stdout is not None
            if clients.popen.stdout.readline() != "all\n":
                raise Unavailable("the clients were not served")
            began = time.perf_counter()
            server = tunnel.restart()
            if clients.popen.stdout.readline() + clients.popen.stdout.readline() != "none\nall\n":
                raise Unavailable("the clients did not come back")
            took = time.perf_counter() - began
            return {"s until all are back": took, "CPU s": server.cpu, "peak MB": server.peak / 1024}


def reconnect(tunnel: Tunnel, scale: Scale) -> Figures:
    """The way to the server is cut; from then until a new user is served."""
    assert tunnel.relay is not None
    times = []
    for _ in range(scale.cuts):
        began = time.perf_counter()
        tunnel.relay.cut()
        while True:
            try:
                with connected(tunnel.ports["echo"], 2) as user:
                    user.sendall(b"x")
                    exactly(user, 1)
                break
            except (OSError, EOFError):
                if time.perf_counter() - began > 60:
                    raise Unavailable("not back after a minute") from None
                time.sleep(0.005)
        times.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.5)
    return {"ms until users are served": statistics.median(times)}


def _upload_for(port: int, seconds: float, streams: int) -> None:
    end = time.monotonic() + seconds
    counts = [0] * streams
    over = threading.Event()

    def one(number: int) -> None:
        chunk = bytes(1 << 16)
        with connected(port) as sock:
            sock.sendall(b"PUT %012d" % 999_999_999_999)
            while not over.is_set() and time.monotonic() < end:
                counts[number] += sock.send(chunk)

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(streams)]
    began = time.monotonic()
    for thread in threads:
        thread.start()

    def until_the_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=until_the_end, daemon=True).start()
    over.wait(seconds)
    over.set()
    took = time.monotonic() - began
    print(sum(counts), took, flush=True)


if __name__ == "__main__":
    _upload_for(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
