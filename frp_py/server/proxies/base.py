"""What the public sides of all kinds of proxy have in common."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, Protocol

from frp_py.config.base import Bandwidth
from frp_py.errors import Refused
from frp_py.net.bounded_log import Budget
from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.listen import plain_address
from frp_py.net.engine.pace import Limit
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.messages import encode
from frp_py.server.statistics import Record

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.net.engine.stream import Holder
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control


ROUTES_FOR_A_PROXY = 10
"""Names and locations that a client may have in all, for each proxy that it may have."""

_LINES, _LINES_RATE = 2000, 20.0  # of the log about the users of one proxy: at once, and a second later on


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
        self.size = len(encode(wish))
        """Bytes that the client says of it; in memory they can become ten times as many."""
        self.name = wish.proxy_name
        self.kind = wish.proxy_type or "tcp"
        self.log = control.log.with_prefix(self.name)
        self.users_log = control.log.with_budget(Budget(_LINES, _LINES_RATE, control.server.user_lines), self.name, "users of this proxy")
        """For lines that users cause."""
        self.remote_address = ""
        self.limit = _limit(wish, control)
        """What all its users share, when it is the server that limits."""
        self.connections = 0
        self.routes = 0
        """How many keys it has in tables of routes."""
        self.record = Record(self.name, self.kind)
        """Its statistics; those of before are found when it is registered."""

    @property
    def port(self) -> int:
        """The port of its own that it listens on; 0: none."""
        return 0

    def reserve_routes(self, n: int) -> None:
        """It is to have n keys in a table of routes. Raises Refused when its client would have too many."""
        most = ROUTES_FOR_A_PROXY * self.control.server.config.max_proxies_per_client
        if 0 < most < self.control.routes + n:
            raise Refused(f"a client may have {most} names and locations")
        self.routes = n

    def open(self) -> str:
        """Take what it needs and let users in; returns the remote address for the client. Raises Refused."""
        raise NotImplementedError

    def close(self) -> None:
        """Let nobody in any more, and give back what was taken. Running connections go on."""

    def join(self, user: End, work: Holder, address: Any, *, half_close: bool = True, before: tuple[int, int] = (0, 0)) -> None:
        """Join a user, whose side keeps half-closed connections or not, to his work connection, on which StartWorkConn has been sent.

        `address` is where he comes from; None: what his socket says. `before`: bytes that his end had received and sent for others.
        """
        half_close = half_close and self.control.half_close
        relay = UserRelay(self, user, self.application_end(work), address, half_close=half_close, before=before)
        work.hand_over()
        relay.start()

    def application_end(self, work: Holder) -> End:
        """A work connection as the application's bytes see it (behaviour.md 2.2)."""
        control, wish = self.control, self.wish
        key = derive_key(control.token) if wish.use_encryption else None
        return wrapped(control.engine, work, key=key, compress=wish.use_compression, limit=self.limit, log=self.users_log)

    # accounting (behaviour.md 14.1), for the proxy and for its client

    def count_open(self) -> None:
        """One connection more."""
        self.connections += 1
        self.control.connections += 1
        self.control.server.statistics.connections += 1
        self.record.connections += 1
        self.record.was_used = True

    def count_closed(self) -> None:
        """One connection less."""
        self.connections -= 1
        self.control.connections -= 1
        self.control.server.statistics.connections -= 1
        self.record.connections -= 1

    def count(self, to_client: int, to_user: int) -> None:
        """So many bytes went each way."""
        record = self.record
        record.traffic_in += to_client
        record.traffic_out += to_user
        self.control.server.statistics.dirty.add(record)


class UserRelay(Relay):
    """A connection of a user of `proxy`, counted while it lasts. `before`: what his end had received and sent for others."""

    __slots__ = ("_address", "before", "opened_at", "proxy")

    def __init__(
        self, proxy: PublicProxy, user: End, work: End, address: Any, *, half_close: bool, before: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__(proxy.control.engine, user, work, half_close=half_close, on_done=_left)
        self.proxy = proxy
        self.before = before
        self.opened_at = time()
        """Unix seconds."""
        self._address = address
        proxy.control.server.users.add(self)
        proxy.count_open()

    @property
    def address(self) -> Any:
        """Where the user comes from; None when he has gone."""
        if self._address is None and isinstance(self.a, SocketEnd):
            try:
                return plain_address(self.a.sock.getpeername())
            except OSError:
                return None
        return self._address

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes from and to the user, so far."""
        n, m = self.before
        return self.a.received_total - n, self.a.sent_total - m


def _left(relay: Relay) -> None:
    assert isinstance(relay, UserRelay)
    proxy = relay.proxy
    proxy.control.server.users.discard(relay)
    proxy.count_closed()
    proxy.count(*relay.traffic)


def _limit(wish: NewProxy, control: Control) -> Limit | None:
    of_client = control.limit
    if not wish.bandwidth_limit or wish.bandwidth_limit_mode != "server":
        return of_client
    try:
        rate = Bandwidth(wish.bandwidth_limit)
    except ValueError as error:
        raise Refused(f"parse bandwidth limit error: {error}") from None
    return Limit(control.engine, rate.bytes_per_second, of_client) if rate else of_client
