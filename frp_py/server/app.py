"""frps: the server (behaviour.md 1)."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from frp_py.errors import ConfigError, FrpError, Refused
from frp_py.log import get_logger
from frp_py.net.bounded_log import BoundedLog, Budget
from frp_py.net.engine.listen import Listening, highest_for_users, listen_error, most_ports, tcp_listener
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.memory import give_back
from frp_py.net.engine.stream import EndStream
from frp_py.net.token import token_of
from frp_py.net.transports import tls
from frp_py.protocol.auth import verify_key
from frp_py.protocol.messages import Login, LoginResp, Message, NewVisitorConn, NewVisitorConnResp, NewWorkConn, StartWorkConn
from frp_py.server.bounded_log import Budgets
from frp_py.server.control import Control
from frp_py.server.entrance import STAGE, Entrance
from frp_py.server.groups import Groups
from frp_py.server.guesses import Guesses
from frp_py.server.lobby import Lobby
from frp_py.server.penalties import FAILED_LOGIN, Penalties
from frp_py.server.ports import PortBook
from frp_py.server.reception import Caller, Reception
from frp_py.server.registry import Clients, Controls
from frp_py.server.statistics import Statistics
from frp_py.server.strangers import StrangersLog
from frp_py.server.visitors import receive_visitor
from frp_py.version import FRP_VERSION

if TYPE_CHECKING:
    from frp_py.config import ServerConfig
    from frp_py.server.lobby import Guest
    from frp_py.server.proxies.base import PublicProxy, UserRelay
    from frp_py.server.proxies.sudp import UserTranslator
    from frp_py.server.proxies.tcp import TcpGroup
    from frp_py.server.reload import Reloaded
    from frp_py.server.vhost.http import HttpVhost
    from frp_py.server.vhost.https import HttpsVhost
    from frp_py.server.vhost.tcpmux import TcpmuxVhost
    from frp_py.server.web.service import Web

log = get_logger()

_CLIENT_LINES, _CLIENT_LINES_RATE = 5000, 20.0  # of the log about the clients of one network: at once, and a second later on
_USER_LINES, _USER_LINES_RATE = 10_000, 100.0  # about users, all of them together
_CERTIFICATES = 60  # s between looks at the files of certificates, which others renew


class Source(NamedTuple):
    """Where the configuration came from: the file, and how to read it again (raises ConfigError)."""

    path: str
    load: Callable[[], ServerConfig]


class Server:
    """A server with one configuration. `run` serves until it is cancelled, `reload` reads the file again."""

    def __init__(self, config: ServerConfig, source: Source | None = None) -> None:
        self.config = config
        """What is in effect; another one after a reload."""
        self.source = source
        self.version = FRP_VERSION
        self.token = config.auth.token
        self.engine = Engine()
        give_back(self.engine)
        self.controls = Controls()
        self.clients = Clients()
        self.statistics = Statistics(time.time(), remember=config.web_server.port > 0)
        self.proxies: dict[str, PublicProxy] = {}
        self.users: set[UserRelay | UserTranslator] = set()
        """They outlive the session that they came by."""
        self.tcp_ports = PortBook(config.allow_ports)
        self.udp_ports = PortBook(config.allow_ports)
        self.lobby = Lobby(config.max_unauthenticated, config.max_unauthenticated_per_source)
        self.strangers_log = StrangersLog()
        self.client_lines = Budgets(_CLIENT_LINES, _CLIENT_LINES_RATE)
        self.user_lines = Budget(_USER_LINES, _USER_LINES_RATE)
        self.penalties = Penalties(config.source_penalties.longest, config.source_penalties.exempt)
        self.guesses = Guesses(self.penalties)
        self.strangers = self.engine.timeouts(STAGE)
        """Links on which nobody has logged in yet."""
        self.first_messages = self.engine.timeouts(STAGE)
        self.user_waits = self.engine.timeouts(config.user_conn_timeout)
        self.callers: set[Caller] = set()
        """Transport connections of clients."""
        self.tcp_groups: Groups[TcpGroup] = Groups()
        self.http: HttpVhost | None = None
        self.https: HttpsVhost | None = None
        self.tcpmux: TcpmuxVhost | None = None
        self.web: Web | None = None
        self._listenings: list[Listening] = []
        self.client_port: Listening
        self.tls_context: ssl.SSLContext
        """For the client port."""
        self.certificates: tuple[str, str]
        """As `certificates_now` when they were last read."""
        self._nursery: trio.Nursery
        self._watching = trio.CancelScope()
        self._reloading = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the address of the client port. Raises FrpError when it can't start."""
        config = self.config
        self.tls_context = tls.server_context(config.transport.tls)
        self.certificates = self.certificates_now()
        self.token = await token_of(config.auth)
        async with self.engine.running():
            try:
                await self._open_web()
                self._open_tcpmux()
                self._open_client_port()
                self._open_http()
                self._open_https()
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self.engine.each_second(self._each_second)
                    nursery.start_soon(self._housekeeping)
                    nursery.start_soon(self._watch_certificates)
                    self.watch_again()
                    if self.web is not None:
                        self.start_task(self.web.run)
                    if self.is_open:
                        log.warning("auth.token is empty: everybody who reaches the client port may open proxies")
                    log.info("frps started successfully")
                    task_status.started(self.client_port.address)
                    try:
                        await trio.sleep_forever()
                    finally:
                        self._say_goodbye()  # before the nursery is closed: nobody comes in any more
            finally:
                self._say_goodbye()
                if self.web is not None:
                    self.web.close()

    async def _open_web(self) -> None:
        if self.config.web_server.port > 0:
            from frp_py.server.web.service import Web

            self.web = Web(self)
            log.info("dashboard listen on %s", _address(*await self.web.open()))

    def _open_client_port(self) -> None:
        config = self.config
        sock = _listener("server", config.bind_addr, config.bind_port, config.transport.tcp_keepalive)
        self.client_port = Listening(self.engine, sock, Entrance(self).on_connection)
        self._listenings.append(self.client_port)
        log.info("frps tcp listen on %s", _address(*self.client_port.address))

    def _listen(self, what: str, host: str, port: int, on_user: Callable[[socket.socket, Any], None]) -> Listening:
        listening = self.listen_for_users(_listener(what, host, port), on_user)
        self._listenings.append(listening)
        return listening

    def listen_for_users(self, sock: socket.socket, on_user: Callable[[socket.socket, Any], None]) -> Listening:
        """Accept users on `sock`: as many as leave enough descriptors for their work connections, and for clients."""
        each = 1 if self.config.transport.tcp_mux else 2
        return Listening(self.engine, sock, on_user, highest=highest_for_users(each), on_full=self.make_room)

    def has_room_for_user(self, sock: socket.socket) -> bool:
        """Whether that leaves enough descriptors for what isn't users."""
        return sock.fileno() <= highest_for_users(1 if self.config.transport.tcp_mux else 2)

    def make_room(self) -> None:
        """There are no descriptors for more users: those who don't need theirs just now give it back."""
        if self.http is not None:
            self.http.make_room()

    def acquire_port(self, book: PortBook, name: str, port: int, bind: Callable[[int], socket.socket]) -> tuple[int, socket.socket]:
        """As `book.acquire`, as long as users and clients have descriptors too."""
        if self.tcp_ports.in_use + self.udp_ports.in_use >= most_ports():
            raise Refused("the server has no descriptors for more ports")
        return book.acquire(name, port, bind)

    @property
    def is_shared(self) -> bool:
        """Whether users come to the client port too: what one of them did doesn't concern the others of his network."""
        return self.shares(self.config.vhost_http_port) or self.shares(self.config.vhost_https_port)

    def shares(self, port: int) -> bool:
        """Whether a vhost port is the client port too (behaviour.md 1.3)."""
        return port == self.config.bind_port and self.config.proxy_bind_addr == self.config.bind_addr

    def _open_http(self) -> None:
        config = self.config
        if config.vhost_http_port > 0:
            from frp_py.server.vhost.http import HttpVhost

            self.http = HttpVhost(self.engine, config)
            if self.shares(config.vhost_http_port):
                address = (config.proxy_bind_addr, config.vhost_http_port)
            else:
                address = self._listen("vhost http", config.proxy_bind_addr, config.vhost_http_port, self.http.on_connection).address
            log.info("http service listen on %s", _address(*address))

    def _open_https(self) -> None:
        config = self.config
        if config.vhost_https_port > 0:
            from frp_py.server.vhost.https import HttpsVhost

            self.https = HttpsVhost(self.engine)
            if not self.shares(config.vhost_https_port):
                listening = self._listen("vhost https", config.proxy_bind_addr, config.vhost_https_port, self.https.on_connection)
                log.info("https service listen on %s", _address(*listening.address))

    def _open_tcpmux(self) -> None:
        config = self.config
        if config.tcpmux_http_connect_port > 0:
            from frp_py.server.vhost.not_found import answer_to_connect
            from frp_py.server.vhost.tcpmux import TcpmuxVhost

            self.tcpmux = TcpmuxVhost(
                self.engine,
                passthrough=config.tcpmux_passthrough,
                not_found=lambda log: answer_to_connect(self.config.custom_404_page, log),
            )
            listening = self._listen("tcpmux", config.proxy_bind_addr, config.tcpmux_http_connect_port, self.tcpmux.on_connection)
            passthrough = "true" if config.tcpmux_passthrough else "false"
            log.info("tcpmux httpconnect multiplexer listen on %s, passthrough: %s", _address(*listening.address), passthrough)

    def _say_goodbye(self) -> None:
        """Users and clients learn that it is over, and all ports are free."""
        for listening in self._listenings:
            listening.close()
        self.controls.close()
        for control in self.controls.all():
            control.close("server is shutting down")
        for relay in list(self.users):
            relay.abort()
        for caller in list(self.callers):
            caller.close()
        for vhost in (self.http, self.https, self.tcpmux):
            if vhost is not None:
                vhost.close()

    # new connections

    def enter_lobby(self, put_out: Callable[[], None], host: str) -> Guest:
        """Somebody waits for his login; `put_out()` is called when he has to leave for others."""
        return self.lobby.enter(put_out, host, is_known=self.penalties.is_trusted(host, trio.current_time()))

    def offended(self, address: Any, cost: float) -> None:
        """A connection from `address` did wrong (penalties.py)."""
        if seconds := self.penalties.offend(address[0], cost, trio.current_time()):
            text = "[%s] is shut out for %.0f s: failed logins, or connections that were no client's"
            self.strangers_log.warning(text, address[0], seconds)

    def start_task(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a task that serves one peer: if it fails by a bug of ours, the others are served all the same."""
        self._nursery.start_soon(self._contained, task, *args)

    async def _contained(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        try:
            await task(*args)
        except Exception:
            log.exception("bug in a task of the server")

    # first messages

    def receive(self, message: Message, reception: Reception) -> None:
        """The first message of a link connection (behaviour.md 1.4)."""
        if isinstance(message, NewWorkConn):
            try:
                self.controls.running_for(message.run_id, reception.caller).offer(reception, message)
            except Refused as error:
                reception.caller.log.warning("work connection from [%s] refused: %s", reception.caller.address[0], error)
                reception.refuse(StartWorkConn(error=self.error_text(str(error), "invalid NewWorkConn")))
        elif isinstance(message, Login):
            self.start_task(self._log_in, message, reception)
        elif isinstance(message, NewVisitorConn):
            try:
                receive_visitor(self, message, reception, trio.current_time())
            except Refused as error:
                reception.caller.log.warning("visitor connection from [%s] refused: %s", reception.caller.address[0], error)
                reception.refuse(NewVisitorConnResp(message.proxy_name, self.error_text(str(error), "register visitor conn error")))
        else:
            reception.reject(f"{type(message).__name__} is no first message")

    async def _log_in(self, login: Login, reception: Reception) -> None:
        caller = reception.caller
        if caller.is_dismissed:  # another login of the same moment has been refused
            reception.drop()
            return
        run_id = login.run_id or os.urandom(8).hex()
        is_genuine = verify_key(login.privilege_key, self.token, login.timestamp)
        (self.log_of_client(caller.address[0]) if is_genuine else self.strangers_log).info(
            "client login info: ip [%s] version [%.100s] hostname [%.300s] os [%.100s] arch [%.100s]",
            _address(*caller.address[:2]),
            login.version,
            login.hostname,
            login.os,
            login.arch,
        )
        try:
            if not is_genuine:
                raise Refused("token in login doesn't match token from configuration")
            if reception.wire_name == "v2" and reception.agreed is None:
                raise Refused("missing v2 crypto negotiation")
        except Refused as error:
            self._refuse_login(reception, error)
            return
        caller.is_now_known()
        self.penalties.trust(caller.address[0], trio.current_time())
        control = Control(self, reception, login, run_id)
        stream = EndStream(self.engine).take_over(reception)
        try:
            await self.controls.become_current(control)
            self.clients.register(control, time.time())
        except Refused as error:
            self.controls.remove(control)
            control.ended.set()
            self._refuse_login(reception, error)
            return
        except BaseException:
            self.controls.remove(control)
            control.ended.set()
            raise
        self.penalties.came(control.ip)
        try:
            await control.run(stream)
        except Exception:
            log.exception("bug in the control of client [%s]", run_id)

    def _refuse_login(self, reception: Reception, error: Refused) -> None:
        reception.caller.log.warning("client login from [%s] refused: %s", reception.caller.address[0], error)
        reception.caller.punish(FAILED_LOGIN)
        reception.refuse(LoginResp(self.version, error=self.error_text(str(error), "register control error")))
        reception.caller.dismiss()

    def log_of_client(self, host: str) -> BoundedLog:
        """For lines that a client causes who has logged in from `host`."""
        return BoundedLog("", self.client_lines.of(host), about="this client")

    def left(self, control: Control) -> None:
        """A control has given back what it had."""
        self.penalties.went(control.ip, trio.current_time())
        self.controls.remove(control)
        self.clients.unregister(control, time.time())

    def error_text(self, detailed: str, summary: str) -> str:
        """What a client is told of an error."""
        return detailed if self.config.detailed_errors_to_client else summary

    # another configuration

    @property
    def is_open(self) -> bool:
        """Whether clients need to know nothing to log in."""
        return not self.token and self.config.auth.method == "token"

    async def reload(self) -> Reloaded:
        """Read the configuration file again and apply what can be applied. Raises ConfigError, and then nothing has changed."""
        from frp_py.server.reload import reload

        async with self._reloading:
            return await reload(self)

    async def reload_and_log(self) -> None:
        """The same for those whom nobody answers: what is wrong goes to the log."""
        try:
            await self.reload()
        except ConfigError as error:
            log.error("reload config error: %s", error)

    def watch_again(self) -> None:
        """Look for changes of the configuration file, if that is wanted now."""
        self._watching.cancel()
        if self.config.watch_config and self.source is not None:
            self._watching = trio.CancelScope()
            self.start_task(self._watch, self.source.path, self._watching)

    async def _watch(self, path: str, scope: trio.CancelScope) -> None:
        from frp_py.net.watch import watch_files

        with scope:
            await watch_files(lambda: (path,), self._file_has_changed)

    async def _file_has_changed(self) -> None:
        self.start_task(self.reload_and_log)  # which may end the watching

    def certificates_now(self) -> tuple[str, str]:
        """Digests of the files that TLS uses: on the client port, and on the web server's."""
        return tls.digest(self.config.transport.tls), tls.digest(self.config.web_server.tls)

    async def _watch_certificates(self) -> None:
        """They are renewed by others."""
        while True:
            await trio.sleep(_CERTIFICATES)
            if self.certificates_now() != self.certificates:
                from frp_py.server.reload import renew_certificates

                renew_certificates(self)

    # from time to time

    def _each_second(self) -> None:
        self.statistics.tick(time.time())
        for control in self.controls.all():
            control.each_second()

    async def _housekeeping(self) -> None:
        while True:
            await trio.sleep(3600)
            self.tcp_ports.forget_old(trio.current_time())
            self.udp_ports.forget_old(trio.current_time())


def _listener(what: str, host: str, port: int, keepalive: int = 75) -> socket.socket:
    try:
        return tcp_listener(host, port, keepalive=keepalive)
    except OSError as error:
        raise FrpError(f"create {what} listener error, {listen_error(host, port, error)}") from None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
