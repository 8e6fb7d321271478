from __future__ import annotations

import ipaddress

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.web.throttle import Throttle, network


async def test_each_wrong_password_waits_longer_up_to_a_limit(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    waits = []
    for n in range(1, 12):
        began = trio.current_time()
        assert await throttle.wrong("192.0.2.1") == n
        waits.append(round(trio.current_time() - began, 3))
    assert waits == [0.2, 0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5]
    began = trio.current_time()
    assert await throttle.wrong("192.0.2.2") == 1
    assert trio.current_time() - began == pytest.approx(0.2)


async def test_it_is_forgotten_after_a_while(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    for _ in range(8):
        await throttle.wrong("192.0.2.1")
    await trio.sleep(901)
    assert await throttle.wrong("192.0.2.1") == 1


async def test_few_of_one_source_wait_at_a_time(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    async with trio.open_nursery() as nursery:
        for n in range(8):
            assert throttle.may_try("2001:db8::1")
            nursery.start_soon(throttle.wrong, f"2001:db8::{n}")
            await trio.testing.wait_all_tasks_blocked()
        assert not throttle.may_try("2001:db8::ffff:1")  # a host has as many addresses as it likes
        assert throttle.may_try("2001:db8:0:1::1")
    assert throttle.may_try("2001:db8::1")


async def test_all_who_wait_are_bounded_and_so_are_those_remembered(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    async with trio.open_nursery() as nursery:
        for n in range(2000):
            nursery.start_soon(throttle.wrong, f"10.0.{n >> 8}.{n & 255}")
        await trio.testing.wait_all_tasks_blocked()
        assert len(throttle) == 1024
        assert throttle._waiting == 256
        assert throttle.may_try("192.0.2.1")
        known = str(ipaddress.ip_address(next(iter(throttle._sources))))
        assert not throttle.may_try(known)
    assert throttle._waiting == 0
    assert throttle.may_try(known)


async def test_a_wrong_password_waits_also_when_too_many_wait_already(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    async with trio.open_nursery() as nursery:
        for n in range(256):
            nursery.start_soon(throttle.wrong, f"10.0.0.{n}")
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        assert await throttle.wrong("192.0.2.1") == 1
        assert trio.current_time() - began == pytest.approx(0.2)


async def test_who_leaves_while_he_waits_waits_no_longer(autojump_clock: MockClock) -> None:
    throttle = Throttle()
    with trio.move_on_after(0.1):
        await throttle.wrong("192.0.2.1")
    assert throttle._waiting == 0


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("1.2.3.4", b"\1\2\3\4"),
        ("2001:db8::1", b"\x20\1\x0d\xb8\0\0\0\0"),
        ("fe80::1%eth0", b"\xfe\x80\0\0\0\0\0\0"),
        ("no address", b"no address"),
    ],
)
def test_networks(host: str, expected: bytes) -> None:
    assert network(host) == expected
