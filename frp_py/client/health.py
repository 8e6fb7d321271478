"""Probes of a local service; its proxy is registered only while they succeed (behaviour.md 5)."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

import trio

from frp_py.errors import FrpError
from frp_py.net.transports.tcp import cause

if TYPE_CHECKING:
    from trio.abc import Stream

    from frp_py.client.proxies.base import LocalSide
    from frp_py.config.proxies import HealthCheck

_INTERVAL, _TIMEOUT, _MAX_FAILED = 10, 3, 1
_REMINDER = 600  # s between two lines about a service that stays down
_REDIRECTS = 10
_NOT_ELSEWHERE = frozenset(("host", "authorization", "cookie", "cookie2", "www-authenticate"))  # headers that are for one host only
_FRAMING = frozenset(("content-length", "transfer-encoding", "connection"))


class ProbeError(FrpError):
    """The service is not well, for the reason given."""


class Monitor:
    """Watches the local service of one proxy. `changed(healthy)` has to register the proxy, or to withdraw it."""

    def __init__(self, proxy: LocalSide) -> None:
        self._proxy = proxy
        check = proxy.config.health_check
        self._interval = check.interval_seconds if check.interval_seconds > 0 else _INTERVAL
        self._timeout = check.timeout_seconds if check.timeout_seconds > 0 else _TIMEOUT
        self._max_failed = check.max_failed if check.max_failed > 0 else _MAX_FAILED
        self._failed = 0
        self._told = ""  # the last reason that was logged
        self._again = 0.0
        proxy.healthy = False

    async def run(self) -> None:
        """Probe until cancelled."""
        proxy, log = self._proxy, self._proxy.log
        while True:
            try:
                await self._probe()
            except ProbeError as error:
                self._tell(str(error))
                self._failed += 1
                if proxy.healthy and self._failed >= self._max_failed:
                    log.info("health check status change to failed")
                    proxy.session.health_changed(proxy, healthy=False)
                    log.info("health check failed")
            else:
                self._failed = 0  # only failures in a row count
                self._told = ""
                if not proxy.healthy:
                    log.info("health check status change to success")
                    proxy.session.health_changed(proxy, healthy=True)
                    log.info("health check success")
            await trio.sleep(self._interval)

    def _tell(self, reason: str) -> None:
        """A service that stays down isn't news each time."""
        proxy, now = self._proxy, trio.current_time()
        if proxy.healthy or reason != self._told or now >= self._again:
            self._told, self._again = reason, now + _REMINDER
            proxy.log.warning("do one health check failed: %s", reason)
        else:
            proxy.log.debug("do one health check failed: %s", reason)

    async def _probe(self) -> None:
        """One probe. Raises ProbeError."""
        config = self._proxy.config
        try:
            with trio.fail_after(self._timeout):
                if config.health_check.type == "http":
                    await probe_http(config.local_ip, config.local_port, config.health_check)
                else:
                    await probe_tcp(config.local_ip, config.local_port)
        except trio.TooSlowError:
            raise ProbeError(f"no answer within {self._timeout} s") from None
        except OSError as error:
            raise ProbeError(cause(error)) from None
        except (trio.BrokenResourceError, ValueError) as error:
            raise ProbeError(str(error)) from None


async def probe_tcp(host: str, port: int) -> None:
    """Connect, no more. Raises OSError."""
    stream = await trio.open_tcp_stream(host, port)
    await stream.aclose()


async def probe_http(host: str, port: int, check: HealthCheck) -> None:
    """GET the path; any 2xx after redirects is fine. Raises ProbeError, OSError or trio.BrokenResourceError."""
    path = check.path if check.path.startswith("/") else "/" + check.path
    headers = [(header.name, header.value) for header in check.http_headers]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
    for _ in range(_REDIRECTS):
        answer = await _get(url, headers)
        if 200 <= answer.status < 300:
            return
        if answer.status not in (301, 302, 303, 307, 308) or not answer.location:
            raise ProbeError(f"do http health check, StatusCode is [{answer.status}] not 2xx")
        old, url = url, urljoin(url, answer.location)
        if urlsplit(old).netloc != urlsplit(url).netloc:
            headers = [(name, value) for name, value in headers if name.lower() not in _NOT_ELSEWHERE]
    raise ProbeError(f"stopped after {_REDIRECTS} redirects")


class _Answer(NamedTuple):
    status: int
    location: str


async def _get(url: str, headers: list[tuple[str, str]]) -> _Answer:
    import h11

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ProbeError(f"redirected to a bad URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ProbeError(f"redirected to {url[:200]!r}, which can't be probed")
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    names = {name.lower() for name, _ in headers}
    sent = [(name, value) for name, value in headers if name.lower() not in _FRAMING]
    if "host" not in names:
        sent.insert(0, ("Host", parts.netloc.rpartition("@")[2]))
    if "user-agent" not in names:
        sent.append(("User-Agent", "frp-py"))
    connection = h11.Connection(h11.CLIENT)
    try:
        request = connection.send(h11.Request(method="GET", target=target.encode(), headers=[*sent, ("Connection", "close")]))
        async with _stream(parts.scheme, host, port) as stream:
            await stream.send_all((request or b"") + (connection.send(h11.EndOfMessage()) or b""))
            while not isinstance(event := connection.next_event(), h11.Response):
                if event is h11.NEED_DATA:
                    data = await stream.receive_some(65536)
                    if not data:
                        raise ProbeError("connection closed before an answer")
                    connection.receive_data(bytes(data))
    except h11.ProtocolError as error:
        raise ProbeError(str(error)) from None
    location = next((value for name, value in event.headers if name == b"location"), b"")
    return _Answer(event.status_code, location.decode("latin-1"))


@contextlib.asynccontextmanager
async def _stream(scheme: str, host: str, port: int) -> AsyncIterator[Stream]:
    stream: Stream
    if scheme == "https":
        context = await trio.to_thread.run_sync(ssl.create_default_context)
        stream = await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True, ssl_context=context)
    else:
        stream = await trio.open_tcp_stream(host, port)
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)
