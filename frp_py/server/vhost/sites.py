"""What a route of the HTTP vhost leads to: the rules for its messages, and the work connections kept for it (behaviour.md 3.7)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from frp_py.net.http import rules
from frp_py.net.http.auth import allows
from frp_py.net.http.heads import is_authority
from frp_py.server.groups import Group

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.proxies.base import PublicProxy
    from frp_py.server.vhost.backend import Backend

_MOST_IDLE = 5  # connections of one member that are kept for longer than a moment
_MOMENT = 2  # s
_LONGEST = 60  # s


class Rules:
    """How the messages of a proxy are changed and who may send them; those of the first member hold for a whole group."""

    __slots__ = ("host_rewrite", "is_open", "password", "request_set", "response_set", "sets_date", "user")

    def __init__(self, wish: NewProxy) -> None:
        self.user = wish.http_user
        self.password = wish.http_pwd
        self.is_open = not self.user and not self.password
        """Anybody may come in."""
        rewrite = wish.host_header_rewrite.encode()
        self.host_rewrite = rewrite if is_authority(rewrite) else b""
        self.request_set = rules.setting(wish.headers)
        self.response_set = rules.setting(wish.response_headers)
        self.sets_date = any(name.lower() == b"date" for name, _ in self.response_set)

    def admit(self, credentials: tuple[str, str] | None) -> bool:
        """Whether a user with these credentials may come in."""
        return allows(credentials, self.user, self.password)


class Site(Group):
    """Where one key of the routing table leads: a group of one proxy or of several, and the connections kept for it."""

    __slots__ = ("idle", "rules")

    def __init__(self, first: PublicProxy, params: Hashable, close: Callable[[], None]) -> None:
        super().__init__(first, params, close=close, turn=1)
        self.rules = Rules(first.wish)
        self.idle: dict[PublicProxy, list[Backend]] = {}
        """Connections that wait for their next request, by member; the one used last is at the end."""

    def admit(self, proxy: PublicProxy) -> None:
        """A member comes."""
        self.idle[proxy] = []

    def lost(self, backend: Backend) -> None:
        """It is gone, if it was kept at all."""
        idle = self.idle.get(backend.proxy)
        if idle is not None and backend in idle:
            idle.remove(backend)

    def drop(self, proxy: PublicProxy) -> None:
        """A member leaves."""
        for backend in self.idle.pop(proxy, []):
            backend.close()

    def sweep(self, tick: int) -> None:
        """Close what was idle for too long, and what is more than a few and not used again at once."""
        for idle in self.idle.values():
            while idle and (tick - idle[0].since > (_MOMENT if len(idle) > _MOST_IDLE else _LONGEST)):
                idle.pop(0).close()
