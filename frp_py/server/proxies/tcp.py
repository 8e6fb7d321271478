"""tcp: a port of the server (behaviour.md 2.3)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio

from frp_py.net.engine.listen import tcp_listener
from frp_py.server.groups import Group
from frp_py.server.proxies.base import PublicProxy
from frp_py.server.visits import Visit, address_text

if TYPE_CHECKING:
    from frp_py.net.engine.listen import Listening
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.app import Server
    from frp_py.server.control import Control


class TcpGroup(Group):
    """Proxies that share a port (behaviour.md 4)."""

    __slots__ = ("_listening", "_server", "port")

    def __init__(self, server: Server, first: PublicProxy) -> None:
        wish = first.wish
        super().__init__(first, wish.remote_port, close=self._give_back)
        self._server = server
        host = server.config.proxy_bind_addr
        self.port, sock = server.acquire_port(server.tcp_ports, first.name, wish.remote_port, lambda port: tcp_listener(host, port))
        self._listening = server.listen_for_users(sock, self._on_user)

    def _on_user(self, sock: socket.socket, address: Any) -> None:
        member = self.next()
        assert isinstance(member, TcpPublic)
        member.on_user(sock, address)

    def _give_back(self) -> None:
        self._listening.close()
        self._server.tcp_ports.release(self.port, trio.current_time())


class TcpPublic(PublicProxy):
    """Listens on its port."""

    ports = 1

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self._port = 0
        self._listening: Listening | None = None
        self._group: TcpGroup | None = None

    @property
    def port(self) -> int:
        """The one it has got."""
        return self._port

    def open(self) -> str:
        """Listen; `:port` is the remote address."""
        server = self.control.server
        if self.wish.group:
            self._group = server.tcp_groups.join(
                self, self.wish.remote_port, lambda: TcpGroup(server, self), mismatch="group should have same remote port"
            )
            self._port = self._group.port
        else:
            host = server.config.proxy_bind_addr
            self._port, sock = server.acquire_port(
                server.tcp_ports, self.name, self.wish.remote_port, lambda port: tcp_listener(host, port)
            )
            self._listening = server.listen_for_users(sock, self.on_user)
        self.log.info("tcp proxy listen port [%d]", self._port)
        return f":{self._port}"

    def close(self) -> None:
        """Free the port, or leave it to the others of the group."""
        if self._group is not None:
            self.control.server.tcp_groups.leave(self, self._group)
            self._group = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self.control.server.tcp_ports.release(self._port, trio.current_time())

    def on_user(self, sock: socket.socket, address: Any) -> None:
        """Somebody has connected."""
        self.users_log.info("get a user connection [%s]", address_text(address))
        Visit(self, sock, address)
