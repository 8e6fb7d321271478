"""udp: the datagrams of a server port go to a local service (behaviour.md 2.4)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from trio.lowlevel import RunVar

from frp_py.client.proxies.base import LocalSide
from frp_py.net.engine.datagrams import LocalSockets, keep_small
from frp_py.net.engine.places import Crowd, Places
from frp_py.protocol.proxy_protocol import NoHeaderError, header

if TYPE_CHECKING:
    from frp_py.client.session import Session
    from frp_py.config.proxies import ProxyBase
    from frp_py.net.engine.stream import Holder
    from frp_py.protocol.messages import NewProxy, StartWorkConn, UDPAddress

_MOST = 16384  # local sockets, of all proxies together

_places: RunVar[Places] = RunVar("places for local sockets")
"""Of the program, which may run several clients."""


def _places_of_all() -> Places:
    try:
        return _places.get()
    except LookupError:
        places = Places(_most_sockets())
        _places.set(places)
        return places


def _most_sockets() -> int:
    """As many as leave enough descriptors for others: a flood from many addresses is not to stop the other proxies."""
    try:
        import resource
    except ImportError:  # Windows
        return _MOST
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if limit == resource.RLIM_INFINITY else min(_MOST, max(limit // 2, 16))


class DatagramSide(LocalSide):
    """What udp and sudp have in common: the address of the service, looked up once."""

    def __init__(self, session: Session, config: ProxyBase) -> None:
        super().__init__(session, config)
        self._family = 0
        self._address: Any = None
        self._crowd = Crowd(_places_of_all())

    def prepare(self, done: Callable[[str], None]) -> None:
        """Look the local service up."""
        self.session.nursery.start_soon(self._look_up, done)

    async def _look_up(self, done: Callable[[str], None]) -> None:
        config = self.config
        try:
            found = await trio.socket.getaddrinfo(config.local_ip, config.local_port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError, OverflowError) as error:
            done(f"lookup {config.local_ip}: {getattr(error, 'strerror', None) or error}")
            return
        if (self._family, self._address) != (found[0][0], found[0][4]):
            self.close()  # after a restart of the proxy: the service has moved
            self._family, self._address = found[0][0], found[0][4]
        done("")

    def new_sockets(self) -> LocalSockets:
        """Sockets for the users of one work connection, or of all."""
        session = self.session
        return LocalSockets(
            session.engine,
            self._family,
            self._address,
            wire=session.wire_name,
            packet_size=session.config.udp_packet_size,
            crowd=self._crowd,
            header=self._header,
            log=self.log,
        )

    def _header(self, user: UDPAddress) -> bytes:
        version = self.config.transport.proxy_protocol_version
        if not version:
            return b""
        try:
            return header(version, (user.ip, user.port), self._address[:2], udp=True)
        except NoHeaderError as error:
            self.log.debug("%s", error)
            return b""


class UdpLocal(DatagramSide):
    """Has a port on the server. Users keep their sockets when the work connection is replaced."""

    def __init__(self, session: Session, config: ProxyBase) -> None:
        super().__init__(session, config)
        self._sockets: LocalSockets | None = None

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        return msgspec.structs.replace(super().wish(), remote_port=getattr(self.config, "remote_port", 0))

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """The server has taken a new work connection for the users of the port."""
        if self._sockets is None:
            self._sockets = self.new_sockets()
        keep_small(work.end)
        self._sockets.attach(self.application_end(work), self._lost)
        work.hand_over()

    def _lost(self, reason: str) -> None:
        self.log.debug("work connection lost: %s", reason)

    def close(self) -> None:
        """Close the sockets."""
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
