"""Users of the HTTP port and the connections that serve them: who waits how long, and what is given back."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.server.vhost import http
from frp_py.server.vhost.h1 import ip_of, may_end
from tests.server.vhost.helpers import GET, H2_GET, OK, hosts_asked_for, receive, requested, setting


async def test_a_slow_head_is_given_60_seconds(autojump_clock: MockClock) -> None:
    async with setting() as it:
        silent, slow, done = it.user(), it.user(), it.user()
        slow.send(GET[:20])
        done.send(GET)
        await trio.sleep(0.01)
        it.client.services[0].send(OK)
        assert (await receive(done)).endswith(b"ok")
        began = trio.current_time()
        assert await receive(silent) == b""
        assert 59 <= trio.current_time() - began <= 62
        assert await receive(slow) == b""
        await trio.sleep(1000)
        assert len(it.vhost.users) == 1  # between requests there is no limit
        done.send(GET[:10])
        assert await receive(done) == b""
        assert not it.vhost.users


async def test_a_service_has_its_time_from_the_end_of_the_request(autojump_clock: MockClock) -> None:
    async with setting(7) as it:
        user = it.user()
        user.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\na")
        await trio.sleep(100)
        user.send(b"b")
        began = trio.current_time()
        assert (await receive(user)).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert 6.9 <= trio.current_time() - began <= 9
        assert it.proxy.connections == 0


async def test_idle_connections_are_kept_for_60_seconds(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        for _ in range(2):
            user.send(GET)
            await trio.sleep(0.01)
            [service] = it.client.services
            request = await requested(service)
            assert request.startswith(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.2.3.4\r\n")
            service.send(OK)
            assert await receive(user) == OK
        await trio.sleep(58)
        assert it.proxy.connections == 1
        await trio.sleep(5)
        assert it.proxy.connections == 0
        assert await receive(service) == b""
        assert it.proxy.traffic == (2 * len(request), 2 * len(OK))


async def test_more_than_five_are_kept_only_for_a_moment(autojump_clock: MockClock) -> None:
    async with setting() as it:
        users = [it.user() for _ in range(9)]
        for user in users:
            user.send(GET)
        await trio.sleep(0.01)
        assert len(it.client.services) == 9
        for service in it.client.services:
            service.send(OK)
        await trio.sleep(0.01)
        assert it.proxy.connections == 9
        await trio.sleep(5)
        assert it.proxy.connections == 5


async def test_a_user_who_has_closed_may_only_have_closed_his_half(autojump_clock: MockClock) -> None:
    async with setting() as it:
        it.client.gives = False
        user = it.user()
        user.send(GET)
        await trio.sleep(0.01)
        assert len(it.client.waiters) == 1
        user.close()
        await trio.sleep(1)
        # he may have closed only his half, and wait for the answer: that he doesn't read is seen when it comes
        [waiter] = it.client.waiters
        waiter.give_up("timeout trying to get work connection")
        await trio.sleep(1)
        assert not it.vhost.users


@pytest.mark.parametrize("opening", [GET, H2_GET], ids=["h1", "h2"])
async def test_a_user_who_has_closed_is_not_kept_for_ever(opening: bytes, autojump_clock: MockClock) -> None:
    """He may have gone, which shows only when something is sent to him: a service that has begun an endless answer may never do so."""
    async with setting() as it:
        user = it.user()
        user.sendall(opening)
        await trio.sleep(0.1)
        [service] = it.client.services
        await requested(service)
        user.shutdown(socket.SHUT_WR)
        service.sendall(b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n")
        for _ in range(3):
            await trio.sleep(100)
            service.sendall(b"event")
        await trio.sleep(100)
        assert it.proxy.connections == 1
        await trio.sleep(150)
        assert (it.proxy.connections, it.vhost.users, it.vhost.active, len(it.vhost.finished)) == (0, {}, {}, 0)
        assert user.recv(1 << 16).count(b"event") == 3


async def test_no_work_connection_is_answered_by_the_page(autojump_clock: MockClock) -> None:
    async with setting() as it:
        it.client.gives = False
        user = it.user()
        user.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc")
        await trio.sleep(0.01)
        it.client.waiters[0].give_up("control is closed")
        answer = await receive(user)
        assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert b"\r\nConnection: close\r\n" in answer


async def test_unasked_bytes_end_an_idle_connection(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        user.send(GET)
        await trio.sleep(0.01)
        it.client.services[0].send(OK)
        assert await receive(user) == OK
        it.client.services[0].send(b"HTTP/1.1 200 OK\r\n\r\n")
        await trio.sleep(0.01)
        assert it.proxy.connections == 0
        user.send(GET)
        await trio.sleep(0.01)
        assert len(it.client.services) == 2


async def test_more_than_the_length_is_not_taken_for_the_next_response(autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        user.send(GET + GET)
        await trio.sleep(0.01)
        it.client.services[0].send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await trio.sleep(0.01)
        assert await receive(user) == OK
        assert len(it.client.services) == 2
        it.client.services[1].send(OK)
        assert await receive(user) == OK


@pytest.mark.parametrize(
    ("address", "ip"),
    [
        (("1.2.3.4", 5), b"1.2.3.4"),
        (("::1", 5, 0, 0), b"::1"),
        (("::ffff:1.2.3.4", 5, 0, 0), b"1.2.3.4"),
        (("fe80::1%eth0", 5, 0, 2), b"fe80::1"),
    ],
)
def test_addresses(address: Any, ip: bytes) -> None:
    assert ip_of(address) == ip


def test_when_a_head_is_worth_another_look() -> None:
    assert not may_end(bytearray(b"GET / HTTP/1.1\r\nA: b"), 5)
    assert may_end(bytearray(b"a\r\n\r\n"), 4)
    assert may_end(bytearray(b"a\r\n\r\n"), 2)
    assert may_end(bytearray(b"a\nb"), 1)
    assert not may_end(bytearray(b"a\r\n"), 2)
    assert may_end(bytearray(1 << 17), 0)


async def test_many_requests_at_once_leave_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with setting() as it:
        asked = hosts_asked_for(it.vhost, monkeypatch)
        greedy, modest = it.user(), it.user()
        greedy.send(500 * b"HEAD / HTTP/1.1\r\nHost: nobody\r\n\r\n")
        greedy.shutdown(socket.SHUT_WR)
        modest.send(GET)
        answer = b""
        while data := await receive(greedy):
            answer += data
        assert answer.count(b"HTTP/1.1 404") == 500
        assert asked.index("a.test") <= 16
        assert len(it.vhost.users) == 1


@pytest.mark.parametrize("head", [GET.replace(b"a.test", b"nobody"), GET], ids=["no route", "no password"])
@pytest.mark.parametrize("absolute", [False, True])
async def test_a_query_is_written_anew_only_for_those_who_come_in(head: bytes, absolute: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 KiB that takes milliseconds."""
    cleaned: list[bytes] = []
    monkeypatch.setattr("frp_py.net.http.rules.clean_target", cleaned.append)
    target = b"/?%%zz=%d%d" % (absolute, len(head))  # one that is in no cache
    async with setting() as it:
        it.site.rules.password, it.site.rules.is_open = "secret", False
        user = it.user()
        if absolute:
            target = b"http://" + (b"nobody" if b"nobody" in head else b"a.test") + target
        user.send(head.replace(b"GET /", b"GET " + target))
        assert (await receive(user)).startswith(b"HTTP/1.1 40")
        assert cleaned == []


async def test_requests_behind_a_turn_are_answered_in_order() -> None:
    """Some go to the service, some don't, and the last one is in two pieces."""
    async with setting() as it:
        user = it.user()
        user.send(17 * b"HEAD / HTTP/1.1\r\nHost: nobody\r\n\r\n" + GET + 20 * b"HEAD / HTTP/1.1\r\nHost: nobody\r\n\r\n" + GET[:10])
        await trio.sleep(0.05)
        it.client.services[0].send(OK)
        await trio.sleep(0.05)
        user.send(GET[10:])
        await trio.sleep(0.05)
        it.client.services[0].send(OK)
        await trio.sleep(0.05)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", await receive(user))
        assert statuses == [*17 * [b"404"], b"200", *20 * [b"404"], b"200"]


async def test_what_users_of_http_1_have_sent_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head, or what comes behind a request that isn't answered yet: who has kept it there for longest makes room."""
    monkeypatch.setattr(http, "_UNREAD", 200_000)
    async with setting() as it:
        it.client.gives = False
        waiting, other = it.user(), it.user()
        waiting.send(GET + bytes(40_000))
        other.send(GET[:-2] + b"X: " + 40_000 * b"a")
        await trio.sleep(0.05)
        halves = []
        for n in range(10):
            halves.append(it.user())
            halves[n].send(GET[:-2] + b"X: " + 20_000 * b"a")
            await trio.sleep(0.01)
        assert sum(it.vhost.unread.values()) <= 200_000
        assert len(it.vhost.users) == len(it.vhost.unread) == 9
        assert await ended(waiting)
        assert await ended(other)
        assert it.client.waiters == []
        for half in halves[1:]:
            half.send(b"\r\n\r\n")
        await trio.sleep(0.05)
        assert len(it.client.waiters) == 9
        assert not it.vhost.unread
        assert it.vhost._unread == 0


@pytest.mark.parametrize(
    "last", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n"], ids=["refused", "closed"]
)
async def test_who_does_not_read_the_last_answer_is_not_waited_for_long(last: bytes, autojump_clock: MockClock) -> None:
    async with setting() as it:
        user = it.user()
        watched = len(it.engine._handlers)
        asked = 2000 * b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n" + last
        assert user.send(asked) == len(asked)
        await trio.sleep(0.05)
        while it.vhost.users:
            user.recv(1000)
            await trio.sleep(0.05)
        assert len(it.vhost.partings) == 1
        for _ in range(3):
            await trio.sleep(50)
            assert user.recv(1000)
        assert len(it.engine._handlers) == watched  # slow, but he reads
        await trio.sleep(125)
        assert len(it.engine._handlers) == watched - 1
        assert not it.vhost.partings
        assert len(it.vhost.last_words) == 0


@pytest.mark.parametrize("opening", [GET, H2_GET], ids=["h1", "h2"])
async def test_who_rests_makes_room_when_descriptors_run_out(opening: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no limit for how long one may rest, so a few thousand who do could keep all others out."""
    monkeypatch.setattr(http, "_ROOM", 2)
    async with setting() as it:
        resting = [it.user() for _ in range(3)]
        for user in resting:
            user.sendall(opening)
            await trio.sleep(0.01)
            it.client.services[-1].send(OK)
            await trio.sleep(0.01)
            user.recv(1 << 16)
        asking, half = it.user(), it.user()
        asking.sendall(opening)
        half.sendall(opening[:-3])
        await trio.sleep(0.01)
        it.vhost.make_room()
        await trio.sleep(0.01)
        assert len(it.vhost.users) == 3
        assert len(it.vhost.active) == 1
        for user in resting[:2]:
            while data := await receive(user):
                assert opening is H2_GET, data  # GOAWAY
        it.vhost.make_room()
        await trio.sleep(0.01)
        assert len(it.vhost.users) == 2 - (opening is H2_GET)
        it.vhost.make_room()
        assert len(it.vhost.active) == 1


async def ended(sock: socket.socket) -> bool:
    try:
        return await receive(sock) == b""
    except ConnectionResetError:
        return True
