"""How fast the tunnel is on this machine: `make bench`, or `bench.py [SCENARIO ...] [--rounds N] [--pair NAME=FRPS,FRPC]`.

Loopback only. Load, backends and both programs share the processors, so figures compare only within one run; for that, a chain of
two HAProxies in C, without TLS and multiplexing between them, runs in the same rounds when haproxy is installed. Other programs that read
frp's files join with `--pair`. Requests and connections need nginx and wrk. The median of the rounds is shown; CPU is what frps and frpc
together used.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
BULK = 1_000_000_000
SINK = 16
"""Bytes of the head that tells the sink how much is to come."""
Figures = dict[str, float]


def find(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server((HOST, 0))).getsockname()[1] for _ in range(count)]


def wait_for(port: int, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(f"nothing listens on port {port}") from None
            time.sleep(0.005)


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


# ------------------------------------------------------------------------------------------------- what is behind the tunnel


def serve(handle: Callable[[socket.socket], None]) -> int:
    """Answer each connection in a thread of its own; return the port."""

    def guarded(connection: socket.socket) -> None:
        with connection:
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                handle(connection)
            except OSError:
                pass  # a tunnel that was taken down

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    listener = socket.create_server((HOST, 0), backlog=1024)
    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def sink(connection: socket.socket) -> None:
    """Swallow as many bytes as the head says, then say so."""
    head = connection.recv(SINK, socket.MSG_WAITALL)
    if len(head) < SINK:
        return
    left, buffer = int(head), bytearray(1 << 20)
    while left > 0 and (size := connection.recv_into(buffer)):
        left -= size
    connection.sendall(b"%d" % left)


@contextmanager
def web_server(directory: Path) -> Iterator[int | None]:
    nginx = find("nginx")
    if not nginx:
        yield None
        return
    (port,) = free_ports(1)
    paths = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.err;"
        "events { worker_connections 8192; }"
        f"http {{ access_log off; keepalive_requests 1000000000; {paths}"
        f'server {{ listen {HOST}:{port} backlog=4096; location / {{ return 200 "hello\\n"; }} }} }}'
    )
    with running([nginx, "-c", str(config)], directory / "nginx.log"):
        wait_for(port)
        yield port


# ------------------------------------------------------------------------------------------------- who is measured


@dataclass
class Tunnel:
    """A pair of programs between the users' ports and the local ones."""

    ports: dict[str, int]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: list[float] = field(default_factory=list)

    def cpu(self) -> float:
        """Seconds of processor time that both programs have used."""
        ticks = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident kilobytes of both programs."""
        texts = [Path(f"/proc/{process.pid}/status").read_text() for process in self.processes]
        return sum(int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) for text in texts)


class Pair:
    """frps and frpc, or programs that read the same files."""

    def __init__(self, frps: str, frpc: str) -> None:
        self.commands = shlex.split(frps), shlex.split(frpc)

    @contextmanager
    def between(self, local: dict[str, int], directory: Path, *, tls: bool, mux: bool) -> Iterator[Tunnel]:
        bind, *public = free_ports(1 + len(local))
        tunnel = Tunnel(dict(zip(local, public, strict=True)))
        common = f'auth.token = "bench"\nlog.level = "error"\ntransport.tcpMux = {str(mux).lower()}\n'
        server, client = directory / "frps.toml", directory / "frpc.toml"
        server.write_text(f'bindAddr = "{HOST}"\nbindPort = {bind}\n{common}')
        client.write_text(
            f'serverAddr = "{HOST}"\nserverPort = {bind}\ntransport.tls.enable = {str(tls).lower()}\n{common}'
            + "".join(
                f'[[proxies]]\nname = "{name}"\ntype = "tcp"\nlocalPort = {port}\nremotePort = {tunnel.ports[name]}\n'
                for name, port in local.items()
            )
        )
        with ExitStack() as stack:
            for command, config, ports in zip(self.commands, (server, client), ([bind], public), strict=True):
                began = time.perf_counter()
                tunnel.processes.append(stack.enter_context(running([*command, "-c", str(config)], directory / "log")))
                for port in ports:
                    wait_for(port)
                tunnel.started.append(time.perf_counter() - began)
            time.sleep(0.3)
            yield tunnel


class HaProxy:
    """The ceiling: users -> HAProxy -> HAProxy -> service."""

    @contextmanager
    def between(self, local: dict[str, int], directory: Path, *, tls: bool, mux: bool) -> Iterator[Tunnel]:
        public, middle = free_ports(len(local)), free_ports(len(local))
        tunnel = Tunnel(dict(zip(local, public, strict=True)))
        head = "global\n nbthread 1\n maxconn 8000\ndefaults\n mode tcp\n maxconn 8000\n" + "".join(
            f" timeout {what} 60s\n" for what in ("connect", "client", "server")
        )
        with ExitStack() as stack:
            for name, sources, targets in (("near", public, middle), ("far", middle, list(local.values()))):
                config = directory / f"{name}.cfg"
                config.write_text(
                    head + "".join(f"listen l{a}\n bind {HOST}:{a}\n server s {HOST}:{b}\n" for a, b in zip(sources, targets, strict=True))
                )
                command = [find("haproxy") or "haproxy", "-db", "-f", str(config)]
                tunnel.processes.append(stack.enter_context(running(command, directory / "log")))
            for port in public:
                wait_for(port)
            time.sleep(0.3)
            yield tunnel


# ------------------------------------------------------------------------------------------------- what is measured


def start(tunnel: Tunnel) -> Figures:
    return dict(zip(("frps ms", "frpc ms"), (1000 * s for s in tunnel.started), strict=False))


def bulk(streams: int) -> Callable[[Tunnel], Figures]:
    def upload(port: int, size: int) -> None:
        chunk = bytes(1 << 20)
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(b"%0*d" % (SINK, size))
            for sent in range(0, size, len(chunk)):
                connection.sendall(chunk[: size - sent])
            if connection.recv(64) != b"0":
                raise SystemExit("bytes were lost")

    def run(tunnel: Tunnel) -> Figures:
        threads = [threading.Thread(target=upload, args=(tunnel.ports["sink"], BULK // streams)) for _ in range(streams)]
        cpu, began = tunnel.cpu(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        return {"MB/s": BULK / 1e6 / took, "CPU s/GB": (tunnel.cpu() - cpu) / (BULK / 1e9)}

    return run


def requests(users: int, *, close: bool = False) -> Callable[[Tunnel], Figures]:
    def wrk(port: int, seconds: int) -> str:
        command = ["wrk", "-t1", f"-c{users}", f"-d{seconds}", "--latency", *(["-H", "Connection: close"] if close else [])]
        return subprocess.run([*command, f"http://{HOST}:{port}/"], capture_output=True, text=True, check=True).stdout

    def run(tunnel: Tunnel) -> Figures:
        wrk(tunnel.ports["web"], 1)
        cpu = tunnel.cpu()
        out = wrk(tunnel.ports["web"], 4)
        used = tunnel.cpu() - cpu
        if bad := re.search(r"Socket errors: .*|Non-2xx.*", out):
            print(f"    wrk: {bad[0]}", file=sys.stderr)
        count = int(re.findall(r"(\d+) requests in", out)[0])
        value, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)", out)[0]
        return {
            "conn/s" if close else "req/s": float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0]),
            "p99 us": float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit],
            "CPU us each": used / count * 1e6,
        }

    return run


def latency(tunnel: Tunnel) -> Figures:
    times = []
    with socket.create_connection((HOST, tunnel.ports["echo"])) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(4000):
            began = time.perf_counter()
            connection.sendall(bytes(64))
            connection.recv(64)
            times.append((time.perf_counter() - began) * 1e6)
    times = sorted(times[200:])
    return {"p50 us": times[len(times) // 2], "p99 us": times[len(times) * 99 // 100]}


def idle(tunnel: Tunnel) -> Figures:
    count, before = 2000, tunnel.memory()
    with ExitStack() as stack:
        users = [stack.enter_context(socket.create_connection((HOST, tunnel.ports["web"]))) for _ in range(count)]
        for user in users:
            user.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for user in users:
            user.recv(1024)
        time.sleep(1)
        return {"at rest MB": before / 1024, "KB per user": (tunnel.memory() - before) / count}


@dataclass
class Scenario:
    load: Callable[[Tunnel], Figures]
    tls: bool = True
    mux: bool = True
    needs_web: bool = False
    ceiling: bool = True


SCENARIOS = {
    "start": Scenario(start, ceiling=False),
    "bulk_tls": Scenario(bulk(1)),
    "bulk_tls_x8": Scenario(bulk(8)),
    "bulk_plain": Scenario(bulk(1), tls=False),
    "bulk_nomux": Scenario(bulk(1), tls=False, mux=False),
    "req_tls_c32": Scenario(requests(32), needs_web=True),
    "req_tls_c512": Scenario(requests(512), needs_web=True),
    "conn_tls_c32": Scenario(requests(32, close=True), needs_web=True),
    "latency": Scenario(latency),
    "idle": Scenario(idle, needs_web=True),
}


def table(rows: dict[str, list[Figures]]) -> str:
    medians = {name: {k: statistics.median(r[k] for r in rounds) for k in rounds[0]} for name, rounds in rows.items() if rounds}
    reference = medians.get("haproxy", {})
    lines = []
    for name, figures in medians.items():
        cells = [
            f"{v:>10,.1f} {k}" + (f" ({v / reference[k]:.2f})" if name != "haproxy" and reference.get(k) else "")
            for k, v in figures.items()
        ]
        lines.append(f"  {name:<10}" + "  ".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"or the beginning of one: {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pair", action="append", default=[], metavar="NAME=FRPS,FRPC", help="programs to measure as well")
    args = parser.parse_args()
    chosen = {name: s for name, s in SCENARIOS.items() if not args.scenarios or name.startswith(tuple(args.scenarios))}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))  # `idle` opens 2,000 sockets
    contestants: dict[str, Pair | HaProxy] = {"frp_py": Pair(*(f"{sys.executable} -m frp_py {role}" for role in ("server", "client")))}
    for pair in args.pair:
        name, _, commands = pair.partition("=")
        contestants[name] = Pair(*commands.split(","))
    if find("haproxy"):
        contestants["haproxy"] = HaProxy()
        print("in brackets: as a fraction of haproxy")

    with tempfile.TemporaryDirectory(prefix="frp-bench-") as temporary, web_server(Path(temporary)) as web:
        local = {"echo": serve(echo), "sink": serve(sink), **({"web": web} if web else {})}
        for name, scenario in chosen.items():
            if scenario.needs_web and not (web and find("wrk")):
                print(f"{name}: needs nginx and wrk")
                continue
            rows: dict[str, list[Figures]] = {who: [] for who in contestants}
            for _ in range(args.rounds):
                for who, program in contestants.items():
                    if who == "haproxy" and not scenario.ceiling:
                        continue
                    with (
                        tempfile.TemporaryDirectory(prefix="frp-bench-") as directory,
                        program.between(local, Path(directory), tls=scenario.tls, mux=scenario.mux) as tunnel,
                    ):
                        rows[who].append(scenario.load(tunnel))
            print(f"{name}\n{table(rows)}", flush=True)


if __name__ == "__main__":
    main()
