"""tls2raw: TLS ends here, and users are joined to a plain service (behaviour.md 8.7)."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from frp_py.client.plugins.base import Plugin
from frp_py.client.plugins.termination import termination
from frp_py.config.plugins import Tls2RawPlugin
from frp_py.net.addresses import host_and_port
from frp_py.net.engine.ends import Drop, SocketEnd
from frp_py.net.engine.stream import Holder
from frp_py.net.engine.tls_bio import TlsOverEnd

if TYPE_CHECKING:
    from frp_py.protocol.messages import StartWorkConn


class Tls2Raw(Plugin[Tls2RawPlugin]):
    """Joins users to `localAddr`."""

    context: ssl.SSLContext
    address: tuple[str, int]

    async def prepare(self) -> None:
        """Read or make the certificate."""
        options = self.options
        self.address = host_and_port(options.local_addr)
        self.context = await termination(options.crt_path, options.key_path, ())
        await super().prepare()

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come."""
        _User(self, work, start)


class _User(Holder):
    """A user during the handshake, and until the service is reached. He holds what was decrypted."""

    __slots__ = ("_plugin", "_start")

    def __init__(self, plugin: Tls2Raw, work: Holder, start: StartWorkConn) -> None:
        super().__init__(plugin.engine)
        self._plugin = plugin
        self._start = start
        below = plugin.proxy.application_end(work)
        self.end = TlsOverEnd(plugin.engine, below, plugin.context, self, self, server_side=True, on_ready=self._dial)
        plugin.negotiations.add(self._expire)
        work.hand_over()
        self.end.start()

    def _expire(self) -> None:
        self._plugin.log.info("TLS handshake of a user not finished in time")
        self.end.abort()

    def lost(self, reason: str) -> None:
        """He is gone."""
        self._plugin.negotiations.discard(self._expire)
        self._plugin.log.info("TLS user lost: %s", reason)

    def _dial(self) -> None:
        plugin = self._plugin
        plugin.negotiations.discard(self._expire)
        plugin.engine.soon(lambda: plugin.session.dialer.dial(*plugin.address, self._connected, self._failed))

    def _connected(self, sock: socket.socket) -> None:
        plugin = self._plugin
        local = SocketEnd(plugin.engine, sock, Drop(plugin.engine), self)
        if not self.is_lost and plugin.introduce(local, self._start) and not self.is_lost:
            plugin.join(local, self)
        else:
            local.close()
            self.end.abort()

    def _failed(self, reason: str) -> None:
        self._plugin.log.error("connect to local service [%s] error: %s", self._plugin.options.local_addr, reason)
        self.end.abort()
