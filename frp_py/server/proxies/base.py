"""What the public sides of all kinds of proxy have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from frp_py.config.base import Bandwidth
from frp_py.errors import Refused
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.pace import Bucket

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
        self.limit = _limit(wish)
        """What all its users share, when it is the server that limits."""
        self.connections = 0
        self.traffic_in = 0
        self.traffic_out = 0

    def open(self) -> str:
        """Take what it needs and let users in; returns the remote address for the client. Raises Refused."""
        raise NotImplementedError

    def close(self) -> None:
        """Let nobody in any more, and give back what was taken. Running connections go on."""

    def join(self, user: End, work: Holder, *, half_close: bool = True) -> None:
        """Join a user, whose side keeps half-closed connections or not, to his work connection, on which StartWorkConn has been sent."""
        control = self.control
        relay = Relay(control.engine, user, self.application_end(work), half_close=half_close and control.half_close, on_done=self._left)
        control.server.users.add(relay)
        self.count_open()
        work.hand_over()
        relay.start()

    def _left(self, relay: Relay) -> None:
        self.control.server.users.discard(relay)
        self.count_closed()
        self.count(relay.a.received_total, relay.a.sent_total)

    def application_end(self, work: Holder) -> End:
        """A work connection as the application's bytes see it (behaviour.md 2.2)."""
        control, wish = self.control, self.wish
        key = derive_key(control.token) if wish.use_encryption else None
        return wrapped(control.engine, work, key=key, compress=wish.use_compression, limit=self.limit)

    # accounting (behaviour.md 14.1), for the proxy and for its client

    def count_open(self) -> None:
        """One connection more."""
        self.connections += 1
        self.control.connections += 1

    def count_closed(self) -> None:
        """One connection less."""
        self.connections -= 1
        self.control.connections -= 1

    def count(self, to_client: int, to_user: int) -> None:
        """So many bytes went each way."""
        self.traffic_in += to_client
        self.traffic_out += to_user
        self.control.traffic_in += to_client
        self.control.traffic_out += to_user


def _limit(wish: NewProxy) -> Bucket | None:
    if not wish.bandwidth_limit or wish.bandwidth_limit_mode != "server":
        return None
    try:
        rate = Bandwidth(wish.bandwidth_limit)
    except ValueError as error:
        raise Refused(f"parse bandwidth limit error: {error}") from None
    return Bucket(rate.bytes_per_second, trio.current_time()) if rate else None
