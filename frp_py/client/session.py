"""One session with the server: the control connection, the proxies, and the work connections (behaviour.md 7.2, 7.3)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from frp_py.client.local import Dialer
from frp_py.client.phase import Phase, Signal
from frp_py.client.proxies import KINDS
from frp_py.client.visitors import KINDS as VISITOR_KINDS
from frp_py.errors import FrpError, PeerError
from frp_py.log import get_logger
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.stream import Holder
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import CloseProxy, Message, NewProxyResp, NewWorkConn, Ping, Pong, ReqWorkConn, StartWorkConn
from frp_py.protocol.yamux import BACKLOG

if TYPE_CHECKING:
    from frp_py.client.connect import Connector, LoggedIn
    from frp_py.client.proxies.base import LocalSide
    from frp_py.client.visitors.base import Visitor
    from frp_py.config import ClientConfig
    from frp_py.net.engine.loop import Engine, Timeouts
    from frp_py.net.engine.relay import Relay
    from frp_py.protocol.yamux import Session as YamuxSession

_Opening: TypeAlias = tuple[Holder, Message, Callable[[str], None]]

_MOST_TO_OPEN = 1024  # connections that wait for their turn
_MOST_IDLE = 8192  # work connections that wait for their user
_COMPLAINT = 1.0  # s between two lines about work connections that can't be opened
_NEXT_LOOK = 0.05  # s, when the server has not accepted enough yet
_START_AGAIN = 10.0  # s between attempts to start a visitor
_TICK = 3.0  # s between looks at the proxies
_ASK_AGAIN = 20.0  # s without an answer to NewProxy
_EARLY = 1000  # users of one proxy who may have come before its answer
_TRY_AGAIN = 30.0  # s after a refusal


class Session:
    """Lasts from a login until the control connection is lost."""

    def __init__(
        self,
        config: ClientConfig,
        engine: Engine,
        connector: Connector,
        token: str,
        logged_in: LoggedIn,
        link: MuxLink | None,
        users: set[Relay],
        dial_timeouts: Timeouts,
    ) -> None:
        self.config = config
        self.engine = engine
        self.token = token
        self.run_id = logged_in.answer.run_id
        self.log = get_logger(self.run_id)
        self.users = users
        self.half_close = HALF_CLOSE in logged_in.answer.features
        self.proxies: dict[str, LocalSide] = {}
        """By their names on the wire."""
        self.visitors: dict[str, Visitor] = {}
        self.answer_timeouts = dial_timeouts
        """For the server's answers to visitors, which have as long as a local service has to accept."""
        self.dialer: Dialer
        self._direct = DIRECT in logged_in.answer.features
        self._connector = connector
        self._logged_in = logged_in
        self.wire = logged_in.wire
        self.wire_name = connector.wire_name
        self._link = link
        self._dial_timeouts = dial_timeouts
        self.nursery: trio.Nursery
        self._alive = trio.CancelScope()  # ends when no good Pong comes for heartbeatTimeout
        self._to_open: deque[_Opening] = deque()  # until the server has accepted earlier ones
        self._idle: set[WorkStart] = set()  # work connections without a user, those that are being opened too
        self._quiet_until = 0.0
        self._end_reason = ""
        if link is not None:
            link.half_close = self.half_close

    def wire_name_of(self, name: str) -> str:
        """The name that the server knows a proxy by."""
        return f"{self.config.user}.{name}" if self.config.user else name

    async def run(self) -> str:
        """Serve until the session is over; returns why."""
        for config in self.config.proxies:
            make = KINDS.get(config.type)
            if make is None:
                self.log.with_prefix(config.name).warning("start error: proxy type %s is not supported yet", config.type)
                continue
            side = make(self, config)
            self.proxies[side.wire_name] = side
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                self.dialer = Dialer(self.engine, nursery, self._dial_timeouts)
                self._start_health_checks()
                nursery.start_soon(self._look_after_proxies)
                nursery.start_soon(self._look_after_visitors)
                transport = self.config.transport
                if transport.heartbeat_interval > 0:
                    nursery.start_soon(self._send_heartbeats, transport.heartbeat_interval)
                    if transport.heartbeat_timeout > 0:
                        nursery.start_soon(self._watch_heartbeats, transport.heartbeat_timeout)
                await self._receive()
                nursery.cancel_scope.cancel()
        finally:
            self._close()
        return self._end_reason

    def _close(self) -> None:
        try:
            for proxy in self.proxies.values():
                if proxy.phase in (Phase.RUNNING, Phase.WAIT_START):
                    self.send(CloseProxy(proxy.wire_name))
                proxy.signal(Signal.STOPPED)
                proxy.close()
            self.proxies.clear()
            for visitor in self.visitors.values():
                visitor.close()
            self.visitors.clear()
        finally:
            for work in list(self._idle):
                if (end := getattr(work, "end", None)) is not None:
                    end.close()
            self._idle.clear()
            self._logged_in.stream.close()
            if self._link is not None:
                self._link.close()

    def end(self, reason: str) -> None:
        """Give the session up."""
        if not self._end_reason:
            self._end_reason = reason
            self.nursery.cancel_scope.cancel()

    # the control connection

    def send(self, message: Message) -> str:
        """Queue a message for the server; returns why it can't be sent, or nothing."""
        try:
            data = self._logged_in.seal(self.wire.pack(message))
        except FrpError as error:
            self.log.error("message not sent: %s", error)
            return str(error)
        self._logged_in.stream.end.feed(memoryview(data))
        return ""

    async def _receive(self) -> None:
        reader = self.wire.Reader()
        open_, stream = self._logged_in.open, self._logged_in.stream
        data = self._logged_in.rest
        try:
            while True:
                if data:
                    for message in reader.receive_data(open_(data)):
                        self._handle(message)
                data = await stream.receive_some()
                if not data:
                    self._end_reason = "control connection closed by the server"
                    return
        except (PeerError, trio.BrokenResourceError) as error:
            self._end_reason = str(error)

    def _handle(self, message: Message) -> None:
        if isinstance(message, ReqWorkConn):
            self._open_work_connection()
        elif isinstance(message, NewProxyResp):
            self._proxy_answered(message)
        elif isinstance(message, Pong):
            if message.error:
                self.log.error("pong message contains error: %s", message.error)
                self.end(message.error)
            else:
                self._alive.deadline = trio.current_time() + self.config.transport.heartbeat_timeout

    async def _send_heartbeats(self, interval: float) -> None:
        while True:
            self.log.debug("send heartbeat to server")
            if "HeartBeats" in self.config.auth.additional_scopes:
                now = int(time.time())
                self.send(Ping(privilege_key(self.token, now), now))
            else:
                self.send(Ping())
            await trio.sleep(interval)

    async def _watch_heartbeats(self, timeout: float) -> None:
        self._alive.deadline = trio.current_time() + timeout
        with self._alive:
            await trio.sleep_forever()
        self.log.warning("heartbeat timeout")
        self.end("heartbeat timeout")

    # proxies

    async def _look_after_proxies(self) -> None:
        while True:
            now = trio.current_time()
            for proxy in self.proxies.values():
                self._look_after(proxy, now)
            await trio.sleep(_TICK)

    async def _look_after_visitors(self) -> None:
        for config in self.config.visitors:
            make = VISITOR_KINDS.get(config.type)
            if make is not None:
                self.visitors[config.name] = make(self, config)
        if self.visitors:
            self.log.info("visitor added: [%s]", " ".join(self.visitors))
        again = False
        while not all(visitor.is_started for visitor in self.visitors.values()):
            for visitor in self.visitors.values():
                if not visitor.is_started:
                    self._start_visitor(visitor, again=again)
            again = True
            await trio.sleep(_START_AGAIN)

    def _start_visitor(self, visitor: Visitor, *, again: bool) -> None:
        if again:
            self.log.info("try to start visitor [%s]", visitor.name)
        try:
            visitor.start()
        except FrpError as error:
            visitor.log.warning("start error: %s", error)
        else:
            visitor.is_started = True
            visitor.log.info("start visitor success")

    def _start_health_checks(self) -> None:
        for proxy in self.proxies.values():
            if proxy.config.health_check.type and proxy.config.local_port > 0:
                from frp_py.client.health import Monitor

                self.nursery.start_soon(Monitor(proxy).run)

    def health_changed(self, proxy: LocalSide, *, healthy: bool) -> None:
        """The local service is well now: register its proxy; or it is not: withdraw it."""
        proxy.healthy = healthy
        if healthy:
            self._look_after(proxy, trio.current_time())
        elif proxy.phase in (Phase.RUNNING, Phase.WAIT_START):
            proxy.signal(Signal.UNHEALTHY)
            self.send(CloseProxy(proxy.wire_name))

    def _look_after(self, proxy: LocalSide, now: float) -> None:
        if not proxy.healthy:
            return
        since = now - proxy.asked_at
        if (
            proxy.phase in (Phase.NEW, Phase.CHECK_FAILED)
            or (proxy.phase is Phase.WAIT_START and since > _ASK_AGAIN)
            or (proxy.phase is Phase.START_ERROR and since > _TRY_AGAIN)
        ):
            proxy.signal(Signal.ASKED)
            proxy.asked_at = now
            if error := self.send(proxy.wish()):
                self._proxy_refused(proxy, error)

    def _proxy_answered(self, answer: NewProxyResp) -> None:
        proxy = self.proxies.get(answer.proxy_name)
        if proxy is None or proxy.phase is not Phase.WAIT_START:
            self.log.warning("answer for proxy [%s] ignored: nobody waits for it", answer.proxy_name)
        elif answer.error:
            self._proxy_refused(proxy, answer.error)
        else:
            proxy.remote_address = answer.remote_addr
            if not proxy.is_preparing:
                proxy.is_preparing = True
                proxy.prepare(lambda error: self._proxy_prepared(proxy, error))

    def _proxy_prepared(self, proxy: LocalSide, error: str) -> None:
        proxy.is_preparing = False
        if proxy.phase is not Phase.WAIT_START:
            return
        if error:
            self.send(CloseProxy(proxy.wire_name))
            self._proxy_refused(proxy, error)
        else:
            proxy.signal(Signal.ACCEPTED)
            proxy.error = ""
            proxy.log.info("start proxy success")

    def _proxy_refused(self, proxy: LocalSide, error: str) -> None:
        proxy.signal(Signal.REFUSED)
        proxy.asked_at = trio.current_time()
        proxy.error = error
        proxy.log.warning("start error: %s", error)

    # work connections

    def _open_work_connection(self) -> None:
        work = WorkStart(self)
        if len(self._idle) >= _MOST_IDLE:
            self._work_not_opened(work, "too many wait for their user")
        else:
            self._idle.add(work)
            self.open_connection(work, self._work_greeting(), lambda reason: self._work_not_opened(work, reason))

    def _work_not_opened(self, work: WorkStart, reason: str) -> None:
        self._idle.discard(work)
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + _COMPLAINT
            self.log.warning("work connection not opened: %s", reason)

    def open_connection(self, holder: Holder, first: Message, failed: Callable[[str], None]) -> None:
        """Open a link connection for `holder`, whose end is set then, and send the `first` message on it. Otherwise call failed(reason)."""
        if self._link is None:
            self.nursery.start_soon(self._open_own_connection, holder, first, failed)
        elif not self._to_open and len(self._link.session.unacknowledged) < BACKLOG:
            self._open_stream(self._link, holder, first, failed)
        elif len(self._to_open) < _MOST_TO_OPEN:
            self._to_open.append((holder, first, failed))
            if len(self._to_open) == 1:
                self.engine.at(trio.current_time() + _NEXT_LOOK, self._open_waiting)
        else:
            failed("too many connections wait until the server accepts them")

    def _open_stream(self, link: MuxLink, holder: Holder, first: Message, failed: Callable[[str], None]) -> None:
        try:
            holder.end = link.open(holder, holder)
        except PeerError as error:
            failed(str(error))
        else:
            holder.end.feed(memoryview(self._connector.opening() + self.wire.pack(first)))

    def _open_waiting(self) -> None:
        link, waiting = self._link, self._to_open
        while waiting and link is not None and len(link.session.unacknowledged) < BACKLOG:
            self._open_stream(link, *waiting.popleft())
        if waiting:
            self.engine.at(trio.current_time() + _NEXT_LOOK, self._open_waiting)

    async def _open_own_connection(self, holder: Holder, first: Message, failed: Callable[[str], None]) -> None:
        try:
            sock = await self._connector.connect()
        except FrpError as error:
            failed(str(error))
            return
        holder.end = end = socket_end(self.engine, sock, holder, holder)
        end.feed(memoryview(self._connector.opening() + self.wire.pack(first)))
        end.start()

    def _work_greeting(self) -> NewWorkConn:
        if "NewWorkConns" in self.config.auth.additional_scopes:
            now = int(time.time())
            return NewWorkConn(self.run_id, privilege_key(self.token, now), now)
        return NewWorkConn(self.run_id)

    def accept_stream(self, link: MuxLink, session: YamuxSession, stream_id: int) -> MuxEnd | None:
        """A work connection that the server opens itself, if that was agreed."""
        if not self._direct or len(self._idle) >= _MOST_IDLE:
            return None
        work = WorkStart(self)
        self._idle.add(work)
        work.end = end = MuxEnd(session, stream_id, link, work, work)
        return end

    def gone(self, work: WorkStart) -> None:
        """It is closed before it had a user."""
        self._idle.discard(work)

    def start_work(self, work: WorkStart, start: StartWorkConn) -> None:
        """A work connection gets its user."""
        self._idle.discard(work)
        if start.error:
            self.log.warning("StartWorkConn contains error: %s", start.error)
            work.end.close()
            return
        proxy = self.proxies.get(start.proxy_name)
        if proxy is not None and proxy.phase is Phase.WAIT_START and len(proxy.early) < _EARLY:
            proxy.early.append((work, start))
            return
        if proxy is None or proxy.phase is not Phase.RUNNING:
            self.log.debug("work connection for proxy [%s] closed: it isn't running", start.proxy_name)
            work.end.abort()
            return
        proxy.serve(work, start)


class WorkStart(Holder):
    """A work connection until StartWorkConn is there, and then until it is joined."""

    __slots__ = ("_session", "_started")

    def __init__(self, session: Session) -> None:
        super().__init__(session.engine)
        self._session = session
        self._started = False

    def arrived(self) -> None:
        """More of the message; behind it, payload, which stays held."""
        if self._started:
            return
        try:
            taken = self._session.wire.take_message(self.data)
        except PeerError as error:
            self._session.log.warning("work connection closed: %s", error)
            self._session.gone(self)
            self.end.abort()
            return
        if taken is None:
            if self.has_ended:
                self._session.gone(self)
                self.end.close()
            return
        message, used = taken
        self._started = True
        self.used(used)
        if isinstance(message, StartWorkConn):
            self._session.start_work(self, message)
        else:
            self._session.log.warning("work connection closed: %s where StartWorkConn was due", type(message).__name__)
            self._session.gone(self)
            self.end.abort()

    def lost(self, reason: str) -> None:
        """It broke."""
        self._session.gone(self)
