"""Listening sockets whose connections are accepted in the engine's batches."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from frp_py.log import get_logger
from frp_py.net.engine.loop import READ

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine

log = get_logger()

_BATCH = 32  # connections accepted before others get their turn
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0  # s, when descriptors or memory have run out (behaviour.md 2.2)
_COMPLAINT = 10.0  # s between two lines about that
_UNLIMITED = 1 << 62
_RESERVE = 64  # descriptors that users leave to all else
_OF_ONE_CONNECTION = {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH}


def tcp_listener(host: str, port: int, *, keepalive: int = 75) -> socket.socket:
    """A listening socket; what it accepts inherits TCP_NODELAY and keep-alive (in s; not above 0: off). Raises OSError."""
    family, kind, proto, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host in ("", "::") else 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_keepalive(sock, keepalive)
        sock.bind(address)
        sock.listen(4096)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def set_keepalive(sock: socket.socket, seconds: int) -> None:
    """Probe a silent TCP peer after `seconds`; not above 0: never."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if seconds > 0 else 0)
    if seconds > 0 and hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(seconds, 32767))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)


def plain_address(address: tuple[Any, ...]) -> tuple[str, int]:
    """Host and port of a TCP socket's address; where both families come to one listener, an IPv4 host is written as IPv4 all the same."""
    host, port = address[:2]
    if ":" in host and "." in host and host.startswith("::ffff:"):
        host = host[7:]
    return host, port


def highest_for_users(each: int) -> int:
    """The highest descriptor for a user who takes `each` in all.

    Those above are for what he needs besides his own, and for what isn't users: or a crowd that waits for connections leaves none for them.
    """
    try:
        import resource
    except ImportError:  # Windows
        return _UNLIMITED
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return _UNLIMITED
    return (limit - min(_RESERVE, limit // 4)) // each


def most_ports() -> int:
    """How many ports proxies may have together: users need descriptors too."""
    try:
        import resource
    except ImportError:  # Windows
        return _UNLIMITED
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit // 2


class Listening:
    """Calls `on_connection(socket, address)` for each connection, until closed. The sockets are non-blocking.

    Running out of descriptors or memory costs the connections that wait, never the listener. Descriptors above `highest` are not used;
    `on_full()` is called when one is met.
    """

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        on_connection: Callable[[socket.socket, Any], None],
        *,
        highest: int = _UNLIMITED,
        on_full: Callable[[], None] = lambda: None,
    ) -> None:
        self._highest = highest
        self._on_full = on_full
        self._engine = engine
        self._sock = sock
        self._fd = sock.fileno()
        self._kind = int(sock.family), int(sock.type), sock.proto
        self._on_connection = on_connection
        self._pause = 0.0
        self._quiet_until = -math.inf
        self._open = True
        engine.watch(self._fd, READ, self._on_event)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def keep_alive(self, seconds: int) -> None:
        """From now on, probe a silent peer of what is accepted after `seconds`; not above 0: never."""
        set_keepalive(self._sock, seconds)

    def close(self) -> None:
        """Stop listening; the port is free at once."""
        if self._open:
            self._open = False
            self._engine.unwatch(self._fd)
            self._sock.close()

    def _on_event(self, events: int) -> None:
        for _ in range(_BATCH):
            if not self._open:
                return
            try:
                sock, address = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in _OF_ONE_CONNECTION:
                    self._back_off(error)
                    return
                continue
            if sock.fileno() > self._highest:  # the system gives the lowest that is free
                sock.close()
                self._back_off(OSError(errno.EMFILE, "the descriptors left are not for users"))
                self._on_full()
                return
            self._pause = 0.0
            try:
                sock.setblocking(False)
                self._on_connection(sock, plain_address(address))
            except Exception:
                log.exception("bug in the handling of a new connection")
                sock.close()

    def _accept(self) -> tuple[socket.socket, Any]:
        """As `accept` of the socket has it, which finds the enums for the family and the type each time (2 us)."""
        fd, address = self._sock._accept()  # type: ignore[attr-defined]
        return socket.socket(*self._kind, fileno=fd), address

    def _back_off(self, error: OSError) -> None:
        self._pause = min(self._pause * 2, _LONGEST_PAUSE) or _FIRST_PAUSE
        now = trio.current_time()
        if now >= self._quiet_until:  # a crowd at the limit gets one in and the next one not, a hundred times a second
            self._quiet_until = now + _COMPLAINT
            log.warning("accept on %s:%d: %s; trying again in %.0f ms", *self.address, error.strerror, self._pause * 1000)
        self._engine.change(self._fd, 0)
        self._engine.at(now + self._pause, self._go_on)

    def _go_on(self) -> None:
        if self._open:
            self._engine.change(self._fd, READ)


def listen_error(host: str, port: int, error: OSError, network: str = "tcp") -> str:
    """Why listening on host:port failed, in the words that scripts know."""
    text = "address already in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error)).lower()
    return f"listen {network} {f'[{host}]' if ':' in host else host}:{port}: bind: {text}"
