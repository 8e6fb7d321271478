"""stcp and sudp: services for visitors who know the secret key (behaviour.md 2.8, 2.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from frp_py.client.proxies.base import LocalSide
from frp_py.client.proxies.udp import DatagramSide
from frp_py.config.proxies import ProxyBase, SecretProxy
from frp_py.net.engine.datagrams import keep_small

if TYPE_CHECKING:
    from frp_py.client.session import Session
    from frp_py.net.engine.datagrams import LocalSockets
    from frp_py.net.engine.stream import Holder
    from frp_py.protocol.messages import NewProxy, StartWorkConn


def _with_secret(wish: NewProxy, config: ProxyBase) -> NewProxy:
    assert isinstance(config, SecretProxy)
    return msgspec.structs.replace(wish, sk=config.secret_key, allow_users=config.allow_users)


class StcpLocal(LocalSide):
    """Each visitor connection is joined to the service."""

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        return _with_secret(super().wish(), self.config)


class SudpLocal(DatagramSide):
    """Each visitor has a work connection, and on it each of his users a socket of his own."""

    def __init__(self, session: Session, config: ProxyBase) -> None:
        super().__init__(session, config)
        self._visitors: set[LocalSockets] = set()

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        return _with_secret(super().wish(), self.config)

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A visitor has come."""
        sockets = self.new_sockets()
        self._visitors.add(sockets)

        def lost(reason: str) -> None:
            self.log.debug("work connection lost: %s", reason)
            self._visitors.discard(sockets)
            sockets.close()

        keep_small(work.end)
        sockets.attach(self.application_end(work), lost)
        work.hand_over()

    def close(self) -> None:
        """Close all sockets."""
        for sockets in self._visitors:
            sockets.close()
        self._visitors.clear()
