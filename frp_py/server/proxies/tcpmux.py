"""tcpmux: names on the server's shared port for HTTP CONNECT (behaviour.md 2.7)."""

from __future__ import annotations

from frp_py.errors import Refused
from frp_py.server.proxies.domains import remote_address
from frp_py.server.proxies.named import NamedProxy


class TcpmuxPublic(NamedProxy):
    """Gets the users who CONNECT to one of its names."""

    def open(self) -> str:
        """Take the names; they are the remote address."""
        server, wish = self.control.server, self.wish
        if wish.multiplexer != "httpconnect":
            raise Refused(f"unknown multiplexer [{wish.multiplexer}]")
        if server.tcpmux is None:
            raise Refused("tcpmux with multiplexer httpconnect not supported because this feature is not enabled in server")
        if wish.http_pwd and not wish.http_user:  # so does frp, but not for http
            self.log.warning("tcpmux proxy lets everybody in: its httpPassword is not asked for without httpUser")
        self.vhost = server.tcpmux
        names = self.names()
        user = wish.route_by_http_user
        try:
            for name in names:
                self.take(name, user, (name.lower(), user, wish.http_user, wish.http_pwd))
                self.log.info("tcpmux proxy listen for host [%s] group [%s], routeByHTTPUser [%s]", name, wish.group, user)
        except Refused:
            self.close()
            raise
        return remote_address(names, server.config.tcpmux_http_connect_port)
