"""A user's connection, from its being accepted to its being joined to a work connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from frp_py.net.engine.ends import Drop, End, SocketEnd
from frp_py.net.engine.listen import plain_address
from frp_py.protocol.messages import StartWorkConn

if TYPE_CHECKING:
    from frp_py.net.engine.stream import Holder
    from frp_py.server.proxies.base import PublicProxy


def address_text(address: Any) -> str:
    """`host:port` of a socket's address, IPv6 in brackets."""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Visit:
    """One user who waits for a work connection; after that the relay lives on its own."""

    __slots__ = ("_address", "_user", "proxy")

    def __init__(self, proxy: PublicProxy, sock: socket.socket, address: Any) -> None:
        engine = proxy.control.engine
        self.proxy = proxy
        self._address = address
        self._user = SocketEnd(engine, sock, Drop(engine), self)
        self._user.start()  # nothing is read before this callback is over, and as a rule he is joined by then
        proxy.control.work.want(self)
        if self._user.owner is self:
            self._user.pause()  # he waits, and is watched so that his going away is noticed

    def serve(self, work: Holder) -> bool:
        """Tell the client who comes, and join."""
        proxy = self.proxy
        control = proxy.control
        sock = self._user.sock
        try:
            here = plain_address(sock.getsockname())
            start = StartWorkConn(proxy.name, self._address[0], here[0], self._address[1], here[1])
            work.end.feed(memoryview(control.wire.pack(start)))
        except OSError as error:
            self.give_up(str(error))
            work.end.abort()
            return True
        if work.is_lost:
            return False
        proxy.join(self._user, work, None)
        return True

    def give_up(self, reason: str) -> None:
        """There is no work connection: the user is told by a reset."""
        self.proxy.users_log.warning("user connection [%s] closed: %s", address_text(self._address), reason)
        self._user.abort()

    # as the owner of the user's end while it waits

    def ended(self, end: End) -> None:
        """Nothing is received yet, so this isn't heard."""

    def broke(self, end: End, reason: str) -> None:
        """The user didn't wait."""
        self.proxy.control.work.leave(self)

    def drained(self, end: End, n: int) -> None:
        """Nothing is kept."""

    def flushed(self, end: End) -> None:
        """Nothing was finished."""


class HeldVisit(Visit):
    """A user from whom something was received already, to find out where he goes. The service gets that first."""

    __slots__ = ("_held",)

    def __init__(self, proxy: PublicProxy, held: Holder, user: SocketEnd, address: Any) -> None:
        self.proxy = proxy
        self._address = address
        self._user = user
        self._held = held
        user.owner = self
        user.pause()
        proxy.control.work.want(self)

    def serve(self, work: Holder) -> bool:
        """Tell the client who comes, join, and pass on what is held."""
        if not super().serve(work):
            return False
        if self._user.owner is not self:
            self._held.hand_over()
        return True

    def ended(self, end: End) -> None:
        """To be told when he is joined."""
        self._held.has_ended = True
