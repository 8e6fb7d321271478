"""The way between a client and the server, as `tests.support` has it, but a reset on one side reaches the other."""

from __future__ import annotations

import contextlib
import socket
from typing import TypeAlias

from tests.support import programs
from tests.support.programs import reset

Pair: TypeAlias = tuple[socket.socket, socket.socket]
"""The connections of the client and to the server."""


class Wire(programs.Wire):
    """Can be cut, or swallow what comes; and knows which side has given a connection up by itself."""

    def __init__(self, port: int) -> None:
        self._ended: set[socket.socket] = set()
        super().__init__(port)

    def oldest(self) -> Pair | None:
        """The connection that is there for longest: that of the session."""
        return self._pairs[0] if self._pairs else None

    def holders(self, pair: Pair) -> list[str]:
        """Who still holds that connection."""
        return [who for who, sock in zip(("client", "server"), pair, strict=True) if pair in self._pairs and sock not in self._ended]

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
        self._ended.add(source)
        if target in self._ended:
            self._ended -= {source, target}
            pair = (source, target) if direction == "up" else (target, source)
            with contextlib.suppress(ValueError):
                self._pairs.remove(pair)
            for sock in pair:
                sock.close()
