"""https: users are told apart by the server name in their ClientHello; their TLS ends at the local service (behaviour.md 2.6)."""

from __future__ import annotations

import socket
from typing import Any

from frp_py.errors import PeerError
from frp_py.protocol.client_hello import Reader
from frp_py.server.vhost.arrivals import Arrival, Vhost
from frp_py.server.visits import address_text

_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"  # a fatal alert 112 (RFC 6066 3), in a record of its own


class HttpsVhost(Vhost):
    """The port for https."""

    def on_connection(self, sock: socket.socket, address: Any) -> None:
        """A user has come."""
        Greeting(self, sock, address)


class Greeting(Arrival):
    """A user whose ClientHello is awaited."""

    __slots__ = ("_reader", "_seen")

    def __init__(self, vhost: HttpsVhost, sock: socket.socket, address: Any) -> None:
        self._reader = Reader()
        self._seen = 0
        super().__init__(vhost, sock, address)

    def look(self) -> None:
        """Go where the server name leads."""
        data = self.data
        with memoryview(data) as view:
            new = bytes(view[self._seen :])
        self._seen = len(data)
        try:
            hello = self._reader.receive_data(new)
        except PeerError as error:
            self._vhost.log.info("https user connection [%s] closed: %s", address_text(self.address), error)
            self.drop()
            return
        if hello is not None:
            del self._reader
            group = self._vhost.routes.find(hello.server_name)
            if group is not None:
                self.go_to(group)
            else:
                self._vhost.log.info("https user connection [%s] refused: no proxy for [%s]", address_text(self.address), hello.server_name)
                self.refuse(_UNRECOGNIZED_NAME)
