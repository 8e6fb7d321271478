"""unix_domain_socket: users are joined to a unix socket (behaviour.md 8.4)."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import trio

from frp_py.client.plugins.base import Plugin
from frp_py.config.plugins import UnixDomainSocketPlugin
from frp_py.net.engine.ends import Drop, SocketEnd
from frp_py.net.engine.stream import Holder

if TYPE_CHECKING:
    from frp_py.protocol.messages import StartWorkConn

_AGAIN = 0.02  # s between attempts while the service's queue is full
_DIAL = 10  # s


class UnixDomainSocket(Plugin[UnixDomainSocketPlugin]):
    """Joins users to `unixPath`."""

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come."""
        _User(self, work, start)


class _User(Holder):
    """A user while the socket is being reached."""

    __slots__ = ("_deadline", "_plugin", "_start")

    def __init__(self, plugin: UnixDomainSocket, work: Holder, start: StartWorkConn) -> None:
        super().__init__(plugin.engine)
        self._plugin = plugin
        self._start = start
        self._deadline = trio.current_time() + _DIAL
        plugin.hold(work, self)
        self._dial()

    def _dial(self) -> None:
        if self.is_lost:
            return
        plugin = self._plugin
        path = plugin.options.unix_path
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            code = sock.connect_ex(path)
            reason = os.strerror(code).lower()
        except (OSError, ValueError) as error:  # the path is too long, or has a NUL
            code, reason = -1, str(error)
        now = trio.current_time()
        if code == errno.EAGAIN and now < self._deadline:
            sock.close()
            plugin.engine.at(now + _AGAIN, self._dial)
            return
        if code:
            sock.close()
            plugin.log.error("connect to local service [%s] error: dial unix %s: %s", path, path, reason)
            self.end.abort()
            return
        local = SocketEnd(plugin.engine, sock, Drop(plugin.engine), self)
        if plugin.introduce(local, self._start) and not self.is_lost:
            plugin.join(local, self)
        else:
            local.close()
            self.end.abort()
