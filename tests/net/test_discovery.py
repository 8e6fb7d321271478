from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from frp_py.errors import FrpError
from frp_py.net.discovery import discover, open_socket
from tests.support.stun import COOKIE, MAPPED, OTHER, Address, StunServer, address, attribute, message, stun_server

HERE = attribute(MAPPED, address(("203.0.113.66", 9)))
Answer = Callable[[bytes, Address, Address, int], list[bytes]]


def always(*attributes: bytes, kind: int = 0x0101) -> Answer:
    return lambda transaction, mapped, other, at: [message(transaction, attributes, kind)]


def when(allowed: Callable[[int], bool]) -> Answer:
    """The usual answer at the address `at` when `allowed(at)`; otherwise none."""
    return lambda transaction, mapped, other, at: StunServer.usual(transaction, mapped, other, at) if allowed(at) else []


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[StunServer, trio.socket.SocketType]]:
    async with stun_server() as server:
        sock = await open_socket("127.0.0.1:0")
        with sock:
            yield server, sock


async def test_one_socket_asks_both_addresses_and_stays_open() -> None:
    async with asking() as (server, sock):
        assert await discover(sock, server.text) == [sock.getsockname()] * 2
        first, second = server.requests
        assert (first[0], second[0]) == (0, 1)
        assert first[1][:8] == second[1][:8] == b"\0\1\0\0" + COOKIE
        assert first[1][8:] != second[1][8:]
        assert sock.fileno() >= 0


async def test_a_server_with_one_address() -> None:
    async with asking() as (server, sock):
        server.answer = always(HERE)
        assert await discover(sock, server.text) == [("203.0.113.66", 9)]


async def test_the_second_answer_may_lack_the_address() -> None:
    async with asking() as (server, sock):
        server.answer = lambda transaction, mapped, other, at: [
            message(transaction, [] if at else [HERE, attribute(OTHER, address(other))])
        ]
        assert await discover(sock, server.text) == [("203.0.113.66", 9)]


async def test_no_address() -> None:
    async with asking() as (server, sock):
        server.answer = always()
        with pytest.raises(FrpError, match=r"^no external address found$"):
            await discover(sock, server.text)


async def test_a_refusal() -> None:
    async with asking() as (server, sock):
        server.answer = always(attribute(9, b"\0\0\4\x14Unknown"), kind=0x0111)
        with pytest.raises(FrpError, match=r"^STUN binding error 420: Unknown$"):
            await discover(sock, server.text)


async def test_what_is_no_answer_is_skipped() -> None:
    async with asking() as (server, sock), stun_server() as stranger:
        usual = server.usual

        def noisy(transaction: bytes, mapped: Address, other: Address, at: int) -> list[bytes]:
            stranger_socket.sendto(message(transaction, [HERE]), sock.getsockname())
            return [b"", b"x" * 3000, message(bytes(12), [HERE]), *usual(transaction, mapped, other, at)]

        server.answer = noisy
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger_socket:
            stranger_socket.bind(("127.0.0.1", 0))
            assert await discover(sock, server.text) == [sock.getsockname()] * 2
        assert stranger.requests == []


async def test_lost_datagrams_are_sent_again(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with asking() as (server, sock):
        server.answer = when(lambda at: len(server.requests) % 3 == 0)
        assert await discover(sock, server.text) == [sock.getsockname()] * 2
        assert [at for at, _ in server.requests] == [0, 0, 0, 1, 1, 1]
        assert len({request for _, request in server.requests}) == 2
        assert trio.current_time() >= 3


@pytest.mark.parametrize("silent", [0, 1])
async def test_silence(silent: int, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with asking() as (server, sock):
        server.answer = when(lambda at: at != silent)
        start = trio.current_time()
        with pytest.raises(FrpError, match=r"^wait response from stun server timeout$"):
            await discover(sock, server.text)
        assert 3 <= trio.current_time() - start < 4


async def test_an_address_that_nothing_can_be_sent_to() -> None:
    async with asking() as (server, sock):
        server.answer = always(HERE, attribute(OTHER, address(("127.0.0.2", 0))))
        with pytest.raises(FrpError, match=r"asking the stun server: "):
            await discover(sock, server.text)
        server.answer = always(HERE, attribute(OTHER, address(("::1", 5))))
        with pytest.raises(FrpError, match=r"asking the stun server: "):
            await discover(sock, server.text)


@pytest.mark.parametrize("bad", ["", "host", "127.0.0.1:x", "127.0.0.1:99999", "[::1]:3478", "a..b:3478", "\0:1"])
async def test_no_address_of_a_server(bad: str) -> None:
    sock = await open_socket()
    with sock:
        assert sock.getsockname()[0] == "0.0.0.0"
        with pytest.raises(FrpError):
            await discover(sock, bad)


async def test_a_port_that_is_taken() -> None:
    sock = await open_socket(":0")
    with sock:
        port = sock.getsockname()[1]
        with pytest.raises(FrpError, match=rf"^listen udp4 0\.0\.0\.0:{port}: Address already in use$"):
            await open_socket(f":{port}")
