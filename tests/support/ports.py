"""Ports for tests."""

from __future__ import annotations

import contextlib
import random
import socket
from collections import deque
from pathlib import Path

HOST = "127.0.0.1"

_ports = random.SystemRandom()
_given: deque[int] = deque(maxlen=2000)


def free_port() -> int:
    """A port that nobody listens on, outside the range that the system takes for outgoing connections.

    It isn't given again for long: many are listened on only later, or not all the time.
    """
    with contextlib.suppress(OSError):
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        for _ in range(200):
            port = _ports.randrange(10_000, lowest)
            if port in _given:
                continue
            # bound only, never listening: a listener that was closed may keep its port for a while
            with contextlib.suppress(OSError), socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as udp:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                udp.bind((HOST, port))
                _given.append(port)
                return port
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])
