"""http: web sites on the shared HTTP port (behaviour.md 2.5, 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frp_py.errors import Refused
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.proxies.domains import domains, remote_address
from frp_py.server.vhost.sites import Site

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control
    from frp_py.server.vhost.http import HttpVhost


class HttpPublic(PublicProxy):
    """Has a route for each of its domains and locations."""

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self._sites: list[Site] = []

    def open(self) -> str:
        """Take the routes; an address for each is the remote address."""
        server, wish = self.control.server, self.wish
        vhost = server.http
        if vhost is None:
            raise Refused("type [http] not supported when vhost http port is not set")
        names = domains(wish, server.config.sub_domain_host)
        taken = [(name, location) for name in names for location in wish.locations or ("",)]
        self.reserve_routes(len(taken))
        try:
            for name, location in taken:
                self._sites.append(self._take(vhost, name, location))
                self.log.info(
                    "http proxy listen for host [%s] location [%s] group [%s], routeByHTTPUser [%s]",
                    name,
                    location,
                    wish.group,
                    wish.route_by_http_user,
                )
        except Refused:
            self.close()
            raise
        return remote_address([name for name, _ in taken], server.config.vhost_http_port)

    def _take(self, vhost: HttpVhost, domain: str, location: str) -> Site:
        user = self.wish.route_by_http_user
        key = (domain.lower(), location, user)

        def give_back(site: Site) -> None:
            vhost.routes.remove(*key)
            del vhost.sites[site]

        def make() -> Site:
            site = Site(self, key, lambda: give_back(site))
            vhost.routes.add(*key, site)
            vhost.sites[site] = None
            return site

        site = vhost.groups.join(self, key, make, once=True) if self.wish.group else make()
        site.admit(self)
        return site

    def close(self) -> None:
        """Give the routes back, and what is kept for them."""
        sites, self._sites = self._sites, []
        for site in sites:
            site.drop(self)
            if self.wish.group:
                assert self.control.server.http is not None
                self.control.server.http.groups.leave(self, site)
            else:
                site.close()
