"""socks5: a SOCKS5 server for users (behaviour.md 8.2)."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

from frp_py.client.plugins.base import Plugin
from frp_py.config.plugins import Socks5Plugin
from frp_py.errors import PeerError
from frp_py.net.engine.ends import Drop, SocketEnd
from frp_py.net.engine.stream import Holder
from frp_py.protocol import socks5

if TYPE_CHECKING:
    from frp_py.protocol.messages import StartWorkConn

_REPLIES = (
    ("connection refused", socks5.CONNECTION_REFUSED),
    ("network is unreachable", socks5.NETWORK_UNREACHABLE),
)


class Socks5(Plugin[Socks5Plugin]):
    """Connects users to where they want to go."""

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come."""
        self.hold(work, _User(self))


class _User(Holder):
    """A user until he is connected."""

    __slots__ = ("_dialing", "_negotiation", "_over", "_plugin")

    def __init__(self, plugin: Socks5) -> None:
        super().__init__(plugin.engine)
        self._plugin = plugin
        self._negotiation = socks5.Server(plugin.options.username, plugin.options.password)
        self._dialing = False
        self._over = False
        plugin.negotiations.add(self._expire)

    def arrived(self) -> None:
        """More of the negotiation; behind it, payload, which stays held."""
        if self._dialing or self._over:
            return
        if self.has_ended:
            self._give_up("closed before saying where to go")
            return
        negotiation = self._negotiation
        data, taken = bytes(self.data), len(self.data)
        refusal = ""
        wanted = None
        try:
            wanted = negotiation.receive_data(data)
        except PeerError as error:
            refusal = str(error)
        if wanted is not None:
            taken -= len(negotiation.unread())
        self._say(negotiation.data_to_send())
        if self._over:
            return
        del self.data[:taken]
        if refusal:
            self._give_up(refusal)
        elif wanted is not None:
            self._dialing = True
            self._plugin.negotiations.discard(self._expire)
            self._plugin.engine.soon(partial(self._dial, wanted))  # not now, when those below still count what we have taken

    def feed(self, data: memoryview) -> int:
        """Take part of the negotiation, and hold what comes behind it."""
        before = len(self.data)
        self.data += data
        self.arrived()
        return len(self.data) - before

    def _dial(self, wanted: socks5.Connect) -> None:
        if not self.is_lost:
            self._plugin.session.dialer.dial(wanted.host, wanted.port, self._connected, partial(self._failed, wanted))

    def lost(self, reason: str) -> None:
        """He is gone."""
        self._over = True
        self._plugin.negotiations.discard(self._expire)

    def _say(self, data: bytes) -> None:
        if data:
            self.end.feed(memoryview(data))

    def _expire(self) -> None:
        self._over = True
        self.end.abort()

    def _give_up(self, reason: str) -> None:
        """After the last words, which still go out."""
        self._over = True
        self._plugin.negotiations.discard(self._expire)
        self._plugin.log.info("socks5 user refused: %s", reason)
        self._plugin.negotiations.add(self.end.close)
        self.end.finish()

    def flushed(self, end: object) -> None:
        """The last words have gone."""
        if self._over:
            self._plugin.negotiations.discard(self.end.close)
            self.end.close()

    def _connected(self, sock: socket.socket) -> None:
        if self._over or self.is_lost:
            sock.close()
            return
        engine = self._plugin.engine
        host, port = sock.getsockname()[:2]
        self._say(socks5.reply(socks5.SUCCEEDED, (host, port)))
        if self.is_lost:
            sock.close()
            return
        self._plugin.join(SocketEnd(engine, sock, Drop(engine), self), self)

    def _failed(self, wanted: socks5.Connect, reason: str) -> None:
        if self._over or self.is_lost:
            return
        code = next((code for text, code in _REPLIES if text in reason), socks5.HOST_UNREACHABLE)
        self._say(socks5.reply(code))
        self._give_up(f"connect to [{wanted.host}:{wanted.port}] error: {reason}")
