"""stcp: users of a local port reach the service of another client (behaviour.md 2.8)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from frp_py.client.visitors.base import Call, Visitor
from frp_py.errors import FrpError
from frp_py.net.engine.ends import Drop, End, SocketEnd
from frp_py.net.engine.listen import Listening, listen_error, tcp_listener
from frp_py.net.engine.relay import Relay

if TYPE_CHECKING:
    from frp_py.client.session import Session
    from frp_py.config.visitors import VisitorBase


class StcpVisitor(Visitor):
    """Listens, unless its port is negative: then it only takes users whom others hand over."""

    def __init__(self, session: Session, config: VisitorBase) -> None:
        super().__init__(session, config)
        self._listening: Listening | None = None

    def start(self) -> None:
        """Begin to listen. Raises FrpError."""
        host, port = self.config.bind_addr, self.config.bind_port
        if port > 0:
            try:
                sock = tcp_listener(host, port)
            except (OSError, OverflowError, UnicodeError) as error:
                reason = error if isinstance(error, OSError) else OSError(0, str(error))
                raise FrpError(listen_error(host, port, reason)) from None
            self._listening = Listening(self.session.engine, sock, self.take)

    def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def take(self, sock: socket.socket, address: Any) -> None:
        """A user has come."""
        _User(self, sock)


class _User:
    """One user while the server is asked to let him through."""

    __slots__ = ("_call", "_user", "_visitor")

    def __init__(self, visitor: StcpVisitor, sock: socket.socket) -> None:
        engine = visitor.session.engine
        self._visitor = visitor
        self._user = SocketEnd(engine, sock, Drop(engine), self)
        self._user.pause()  # watched, so that his going away is noticed
        self._call = Call(visitor, self._accepted, self._failed)

    def _accepted(self, call: Call) -> None:
        visitor = self._visitor
        session = visitor.session
        users = session.users
        end = visitor.application_end(call)
        relay = Relay(session.engine, self._user, end, half_close=session.half_close, on_done=users.discard)
        users.add(relay)
        call.hand_over()
        relay.start()

    def _failed(self, reason: str) -> None:
        self._visitor.users_log.warning("start new visitor connection error: %s", reason)
        self._user.abort()

    # as the owner of the user's end while it waits

    def ended(self, end: End) -> None:
        """Nothing is received yet, so this isn't heard."""

    def broke(self, end: End, reason: str) -> None:
        """The user didn't wait."""
        self._call.drop()

    def drained(self, end: End, n: int) -> None:
        """Nothing is kept."""

    def flushed(self, end: End) -> None:
        """Nothing was finished."""
