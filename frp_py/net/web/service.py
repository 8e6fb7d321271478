"""The web server of a program: its connections, and the application that answers on them (behaviour.md 11.1)."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from frp_py.config.common import TlsFiles
from frp_py.errors import FrpError, PeerError
from frp_py.log import get_logger
from frp_py.net.engine.listen import Listening, listen_error, plain_address, tcp_listener
from frp_py.net.http.pages import TEXT
from frp_py.net.transports import tls
from frp_py.net.web import openapi
from frp_py.net.web.connection import Connection
from frp_py.net.web.crowd import Crowd
from frp_py.net.web.events import EventStreams
from frp_py.net.web.guard import Guard
from frp_py.net.web.operations import Operation, RawRoute
from frp_py.net.web.pages import Pages
from frp_py.net.web.profiling import Profiling
from frp_py.net.web.routes import application
from frp_py.net.web.started import Started
from frp_py.net.web.throttle import Throttle
from frp_py.net.web.tickets import Tickets
from frp_py.version import FRP_VERSION

if TYPE_CHECKING:
    from starlette.routing import Router

    from frp_py.config.common import WebServerConfig
    from frp_py.net.engine.loop import Engine
    from frp_py.net.http.heads import Field
    from frp_py.net.web.asgi import Call
    from frp_py.net.web.request import Request

log = get_logger()

_WAITING = 256  # connections on which nothing is being served
_WAITING_TLS = 128  # the same; by HTTP/2 each of them may have sent a MiB that nobody wants
_CONNECTIONS = 768  # in all
_TARGET = 8192  # bytes of path and query: 64 KiB of either would take many milliseconds to be understood
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FIELDS: tuple[Field, ...] = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"same-origin"),  # where browsers don't tell the origin of a request, the guard looks at Referer
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Embedder-Policy", b"require-corp"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)


class Session(msgspec.Struct, rename="camel"):
    """What a dashboard has to know before anything else; times are Unix seconds."""

    program: str
    version: str
    started_at: int
    now: int
    open: bool
    """Other machines come in without a password."""
    read_only: bool
    """The requester may change nothing."""


class WebService:
    """Serves `operations`, `raw` routes and the pages of the folder `pages`, as `config` says."""

    def __init__(
        self,
        engine: Engine,
        config: WebServerConfig,
        *,
        program: str,
        operations: Sequence[Operation],
        pages: str,
        raw: Sequence[RawRoute] = (),
    ) -> None:
        self._engine = engine
        self._config = config
        self._program = program
        self._pages = pages
        self._raw = raw
        session = Operation(
            "GET", "/api/x/session", self._session, "Who is asked, and what the asker may do", returns=Session, envelope=program == "frps"
        )
        self._operations = (*operations, session)
        self._description = b""
        self._started = Started()
        self._streams = EventStreams()
        self._throttle = Throttle()
        self._tickets = Tickets(config.port)
        self._crowd = Crowd(_WAITING)
        self._connections = 0
        self._socket: socket.socket | None = None
        self._listening: Listening | None = None
        self._context: ssl.SSLContext | None = None
        self._nursery: trio.Nursery
        self._guard: Guard
        self._app: Router
        self._fields: tuple[Field, ...]

    def listen(self) -> tuple[str, int]:
        """Bind; connections wait until `run`. Raises FrpError."""
        config = self._config
        self._context = _context(config)
        try:
            self._socket = tcp_listener(config.addr, config.port)
        except OSError as error:
            raise FrpError(f"create web server listener error, {listen_error(config.addr, config.port, error)}") from None
        self._apply(config)
        self._warn()
        return plain_address(self._socket.getsockname())

    def close(self) -> None:
        """Stop listening; the port is free at once."""
        if self._listening is not None:
            self._listening.close()
        elif self._socket is not None:
            self._socket.close()
        self._listening = self._socket = None

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._socket is not None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._listening = Listening(self._engine, self._socket, self._on_connection)
            try:
                await trio.sleep_forever()
            finally:
                self.close()  # before the nursery is closed: nobody comes in any more

    def renew(self, config: WebServerConfig) -> None:
        """Go on with another user, password, certificate, assetsDir or pprofEnable. Raises FrpError, and changes nothing then."""
        context = _context(config)
        old, self._config, self._context = self._config, config, context
        self._apply(config)
        if (old.user, old.password) != (config.user, config.password):
            self._streams.end()
            self._warn()

    def _warn(self) -> None:
        assert self._socket is not None
        host, port = plain_address(self._socket.getsockname())
        if self._guard.is_open:
            log.warning(
                "THE WEB SERVER ON %s:%d HAS NO PASSWORD: everybody who reaches it sees all there is to see. "
                "Other machines can change nothing until webServer.user and webServer.password are set",
                f"[{host}]" if ":" in host else host,
                port,
            )

    def _apply(self, config: WebServerConfig) -> None:
        assert self._socket is not None
        is_local = ipaddress.ip_address(self._socket.getsockname()[0].partition("%")[0]).is_loopback
        self._crowd.limit = _WAITING if config.tls is None else _WAITING_TLS
        self._guard = Guard(config, is_local=is_local, throttle=self._throttle, tickets=self._tickets)
        pages = Pages(self._pages, config.assets_dir)
        self._app = application(
            self._operations,
            (*self._raw, RawRoute("/api/openapi.json", self._describe, ("GET",))),
            pages.routes(),
            Profiling().routes() if config.pprof_enable else (),
            self._guard,
            self._streams,
        )
        # other people's pages have styles within
        policy = _POLICY.format(" 'unsafe-inline'" if config.assets_dir else "")
        self._fields = ((b"Content-Security-Policy", policy.encode()), *_FIELDS)

    async def _session(self, request: Request) -> Session:
        return Session(
            self._program, FRP_VERSION, self._started.at, int(time.time()), self._guard.is_open, self._guard.is_read_only(request)
        )

    async def _describe(self, request: Request) -> msgspec.Raw:
        if not self._description:
            self._description = msgspec.json.encode(openapi.description(self._program, FRP_VERSION, self._operations))
        return msgspec.Raw(self._description)

    # connections

    def _on_connection(self, sock: socket.socket, address: Any) -> None:
        if self._connections >= _CONNECTIONS:
            sock.close()
            return
        self._connections += 1
        self._nursery.start_soon(self._serve, Connection(self._engine, sock, address[0], self._context, self._crowd, self._answer))

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._connections -= 1

    async def _answer(self, call: Call) -> None:
        """Raises PeerError; a bug is the end of this request alone."""
        call.fields = self._fields
        if len(call.exchange.target) > _TARGET:
            await call.exchange.answer(414, [*self._fields, TEXT], b"414 URI Too Long\n")
            return
        try:
            await call.run(self._app)
        except PeerError:
            raise
        except Exception:
            log.exception("bug in a request of the web server")
            if not call.exchange.started:
                await call.exchange.answer(500, [*self._fields, TEXT], b"internal server error\n")


def _context(config: WebServerConfig) -> ssl.SSLContext | None:
    """Raises FrpError."""
    if config.tls is None:
        return None
    context = tls.server_context(TlsFiles(cert_file=config.tls.cert_file, key_file=config.tls.key_file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
