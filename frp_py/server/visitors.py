"""Visitors of proxies without a public side: who is let in, and how they wait (wire.md 9, behaviour.md 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frp_py.errors import Refused
from frp_py.net.engine.stream import Holder
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.auth import verify_key
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.messages import NewVisitorConn, NewVisitorConnResp, StartWorkConn
from frp_py.server.penalties import FAILED_LOGIN
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.visits import address_text

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.app import Server
    from frp_py.server.control import Control
    from frp_py.server.reception import Reception

_MOST_WAITING = 128  # visitors of one proxy without a work connection yet


class SecretProxy(PublicProxy):
    """A proxy for visitors who know its secret key."""

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self.waiting: set[Visitor] = set()

    def open(self) -> str:
        """Nothing is opened; there is no remote address."""
        return ""

    def close(self) -> None:
        """Those who wait are sent away."""
        for visitor in list(self.waiting):
            self.control.work.leave(visitor)
            visitor.give_up("proxy is closed")

    def lets_in(self, user: str) -> bool:
        """Whether the allow list has the visitor's user; without a list, only the owner's own clients are let in."""
        allowed = self.wish.allow_users or (self.control.login.user,)
        return user in allowed or "*" in self.wish.allow_users

    def join_visitor(self, visitor: Visitor, work: Holder) -> None:
        """Join a visitor to his work connection, on which StartWorkConn has been sent."""
        user = visitor.application_end()
        before = (0, 0)
        if user is visitor.end:  # his wish and the answer to it are no traffic of the proxy
            before = user.received_total - len(visitor.data), user.sent_total + user.kept
        self.join(user, work, visitor.address, half_close=visitor.half_close, before=before)


class Visitor(Holder):
    """A visitor connection that was let in; it waits for a work connection. What is received meanwhile goes to the service."""

    __slots__ = ("_reception", "_wish", "half_close", "proxy")

    def __init__(self, proxy: SecretProxy, reception: Reception, wish: NewVisitorConn, *, half_close: bool) -> None:
        super().__init__(proxy.control.engine)
        self.proxy = proxy
        self.half_close = half_close
        self._wish = wish
        self._reception = reception
        self.end = reception.end
        self.data, reception.data = reception.data, bytearray()
        self.has_ended = reception.has_ended
        self.end.sink = self.end.owner = self
        proxy.waiting.add(self)
        proxy.users_log.info("get a user connection [%s]", address_text(reception.caller.address))
        proxy.control.work.want(self)

    @property
    def wire_name(self) -> str:
        """The wire version of the visitor connection."""
        return self._reception.wire_name

    @property
    def address(self) -> Any:
        """Where his client is."""
        return self._reception.caller.address

    def application_end(self) -> End:
        """The visitor connection as the application's bytes see it: this leg has the secret key, not the token (wire.md 5.3)."""
        wish = self._wish
        key = derive_key(self.proxy.wish.sk) if wish.use_encryption else None
        return wrapped(self.proxy.control.engine, self, key=key, compress=wish.use_compression, log=self.proxy.users_log)

    # as the one who waits for a work connection

    def serve(self, work: Holder) -> bool:
        """Tell the client who comes, and join."""
        proxy, caller = self.proxy, self._reception.caller
        try:
            here = caller.local_address()
            start = StartWorkConn(proxy.name, caller.address[0], here[0], caller.address[1], here[1])
            work.end.feed(memoryview(proxy.control.wire.pack(start)))
        except OSError as error:
            self.give_up(str(error))
            work.end.abort()
            return True
        if work.is_lost:
            return False
        proxy.waiting.discard(self)
        proxy.join_visitor(self, work)
        self.hand_over()
        return True

    def give_up(self, reason: str) -> None:
        """There is no work connection."""
        self.proxy.waiting.discard(self)
        self.proxy.users_log.warning("user connection [%s] closed: %s", address_text(self._reception.caller.address), reason)
        self.end.abort()

    def lost(self, reason: str) -> None:
        """The visitor didn't wait."""
        self.proxy.waiting.discard(self)
        self.proxy.control.work.leave(self)


def receive_visitor(server: Server, wish: NewVisitorConn, reception: Reception, now: float) -> None:
    """Let a visitor in, or tell him why not. Raises Refused with the detailed text."""
    name, caller = wish.proxy_name, reception.caller
    control = server.controls.running_for(wish.run_id, caller) if wish.run_id else None
    proxy = server.proxies.get(name)
    if not isinstance(proxy, SecretProxy):
        raise Refused(f"custom listener for [{name}] doesn't exist")
    who = proxy.name, wish.run_id, caller.address[0]
    if not server.guesses.may_try(*who, now):
        raise Refused(f"visitor connection of [{name}] auth failed too often, try again later")
    if not verify_key(wish.sign_key, proxy.wish.sk, wish.timestamp):
        server.guesses.wrong(*who, now)
        caller.punish(FAILED_LOGIN)  # a guess of a secret key is worth as much as one of the token
        raise Refused(f"visitor connection of [{name}] auth failed")
    user = control.login.user if control is not None else ""
    if not proxy.lets_in(user):
        raise Refused(f"visitor connection of [{name}] user [{user}] not allowed")
    caller.may_stay()
    if len(proxy.waiting) >= _MOST_WAITING:
        proxy.users_log.warning("user connection [%s] closed: too many are waiting", address_text(caller.address))
        reception.end.close()
        return
    assert reception.wire is not None
    reception.end.feed(memoryview(reception.wire.pack(NewVisitorConnResp(name))))
    if not reception.is_lost:
        Visitor(proxy, reception, wish, half_close=control is not None and control.half_close)
