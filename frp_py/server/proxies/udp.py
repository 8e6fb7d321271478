"""udp: a UDP port of the server, all of whose users share one work connection (behaviour.md 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.errors import Refused
from frp_py.net.engine.datagrams import UserPort, keep_small, udp_socket
from frp_py.protocol.messages import StartWorkConn
from frp_py.server.proxies.base import PublicProxy

if TYPE_CHECKING:
    from frp_py.net.engine.stream import Holder
    from frp_py.protocol.messages import NewProxy
    from frp_py.server.control import Control

_FIRST = 0.5  # s from the start to the first work connection
_AGAIN = 1.0  # s between attempts to get one, and the least time between two of them


class UdpPublic(PublicProxy):
    """Receives on its port. It is its own waiter: there is one work connection at a time, wanted all the time."""

    ports = 1

    def __init__(self, control: Control, wish: NewProxy) -> None:
        super().__init__(control, wish)
        self._port = 0
        self._users: UserPort | None = None
        self._served_at = 0.0

    @property
    def port(self) -> int:
        """The one it has got."""
        return self._port

    def open(self) -> str:
        """Bind; `:port` is the remote address."""
        control = self.control
        server = control.server
        host, wanted = server.config.proxy_bind_addr, self.wish.remote_port
        try:
            self._port, sock = server.acquire_port(server.udp_ports, self.name, wanted, lambda port: udp_socket(host, port))
        except Refused as error:
            raise Refused(f"acquire port {wanted} error: {error}") from None
        self._users = UserPort(
            control.engine,
            sock,
            wire=control.wire_name,
            packet_size=server.config.udp_packet_size,
            log=self.log,
            need=lambda: None,
            on_lost=self._lost,
            count=self.count,
        )
        control.engine.at(trio.current_time() + _FIRST, self._want)
        self.log.info("udp proxy listen port [%d]", self._port)
        return f":{self._port}"

    def close(self) -> None:
        """Free the port, and close the work connection."""
        users, self._users = self._users, None
        if users is not None:
            self.control.work.leave(self)
            users.close()
            self.control.server.udp_ports.release(self._port, trio.current_time())

    def _want(self) -> None:
        if self._users is not None:
            self.control.work.want(self)

    # as the one who waits for a work connection

    def serve(self, work: Holder) -> bool:
        """Carry the users' datagrams on `work`."""
        users, control = self._users, self.control
        if users is None:
            work.end.abort()
            return True
        work.end.feed(memoryview(control.wire.pack(StartWorkConn(self.name))))
        if work.is_lost:
            return False
        self._served_at = trio.current_time()
        keep_small(work.end)
        users.attach(self.application_end(work))
        work.hand_over()
        return True

    def give_up(self, reason: str) -> None:
        """None could be had."""
        self.log.debug("no work connection: %s", reason)
        self.control.engine.at(trio.current_time() + _AGAIN, self._want)

    def _lost(self, reason: str) -> None:
        self.log.debug("work connection lost: %s", reason)
        self.control.engine.at(self._served_at + _AGAIN, self._want)
