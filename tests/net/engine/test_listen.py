"""Listeners: batches, one bad connection, and descriptors that run out."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.engine.listen import Listening, highest_for_users, most_ports, tcp_listener
from tests.support.net import descriptors, quiet, running_engine, until


class FakeListener:
    """Accepts what a script says; stands on a real listener, so that epoll can watch it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.family, self.type, self.proto = sock.family, sock.type, sock.proto
        self.errors: list[int] = []
        self.calls = 0

    def fileno(self) -> int:
        return self.sock.fileno()

    def getsockname(self) -> Any:
        return self.sock.getsockname()

    def close(self) -> None:
        self.sock.close()

    def _accept(self) -> tuple[int, Any]:
        self.calls += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "as the script says")
        sock, address = self.sock.accept()
        return sock.detach(), address


def connect(address: Any) -> socket.socket:
    return socket.create_connection(address, timeout=5)


async def test_connections_are_accepted_in_batches_and_are_ready_for_use() -> None:
    async with running_engine() as engine:
        got: list[socket.socket] = []
        listening = Listening(engine, tcp_listener("127.0.0.1", 0), lambda sock, address: got.append(sock))
        users = [connect(listening.address) for _ in range(100)]
        await until(lambda: len(got) == 100)
        assert not any(each.getblocking() for each in got)
        assert all(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in got)
        assert all(each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for each in got)
        assert all(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 75 for each in got)
        address = listening.address
        listening.close()
        listening.close()
        tcp_listener(*address).close()  # the port is free at once
        for each in (*got, *users):
            each.close()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETUNREACH])
async def test_one_connection_that_fails_is_only_that(code: int) -> None:
    async with running_engine() as engine:
        fake = FakeListener(tcp_listener("127.0.0.1", 0))
        fake.errors = [code, code]
        got: list[socket.socket] = []
        listening = Listening(engine, fake, lambda sock, address: got.append(sock))  # type: ignore[arg-type]
        user = connect(listening.address)
        await until(lambda: got)
        assert listening._pause == 0
        listening.close()
        got[0].close()
        user.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_when_descriptors_run_out_it_waits_longer_and_longer_and_goes_on(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_engine() as engine:
        alarms: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(engine, "at", lambda when, callback: alarms.append((when - trio.current_time(), callback)))
        fake = FakeListener(tcp_listener("127.0.0.1", 0))
        fake.errors = [code] * 11
        got: list[socket.socket] = []
        listening = Listening(engine, fake, lambda sock, address: got.append(sock))  # type: ignore[arg-type]
        user = connect(listening.address)
        pauses = []
        for i in range(11):
            await until(lambda i=i: len(alarms) > i)  # type: ignore[misc]
            await quiet(engine)
            assert fake.calls == i + 1  # it doesn't spin meanwhile
            pauses.append(alarms[i][0])
            alarms[i][1]()
        assert [round(p, 3) for p in pauses] == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1], abs=0.003)
        await until(lambda: got)
        assert listening._pause == 0
        listening.close()
        alarms[0][1]()  # too late, and harmless
        got[0].close()
        user.close()


async def test_a_bug_in_taking_a_connection_costs_that_connection() -> None:
    async with running_engine() as engine:
        got: list[socket.socket] = []

        def take(sock: socket.socket, address: Any) -> None:
            got.append(sock)
            if len(got) == 1:
                raise RuntimeError("bug")

        before = descriptors()
        listening = Listening(engine, tcp_listener("127.0.0.1", 0), take)
        first, second = connect(listening.address), connect(listening.address)
        await until(lambda: len(got) == 2)
        assert first.recv(1) == b""
        assert got[0].fileno() == -1
        got[1].send(b"x")
        assert second.recv(1) == b"x"
        listening.close()
        for each in (first, second, got[1]):
            each.close()
        assert descriptors() == before


async def test_a_listener_closed_by_what_it_accepts_stops_at_once() -> None:
    async with running_engine() as engine:
        got: list[socket.socket] = []
        address: list[Any] = []

        def take(sock: socket.socket, _: Any) -> None:
            got.append(sock)
            listening.close()

        listening = Listening(engine, tcp_listener("127.0.0.1", 0), take)
        address.append(listening.address)
        users = [connect(address[0]) for _ in range(3)]
        await until(lambda: got)
        await quiet(engine)
        assert len(got) == 1
        for each in (*users, *got):
            each.close()


EXHAUSTION = """
import resource, socket, trio
from frp_py.net.engine.listen import Listening, tcp_listener
from frp_py.net.engine.loop import Engine

async def main():
    engine = Engine()
    got = []
    async with engine.running():
        listening = Listening(engine, tcp_listener("127.0.0.1", 0), lambda sock, address: got.append(sock))
        users = [socket.create_connection(listening.address) for _ in range(10)]
        with trio.fail_after(5):
            while len(got) < 10:
                await trio.sleep(0.001)
        users.append(socket.socket())
        users.append(socket.socket())
        used = max(s.fileno() for s in users) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
        users[-2].connect(listening.address)
        users[-1].connect(listening.address)
        await trio.sleep(0.05)
        assert len(got) == 10, len(got)
        users.pop(0).close()
        got.pop(0).close()
        with trio.fail_after(5):
            while len(got) < 11:
                await trio.sleep(0.001)
        listening.close()
        print("served")

trio.run(main)
"""


def test_descriptors_that_really_run_out_do_not_cost_the_listener() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", EXHAUSTION], capture_output=True, text=True, timeout=20)
    assert done.stdout.endswith("served\n"), done.stderr
    assert "Too many open files" in done.stderr + done.stdout
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100


def test_a_port_in_use_is_an_error_and_leaves_nothing() -> None:
    before = descriptors()
    with tcp_listener("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        tcp_listener(*taken.getsockname())
    assert descriptors() == before


def test_a_listener_on_no_address_takes_both_families() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = tcp_listener("::", 0, keepalive=0)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener, connect(("127.0.0.1", listener.getsockname()[1])):
        listener.setblocking(True)
        sock, address = listener.accept()
        with sock:
            assert address[0] == "::ffff:127.0.0.1"
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_descriptors_that_are_not_for_users_stay_free(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_engine() as engine:
        alarms: list[Callable[[], None]] = []
        monkeypatch.setattr(engine, "at", lambda when, callback: alarms.append(callback))
        next_ones = [socket.socket() for _ in range(5)]  # there may be gaps
        highest = next_ones[-1].fileno()
        for sock in next_ones:
            sock.close()
        got: list[socket.socket] = []
        full: list[int] = []
        listening = Listening(
            engine, tcp_listener("127.0.0.1", 0), lambda sock, address: got.append(sock), highest=highest, on_full=lambda: full.append(1)
        )
        users = [connect(listening.address)]  # it has a descriptor of its own, as those to come
        await until(lambda: len(got) == 1)
        users += [connect(listening.address) for _ in range(3)]
        await until(lambda: alarms)
        assert full == [1]
        assert all(sock.fileno() <= highest for sock in got)
        kept = len(got)
        assert kept < 4
        for each in (*got, *users):
            each.close()
        user = connect(listening.address)
        alarms[0]()
        await until(lambda: len(got) > kept)
        listening.close()
        for each in (*got, user):
            each.close()


def test_users_leave_descriptors_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, one, two in ((1024, 960, 480), (100, 75, 37), (resource.RLIM_INFINITY, 1 << 62, 1 << 62)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, limit))
        assert (highest_for_users(1), highest_for_users(2)) == (one, two)


async def test_a_crowd_at_the_limit_does_not_fill_the_log(caplog: pytest.LogCaptureFixture, mock_clock: MockClock) -> None:
    """One gets in and the next one doesn't, and each time the pauses begin anew."""
    caplog.set_level(logging.WARNING, "frp_py")
    async with running_engine() as engine:
        listening = Listening(engine, tcp_listener("127.0.0.1", 0), lambda sock, address: sock.close())
        for _ in range(2):
            for _ in range(50):
                listening._back_off(OSError(errno.EMFILE, "no descriptors"))
                listening._pause = 0.0
            assert caplog.text.count("no descriptors") == 1
            caplog.clear()
            mock_clock.jump(10)
        listening.close()


def test_ports_leave_descriptors_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1000, 2000))
    assert most_ports() == 500
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_ports() > 65536
