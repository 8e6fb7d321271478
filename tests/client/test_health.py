"""Probes against services in the same run."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from frp_py.client.health import Monitor, ProbeError, probe_http, probe_tcp
from frp_py.client.proxies.base import LocalSide
from frp_py.config.proxies import HealthCheck, HttpHeader

HOST = "127.0.0.1"


class Web:
    """Answers each request with what `answer(head)` gives."""

    def __init__(self, nursery: trio.Nursery, answer: Callable[[str], str | bytes]) -> None:
        self.heads: list[str] = []
        self._answer = answer
        self._nursery = nursery
        self.port = 0

    async def start(self) -> Web:
        listeners = await self._nursery.start(trio.serve_tcp, self._serve, 0)
        self.port = listeners[0].socket.getsockname()[1]
        return self

    async def _serve(self, stream: trio.SocketStream) -> None:
        head = b""
        try:
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some()
                if not data:
                    return
                head += data
            self.heads.append(head.decode())
            answer = self._answer(head.decode())
            await stream.send_all(answer.encode() if isinstance(answer, str) else answer)
        except trio.BrokenResourceError:
            pass
        await stream.aclose()


def ok(head: str) -> str:
    return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def check(path: str = "/health", **headers: str) -> HealthCheck:
    return HealthCheck(type="http", path=path, http_headers=tuple(HttpHeader(name=name, value=value) for name, value in headers.items()))


@pytest.mark.parametrize("answer", ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 204 x\r\n\r\n", "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 299 x\r\n\r\n"])
async def test_any_2xx_is_fine(nursery: trio.Nursery, answer: str) -> None:
    web = await Web(nursery, lambda head: answer).start()
    await probe_http(HOST, web.port, check("path?q=1"))
    assert web.heads[0].startswith(f"GET /path?q=1 HTTP/1.1\r\nHost: {HOST}:{web.port}\r\n")
    assert "Connection: close\r\n" in web.heads[0]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("HTTP/1.1 500 x\r\n\r\n", r"StatusCode is \[500\] not 2xx"),
        ("HTTP/1.1 304 x\r\n\r\n", r"\[304\]"),
        ("HTTP/1.1 302 x\r\n\r\n", r"\[302\]"),
        ("HTTP/1.1 302 x\r\nLocation: /again\r\n\r\n", "stopped after 10 redirects"),
        ("HTTP/1.1 302 x\r\nLocation: ftp://a/\r\n\r\n", "can't be probed"),
        ("HTTP/1.1 302 x\r\nLocation: http://:80/x\r\n\r\n", "can't be probed"),
        ("HTTP/1.1 302 x\r\nLocation: http://a:99999/\r\n\r\n", "bad URL"),
        ("SSH-2.0-x\r\n\r\n", "illegal status line"),
        ("", "connection closed before an answer"),
        ("HTTP/1.1 200 OK\r\nA: " + "b" * 200_000, "Receive buffer too long"),
    ],
)
async def test_anything_else_is_not(nursery: trio.Nursery, answer: str, text: str) -> None:
    web = await Web(nursery, lambda head: answer).start()
    with pytest.raises(ProbeError, match=text):
        await probe_http(HOST, web.port, check())


async def test_redirects_take_secrets_nowhere_else(nursery: trio.Nursery) -> None:
    other = await Web(nursery, ok).start()

    def moved(head: str) -> str:
        where = "/next" if head.startswith("GET /health") else f"http://{HOST}:{other.port}/there?x#y"
        return f"HTTP/1.1 307 x\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"

    web = await Web(nursery, moved).start()
    await probe_http(HOST, web.port, check(Host="web.example", Authorization="secret", Other="thing"))
    assert [head.partition(" HTTP")[0] for head in web.heads] == ["GET /health", "GET /next"]
    for head in web.heads:
        assert "Host: web.example\r\n" in head
        assert "Authorization: secret\r\n" in head
    (head,) = other.heads
    assert head.startswith(f"GET /there?x HTTP/1.1\r\nHost: {HOST}:{other.port}\r\n")
    assert "secret" not in head
    assert "Other: thing\r\n" in head


async def test_headers_that_would_change_the_request_are_not_sent(nursery: trio.Nursery) -> None:
    web = await Web(nursery, ok).start()
    await probe_http(HOST, web.port, HealthCheck(http_headers=(HttpHeader(name="Content-Length", value="5"),), path="/"))
    assert "Content-Length" not in web.heads[0]
    with pytest.raises(ProbeError):
        await probe_http(HOST, web.port, check(Bad="a\r\nb"))
    assert len(web.heads) == 1


async def test_tcp(nursery: trio.Nursery) -> None:
    web = await Web(nursery, ok).start()
    await probe_tcp(HOST, web.port)
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        with pytest.raises(OSError):
            await probe_tcp(HOST, closed.getsockname()[1])


async def test_a_failure_says_what_the_matter_is() -> None:
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        for kind in ("tcp", "http"):
            side = Side()
            side.config = SimpleNamespace(health_check=HealthCheck(type=kind, path="/"), local_ip=HOST, local_port=closed.getsockname()[1])
            with pytest.raises(ProbeError, match=r"^connect: connection refused$"):
                await Monitor(cast(LocalSide, side))._probe()


class NoNames(trio.abc.HostnameResolver):
    """Knows none."""

    async def getaddrinfo(self, *args: object, **kwargs: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *args: object, **kwargs: object) -> Any:
        raise NotImplementedError


async def test_a_name_that_does_not_exist() -> None:
    trio.socket.set_custom_hostname_resolver(NoNames())
    side = Side()
    side.config.local_ip = "service.internal"
    with pytest.raises(ProbeError, match=r"^Name or service not known$"):
        await Monitor(cast(LocalSide, side))._probe()


class Side:
    """Stands for a proxy; what its monitor does is in `seen`."""

    def __init__(self, **settings: Any) -> None:
        self.seen: list[str] = []
        self.healthy = True
        self.config = SimpleNamespace(health_check=HealthCheck(type="tcp", **settings), local_ip=HOST, local_port=1)
        self.log = SimpleNamespace(
            info=self.seen.append, warning=lambda text, error: self.seen.append(f"failed: {error}"), debug=lambda text, error: None
        )
        self.session = self

    def health_changed(self, proxy: Side, *, healthy: bool) -> None:
        self.seen.append("register" if healthy else "withdraw")
        self.healthy = healthy


@contextmanager
def probes(monkeypatch: pytest.MonkeyPatch, results: str) -> Iterator[list[float]]:
    """Probes that end well (+), fail (-) or hang (.), then fail for ever; gives the times at which they began."""
    times: list[float] = []
    coming = iter(results)

    async def probe(host: str, port: int) -> None:
        times.append(trio.current_time())
        result = next(coming, "-")
        if result == ".":
            await trio.sleep_forever()
        if result == "-":
            raise OSError("no")

    monkeypatch.setattr("frp_py.client.health.probe_tcp", probe)
    yield times


UP = ["health check status change to success", "register", "health check success"]
DOWN = ["health check status change to failed", "withdraw", "health check failed"]


async def test_the_status_changes_after_so_many_failures_in_a_row(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    side = Side(max_failed=2, interval_seconds=5)
    monitor = Monitor(cast(LocalSide, side))
    assert not side.healthy
    with probes(monkeypatch, "-++-+--+") as times, trio.move_on_after(5 * 7 + 1):
        await monitor.run()
    no = "failed: no"
    assert side.seen == [no, *UP, no, no, no, *DOWN, *UP]
    assert times == [5 * n for n in range(8)]


async def test_defaults_and_a_service_that_hangs(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    side = Side(max_failed=-1)
    with probes(monkeypatch, "+.+") as times, trio.move_on_after(24):
        await Monitor(cast(LocalSide, side)).run()
    assert side.seen == [*UP, "failed: no answer within 3 s", *DOWN, *UP]
    assert times == [0, 10, 23]


async def test_a_service_that_stays_down_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    side = Side(max_failed=2)
    no, slow = "failed: no", "failed: no answer within 3 s"
    with probes(monkeypatch, "-" * 70 + "-.-" + "-+----"), trio.move_on_after(900):
        await Monitor(cast(LocalSide, side)).run()
    # at the start, after ten minutes, with each new reason; then each time until it counts as down
    assert side.seen == [no, no, slow, no, *UP, no, no, *DOWN]
