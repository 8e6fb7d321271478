"""frpc: the client (behaviour.md 7.1)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from frp_py.client.backoff import Attempts, Losses
from frp_py.client.connect import Connector, LoggedIn
from frp_py.client.session import Session
from frp_py.errors import FrpError
from frp_py.log import get_logger
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.stream import EndStream
from frp_py.net.token import token_of

if TYPE_CHECKING:
    from frp_py.config import ClientConfig
    from frp_py.net.engine.relay import Relay
    from frp_py.protocol.yamux import Session as YamuxSession

log = get_logger()

_LOCAL_DIAL = 10  # s to connect to a local service
_FIRST_LOGIN_CAP, _LATER_CAP = 10.0, 20.0  # s between attempts


class Client:
    """A client with one configuration. `run` keeps a session with the server until it is cancelled."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.engine = Engine()
        self.session: Session | None = None
        """The one that is running."""
        self.users: set[Relay] = set()
        self._run_id = ""
        self._link: MuxLink | None = None
        self._dial_timeouts = self.engine.timeouts(_LOCAL_DIAL)

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the run id of the first login. Raises FrpError when that fails and loginFailExit is on."""
        config = self.config
        token = await token_of(config.auth)
        connector = Connector(config, self.engine, token)
        async with self.engine.running():
            try:
                await self._keep_session(connector, token, task_status)
            finally:
                for relay in list(self.users):
                    relay.abort()
                if self._link is not None:
                    self._link.close()

    async def _keep_session(self, connector: Connector, token: str, task_status: trio.TaskStatus[str]) -> None:
        losses = Losses(random.random)
        attempts = Attempts(_FIRST_LOGIN_CAP, random.random)
        first = True
        while True:
            try:
                logged_in = await self._log_in(connector)
            except FrpError as error:
                log.warning("connect to server error: %s", error)
                if first and self.config.login_fail_exit:
                    raise FrpError(
                        f"login to the server failed: {error}. With loginFailExit enabled, no additional retries will be attempted"
                    ) from None
                await trio.sleep(attempts.next_pause())
                continue
            if first:
                task_status.started(logged_in.answer.run_id)
            first = False
            self._run_id = logged_in.answer.run_id
            log.info("login to server success, get run id [%s]", self._run_id)
            began = trio.current_time()
            self.session = Session(self.config, self.engine, connector, token, logged_in, self._link, self.users, self._dial_timeouts)
            try:
                reason = await self.session.run()
            except Exception:
                log.exception("bug in the session")
                reason = "an error of this program"
            self.session = self._link = None
            log.warning("session with the server ended: %s", reason)
            now = trio.current_time()
            attempts = Attempts(_LATER_CAP, random.random)
            await trio.sleep(losses.next_pause(now, now - began))

    async def _log_in(self, connector: Connector) -> LoggedIn:
        """One attempt. Raises FrpError."""
        log.info("try to connect to server...")
        connector.read_certificates_anew()
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
            return await connector.log_in(stream, self._run_id)
        except BaseException:
            stream.close()
            if self._link is not None:
                self._link.close()
                self._link = None
            raise

    def _accept_stream(self, link: MuxLink, session: YamuxSession, stream_id: int) -> MuxEnd | None:
        return self.session.accept_stream(link, session, stream_id) if self.session is not None else None
