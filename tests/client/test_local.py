"""Connecting to local services."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.client.local import Dialer
from frp_py.net.engine.loop import Engine
from tests.support.inside import HOST, Clock, logged, service
from tests.support.net import descriptors, until
from tests.support.ports import free_port


class Outcome:
    """What a Dialer said, which it must say once."""

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.reason = ""

    def connected(self, sock: socket.socket) -> None:
        assert not self.is_there
        self.sock = sock

    def failed(self, reason: str) -> None:
        assert not self.is_there
        self.reason = reason

    @property
    def is_there(self) -> bool:
        return self.sock is not None or self.reason != ""

    async def wait(self) -> Outcome:
        await until(lambda: self.is_there)
        return self


class Dials:
    def __init__(self, engine: Engine, nursery: trio.Nursery) -> None:
        self.engine = engine
        self.timeouts = engine.timeouts(10)
        self.dialer = Dialer(engine, nursery, self.timeouts)

    def dial(self, host: str, port: int) -> Outcome:
        outcome = Outcome()
        self.dialer.dial(host, port, outcome.connected, outcome.failed)
        return outcome


@asynccontextmanager
async def dials() -> AsyncIterator[Dials]:
    engine = Engine()
    async with engine.running(), trio.open_nursery() as nursery:
        made = Dials(engine, nursery)
        yield made
        assert len(made.timeouts) == 0


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are looked up: each has the addresses ::1 and 127.0.0.1, unless it has dots."""
    asked: list[str] = []
    real = trio.socket.getaddrinfo

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        if host == HOST:
            return await real(host, port, **options)
        asked.append(host)
        await trio.lowlevel.checkpoint()
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host == "slow":
            await trio.sleep_forever()
        if "\udc80" in host:
            raise UnicodeError("label empty or too long")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port)),
        ]

    monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("host", [HOST, "::1"])
async def test_numeric_addresses_need_no_task(host: str) -> None:
    async with dials() as dialing, service(host) as web:
        outcome = await dialing.dial(host, web.port).wait()
        assert outcome.sock is not None
        assert outcome.sock.getpeername()[:2] == (host, web.port)
        assert outcome.sock.getblocking() is False
        assert outcome.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        outcome.sock.close()


async def test_a_service_that_is_down() -> None:
    async with dials() as dialing:
        before = descriptors()
        outcome = await dialing.dial(HOST, free_port()).wait()
        assert outcome.reason == "connect: connection refused"
        assert descriptors() == before


@pytest.mark.parametrize("host", ["localhost", "a.name.with.dots"])
async def test_a_name_all_of_whose_addresses_are_tried(host: str, lookups: list[str]) -> None:
    async with dials() as dialing, service(HOST) as web:
        outcome = await dialing.dial(host, web.port).wait()
        assert outcome.sock is not None
        assert outcome.sock.getpeername() == (HOST, web.port)
        outcome.sock.close()


async def test_a_name_is_looked_up_once_in_a_while(lookups: list[str], mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    async with dials() as dialing, service(HOST) as web:
        for _ in range(3):
            outcome = await dialing.dial("name", web.port).wait()
            assert outcome.sock is not None
            outcome.sock.close()
        assert lookups == ["name"]
        await clock.forward(6)
        outcome = await dialing.dial("name", web.port).wait()
        assert outcome.sock is not None
        outcome.sock.close()
        assert lookups == ["name", "name"]


async def test_after_a_failure_the_name_is_looked_up_anew(lookups: list[str]) -> None:
    async with dials() as dialing:
        port = free_port()
        for n in range(3):
            outcome = await dialing.dial("name", port).wait()
            assert outcome.reason == "connect: connection refused"
            assert len(lookups) == n + 1


@pytest.mark.parametrize(
    ("host", "reason"),
    [("unknown", "lookup unknown: Name or service not known"), ("\udc80", "lookup \udc80: label empty or too long")],
)
async def test_a_name_that_is_none(host: str, reason: str, lookups: list[str]) -> None:
    async with dials() as dialing:
        assert (await dialing.dial(host, 80).wait()).reason == reason


async def test_a_name_server_that_does_not_answer(lookups: list[str], mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    async with dials() as dialing:
        outcome = dialing.dial("slow", 80)
        await clock.forward(9)
        assert not outcome.is_there
        await clock.forward(2)
        assert (await outcome.wait()).reason == "lookup slow: i/o timeout"


class DeafSocket(socket.socket):
    """Connecting takes for ever."""

    def connect_ex(self, address: Any) -> int:
        return errno.EINPROGRESS

    def getpeername(self) -> Any:
        raise OSError(errno.ENOTCONN, "not connected")


async def test_a_service_that_does_not_answer(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(mock_clock)
    async with dials() as dialing:
        before = descriptors()
        monkeypatch.setattr(socket, "socket", DeafSocket)
        monkeypatch.setattr(dialing.engine, "watch", lambda fd, events, handler: None)  # an unconnected socket would be ready at once
        outcome = dialing.dial(HOST, 80)
        await clock.forward(9)
        assert not outcome.is_there
        await clock.forward(2)
        assert (await outcome.wait()).reason == "i/o timeout"
        await until(lambda: descriptors() == before)


@pytest.mark.parametrize("fails", ["socket", "connect"])
async def test_when_the_system_refuses(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def __init__(self, *args: Any, **options: Any) -> None:
            if fails == "socket":
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__(*args, **options)

        def connect_ex(self, address: Any) -> int:
            return errno.ENETUNREACH

    async with dials() as dialing:
        monkeypatch.setattr(socket, "socket", Refusing)
        reason = (await dialing.dial(HOST, 80).wait()).reason
        assert reason == ("connect: too many open files" if fails == "socket" else "connect: network is unreachable")


async def test_many_at_once() -> None:
    with logged():
        async with dials() as dialing, service(HOST) as web:
            outcomes = [dialing.dial(HOST, web.port) for _ in range(100)] + [dialing.dial(HOST, free_port()) for _ in range(100)]
            for outcome in outcomes:
                await outcome.wait()
                if outcome.sock is not None:
                    outcome.sock.close()
            assert sum(outcome.sock is not None for outcome in outcomes) == 100
