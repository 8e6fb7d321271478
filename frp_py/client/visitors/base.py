"""What visitors of all kinds have in common: the connection to the server, and how it is asked for (wire.md 9)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from frp_py.errors import PeerError
from frp_py.net.bounded_log import Budget
from frp_py.net.engine.stream import Holder
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.messages import NewVisitorConn, NewVisitorConnResp

if TYPE_CHECKING:
    from frp_py.client.session import Session
    from frp_py.config.visitors import VisitorBase
    from frp_py.net.engine.ends import End


_LINES, _LINES_RATE = 1000, 5.0  # of the log about the users of one visitor: at once, and a second later on


class Kind(Protocol):
    """A class of visitors."""

    def __call__(self, session: Session, config: VisitorBase) -> Visitor:
        """The visitor of `config`, not started."""


class Visitor:
    """One visitor in one session."""

    def __init__(self, session: Session, config: VisitorBase) -> None:
        self.session = session
        self.config = config
        self.name = config.name
        self.log = session.log.with_prefix(config.name)
        self.users_log = session.events_log.with_budget(
            Budget(_LINES, _LINES_RATE, session.user_lines), config.name, "users of this visitor"
        )
        """For what users bring about as often as they like."""
        self.is_started = False
        self.error = ""
        """Why it couldn't be started at the last attempt."""
        owner = config.server_user or session.config.user
        self.target = f"{owner}.{config.server_name}" if owner else config.server_name
        """The name of the proxy on the wire."""

    def start(self) -> None:
        """Begin to listen. Raises FrpError."""

    def close(self) -> None:
        """Stop; what is connected goes on."""

    def greeting(self) -> NewVisitorConn:
        """The first message of a visitor connection."""
        now, config = int(time.time()), self.config
        return NewVisitorConn(
            run_id=self.session.run_id,
            proxy_name=self.target,
            sign_key=privilege_key(config.secret_key, now),
            timestamp=now,
            use_encryption=config.transport.use_encryption,
            use_compression=config.transport.use_compression,
        )

    def application_end(self, call: Call) -> End:
        """An accepted visitor connection as the user's bytes see it; this leg has the secret key (wire.md 5.3)."""
        transport = self.config.transport
        key = derive_key(self.config.secret_key) if transport.use_encryption else None
        return wrapped(self.session.engine, call, key=key, compress=transport.use_compression, log=self.users_log)


class Call(Holder):
    """A visitor connection until the server has answered: accepted(call), or failed(reason), but neither after `drop`."""

    __slots__ = ("_accepted", "_dropped", "_failed", "_over", "_visitor")

    def __init__(self, visitor: Visitor, accepted: Callable[[Call], None], failed: Callable[[str], None]) -> None:
        session = visitor.session
        super().__init__(session.engine)
        self._visitor = visitor
        self._accepted = accepted
        self._failed = failed
        self._over = False  # it was accepted, or will not be
        self._dropped = False
        session.answer_timeouts.add(self._expire)
        session.open_connection(self, visitor.greeting(), self.lost)

    def arrived(self) -> None:
        """More of the answer; behind it, payload, which stays held."""
        if self._over:
            if self._dropped:  # before there was a connection to close
                self.end.abort()
            return
        try:
            taken = self._visitor.session.wire.take_message(self.data)
        except PeerError as error:
            self._give_up(str(error))
            return
        if taken is None:
            if self.has_ended:
                self._give_up("closed by the server")
            return
        message, used = taken
        self.used(used)
        if not isinstance(message, NewVisitorConnResp):
            self._give_up(f"{type(message).__name__} where NewVisitorConnResp was due")
        elif message.error:
            self._give_up(message.error)
        else:
            self._finish()
            self._accepted(self)

    def lost(self, reason: str) -> None:
        """It broke, or there was none."""
        if not self._over:
            self._finish()
            self._failed(reason)

    def drop(self) -> None:
        """It is not wanted any more."""
        if not self._over:
            self._finish()
            self._dropped = True
            self._close()

    def _expire(self) -> None:
        self._give_up("the server did not answer in time")

    def _give_up(self, reason: str) -> None:
        self._finish()
        self._dropped = True
        self._close()
        self._failed(reason)

    def _finish(self) -> None:
        self._over = True
        self._visitor.session.answer_timeouts.discard(self._expire)

    def _close(self) -> None:
        end = getattr(self, "end", None)
        if end is not None:
            end.abort()
