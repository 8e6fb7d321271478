"""What https and tcpmux have in common: routes of a shared port that lead to the proxy, or to its group."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from frp_py.server.groups import Group
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.proxies.domains import domains

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control
    from frp_py.server.vhost.arrivals import Vhost


class NamedProxy(PublicProxy):
    """Has names on `vhost`."""

    vhost: Vhost

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self._routes: list[Callable[[], None]] = []  # how to give each one back

    def names(self) -> list[str]:
        """Its domains. Raises Refused."""
        return domains(self.wish, self.control.server.config.sub_domain_host)

    def take(self, domain: str, user: str, params: Hashable) -> None:
        """Let the users of `domain` in, with others of the group if there is one. Raises Refused."""
        vhost = self.vhost
        if not self.wish.group:
            vhost.routes.add(domain, "", user, Group(self))
            self._routes.append(lambda: vhost.routes.remove(domain, "", user))
            return

        def make() -> Group:
            group = Group(self, params, close=lambda: vhost.routes.remove(domain, "", user))
            vhost.routes.add(domain, "", user, group)
            return group

        group = vhost.groups.join(self, params, make)
        self._routes.append(lambda: vhost.groups.leave(self, group))

    def close(self) -> None:
        """Let nobody in any more."""
        routes, self._routes = self._routes, []
        for give_back in routes:
            give_back()
