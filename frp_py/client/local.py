"""Connecting to local services, in the engine: no task per user unless a name has to be looked up."""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from frp_py.net.engine.listen import set_keepalive
from frp_py.net.engine.loop import WRITE

if TYPE_CHECKING:
    from frp_py.net.engine.loop import Engine, Timeouts

_STREAM = int(socket.SOCK_STREAM)
_UNIX = int(getattr(socket, "AF_UNIX", -1))
_NAME_KEPT = 5.0  # s that the addresses of a name are used again without asking

Connected = Callable[[socket.socket], None]
Failed = Callable[[str], None]


class Dialer:
    """Opens connections to host:port."""

    def __init__(self, engine: Engine, nursery: trio.Nursery, timeouts: Timeouts) -> None:
        self._engine = engine
        self._nursery = nursery
        self._timeouts = timeouts
        self._known: dict[tuple[str, int], _Known] = {}

    def dial(self, host: str, port: int, on_connected: Connected, on_failed: Failed) -> None:
        """Call on_connected(socket), non-blocking, or on_failed(reason); either may be called before this returns."""
        known = self._known.get((host, port))
        if known is None and (family := _literal(host)) is not None:
            known = self._know(host, port, [(family, (host, port))], math.inf)
        if known is not None and (known[0] == math.inf or trio.current_time() < known[0]):
            _Dial(self._engine, self._timeouts, known[1], on_connected, on_failed)
            return
        self._nursery.start_soon(self._look_up, host, port, on_connected, on_failed)

    def _know(self, host: str, port: int, addresses: list[_Address], until: float) -> _Known:
        if len(self._known) > 1000:
            self._known.clear()
        self._known[host, port] = known = (until, addresses)
        return known

    async def _look_up(self, host: str, port: int, on_connected: Connected, on_failed: Failed) -> None:
        try:
            with trio.fail_after(self._timeouts.seconds):
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except trio.TooSlowError:
            on_failed(f"lookup {host}: i/o timeout")
            return
        except (OSError, UnicodeError) as error:
            on_failed(f"lookup {host}: {error.strerror if isinstance(error, OSError) else error}")
            return
        addresses: list[_Address] = [(entry[0], entry[4]) for entry in found]
        self._know(host, port, addresses, trio.current_time() + _NAME_KEPT)

        def failed(reason: str) -> None:
            self._known.pop((host, port), None)  # it may have moved
            on_failed(reason)

        _Dial(self._engine, self._timeouts, addresses, on_connected, failed)


_Address: TypeAlias = tuple[int, tuple[Any, ...]]
_Known: TypeAlias = tuple[float, list[_Address]]
"""The addresses of a name, and the trio time until which that is believed."""


def _literal(host: str) -> int | None:
    """The family of a numeric address, None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family
    return None


class _Dial:
    """One connection being opened: the addresses are tried one after the other."""

    __slots__ = ("_addresses", "_engine", "_failed", "_on_connected", "_on_failed", "_sock", "_timeouts")

    def __init__(self, engine: Engine, timeouts: Timeouts, addresses: list[_Address], on_connected: Connected, on_failed: Failed) -> None:
        self._engine = engine
        self._timeouts = timeouts
        self._addresses = addresses[::-1]
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._sock: socket.socket
        self._try_next("no address")

    def _try_next(self, reason: str) -> None:
        while self._addresses:
            family, address = self._addresses.pop()
            try:
                self._sock = sock = socket.socket(family, _STREAM)
            except OSError as error:
                reason = _text(error.errno)
                continue
            sock.setblocking(False)
            if family != _UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not address[0].startswith("127."):  # on this machine nobody vanishes unseen
                    set_keepalive(sock, 75)
            try:
                code = sock.connect_ex(address)
            except (OSError, OverflowError) as error:
                reason = str(error)
                sock.close()
                continue
            if code == errno.EINPROGRESS:
                try:
                    sock.getpeername()  # on loopback the handshake is over before connect returns
                except OSError:
                    self._timeouts.add(self._expire)
                    self._engine.watch(sock.fileno(), WRITE, self._on_event)
                    return
            elif code:
                reason = _text(code)
                sock.close()
                continue
            self._on_connected(sock)
            return
        self._on_failed(reason)

    def _on_event(self, events: int) -> None:
        self._timeouts.discard(self._expire)
        sock = self._sock
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._engine.unwatch(sock.fileno())
        if code:
            sock.close()
            self._try_next(_text(code))
        else:
            self._on_connected(sock)

    def _expire(self) -> None:
        self._engine.unwatch(self._sock.fileno())
        self._sock.close()
        self._try_next("i/o timeout")


def _text(code: int | None) -> str:
    return f"connect: {os.strerror(code or 0).lower()}"
