"""tcpmux: users say by HTTP CONNECT where they want to go (behaviour.md 2.7)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from frp_py.net.http.auth import allows, basic_credentials
from frp_py.net.http.heads import BadHead, fields_of, host_of, request_line, split_target, values_of
from frp_py.net.http.rules import routing_host
from frp_py.server.vhost.arrivals import Arrival, Vhost
from frp_py.server.visits import address_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from frp_py.net.bounded_log import BoundedLog
    from frp_py.net.engine.loop import Engine

_METHOD = b"CONNECT "
_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LOG_IN = b'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm="Restricted"\r\n\r\n'


class TcpmuxVhost(Vhost):
    """The port for CONNECT. With `passthrough` the local service gets the request, and has to answer it.

    `not_found(log)` is the whole answer to those who ask for nobody.
    """

    def __init__(self, engine: Engine, *, passthrough: bool, not_found: Callable[[BoundedLog], bytes]) -> None:
        super().__init__(engine)
        self.passthrough = passthrough
        self.not_found = not_found

    def on_connection(self, sock: socket.socket, address: Any) -> None:
        """A user has come."""
        Asking(self, sock, address)


class Asking(Arrival):
    """A user whose request is awaited."""

    __slots__ = ("_mux", "_seen")

    def __init__(self, vhost: TcpmuxVhost, sock: socket.socket, address: Any) -> None:
        self._mux = vhost
        self._seen = 0
        super().__init__(vhost, sock, address)

    def look(self) -> None:
        """Go where the request leads."""
        data = self.data
        if data[: len(_METHOD)] != _METHOD[: len(data)]:
            self.drop()
            return
        end = data.find(_END, max(0, self._seen - len(_END)))
        self._seen = len(data)
        if end < 0:
            return
        try:
            host, credentials = _wish(bytes(data[:end]) + b"\r\n")
        except BadHead as error:
            self._mux.log.info("tcpmux user connection [%s] closed: %s", address_text(self.address), error)
            self.drop()
            return
        group = self._mux.routes.find(host, "", credentials[0] if credentials is not None else "")
        member = group.first if group is not None else None
        if group is None or member is None:
            self._mux.log.info("tcpmux user connection [%s] refused: no proxy for [%s]", address_text(self.address), host)
            self.refuse(self._mux.not_found(self._mux.log))
        elif member.wish.http_user and not allows(credentials, member.wish.http_user, member.wish.http_pwd):
            self._mux.log.info("tcpmux user connection [%s] refused: wrong credentials for [%s]", address_text(self.address), host)
            self.refuse(_LOG_IN)
        else:
            if not self._mux.passthrough:
                size = end + len(_END)
                del data[:size]  # what came with it is for the service
                self._user.feed(memoryview(_OK))
                if self.is_lost:
                    return
                self._user.received_total -= size  # the proxy's traffic begins behind them
                self._user.sent_total -= len(_OK)
            self.go_to(group)


def _wish(head: bytes) -> tuple[str, tuple[str, str] | None]:
    """The host that a CONNECT request asks for, and its credentials. Raises BadHead."""
    line, _, block = head.partition(b"\r\n")
    method, target, _ = request_line(line)
    authority, _ = split_target(method, target)
    fields = fields_of(block)
    host_of(fields, required=False)
    credentials = values_of(fields, b"proxy-authorization")
    if len(credentials) > 1:
        raise BadHead("more than one Proxy-Authorization header")
    return routing_host(authority or b""), basic_credentials(credentials[0] if credentials else None)
