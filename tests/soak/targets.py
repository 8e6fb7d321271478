"""What users go to: a proxy of any kind, or the web server of a program."""

from __future__ import annotations

import random
import socket
import ssl
from dataclasses import dataclass
from functools import cache
from math import inf

from tests.soak import users
from tests.support.programs import connect, receive_exactly

BY_NAME = {"http": "vhostHTTPPort", "https": "vhostHTTPSPort", "tcpmux": "tcpmuxHTTPConnectPort"}
"""Kinds whose users all come to one port, by the server's key for it."""

SECRET = {"stcp": "tcp", "sudp": "udp"}
"""Kinds that are reached through a visitor, and the kind of service behind them."""


@dataclass(eq=False)
class Target:
    """Where users go, and whether they can rely on it."""

    name: str
    kind: str
    """Of the proxy; `api`: it is a web server."""
    port: int
    """Of the users."""
    needs: frozenset[str]
    """The programs and wires that it can't do without."""
    extra: str = ""
    steady: bool = True
    """Never touched by a reload."""
    offered: bool = True
    disturbed_until: float = 0.0
    """When it last was not to be relied on; inf: it isn't now."""

    @property
    def host(self) -> str:
        """The domain of a proxy that is reached by name."""
        return f"{self.name}.soak.test".replace("_", "-")

    def use(self, rng: random.Random) -> str:
        """One visit of a user; returns what kind it was."""
        if self.kind == "http":
            users.web(self.port, self.host, rng, self.name.encode())
        elif self.kind == "api":
            users.api(self.port, "server" in self.name, rng)
        elif self.kind in ("udp", "sudp"):
            users.datagrams(self.port, rng)
        else:
            visit = rng.choice(users.USES_OF_TLS if self.kind == "https" else users.USES)
            visit(self._dial, rng, self.name.encode())
            return f"{visit.__name__.replace('_', ' ')} by {self.kind}"
        return self.kind

    def works(self) -> bool:
        """Whether it serves now."""
        rng = random.Random(0)
        try:
            if self.kind == "http":
                users.web(self.port, self.host, rng, self.name.encode())
            elif self.kind == "api":
                users.api(self.port, "server" in self.name, rng)
            elif self.kind in ("udp", "sudp"):
                users.datagrams(self.port, rng, count=1, late=0)
            else:
                with self._dial(2) as sock:
                    sock.sendall(b"eping")
                    return receive_exactly(sock, 4) == b"ping"
        except OSError:
            return False
        return True

    def disturb(self) -> None:
        """From now on nobody may rely on it."""
        self.disturbed_until = inf

    def _dial(self, timeout: float = users.PATIENCE) -> socket.socket:
        if self.kind == "tcpmux":
            return users.through_connect(connect(self.port, timeout), self.host)
        if self.kind == "https":
            return _tls().wrap_socket(connect(self.port, timeout), server_hostname=self.host)
        return connect(self.port, timeout)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    users.AUTHORITY.configure_trust(context)
    return context
