"""What the public sides of all kinds of proxy have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from frp_py.net.engine.relay import Relay
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.cipher import derive_key

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.net.engine.stream import Holder
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control


class Kind(Protocol):
    """A class of public sides."""

    def __call__(self, control: Control, wish: NewProxy) -> PublicProxy:
        """The public side for `wish`, not yet open."""


class PublicProxy:
    """One registered proxy: where its users come in."""

    ports = 0
    """How many ports it counts for maxPortsPerClient."""

    def __init__(self, control: Control, wish: NewProxy) -> None:
        self.control = control
        self.wish = wish
        self.name = wish.proxy_name
        self.kind = wish.proxy_type or "tcp"
        self.log = control.log.with_prefix(self.name)
        self.remote_address = ""
        self.connections = 0
        self.traffic_in = 0
        self.traffic_out = 0

    def open(self) -> str:
        """Take what it needs and let users in; returns the remote address for the client. Raises Refused."""
        raise NotImplementedError

    def close(self) -> None:
        """Let nobody in any more, and give back what was taken. Running connections go on."""

    def join(self, user: End, work: Holder) -> None:
        """Join a user to his work connection, on which StartWorkConn has been sent."""
        control = self.control
        key = derive_key(control.token) if self.wish.use_encryption else None
        end = wrapped(control.engine, work, key=key, compress=self.wish.use_compression)
        relay = Relay(control.engine, user, end, half_close=control.half_close, on_done=self._left)
        control.users.add(relay)
        self.connections += 1
        work.hand_over()
        relay.start()

    def _left(self, relay: Relay) -> None:
        self.control.users.discard(relay)
        self.connections -= 1
        self.traffic_in += relay.a.received_total
        self.traffic_out += relay.a.sent_total
