"""https: names on the server's shared port for TLS (behaviour.md 2.6)."""

from __future__ import annotations

from frp_py.errors import Refused
from frp_py.server.proxies.domains import remote_address
from frp_py.server.proxies.named import NamedProxy


class HttpsPublic(NamedProxy):
    """Gets the users who ask for one of its names by SNI."""

    def open(self) -> str:
        """Take the names; they are the remote address."""
        server = self.control.server
        if server.https is None:
            raise Refused("type [https] not supported when vhost https port is not set")
        self.vhost = server.https
        names = self.names()
        try:
            for name in names:
                self.take(name, "", name.lower())
                self.log.info("https proxy listen for host [%s] group [%s]", name, self.wish.group)
        except Refused:
            self.close()
            raise
        return remote_address(names, server.config.vhost_https_port)
