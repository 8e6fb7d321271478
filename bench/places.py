"""Where the halves of a tunnel run: on this machine's loopback, or in two network namespaces with a slow way between them.

Not every kernel has a delaying queue, so the way is a small program between two TUN devices: it holds each packet for the delay and
sends not more than the rate; what would wait for more than QUEUE seconds is dropped, as a router does. Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.system import HOST, Unavailable, find, python, running

QUEUE = 0.2
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_libc = ctypes.CDLL(None, use_errno=True)
NEAR, FAR = "10.231.7.1", "10.231.7.2"


@dataclass(frozen=True)
class Way:
    """From one half to the other, and the same back."""

    delay: float
    """Seconds."""
    rate: float
    """Bits a second."""

    def __str__(self) -> str:
        return f"{self.delay * 1e3:g} ms each way and {self.rate / 1e6:g} Mbit/s"


@dataclass
class Place:
    """`near` has the server and the users, `far` the client and the services; commands that begin with these run there."""

    near: list[str] = field(default_factory=list)
    far: list[str] = field(default_factory=list)
    near_address: str = HOST
    far_address: str = HOST
    namespace: str = ""
    """Of the near side."""

    @contextmanager
    def among_users(self) -> Iterator[None]:
        """Sockets of this thread, and of threads it starts, are made on the near side inside the block."""
        if not self.namespace:
            yield
            return
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            enter(self.namespace)
            yield
        finally:
            _set(home)
            os.close(home)


LOOPBACK = Place()


def _set(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def enter(namespace: str) -> None:
    """Put this thread into a network namespace."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _set(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def slow_way(directory: Path, way: Way) -> Iterator[Place]:
    """Two namespaces, and the way between them. Raises Unavailable."""
    if os.geteuid():
        raise Unavailable("network namespaces need root")
    ip = find("ip")
    names = [f"bench{os.getpid()}{side}" for side in ("n", "f")]

    def run(*arguments: str) -> None:
        done = subprocess.run([ip, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"ip {' '.join(arguments[:3])}: {done.stderr.strip()}")

    made = []
    try:
        for name in names:
            run("netns", "add", name)
            made.append(name)
            run("-n", name, "link", "set", "lo", "up")
        with running([*python("bench.places"), *names, str(way.delay), str(way.rate)], directory / "way.log", pipe=True) as carrier:
            assert carrier.popen.stdout is not None
            if carrier.popen.stdout.readline() != "ready\n":
                raise Unavailable("no TUN devices")
            for name, own, other in ((names[0], NEAR, FAR), (names[1], FAR, NEAR)):
                run("-n", name, "address", "add", own, "peer", other, "dev", "way")
                run("-n", name, "link", "set", "way", "up", "txqueuelen", "4000")
            near, far = ([ip, "netns", "exec", name] for name in names)
            yield Place(near, far, NEAR, FAR, names[0])
    finally:
        for name in made:
            subprocess.run([ip, "netns", "delete", name], capture_output=True)


def main(near: str, far: str, delay_text: str, rate_text: str) -> None:
    """The way itself: runs until its input ends."""
    delay, rate = float(delay_text), float(rate_text) / 8
    devices = []
    for namespace in (near, far):
        enter(namespace)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"way", _IFF_TUN | _IFF_NO_PI))
        devices.append(device)
    print("ready", flush=True)
    other = {devices[0]: devices[1], devices[1]: devices[0]}
    queues: dict[int, deque[tuple[float, bytes]]] = {device: deque() for device in devices}  # by the device they came from
    free = dict.fromkeys(devices, 0.0)  # when the line has sent what it was given
    while True:
        now = time.monotonic()
        due = min((queue[0][0] for queue in queues.values() if queue), default=now + 1)
        readable, _, _ = select.select([*devices, sys.stdin], [], [], max(0.0, due - now))
        if sys.stdin in readable:
            return
        for device in devices if readable else ():
            for _ in range(64):
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    break
                now = time.monotonic()
                start = max(now, free[device])
                if start - now < QUEUE:
                    free[device] = start + len(packet) / rate
                    queues[device].append((free[device] + delay, packet))
        now = time.monotonic()
        for device, queue in queues.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(other[device], queue.popleft()[1])
                except OSError:
                    pass  # not up yet, or no longer


if __name__ == "__main__":
    main(*sys.argv[1:])
