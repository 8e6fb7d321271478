"""Who may ask for what.

Browsers send credentials by themselves, also to where another page makes them ask; so requests that pages of other origins cause are
refused. While there is no password, a name that an attacker made point here is refused too (DNS rebinding), and other machines change
nothing.
"""

from __future__ import annotations

import ipaddress
import math
import re
from typing import TYPE_CHECKING, TypeAlias

import trio

from frp_py.log import get_logger
from frp_py.net.http.auth import allows, basic_credentials
from frp_py.net.http.heads import values_of
from frp_py.net.http.pages import TEXT
from frp_py.net.web.throttle import DELAY, Throttle

if TYPE_CHECKING:
    from frp_py.config.common import WebServerConfig
    from frp_py.net.http.heads import Field
    from frp_py.net.web.request import Request
    from frp_py.net.web.tickets import Tickets

log = get_logger()

Answer: TypeAlias = "tuple[int, list[Field], bytes]"
"""Status, fields and body."""

FOREIGN = (
    "this request comes from a page of another origin and is refused; open the dashboard itself, or use a program such as curl "
    "(a reverse proxy in front has to pass on the Host header)"
)
NAMED = (
    "without a password this server is reached only by address, by localhost or by its webServer.addr; "
    "set webServer.user and webServer.password to reach it by another name"
)
READ_ONLY = (
    "without a password only the machine it runs on may change anything; set webServer.user and webServer.password in its configuration"
)
SECRET = (
    "without a password only the machine it runs on may see tokens and keys; set webServer.user and webServer.password in its configuration"
)

_UNAUTHORIZED: Answer = (401, [(b"WWW-Authenticate", b'Basic realm="Restricted"'), TEXT], b"Unauthorized\n")
_TOO_MANY: Answer = (429, [(b"Retry-After", b"5"), TEXT], b"Too Many Requests\n")
_LINES = 50  # about wrong passwords in the log at once; later on one a second
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
_PORT = re.compile(r":\d*\Z")


class Guard:
    """The rules of one configuration."""

    def __init__(self, config: WebServerConfig, *, is_local: bool, throttle: Throttle, tickets: Tickets) -> None:
        self._user = config.user
        self._password = config.password
        self._name = config.addr.lower()
        self._throttle = throttle
        self._tickets = tickets
        self._is_local = is_local
        self._lines = float(_LINES)
        self._lines_at = -math.inf
        self._has_password = bool(config.user or config.password)

    @property
    def is_open(self) -> bool:
        """Whether other machines may come in without a password."""
        return not self._has_password and not self._is_local

    def is_read_only(self, request: Request) -> bool:
        """Whether this requester may change nothing."""
        return self.is_open and not self._is_from_here(request)

    def refusal(self, request: Request, *, is_page: bool, changes: bool, secrets: bool) -> str:
        """Why this is answered with 403; empty when it isn't. Anybody may be sent to a page by a link."""
        if not self._has_password and not self._may_be_called(_host(request)):
            return NAMED
        if not is_page and _is_foreign(request, changes=changes):
            return FOREIGN
        if (changes or secrets) and self.is_read_only(request):
            return READ_ONLY if changes else SECRET
        return ""

    async def demand(self, request: Request) -> Answer | None:
        """What is answered to whoever hasn't the password, after a while; None for those who have it."""
        if not self._has_password:
            return None
        given = values_of(request.fields, b"authorization")
        credentials = basic_credentials(given[0]) if len(given) == 1 else None
        if credentials is None:
            await trio.sleep(DELAY)
            return _UNAUTHORIZED
        source = self._tickets.holder(request) or request.peer
        if not self._throttle.may_try(source):
            return _TOO_MANY
        if allows(credentials, self._user, self._password):
            return None
        wrong = await self._throttle.wrong(source)
        if wrong & (wrong - 1) == 0 and self._may_log():  # 1, 2, 4, 8...: whoever guesses doesn't fill the log
            log.warning("web server: wrong user or password from [%s], %d so far", request.peer, wrong)
        return _UNAUTHORIZED

    def new_ticket(self, request: Request) -> str:
        """A ticket for whoever has just given the password, as a value of Set-Cookie; empty when he needs none."""
        return self._tickets.new(request) if self._has_password and not self._tickets.holder(request) else ""

    def _may_log(self) -> bool:
        now = trio.current_time()
        self._lines = min(self._lines + (now - self._lines_at), _LINES)
        self._lines_at = now
        if self._lines < 1:
            return False
        self._lines -= 1
        return True

    def _may_be_called(self, host: str) -> bool:
        return not host or _is_no_foreign_name(host) or host == self._name

    def _is_from_here(self, request: Request) -> bool:
        """Whether the machine itself asks; what a proxy or a tunnel on it passes on shows by the name, or by what it adds."""
        if not (_is_loopback(request.peer) or request.peer == request.call.local):
            return False
        if any(values_of(request.fields, name) for name in _FORWARDED):
            return False
        host = _host(request)
        return host in ("", "localhost", request.call.local, self._name) or _is_loopback(host)


def _host(request: Request) -> str:
    """The host that was asked for, in lower case, without port and brackets."""
    return _PORT.sub("", request.exchange.host.decode("latin-1").lower()).strip("[]").rstrip(".")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_no_foreign_name(host: str) -> bool:
    """An address, localhost, or a name without dots: those can't be bought."""
    if "." not in host:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_foreign(request: Request, *, changes: bool) -> bool:
    """Whether a page of another origin made the browser ask.

    Browsers say so themselves (Sec-Fetch-Site), but not to plain HTTP on other machines. There they name the origin of all but simple
    GETs; for those that change something the page must have been one of ours, which can be told by Referer.
    """
    site = request.field(b"sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    host = request.exchange.host.decode("latin-1").lower()
    origins = values_of(request.fields, b"origin")
    if origins:
        return any(_authority(origin) != host for origin in origins)
    if changes and (request.field(b"user-agent") or "").startswith("Mozilla/"):
        return _authority(b"".join(values_of(request.fields, b"referer"))) != host
    return False


def _authority(url: bytes) -> str:
    return url.decode("latin-1").lower().partition("://")[2].partition("/")[0]
