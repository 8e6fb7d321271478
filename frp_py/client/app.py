"""frpc: the client (behaviour.md 7.1, 7.4, 7.6)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio
from msgspec.structs import replace

from frp_py.client.backoff import Attempts, Losses
from frp_py.client.connect import Connector, LoggedIn
from frp_py.client.reconcile import Difference, changed_keys, difference, needs_restart, renewed
from frp_py.client.session import Session
from frp_py.client.sources import ConfigFile, Sources
from frp_py.errors import ConfigError, FrpError
from frp_py.log import get_logger
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.memory import give_back
from frp_py.net.engine.stream import EndStream
from frp_py.net.token import token_of
from frp_py.net.transports import tls

if TYPE_CHECKING:
    from frp_py.client.web.service import AdminServer
    from frp_py.config import ClientConfig
    from frp_py.config.common import LogConfig
    from frp_py.config.proxies import Proxy
    from frp_py.config.visitors import Visitor
    from frp_py.net.engine.relay import Relay
    from frp_py.protocol.yamux import Session as YamuxSession

log = get_logger()

_LOCAL_DIAL = 10  # s to connect to a local service
_FIRST_LOGIN_CAP, _LATER_CAP = 10.0, 20.0  # s between attempts
_NO_FILE = "frpc has no config file path"


class Way(NamedTuple):
    """How things stand with the server."""

    phase: str
    """connecting, connected, or waiting for the next attempt."""
    since: float
    """Unix time."""
    next_try: float = 0
    """Unix time of the next attempt while waiting."""
    error: str = ""
    """Why the last session or attempt ended; nothing while connected."""


class Reloaded(NamedTuple):
    """What a reload has done."""

    proxies: Difference[Proxy]
    visitors: Difference[Visitor]
    applied: list[str]
    """Other keys that have changed."""
    restart: list[str]
    """Keys that keep the value they had at the start."""


class Client:
    """A client with one configuration. `run` keeps a session with the server until it is cancelled, or `stop` is called."""

    def __init__(self, config: ClientConfig, file: ConfigFile | None = None, renew_log: Callable[[LogConfig], None] | None = None) -> None:
        """A client that was made from a `file` can be told to read it again. `renew_log` is called when that says how to log.

        Raises ConfigError when the store can't be read.
        """
        self.config = config
        """What is in effect."""
        self.sources = Sources(config, file)
        self.engine = Engine()
        give_back(self.engine)
        self.session: Session | None = None
        """The one that is running."""
        self.way = Way("connecting", time.time())
        self.changes = 0
        """Grows whenever something of what `config`, `way` and `session` say is different."""
        self.users: set[Relay] = set()
        self._renew_log = renew_log
        self._token = ""
        self.run_id = ""
        """What the server gave at the last login; sent with the next."""
        self._link: MuxLink | None = None
        self._dial_timeouts = self.engine.timeouts(_LOCAL_DIAL)
        self._web: AdminServer | None = None
        self._nursery: trio.Nursery | None = None
        self._reloading = trio.Lock()
        self._watching: trio.CancelScope | None = None
        self._pausing = trio.CancelScope()
        self._stopping = False

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the run id of the first login. Raises FrpError when that fails and loginFailExit is on."""
        async with self._reloading:
            self._token = await token_of(self.config.auth)
        failure: FrpError | None = None
        async with self.engine.running():
            try:
                if self.config.web_server.port:
                    self._open_web_server()
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    if self._web is not None:
                        nursery.start_soon(self._web.run)
                    self._watch_as_told(nursery)
                    try:
                        await self._keep_session(task_status)
                    except FrpError as error:
                        failure = error
                    nursery.cancel_scope.cancel()
            finally:
                if self._web is not None:
                    self._web.close()
                for relay in list(self.users):
                    relay.abort()
                if self._link is not None:
                    self._link.close()
        if failure is not None:
            raise failure

    def _open_web_server(self) -> None:
        from frp_py.client.web.service import AdminServer

        self._web = AdminServer(self)
        host, port = self._web.listen()
        log.info("admin server listen on %s:%d", f"[{host}]" if ":" in host else host, port)

    def stop(self, delay: float) -> None:
        """Withdraw all proxies and visitors, and end `run`, which has begun, after `delay` s."""
        if not self._stopping and self._nursery is not None:
            self._stopping = True
            if self.session is not None:
                self.session.withdraw()
            self._nursery.start_soon(self._end_after, delay, self._nursery.cancel_scope)

    async def _end_after(self, delay: float, scope: trio.CancelScope) -> None:
        await trio.sleep(delay)
        scope.cancel()

    # the session

    async def _keep_session(self, task_status: trio.TaskStatus[str]) -> None:
        losses = Losses(random.random)
        attempts = Attempts(_FIRST_LOGIN_CAP, random.random)
        first = True
        while True:
            connector = Connector(self.config, self.engine, self._token)
            self._note_way("connecting", error=self.way.error)
            try:
                logged_in = await self._log_in(connector)
            except FrpError as error:
                log.warning("connect to server error: %s", error)
                if first and self.config.login_fail_exit:
                    raise FrpError(
                        f"login to the server failed: {error}. With loginFailExit enabled, no additional retries will be attempted"
                    ) from None
                await self._pause(attempts.next_pause(), str(error))
                continue
            if first:
                task_status.started(logged_in.answer.run_id)
            first = False
            self.run_id = logged_in.answer.run_id
            log.info("login to server success, get run id [%s]", self.run_id)
            began = trio.current_time()
            session = Session(self.config, self.engine, connector, connector.token, logged_in, self._link, self.users, self._dial_timeouts)
            session.on_change = self.note_change
            self.session = session
            self._note_way("connected")
            try:
                reason = await session.run()
            except Exception:
                log.exception("bug in the session")
                reason = "an error of this program"
            self.session = self._link = None
            log.warning("session with the server ended: %s", reason)
            now = trio.current_time()
            attempts = Attempts(_LATER_CAP, random.random)
            await self._pause(losses.next_pause(now, now - began), reason)

    async def _pause(self, seconds: float, reason: str) -> None:
        self._note_way("waiting", next_try=time.time() + seconds, error=reason)
        with trio.move_on_after(seconds) as self._pausing:
            await trio.sleep_forever()

    async def _log_in(self, connector: Connector) -> LoggedIn:
        """One attempt. Raises FrpError."""
        log.info("try to connect to server...")
        sock = await connector.connect()
        if not self.config.transport.tcp_mux:
            stream = connector.control_stream(sock)
        else:
            self._link = link = MuxLink(
                self.engine,
                sock,
                client=True,
                keepalive=self.config.transport.tcp_mux_keepalive_interval,
                log=log,
                on_open=self._accept_stream,
                on_lost=lambda reason: None,
            )
            stream = EndStream(self.engine)
            stream.attach(link.open(stream, stream))
        try:
            return await connector.log_in(stream, self.run_id)
        except BaseException:
            stream.close()
            if self._link is not None:
                self._link.close()
                self._link = None
            raise

    def _accept_stream(self, link: MuxLink, session: YamuxSession, stream_id: int) -> MuxEnd | None:
        return self.session.accept_stream(link, session, stream_id) if self.session is not None else None

    # what others may want to know

    def _note_way(self, phase: str, *, next_try: float = 0, error: str = "") -> None:
        self.way = Way(phase, time.time(), next_try, error)
        self.note_change()

    def note_change(self) -> None:
        """The state of a proxy, a visitor or the session is another."""
        self.changes += 1

    # reload

    def apply(self) -> tuple[Difference[Proxy], Difference[Visitor]]:
        """Make what the sources say run, now or in the next session; returns what that changes. Raises FrpError when it is too late."""
        if self._stopping:
            raise FrpError("the client is being stopped")
        before = self.config
        proxies, visitors = self.sources.merged()
        self.config = replace(before, proxies=proxies, visitors=visitors)
        if self.session is not None:
            self.session.apply(self.config)
        self.note_change()
        return (
            difference({entry.name: entry for entry in before.proxies}, proxies),
            difference({entry.name: entry for entry in before.visitors}, visitors),
        )

    async def reload(self, *, strict: bool | None = None) -> Reloaded:
        """Read the file again and do what it says; without `strict` said, unknown keys are treated as at the start.

        Raises ConfigError when it can't be used: nothing has changed then. Raises FrpError when it can't be applied.
        """
        file = self.sources.file
        if file is None:
            raise ConfigError(_NO_FILE)
        async with self._reloading:
            config = await trio.to_thread.run_sync(partial(file.load, strict=strict))
            keys = changed_keys(self.config, config)
            old, new = self.config, renewed(self.config, config)
            token = self._token
            try:
                if new.auth != old.auth:
                    token = await token_of(new.auth)
                if new.transport.tls != old.transport.tls and new.transport.tls.enable:
                    await trio.to_thread.run_sync(tls.client_context, new.transport.tls)
                if self._web is not None:
                    self._web.renew(new.web_server)  # also when nothing is said of it: its certificate may be another
            except ConfigError:
                raise
            except FrpError as error:
                raise ConfigError(str(error)) from None
            self.config = replace(new, proxies=self.config.proxies, visitors=self.config.visitors)
            self._token = token
            self.sources.replace(config)
            if new.log != old.log and self._renew_log is not None:
                self._renew_log(new.log)
            if self._nursery is not None:
                self._watch_as_told(self._nursery)
            proxies, visitors = self.apply()
            if (new.auth, new.transport) != (old.auth, old.transport):
                self._pausing.cancel()  # this may have been what was wrong
        restart = [key for key in keys if needs_restart(key) or (key.startswith("log.") and self._renew_log is None)]
        log.info("success reload conf")
        if restart:
            log.warning("restart needed for: %s", ", ".join(restart))
        return Reloaded(proxies, visitors, [key for key in keys if key not in restart], restart)

    def _watch_as_told(self, nursery: trio.Nursery) -> None:
        """Begin or end to look whether the file has changed."""
        wanted = self.config.watch_config and self.sources.file is not None
        if wanted and self._watching is None:
            self._watching = trio.CancelScope()
            nursery.start_soon(self._watch, self._watching)
        elif not wanted and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self, scope: trio.CancelScope) -> None:
        from frp_py.net.watch import watch_files

        with scope:
            await watch_files(self._paths, self._reload_changed)

    def _paths(self) -> Iterator[str]:
        assert self.sources.file is not None
        return self.sources.file.paths(self.config.includes)

    async def _reload_changed(self) -> None:
        log.info("the configuration file has changed")
        try:
            await self.reload()
        except FrpError as error:
            log.error("reload config error: %s", error)
        except Exception:
            log.exception("bug in a reload")
