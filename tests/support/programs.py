"""frps and frpc as processes of their own, and what tests put around them: services, a wire that can fail, figures of processes.

Everything is on loopback. A `World` stops whatever runs when its test is over, and looks at how the programs ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port

HOST = "127.0.0.1"
TOKEN = "a token of the tests"
ROOT = Path(__file__).resolve().parents[2]
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
_BUG_MARKS = ("Traceback", "] bug in ", "ended by a bug", "Exception ignored", "was never awaited", "ResourceWarning")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


"""Not the module's generator: hypothesis seeds that, and runs side by side would choose the same ports."""


def need(program: str) -> str:
    """The path of a program of the system; without it the test is skipped, or fails in CI."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        if IN_CI:
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return path


def program(name: str) -> str | None:
    """Where a program of the system is, or one that tests/programs.sh has fetched; None where it is missing."""
    fetched = ROOT / "build/programs/usr/bin" / name
    return shutil.which(name) or (str(fetched) if fetched.exists() else None)


def eventually(holds: Callable[[], bool], what: str, deadline: float = 10) -> float:
    """Wait until it holds; returns the seconds that took. Fails after `deadline` s."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > deadline:
            pytest.fail(f"not within {deadline} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began


def wait_until_free(port: int) -> None:
    """Until `port` can be listened on at all addresses. A program says what it does, or closes its users' connections, just before that."""

    def is_free() -> bool:
        try:
            socket.create_server(("0.0.0.0", port)).close()
        except OSError:
            return False
        return True

    eventually(is_free, f"port {port} is free again", 2)


def connect(port: int, timeout: float = 10) -> socket.socket:
    """A connection to `port`; whatever takes longer than `timeout` s on it fails."""
    return socket.create_connection((HOST, port), timeout)


def receive_exactly(sock: socket.socket, n: int) -> bytes:
    """The next n bytes, fewer only at the end."""
    data = bytearray()
    while len(data) < n and (piece := sock.recv(min(1 << 18, n - len(data)))):
        data += piece
    return bytes(data)


def receive_all(sock: socket.socket) -> bytes:
    """Everything up to the end."""
    data = bytearray()
    while piece := sock.recv(1 << 18):
        data += piece
    return bytes(data)


def exchange(port: int, data: bytes, timeout: float = 10) -> bytes:
    """What an echo service behind `port` answers; shorter when it is cut off."""
    with connect(port, timeout) as sock:
        sock.sendall(data)
        return receive_exactly(sock, len(data))


def works(port: int, timeout: float = 10) -> bool:
    """Whether an echo service answers behind `port`."""
    try:
        return exchange(port, b"are you there?", timeout) == b"are you there?"
    except OSError:
        return False


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()


class Figures:
    """What the system says of a process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def threads(self) -> int:
        """How many it has."""
        return int(self._status("Threads"))

    @property
    def rss(self) -> float:
        """Resident memory, MB."""
        return int(self._status("VmRSS").split()[0]) / 1024

    @property
    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, key: str) -> str:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return line.partition(":")[2].strip()
        raise KeyError(key)


class Program:
    """A process of frps (`role` server) or frpc (`role` client). All it prints is in one file."""

    def __init__(self, role: str, directory: Path, name: str, config: str) -> None:
        self.name = name
        self.config_path = directory / f"{name}.toml"
        self.config_path.write_text(config)
        self.output_path = directory / f"{name}.out"
        environment = {key: value for key, value in os.environ.items() if key.lower() not in ("http_proxy", "https_proxy", "all_proxy")}
        environment["PYTHONPATH"] = str(ROOT)
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "frp_py", role, "-c", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
            )
        self.figures = Figures(self.process.pid)

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return self.output_path.read_text(errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait_for(self, text: str, *, count: int = 1, deadline: float = 15) -> str:
        """The line with the `count`-th occurrence of `text` in the output."""
        end = time.monotonic() + deadline
        while True:
            ended = not self.runs
            lines = [line for line in self.output.splitlines() if text in line]
            if len(lines) >= count:
                return lines[count - 1]
            if ended or time.monotonic() > end:
                why = f"{self.name} has ended ({self.process.returncode})" if ended else f"not within {deadline} s"
                pytest.fail(f"{why}: {text!r} (time {count}) in the output of {self.name}:\n{self.output[-3000:]}")
            time.sleep(0.005)

    def wait(self, deadline: float = 10) -> int:
        """The exit code, once it has ended by itself."""
        return self.process.wait(deadline)

    def limit_descriptors(self, limit: int) -> None:
        """From now on it may not have more than `limit` descriptors."""
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (limit, limit))

    def kill(self) -> None:
        """End it without a chance to say anything."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """End it by a signal; returns how many seconds that took. The exit code must be 0, and no bug in the output."""
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"{self.name} did not end within 10 s of {number.name}:\n{self.output[-3000:]}")
        took = time.monotonic() - began
        assert code == 0, f"{self.name} ended with {code}:\n{self.output[-3000:]}"
        self.check_output()
        return took

    def check_output(self) -> None:
        """Whatever happened to it, it must not have met a bug of its own."""
        output = self.output
        found = next((mark for mark in _BUG_MARKS if mark in output), None)
        if found is not None:
            at = output.index(found)
            pytest.fail(f"{self.name} has met a bug:\n{output[max(0, at - 500) : at + 3000]}")


Handler = Callable[[socket.socket], None]


def echo(connection: socket.socket) -> None:
    """Send back what comes, until the end, and then say the end."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)


class Service:
    """A local service: `handle(connection)` runs in a thread for each connection, which is closed after it."""

    def __init__(self, handle: Handler = echo, port: int = 0) -> None:
        self.connections = 0
        """How many came so far."""
        self._handle = handle
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, port or free_port()), backlog=4096)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def open(self) -> int:
        """Connections that are being served."""
        return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handle(connection)
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        """Stop listening, and cut off all who are connected."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Wire:
    """A relay before `port` that keeps its sockets and can swallow what comes: `swallow` holds "up" (to `port`), "down" or both."""

    def __init__(self, port: int) -> None:
        self.swallow: set[str] = set()
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server((HOST, free_port()))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """Of the connections that came, how many have not been cut."""
        return len(self._pairs)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((HOST, self._target), 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            threading.Thread(target=self._pump, args=(near, far, "up"), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, "down"), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if direction not in self.swallow:
                    target.sendall(data)
            if direction not in self.swallow:
                target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Break all connections: both sides get RST."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    sock.shutdown(socket.SHUT_RD)  # wakes its thread, and says nothing
        for pair in pairs:
            for sock in pair:
                sock.close()

    def close(self) -> None:
        """Give everything up."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@dataclass
class Tunnel:
    """Both programs with one proxy between them."""

    server: Program
    client: Program
    port: int
    """Where users come."""
    server_port: int
    """Where clients come."""


def proxy(name: str, local_port: int, remote_port: int, extra: str = "") -> str:
    """The lines of a tcp proxy in a client's file."""
    return f'\n[[proxies]]\nname = "{name}"\ntype = "tcp"\nlocalPort = {local_port}\nremotePort = {remote_port}\n{extra}\n'


class World:
    """What one test has running."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.programs: list[Program] = []
        self._closing: list[Callable[[], None]] = []

    def service(self, handle: Handler = echo, port: int = 0) -> Service:
        """A local service, an echo if nothing else is said."""
        service = Service(handle, port)
        self._closing.append(service.close)
        return service

    def wire(self, port: int) -> Wire:
        """A wire to `port` that can fail."""
        wire = Wire(port)
        self._closing.append(wire.close)
        return wire

    def start(self, role: str, config: str) -> Program:
        """A program with this file, whatever becomes of it."""
        program = Program(role, self.directory, f"{role}{len(self.programs)}", config)
        self.programs.append(program)
        return program

    def frps(self, extra: str = "", *, port: int | None = None) -> tuple[Program, int]:
        """A server that has started, and its client port."""
        port = port or free_port()
        config = f'bindAddr = "{HOST}"\nbindPort = {port}\nauth.token = "{TOKEN}"\nlog.disablePrintColor = true\n{extra}\n'
        program = self.start("server", config)
        program.wait_for("frps started successfully")
        return program, port

    def frpc(self, server_port: int, extra: str = "", proxies: str = "") -> Program:
        """A client that is being started."""
        common = f'serverAddr = "{HOST}"\nserverPort = {server_port}\nauth.token = "{TOKEN}"\nlog.disablePrintColor = true\n'
        config = f"{common}{extra}\n{proxies}"
        return self.start("client", config)

    def tunnel(self, local_port: int, *, server: str = "", client: str = "", proxy_extra: str = "") -> Tunnel:
        """Both programs, and a proxy that runs."""
        frps, server_port = self.frps(server)
        port = free_port()
        frpc = self.frpc(server_port, client, proxy("it", local_port, port, proxy_extra))
        frpc.wait_for("[it] start proxy success")
        return Tunnel(frps, frpc, port, server_port)

    def close(self) -> None:
        """Stop everything; the programs must end well."""
        try:
            for program in reversed(self.programs):
                if program.runs:
                    program.stop()
                else:
                    program.check_output()
        finally:
            for program in self.programs:
                if program.runs:
                    program.kill()
            for close in self._closing:
                close()


@contextlib.contextmanager
def world(directory: Path) -> Iterator[World]:
    """A world that ends with the block."""
    it = World(directory)
    try:
        yield it
    except BaseException:
        with contextlib.suppress(BaseException):
            it.close()
        raise
    it.close()
