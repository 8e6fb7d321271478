"""The HTTP port that all proxies of type http share (behaviour.md 3)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from frp_py.net.http import pages
from frp_py.server.bounded_log import refusals_log
from frp_py.server.groups import Groups
from frp_py.server.strangers import StrangersLog
from frp_py.server.vhost import not_found
from frp_py.server.vhost.backend import Backend, Requester
from frp_py.server.vhost.h1 import UserConnection
from frp_py.server.vhost.routes import Routes
from frp_py.server.vhost.sites import Site
from frp_py.server.visits import address_text

if TYPE_CHECKING:
    from frp_py.config import ServerConfig
    from frp_py.net.engine.loop import Engine
    from frp_py.server.proxies.base import PublicProxy
    from frp_py.server.vhost.h2 import H2Connection
    from frp_py.server.vhost.parting import Parting

_HEAD = 60  # s for the head of a request (behaviour.md 3)
_FINISHED = 60  # s beyond the service's, that somebody who sends nothing more is kept while nothing is sent to him either
_STALL = 300  # s in which nothing comes of a request's body, or in which an HTTP/2 user asks for nothing
_HELD = 64 << 20  # bytes that wait for HTTP/2 users, or for their services; an HTTP/1 user has no more than one window
_UNREAD = 64 << 20  # bytes of requests that are not complete, or whose turn it isn't; who has been there for longest makes room
_ROOM = 64  # users who rest, and go when descriptors have run out
_LAST_WORDS = 60  # s in which somebody takes nothing of the last answer
_CONTINUE = 1  # s that a service may leave `Expect: 100-continue` unanswered


class HttpVhost:
    """Who is connected, where names lead, and what is being waited for."""

    def __init__(self, engine: Engine, config: ServerConfig) -> None:
        self.engine = engine
        self.routes: Routes[Site] = Routes()
        """By the host as `rules.routing_host` has it, and the path as `rules.unescaped_path` has it (behaviour.md 3.1, 3.2)."""
        self.groups: Groups[Site] = Groups()
        self.users: dict[UserConnection | H2Connection, None] = {}
        self.active: dict[Backend, None] = {}
        """Connections that serve somebody."""
        self.tick = 0
        """A clock that counts seconds."""
        self.clock = pages.Clock()
        self.h2_users: dict[H2Connection, None] = {}
        self.held = 0
        """Bytes of responses that HTTP/2 users have not taken, and of their requests that services have not."""
        self.unread: dict[UserConnection, int] = {}
        """Bytes of requests that are held for users of HTTP/1; who has held some for longest comes first."""
        self._unread = 0
        self._log = StrangersLog()
        self._refusals = refusals_log()
        self.slow_heads = engine.timeouts(_HEAD)
        self.expectations = engine.timeouts(_CONTINUE)
        self.resting = engine.timeouts(_STALL)
        """HTTP/2 users who have asked for nothing since they got what they asked for."""
        self.partings: dict[Parting, None] = {}
        """Users who are served no longer, and have not taken all of their answers yet."""
        self.last_words = engine.timeouts(_LAST_WORDS)
        self.sites: dict[Site, None] = {}
        self.finished = engine.timeouts(0)
        """Users who send nothing more; most of them have gone, which shows only when something is sent to them."""
        self.configure(config)
        engine.each_second(self._each_second)

    def configure(self, config: ServerConfig) -> None:
        """From now on this holds."""
        self._response_timeout = config.vhost_http_timeout if config.vhost_http_timeout > 0 else 60
        self.finished.change(self._response_timeout + _FINISHED)
        self._page_path = config.custom_404_page

    def close(self) -> None:
        """The server stops."""
        self.engine.not_each_second(self._each_second)
        for user in [*self.users, *self.partings]:
            user.abort()

    def on_connection(self, sock: socket.socket, address: Any) -> None:
        """A user comes; nothing of what he says has been read."""
        self.users[UserConnection(self, sock, address)] = None

    def make_room(self) -> None:
        """Descriptors have run out: of those who ask for nothing, and want nothing either, the oldest go."""
        for user in [user for user in self.users if user.is_resting][:_ROOM]:
            user.retire()

    def hold_unread(self, user: UserConnection, n: int) -> None:
        """n bytes in all are held for `user` now."""
        unread = self.unread
        if n:
            self._unread += n - unread.get(user, 0)
            unread[user] = n
            while self._unread > _UNREAD:
                next(iter(unread)).abort()
        elif user in unread:
            self._unread -= unread.pop(user)

    def hold(self, user: H2Connection, n: int) -> None:
        """n bytes more, or less, are held for `user`."""
        before = self.held
        user.held += n
        self.held = before + n
        if before <= _HELD < before + n:
            self.engine.soon(self._relieve)

    def _relieve(self) -> None:
        """Too much is held: who has most of it is not served any longer. He alone may have a hundred windows."""
        while self.held > _HELD:
            max(self.h2_users, key=lambda user: user.held).give_up()

    # connections to services

    def obtain(self, site: Site, requester: Requester, *, share: bool, proxy: PublicProxy | None = None) -> None:
        """A connection for the next request of `requester`, who hears `connected` or `failed`.

        `share`: it may have served others. `proxy`: the member of the group it has to be of; None: the one whose turn it is.
        """
        if proxy is None:
            proxy = site.next()
            if proxy is None:
                requester.failed(404, "no proxy is left in the group")
                return
        if share and (idle := site.idle.get(proxy)):
            requester.backend = backend = idle.pop()
            backend.begin(requester)
        else:
            requester.backend = backend = Backend(self, site if share else None, proxy, requester)
            backend.want()

    def repeat(self, requester: Requester, dead: Backend) -> None:
        """The same for a request whose connection turned out dead."""
        assert dead.site is not None
        self.obtain(dead.site, requester, share=True, proxy=dead.proxy)

    def _each_second(self) -> None:
        self.tick = tick = self.tick + 1
        overdue = tick - self._response_timeout
        for backend in list(self.active):
            backend.each_second(tick, overdue, tick - _STALL)
        for site in self.sites:
            site.sweep(tick)

    # what is not there

    def warn(self, host: bytes, reason: str, source: tuple[str, int]) -> None:
        """A request could not be forwarded."""
        self._log.warning("do http proxy request [host: %s] error: %s (from [%s])", self.printable(host), reason, address_text(source))

    def refused(self, source: tuple[str, int], reason: str) -> None:
        """A user is not let in, or doesn't speak HTTP."""
        self._refusals.info("http user connection [%s] refused: %s", address_text(source), reason)

    @staticmethod
    def printable(text: bytes) -> str:
        """For a line of the log."""
        return text[:256].decode("latin-1").encode("unicode_escape").decode()

    def page(self) -> bytes:
        """The not-found page."""
        return not_found.page(self._page_path, self._log)

    def answer_to_connect(self) -> bytes:
        """The answer to a CONNECT that leads nowhere."""
        return not_found.answer_to_connect(self._page_path, self._log)
