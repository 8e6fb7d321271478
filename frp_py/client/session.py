"""One session with the server: the control connection, the proxies, and the work connections (behaviour.md 7.2, 7.3)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias

import trio

from frp_py.client.connect import LONGEST_TEXT
from frp_py.client.local import Dialer
from frp_py.client.phase import Phase, Signal
from frp_py.client.proxies import KINDS
from frp_py.client.reconcile import difference
from frp_py.client.visitors import KINDS as VISITOR_KINDS
from frp_py.errors import FrpError, PeerError
from frp_py.log import get_logger
from frp_py.net.bounded_log import BoundedLog, Budget
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.stream import Holder
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import CloseProxy, Message, NewProxyResp, NewWorkConn, Ping, Pong, ReqWorkConn, StartWorkConn
from frp_py.protocol.yamux import BACKLOG

if TYPE_CHECKING:
    from frp_py.client.connect import Connector, LoggedIn
    from frp_py.client.health import Monitor
    from frp_py.client.proxies.base import LocalSide
    from frp_py.client.visitors.base import Visitor
    from frp_py.config import ClientConfig
    from frp_py.config.proxies import ProxyBase
    from frp_py.config.visitors import VisitorBase
    from frp_py.net.engine.loop import Engine, Timeouts
    from frp_py.net.engine.relay import Relay
    from frp_py.protocol.yamux import Session as YamuxSession

_Opening: TypeAlias = tuple[Holder, Message, Callable[[str], None]]

_MOST_TO_OPEN = 1024  # connections that wait for their turn
_MOST_IDLE = 8192  # work connections that wait for their user
_LINES, _LINES_RATE = 200, 1.0  # of the log about what the server does: at once, and a second later on
_USER_LINES, _USER_LINES_RATE = 5000, 20.0  # about users
_COMPLAINT = 1.0  # s between two lines about work connections that can't be opened
_NEXT_LOOK = 0.05  # s, when the server has not accepted enough yet
_START_AGAIN = 10.0  # s between attempts to start a visitor
_TICK = 3.0  # s between looks at the proxies
_ASK_AGAIN = 20.0  # s without an answer to NewProxy
_EARLY = 1000  # users who may have come before the answer to their proxy, in all: each may have sent a window
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
        self._auth = config.auth  # what the login was made with
        self.run_id = logged_in.answer.run_id
        self.log = get_logger(self.run_id)
        self.events_log = BoundedLog("", Budget(_LINES, _LINES_RATE), about="what the server does").with_prefix(self.run_id)
        """For what the server can bring about as often as it likes."""
        self.user_lines = Budget(_USER_LINES, _USER_LINES_RATE)
        """For what users bring about, all of them together."""
        self.users = users
        self.half_close = HALF_CLOSE in logged_in.answer.features
        self.proxies: dict[str, LocalSide] = {}
        """By their names on the wire."""
        self.visitors: dict[str, Visitor] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called when the state of a proxy or visitor is another."""
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
        self._heartbeats = trio.CancelScope()
        self._stale: dict[str, int] = {}  # answers still to come for proxies that have been withdrawn, by name
        self._retrying_visitors = False
        self._to_open: deque[_Opening] = deque()  # until the server has accepted earlier ones
        self._idle: set[WorkStart] = set()  # work connections without a user, those that are being opened too
        self._quiet_until = 0.0
        self.early = 0
        """Users who wait until it is known whether their proxy runs."""
        self._end_reason = ""
        if link is not None:
            link.half_close = self.half_close
            link.prefer()

    def wire_name_of(self, name: str) -> str:
        """The name that the server knows a proxy by."""
        return f"{self.config.user}.{name}" if self.config.user else name

    async def run(self) -> str:
        """Serve until the session is over; returns why."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                self.dialer = Dialer(self.engine, nursery, self._dial_timeouts)
                self.apply(self.config)
                nursery.start_soon(self._look_after_proxies)
                nursery.start_soon(self._keep_alive)
                await self._receive()
                nursery.cancel_scope.cancel()
        finally:
            self._close()
        return self._end_reason

    def _close(self) -> None:
        try:
            self.withdraw()
        finally:
            for work in list(self._idle):
                if (end := getattr(work, "end", None)) is not None:
                    end.close()
            self._idle.clear()
            self._logged_in.stream.close()
            if self._link is not None:
                self._link.close()

    def withdraw(self) -> None:
        """Close all proxies and visitors."""
        for name in list(self.proxies):
            self._stop_proxy(name)
        for visitor in self.visitors.values():
            visitor.close()
        self.visitors.clear()

    def apply(self, config: ClientConfig) -> None:
        """Run the proxies and visitors of `config`, whose equals go on undisturbed, and keep the link alive as it says."""
        if _heartbeats(config) != _heartbeats(self.config):
            self._heartbeats.cancel()
        self.config = config
        visitors = difference({name: visitor.config for name, visitor in self.visitors.items()}, config.visitors)
        proxies = difference({side.name: side.config for side in self.proxies.values()}, config.proxies)
        for name in visitors.to_stop:
            self.visitors.pop(name).close()
        if visitors.to_stop:
            self.log.info("visitor removed: [%s]", " ".join(visitors.to_stop))
        self._add_visitors(visitors.to_start)
        for name in proxies.to_stop:
            self._stop_proxy(self.wire_name_of(name))
        if proxies.to_stop:
            self.log.info("proxy removed: [%s]", " ".join(proxies.to_stop))
        self._add_proxies(proxies.to_start)
        self.on_change()

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
                error = message.error[:LONGEST_TEXT]
                self.log.error("pong message contains error: %s", error)
                self.end(error)
            else:
                self._alive.deadline = trio.current_time() + self.config.transport.heartbeat_timeout

    async def _keep_alive(self) -> None:
        """Heartbeats, begun anew when what is said of them has changed."""
        while True:
            interval, timeout = _heartbeats(self.config)
            with self._heartbeats:
                async with trio.open_nursery() as nursery:
                    if interval > 0:
                        nursery.start_soon(self._send_heartbeats, interval)
                        if timeout > 0:
                            nursery.start_soon(self._watch_heartbeats, timeout)
                    await trio.sleep_forever()
            self._heartbeats = trio.CancelScope()

    async def _send_heartbeats(self, interval: float) -> None:
        while True:
            self.log.debug("send heartbeat to server")
            if "HeartBeats" in self._auth.additional_scopes:
                now = int(time.time())
                self.send(Ping(privilege_key(self.token, now), now))
            else:
                self.send(Ping())
            await trio.sleep(interval)

    async def _watch_heartbeats(self, timeout: float) -> None:
        with trio.move_on_after(timeout) as self._alive:
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

    def _add_proxies(self, configs: Iterable[ProxyBase]) -> None:
        added = []
        for config in configs:
            make = KINDS.get(config.type)
            if make is None:
                self.log.with_prefix(config.name).warning("start error: proxy type %s is not supported yet", config.type)
                continue
            side = make(self, config)
            self.proxies[side.wire_name] = side
            added.append(side)
        if added:
            self.log.info("proxy added: [%s]", " ".join(side.name for side in added))
        now = trio.current_time()
        for side in added:
            if side.config.health_check.type and side.config.local_port > 0:
                from frp_py.client.health import Monitor

                self.nursery.start_soon(self._watch_health, side, Monitor(side))
            else:
                self._look_after(side, now)

    async def _watch_health(self, side: LocalSide, monitor: Monitor) -> None:
        with side.health_scope:
            await monitor.run()

    def _stop_proxy(self, wire_name: str) -> None:
        proxy = self.proxies.pop(wire_name)
        if proxy.phase in (Phase.RUNNING, Phase.WAIT_START):
            self._withdraw(proxy)
        proxy.signal(Signal.STOPPED)
        proxy.health_scope.cancel()
        proxy.close()

    def _withdraw(self, proxy: LocalSide) -> None:
        """Tell the server that the proxy is over. What it still answers to earlier wishes isn't meant for one that follows."""
        self.send(CloseProxy(proxy.wire_name))
        if proxy.unanswered:
            self._stale[proxy.wire_name] = self._stale.get(proxy.wire_name, 0) + proxy.unanswered
            proxy.unanswered = 0

    def _add_visitors(self, configs: Iterable[VisitorBase]) -> None:
        added = []
        for config in configs:
            make = VISITOR_KINDS.get(config.type)
            if make is not None:
                self.visitors[config.name] = visitor = make(self, config)
                added.append(visitor)
        if added:
            self.log.info("visitor added: [%s]", " ".join(visitor.name for visitor in added))
        for visitor in added:
            self._start_visitor(visitor)
        if not self._retrying_visitors and not all(visitor.is_started for visitor in added):
            self._retrying_visitors = True
            self.nursery.start_soon(self._retry_visitors)

    async def _retry_visitors(self) -> None:
        while True:
            await trio.sleep(_START_AGAIN)
            for visitor in self.visitors.values():
                if not visitor.is_started:
                    self.log.info("try to start visitor [%s]", visitor.name)
                    self._start_visitor(visitor)
            if all(visitor.is_started for visitor in self.visitors.values()):
                self._retrying_visitors = False
                return

    def _start_visitor(self, visitor: Visitor) -> None:
        try:
            visitor.start()
        except FrpError as error:
            visitor.error = str(error)
            visitor.log.warning("start error: %s", error)
        else:
            visitor.error = ""
            visitor.is_started = True
            visitor.log.info("start visitor success")
        self.on_change()

    def health_changed(self, proxy: LocalSide, *, healthy: bool) -> None:
        """The local service is well now: register its proxy; or it is not: withdraw it."""
        proxy.healthy = healthy
        if healthy:
            self._look_after(proxy, trio.current_time())
        elif proxy.phase in (Phase.RUNNING, Phase.WAIT_START):
            proxy.signal(Signal.UNHEALTHY)
            self._withdraw(proxy)

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
            else:
                proxy.unanswered += 1

    def _proxy_answered(self, answer: NewProxyResp) -> None:
        name = answer.proxy_name
        if stale := self._stale.pop(name, 0):
            if stale > 1:
                self._stale[name] = stale - 1
            return
        proxy = self.proxies.get(name)
        if proxy is not None and proxy.unanswered:
            proxy.unanswered -= 1
        if proxy is None or proxy.phase is not Phase.WAIT_START:
            self.events_log.warning("answer for proxy [%s] ignored: nobody waits for it", name)
        elif answer.error:
            self._proxy_refused(proxy, answer.error[:LONGEST_TEXT])
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
        if "NewWorkConns" in self._auth.additional_scopes:
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
            self.events_log.warning("StartWorkConn contains error: %s", start.error)
            work.end.close()
            return
        proxy = self.proxies.get(start.proxy_name)
        if proxy is not None and proxy.phase is Phase.WAIT_START and self.early < _EARLY:
            self.early += 1
            proxy.early.append((work, start))
            return
        if proxy is None or proxy.phase is not Phase.RUNNING:
            self.log.debug("work connection for proxy [%s] closed: it isn't running", start.proxy_name)
            work.end.abort()
            return
        proxy.serve(work, start)


def _heartbeats(config: ClientConfig) -> tuple[int, int]:
    """Interval and timeout, in s; not above 0: none."""
    return config.transport.heartbeat_interval, config.transport.heartbeat_timeout


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
            self._session.events_log.warning("work connection closed: %s", error)
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
            self._session.events_log.warning("work connection closed: %s where StartWorkConn was due", type(message).__name__)
            self._session.gone(self)
            self.end.abort()

    def lost(self, reason: str) -> None:
        """It broke."""
        self._session.gone(self)
