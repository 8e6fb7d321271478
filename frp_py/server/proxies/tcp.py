"""tcp: a port of the server (behaviour.md 2.3)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio

from frp_py.net.engine.listen import Listening, tcp_listener
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.visits import Visit, address_text

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control


class TcpPublic(PublicProxy):
    """Listens on its port."""

    ports = 1

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self._port = 0
        self._listening: Listening | None = None

    def open(self) -> str:
        """Listen; `:port` is the remote address."""
        server = self.control.server
        host = server.config.proxy_bind_addr
        self._port, sock = server.tcp_ports.acquire(self.name, self.wish.remote_port, lambda port: tcp_listener(host, port))
        self._listening = Listening(self.control.engine, sock, self._on_user)
        self.log.info("tcp proxy listen port [%d]", self._port)
        return f":{self._port}"

    def close(self) -> None:
        """Free the port."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self.control.server.tcp_ports.release(self._port, trio.current_time())

    def _on_user(self, sock: socket.socket, address: Any) -> None:
        self.log.info("get a user connection [%s]", address_text(address))
        Visit(self, sock, address)
