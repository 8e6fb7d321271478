"""New link connections: their first message says what they are (wire.md 0.2)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from frp_py.errors import FrpError, PeerError
from frp_py.log import Logger, get_logger
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.stream import Holder
from frp_py.protocol import wire_v2
from frp_py.protocol.messages import Message
from frp_py.protocol.wire import WIRES, Wire
from frp_py.protocol.yamux import BACKLOG, OWED_LIMIT, Session
from frp_py.server.penalties import NO_LOGIN

if TYPE_CHECKING:
    from frp_py.server.app import Server
    from frp_py.server.lobby import Guest

log = get_logger()

STRANGERS_OWED = 16 * 1024
"""Bytes of control frames that somebody who has not logged in may leave unread."""
STRANGERS_BYTES = 288 * 1024
"""What they may send: the first messages of two streams take less than that, and pings by the million are no login."""
_STRANGERS_STREAMS = 2  # that a link may have waiting before somebody has logged in on it; clients have one


class Caller:
    """One transport connection of a client: its address, and whether anything on it has been authenticated."""

    __slots__ = ("address", "close", "guest", "is_dismissed", "is_known", "is_punished", "link", "local_address", "server", "waiting")

    def __init__(self, server: Server, address: Any, guest: Guest) -> None:
        self.server = server
        self.address = address
        self.guest: Guest | None = guest
        """None: it may stay."""
        self.link: MuxLink | None = None
        self.close: Callable[[], None] = lambda: None
        self.local_address: Callable[[], Any] = lambda: ("", 0)
        """Where on this machine it came to; raises OSError when it is gone."""
        self.waiting = 0  # link connections without their first message
        self.is_dismissed = False
        self.is_known = False
        """Whether it is a client's: somebody has logged in on it, or it is a work connection."""
        self.is_punished = False

    def is_now_known(self) -> None:
        """It is a client's, and may stay."""
        self.is_known = True
        self.may_stay()
        if self.link is not None:
            self.link.log = self.log.with_prefix(self.address[0])

    def may_stay(self) -> None:
        """It has a visitor who was let in. That says little of what else may come on it: a proxy may be for everybody."""
        self.server.strangers.discard(self.expire)
        if self.link is None:
            self.server.callers.discard(self)  # whoever uses it from now on closes it
        if self.guest is not None:
            self.guest.leave()
            self.guest = None
            if self.link is not None:
                self.link.session.owed_limit = OWED_LIMIT
                self.link.allowance = None
                self.link.session.max_streams = self.server.config.max_streams_per_client
                self.link.prefer()

    @property
    def log(self) -> Logger:
        """For lines about it."""
        return self.server.log_of_client(self.address[0]) if self.is_known else self.server.strangers_log

    def punish(self, cost: float) -> None:
        """It did wrong, which counts once, and against all from its address, unless it is known."""
        if not self.is_known and not self.is_punished:
            self.is_punished = True
            self.server.offended(self.address, cost)

    def dismiss(self) -> None:
        """It was refused, and goes when it has had the time to read why. Nothing more is taken from it."""
        if not self.is_dismissed:
            self.is_dismissed = True
            self.server.engine.lingering.add(self.close)

    def expire(self) -> None:
        """Nobody logged in, in time."""
        log.debug("link from [%s] closed: no login within %d s", self.address[0], self.server.strangers.seconds)
        self.punish(NO_LOGIN)
        self.close()

    def gone(self, reason: str) -> None:
        """The connection is closed."""
        log.debug("connection from [%s] is gone: %s", self.address[0], reason)
        self.server.callers.discard(self)
        self.server.strangers.discard(self.expire)
        if self.guest is not None:
            if not self.guest.made_room_for_others:
                self.punish(NO_LOGIN)
            self.guest.leave()

    def open_stream(self, link: MuxLink, session: Session, stream_id: int) -> MuxEnd | None:
        """A stream for the client's next link connection, unless too many are waiting."""
        if self.is_dismissed or self.waiting >= (BACKLOG if self.guest is None else _STRANGERS_STREAMS):
            return None
        reception = Reception(self)
        reception.end = end = MuxEnd(session, stream_id, link, reception, reception)
        return end


class Reception(Holder):
    """A link connection until its first message is there, and an idle work connection after that."""

    __slots__ = ("_done", "agreed", "caller", "on_gone", "wire", "wire_name")

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.server.engine)
        self.caller = caller
        self.wire: Wire | None = None
        self.wire_name = ""
        self.agreed: wire_v2.Agreed | None = None
        self.on_gone: Any = None
        """on_gone(self), once the connection is known and waits for its use."""
        self._done = False  # the first message is there, or will not be
        caller.waiting += 1
        caller.server.first_messages.add(self.expire)

    def arrived(self) -> None:
        """More of the first message; or, while it waits in the pool, what no client sends."""
        if self.on_gone is not None:
            if self.has_ended:
                self.end.close()
                self.lost("closed by the client")
            return
        if self._done:
            self.data.clear()
            return
        if self.caller.is_dismissed:
            self.drop()
            return
        try:
            message = self._take()
        except PeerError as error:
            self.reject(str(error))
            return
        if message is not None:
            self._leave()
            self.caller.server.receive(message, self)
        elif self.has_ended:
            self.drop()

    def _take(self) -> Message | None:
        data = self.data
        if self.wire is None:
            magic = wire_v2.MAGIC
            if len(data) < len(magic) and data == magic[: len(data)]:
                return None
            self.wire_name = "v2" if data.startswith(magic) else "v1"
            self.wire = WIRES[self.wire_name]
            if self.wire_name == "v2":
                self.used(len(magic))
        if self.wire_name == "v2" and not self._greeted():
            return None
        taken = self.wire.take_message(self.data)
        if taken is None:
            return None
        message, used = taken
        self.used(used)
        return message

    def _greeted(self) -> bool:
        """Whether the optional hello of wire v2 is behind us (wire.md 11.3)."""
        if self.agreed is not None:
            return True
        taken = wire_v2.take_frame(self.data)
        if taken is None:
            return False
        kind, payload, used = taken
        if kind == wire_v2.CLIENT_HELLO:
            answer, agreed = wire_v2.answer(payload, os.urandom(wire_v2.RANDOM_SIZE))
            self.end.feed(memoryview(wire_v2.pack_frame(wire_v2.SERVER_HELLO, answer)))
            if isinstance(agreed, str):
                self.end.finish()
                raise PeerError(agreed)
            self.agreed = agreed
            self.used(used)
        return True

    def reject(self, reason: str) -> None:
        """Close it: its first message was none."""
        caller = self.caller
        if not caller.is_dismissed:
            caller.log.warning("link connection from [%s] closed: %s", caller.address[0], reason)
            caller.punish(NO_LOGIN)
        self.drop()
        if not caller.is_known and caller.link is not None:
            caller.dismiss()

    def refuse(self, answer: Message) -> None:
        """Send the answer and close."""
        assert self.wire is not None
        try:
            self.end.feed(memoryview(self.wire.pack(answer)))
        except FrpError:
            pass  # its own words in the answer are too long for it
        self.end.finish()
        self.data.clear()
        self.caller.server.engine.lingering.add(self.drop)
        if not self.caller.is_known:
            self.caller.dismiss()

    def expire(self) -> None:
        """The first message did not come in time."""
        log.debug("link connection from [%s] closed: no first message", self.caller.address[0])
        self.drop()

    def lost(self, reason: str) -> None:
        """It broke."""
        if self.on_gone is not None:
            self.on_gone(self)
        else:
            self._leave()
            if self.caller.link is None:
                self.caller.gone(reason)

    def _leave(self) -> None:
        if not self._done:
            self._done = True
            self.caller.waiting -= 1
            self.caller.server.first_messages.discard(self.expire)

    def drop(self) -> None:
        """Close it."""
        self._leave()
        self.end.close()
        if self.caller.link is None:
            self.caller.gone("closed")
