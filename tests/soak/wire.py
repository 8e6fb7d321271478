"""The way between a client and the server, as `tests.support` has it, but a reset on one side reaches the other."""

from __future__ import annotations

import contextlib
import socket

from tests.support import programs
from tests.support.programs import reset


class Wire(programs.Wire):
    """Can be cut, or swallow what comes."""

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        try:
            while data := source.recv(1 << 16):
                if direction not in self.swallow:
                    target.sendall(data)
            if direction not in self.swallow:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            with contextlib.suppress(OSError):
                if direction not in self.swallow:
                    target.shutdown(socket.SHUT_RD)  # wakes the thread that receives from it
                    reset(target)
                source.close()
