"""sudp: datagrams to a local port reach the service of another client (behaviour.md 2.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.client.visitors.base import Call, Visitor
from frp_py.errors import FrpError
from frp_py.net.engine.datagrams import UserPort, keep_small, udp_socket
from frp_py.net.engine.listen import listen_error

if TYPE_CHECKING:
    from frp_py.client.session import Session
    from frp_py.config.visitors import VisitorBase

_PAUSE = 0.2  # s after a failure in which datagrams are lost without another attempt


class SudpVisitor(Visitor):
    """Receives on its port; the first datagram makes it ask for a connection."""

    def __init__(self, session: Session, config: VisitorBase) -> None:
        super().__init__(session, config)
        self._users: UserPort | None = None
        self._call: Call | None = None
        self._not_before = 0.0

    def start(self) -> None:
        """Bind. Raises FrpError."""
        session, host, port = self.session, self.config.bind_addr, self.config.bind_port
        if port < 0:
            raise FrpError("a sudp visitor needs a port to listen on")
        try:
            sock = udp_socket(host, port)
        except (OSError, OverflowError, UnicodeError) as error:
            reason = error if isinstance(error, OSError) else OSError(0, str(error))
            raise FrpError(listen_error(host, port, reason, "udp")) from None
        self._users = UserPort(
            session.engine,
            sock,
            wire=session.wire_name,
            packet_size=session.config.udp_packet_size,
            log=self.log,
            need=self._need,
            on_lost=lambda reason: self.log.debug("visitor connection lost: %s", reason),
            count=lambda n, m: None,
        )

    def close(self) -> None:
        """Free the port, and close the connection."""
        if self._users is not None:
            self._users.close()
            self._users = None
        if self._call is not None:
            self._call.drop()
            self._call = None

    def _need(self) -> None:
        if self._call is None and self._users is not None:
            if trio.current_time() < self._not_before:
                self._users.forget_waiting()
            else:
                self._not_before = 0.0
                call = Call(self, self._accepted, self._failed)
                if not self._not_before:
                    self._call = call

    def _accepted(self, call: Call) -> None:
        self._call = None
        if self._users is not None:
            keep_small(call.end)
            self._users.attach(self.application_end(call))
            call.hand_over()

    def _failed(self, reason: str) -> None:
        self._call = None
        self._not_before = trio.current_time() + _PAUSE
        self.users_log.warning("start new visitor connection error: %s", reason)
        if self._users is not None:
            self._users.forget_waiting()
