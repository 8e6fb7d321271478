"""What the client's sides of all kinds of proxy have in common: the state, and how a user is joined to a local service."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from frp_py.client.phase import Phase, Signal, after
from frp_py.client.plugins import plugin_of
from frp_py.errors import FrpError
from frp_py.net.bounded_log import Budget
from frp_py.net.engine.ends import Drop, End, SocketEnd
from frp_py.net.engine.pace import Limit
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.transform import wrapped
from frp_py.protocol.cipher import derive_key
from frp_py.protocol.messages import NewProxy, StartWorkConn
from frp_py.protocol.proxy_protocol import NoHeaderError, header

if TYPE_CHECKING:
    from frp_py.client.plugins.base import Plugin
    from frp_py.client.session import Session, WorkStart
    from frp_py.config.proxies import ProxyBase
    from frp_py.net.engine.stream import Holder


_LINES, _LINES_RATE = 1000, 5.0  # of the log about the users of one proxy: at once, and a second later on


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
        self.users_log = session.events_log.with_budget(Budget(_LINES, _LINES_RATE, session.user_lines), config.name, "users of this proxy")
        """For what users bring about as often as they like."""
        self.phase = Phase.NEW
        self.asked_at = 0.0
        self.unanswered = 0
        """How often the server was asked since it last was told to forget the proxy, and has not answered."""
        self.error = ""
        self.early: list[tuple[WorkStart, StartWorkConn]] = []
        """Users who came on the heels of the server's answer, and overtook it on their own connections."""
        self.remote_address = ""
        self.health_scope = trio.CancelScope()
        """Of the task that looks whether the local service is well."""
        self.healthy = True
        """As far as is known; one that isn't doesn't ask for users."""
        transport = config.transport
        limited = transport.bandwidth_limit and transport.bandwidth_limit_mode == "client"
        self.limit = Limit(session.engine, transport.bandwidth_limit.bytes_per_second) if limited else None
        """What all its users share, when it is the client that limits."""
        self.is_preparing = False
        """`prepare` has not called `done` yet."""
        self._plugin: Plugin[Any] | None = None  # once it is ready

    def signal(self, signal: Signal) -> None:
        """Something happened to it."""
        self.phase = after(self.phase, signal)
        self.session.on_change()
        if self.early and self.phase is not Phase.WAIT_START:
            early, self.early = self.early, []
            self.session.early -= len(early)
            for work, start in early:
                if not work.is_lost:
                    self.session.start_work(work, start)

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

    def prepare(self, done: Callable[[str], None]) -> None:
        """The server has accepted the proxy: make the local side ready, then call done(""), or done(reason) if that can't be."""
        if self.config.plugin is None or self._plugin is not None:
            done("")
        else:
            self.session.nursery.start_soon(self._prepare_plugin, done)

    async def _prepare_plugin(self, done: Callable[[str], None]) -> None:
        try:
            plugin = plugin_of(self)
            await plugin.prepare()
        except FrpError as error:
            done(str(error))
        except Exception:
            self.log.exception("bug in a plugin")
            done("the plugin has failed")
        else:
            if self._plugin is None and self.phase is not Phase.CLOSED:
                self._plugin = plugin
            else:
                plugin.close()  # it took so long that the server was asked again, or the proxy is over
            done("")

    def close(self) -> None:
        """The proxy is over; give back what it has. Its users' connections go on."""
        if self._plugin is not None:
            self._plugin.close()

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come; `work` is his connection."""
        if self._plugin is None:
            Errand(self, work, start)
        else:
            self._plugin.serve(work, start)

    def join(self, local: End, work: Holder) -> None:
        """Join a user to the local service."""
        session = self.session
        users = session.users
        relay = Relay(session.engine, local, self.application_end(work), half_close=session.half_close, on_done=users.discard)
        users.add(relay)
        work.hand_over()
        relay.start()

    def application_end(self, work: Holder) -> End:
        """A work connection as the application's bytes see it (behaviour.md 2.2)."""
        session, transport = self.session, self.config.transport
        key = derive_key(session.token) if transport.use_encryption else None
        return wrapped(session.engine, work, key=key, compress=transport.use_compression, wire_limit=self.limit, log=self.users_log)

    def proxy_header(self, start: StartWorkConn) -> bytes:
        """What the local service is told of its user, before any payload (behaviour.md 6.2). Raises NoHeaderError."""
        version = self.config.transport.proxy_protocol_version
        if not version or not start.src_addr or not start.src_port:
            return b""
        return header(version, (start.src_addr, start.src_port), (start.dst_addr or "127.0.0.1", start.dst_port))


class Errand:
    """A user's connection while the local service is being reached."""

    __slots__ = ("_proxy", "_start", "_work")

    def __init__(self, proxy: LocalSide, work: Holder, start: StartWorkConn) -> None:
        self._proxy = proxy
        self._work = work
        self._start = start
        config = proxy.config
        proxy.session.dialer.dial(config.local_ip, config.local_port, self._connected, self._failed)

    def _connected(self, sock: socket.socket) -> None:
        proxy, work = self._proxy, self._work
        if work.is_lost:
            sock.close()
            return
        engine = proxy.session.engine
        local = SocketEnd(engine, sock, Drop(engine), work)
        if proxy.config.transport.proxy_protocol_version and not self._introduced(local):
            local.close()
            work.end.abort()
            return
        proxy.join(local, work)

    def _introduced(self, local: SocketEnd) -> bool:
        """Whether the service was told who comes, if it can be told."""
        reason = "connection lost"
        try:
            if introduction := self._proxy.proxy_header(self._start):
                local.feed(memoryview(introduction))
        except NoHeaderError as error:
            reason = str(error)
        else:
            if not self._work.is_lost:
                return True
        self._proxy.users_log.error("write proxy protocol header to local conn error: %s", reason)
        return False

    def _failed(self, reason: str) -> None:
        config = self._proxy.config
        host = f"[{config.local_ip}]" if ":" in config.local_ip else config.local_ip
        self._proxy.users_log.error("connect to local service [%s:%d] error: %s", host, config.local_port, reason)
        self._work.end.abort()
