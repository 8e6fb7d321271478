"""What the client's sides of all kinds of proxy have in common: the state, and how a user is joined to a local service."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from frp_py.client.phase import Phase, Signal, after
from frp_py.net.engine.ends import Drop, End, SocketEnd
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.messages import NewProxy, StartWorkConn

if TYPE_CHECKING:
    from frp_py.client.session import Session
    from frp_py.config.proxies import ProxyBase
    from frp_py.net.engine.stream import Holder


class Kind(Protocol):
    """A class of local sides."""

    def __call__(self, session: Session, config: ProxyBase) -> LocalSide:
        """The local side of a proxy."""


class LocalSide:
    """One proxy in one session."""

    def __init__(self, session: Session, config: ProxyBase) -> None:
        self.session = session
        self.config = config
        self.name = config.name
        self.wire_name = session.wire_name_of(config.name)
        self.log = session.log.with_prefix(config.name)
        self.phase = Phase.NEW
        self.asked_at = 0.0
        self.error = ""
        self.remote_address = ""

    def signal(self, signal: Signal) -> None:
        """Something happened to it."""
        self.phase = after(self.phase, signal)

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        transport = self.config.transport
        limit = transport.bandwidth_limit.text
        return NewProxy(
            proxy_name=self.wire_name,
            proxy_type=self.config.type,
            use_encryption=transport.use_encryption,
            use_compression=transport.use_compression,
            bandwidth_limit=limit,
            bandwidth_limit_mode=transport.bandwidth_limit_mode if transport.bandwidth_limit_mode != "client" else "",
            group=self.config.load_balancer.group,
            group_key=self.config.load_balancer.group_key,
            metas=self.config.metadatas,
            annotations=self.config.annotations,
        )

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come; `work` is his connection."""
        Errand(self, work)

    def join(self, local: End, work: Holder) -> None:
        """Join a user to the local service."""
        session, transport = self.session, self.config.transport
        key = derive_key(session.token) if transport.use_encryption else None
        end = wrapped(session.engine, work, key=key, compress=transport.use_compression)
        users = session.users
        relay = Relay(session.engine, local, end, half_close=session.half_close, on_done=users.discard)
        users.add(relay)
        work.hand_over()
        relay.start()


class Errand:
    """A user's connection while the local service is being reached."""

    __slots__ = ("_proxy", "_work")

    def __init__(self, proxy: LocalSide, work: Holder) -> None:
        self._proxy = proxy
        self._work = work
        config = proxy.config
        proxy.session.dialer.dial(config.local_ip, config.local_port, self._connected, self._failed)

    def _connected(self, sock: socket.socket) -> None:
        if self._work.is_lost:
            sock.close()
            return
        engine = self._proxy.session.engine
        nobody = Drop(engine)
        self._proxy.join(SocketEnd(engine, sock, nobody, self._work), self._work)

    def _failed(self, reason: str) -> None:
        config = self._proxy.config
        host = f"[{config.local_ip}]" if ":" in config.local_ip else config.local_ip
        self._proxy.log.error("connect to local service [%s:%d] error: %s", host, config.local_port, reason)
        self._work.end.abort()
