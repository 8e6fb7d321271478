"""Processes, ports, and what the system says of them (Linux)."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_libc = ctypes.CDLL(None)


class Unavailable(Exception):
    """Something isn't there that is needed; `str()` says what."""


def find(program: str) -> str:
    """The path of a program. Raises Unavailable."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")
    if path is None:
        raise Unavailable(f"{program} is not installed")
    return path


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server((HOST, 0))).getsockname()[1] for _ in range(count)]


def wait_for(port: int, process: Process, seconds: float = 15.0) -> None:
    """Until somebody listens on it. Raises Unavailable after that many seconds, or when the process that should has ended."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            if (code := process.popen.poll()) is not None:
                raise Unavailable(f"{' '.join(process.command)} has ended ({code})") from None
            if time.monotonic() > end:
                raise Unavailable(f"nothing listens on port {port} after {seconds:g} s") from None
            time.sleep(0.003)


def connected(port: int, seconds: float = 30.0) -> socket.socket:
    """A user."""
    sock = socket.create_connection((HOST, port), seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exactly(sock: socket.socket, n: int) -> bytes:
    """The next n bytes. Raises EOFError."""
    data = bytearray()
    while len(data) < n:
        piece = sock.recv(n - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {n} bytes")
        data += piece
    return bytes(data)


def _end_with_parent() -> None:
    """In a new process, before its program starts: SIGTERM for it when this one is gone, however that happened."""
    _libc.prctl(1, signal.SIGTERM)


class Process:
    """A running program, with those that it has started."""

    def __init__(self, command: Sequence[str], log: Path, *, pipe: bool = False) -> None:
        self.command = command
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else output,
                stderr=output,
                preexec_fn=_end_with_parent,
                cwd=ROOT,
                text=True,
            )

    @property
    def pids(self) -> list[int]:
        """Its own and its descendants'."""
        parents = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
        found = [self.popen.pid]
        for pid in found:  # grows meanwhile
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    @property
    def cpu(self) -> float:
        """Seconds of processor time, with those of ended children."""
        total = 0
        for pid in self.pids:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += sum(map(int, fields[11:15]))
        return total / _TICKS

    @property
    def memory(self) -> float:
        """Resident kilobytes."""
        return sum(self._status(pid, "VmRSS") for pid in self.pids)

    @property
    def peak(self) -> float:
        """The most resident kilobytes so far."""
        return self._status(self.popen.pid, "VmHWM")

    @staticmethod
    def _status(pid: int, key: str) -> float:
        try:
            found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        except OSError:
            found = None
        return float(found[1]) if found else 0.0

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and wait for that."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def running(command: Sequence[str], log: Path, *, pipe: bool = False) -> Iterator[Process]:
    """The program runs inside the block."""
    process = Process(command, log, pipe=pipe)
    try:
        yield process
    finally:
        process.end()


def machine() -> list[tuple[str, str]]:
    """What the figures were made on."""
    cpu = re.findall(r"^model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    kernel = re.match(r"[\d.]+", platform.release())
    return [
        ("Processor", f"{len(os.sched_getaffinity(0))} x {cpu[0] if cpu else platform.machine()}"),
        ("Memory", f"{int(memory[1]) / 1e6:.0f} GB" if memory else "unknown"),
        ("System", f"Linux {kernel[0] if kernel else ''}, {platform.libc_ver()[0]} {platform.libc_ver()[1]}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"),
        ("Load, users and services", "on the same processors as the programs"),
    ]


def python(*arguments: str) -> list[str]:
    """The command for a module of this project."""
    return [sys.executable, "-m", *arguments]
