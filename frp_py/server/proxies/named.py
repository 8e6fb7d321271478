"""What proxies have in common that users ask for by name: routes of a shared port that lead to the proxy, or to its group."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol

from frp_py.server.groups import Group, Groups
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.proxies.domains import domains

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control
    from frp_py.server.vhost.routes import Routes


class Names(Protocol):
    """A shared port, as far as the names on it go."""

    routes: Routes[Group]
    groups: Groups[Group]


class NamedProxy(PublicProxy):
    """Has names on `vhost`."""

    vhost: Names

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self._routes: list[Callable[[], None]] = []  # how to give each one back

    def names(self) -> list[str]:
        """Its domains. Raises Refused."""
        names = domains(self.wish, self.control.server.config.sub_domain_host)
        self.reserve_routes(len(names))
        return names

    def take(self, domain: str, user: str, params: Hashable, *, location: str = "", turn: int = 0, once: bool = False) -> None:
        """Let the users of `domain` in, with others of the group if there is one. Raises Refused.

        `params` must be equal in a group; `turn` is the number of its member that serves first, `once`: nobody is a member twice.
        """
        vhost = self.vhost
        if not self.wish.group:
            vhost.routes.add(domain, location, user, Group(self))
            self._routes.append(lambda: vhost.routes.remove(domain, location, user))
            return

        def make() -> Group:
            group = Group(self, params, close=lambda: vhost.routes.remove(domain, location, user), turn=turn)
            vhost.routes.add(domain, location, user, group)
            return group

        group = vhost.groups.join(self, params, make, once=once)
        self._routes.append(lambda: vhost.groups.leave(self, group))

    def close(self) -> None:
        """Let nobody in any more."""
        routes, self._routes = self._routes, []
        for give_back in routes:
            give_back()
