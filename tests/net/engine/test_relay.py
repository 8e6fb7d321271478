"""User to service through two relays, over everything that can be between them (behaviour.md 2.2)."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import math
import socket
from typing import Any

import pytest
import trio
import trio.lowlevel

from frp_py.net.engine.loop import Engine
from tests.support.net import Peer, Tunnel, alive, descriptors, noise, quiet, running_engine, until

BETWEEN = ["mux", "mux+tls", "tcp", "tls", "mux+changed", "mux+tls+changed", "tcp+changed", "tls+changed"]
between = pytest.mark.parametrize("how", BETWEEN)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def nothing_left(engine: Engine, tunnel: Tunnel, *peers: Peer) -> None:
    for peer in peers:
        peer.close()
    if tunnel.link is not None:
        link = tunnel.link
        await until(lambda: not link.client.session.streams and not link.server.session.streams)
        assert not link.client.session.unacknowledged
        assert not link.client.closed
        assert not link.server.closed
        assert link.client.is_open
        assert not link.client.session.waiting
    assert engine.window_budget.left == 256 << 20


@between
@pytest.mark.parametrize("buffer", [None, 4096])
async def test_bulk_both_ways_arrives_whole(how: str, buffer: int | None) -> None:
    size = 3_000_000 if buffer is None else 150_000
    up, down = noise(size, 1), noise(size, 2)
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=True, buffer=buffer)
        user, service = await tunnel.user()
        got: dict[str, bytes] = {}

        async def receive(peer: Peer, name: str) -> None:
            got[name] = await peer.receive_exactly(size)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(user.send, up)
                nursery.start_soon(service.send, down)
                nursery.start_soon(receive, user, "down")
                nursery.start_soon(receive, service, "up")
        assert sha(got["up"]) == sha(up)
        assert sha(got["down"]) == sha(down)
        user.finish()
        service.finish()
        assert await user.receive_all() == await service.receive_all() == b""
        await until(lambda: len(tunnel.done) == 2)
        assert {relay.a.received_total for relay in tunnel.done} == {size, size + 1}
        assert {relay.a.sent_total for relay in tunnel.done} == {size, size + 1}
        await nothing_left(engine, tunnel, user, service)
        tunnel.close()


@between
async def test_a_finished_direction_leaves_the_other_open(how: str) -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=True)
        user, service = await tunnel.user()
        await user.send(b"request")
        user.finish()
        assert await service.receive_all() == b"request"
        data = noise(1_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.send, data)
            assert await user.receive_exactly(len(data)) == data
        assert not tunnel.done
        service.finish()
        assert await user.receive_all() == b""
        await until(lambda: len(tunnel.done) == 2)
        await nothing_left(engine, tunnel, user, service)
        tunnel.close()


@between
async def test_without_half_close_the_first_end_is_the_end_of_both_after_all_was_delivered(how: str) -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=False, buffer=65536)
        user, service = await tunnel.user()
        data = noise(700_000)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _serve() -> None:
                await service.send(data)
                service.finish()

            await until(lambda: service.sock.fileno() >= 0)
            assert await user.receive_all() == data
        assert await service.receive_all() == b""
        user.close()
        await until(lambda: len(tunnel.done) == 2)
        await nothing_left(engine, tunnel, user, service)
        tunnel.close()


@between
@pytest.mark.parametrize("half_close", [False, True])
async def test_a_reset_on_one_side_is_a_reset_on_the_other(how: str, half_close: bool) -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=half_close)
        user, service = await tunnel.user()
        await service.send(b"part")
        assert await user.receive_exactly(4) == b"part"
        service.reset()
        with pytest.raises(ConnectionResetError):
            await user.receive()
        await until(lambda: len(tunnel.done) == 2)
        await nothing_left(engine, tunnel, user)
        user, service = await tunnel.user()
        user.reset()
        with pytest.raises(ConnectionResetError):
            await service.receive()
        await nothing_left(engine, tunnel, service)
        tunnel.close()


@between
async def test_who_does_not_read_stops_only_the_one_who_sends_to_him(how: str) -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=True, buffer=65536)
        slow, slow_service = await tunnel.user()
        quick, quick_service = await tunnel.user()
        sent = [0]
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _pour() -> None:
                piece = noise(65536)
                while True:
                    await slow_service.send(piece)
                    sent[0] += len(piece)

            last = -1
            with trio.fail_after(5):
                while sent[0] != last:
                    last = sent[0]
                    await trio.sleep(0.03)
            assert 0 < last < 4_500_000  # windows and buffers
            data = noise(1_000_000)
            nursery.start_soon(quick_service.send, data)
            with trio.fail_after(5):
                assert await quick.receive_exactly(len(data)) == data
            await slow.send(b"the other way is free")
            assert await slow_service.receive_exactly(21) == b"the other way is free"
            last = sent[0]
            assert last < 4_500_000
            await slow.receive_exactly(last)  # and it goes on
            await until(lambda: sent[0] > last)
            nursery.cancel_scope.cancel()
        slow.reset()
        slow_service.close()
        quick.finish()
        quick_service.finish()
        await until(lambda: len(tunnel.done) == 4)
        await nothing_left(engine, tunnel, quick, quick_service)
        tunnel.close()


async def test_a_slow_readers_window_does_not_grow() -> None:
    """What its sink takes bit by bit is no sign that the window is what limits it."""
    async with running_engine() as engine:
        tunnel = Tunnel(engine, "mux", half_close=True, buffer=65536)
        user, service = await tunnel.user()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.send, bytes(8_000_000))
            received = 0
            while received < 3_000_000:
                received += len(await user.receive(20_000))
                await trio.sleep(0.0005)
            assert tunnel.link is not None
            (stream,) = tunnel.link.client.session.streams.values()
            assert stream._window <= 1 << 20
            nursery.cancel_scope.cancel()
        user.close()
        service.close()
        tunnel.close()


async def test_many_small_frames_to_who_does_not_read_cost_no_more_than_their_bytes() -> None:
    import tracemalloc

    async with running_engine() as engine:
        tunnel = Tunnel(engine, "mux", half_close=True, buffer=4096)
        user, _ = await tunnel.user()
        assert tunnel.link is not None
        (stream,) = tunnel.link.server.session.streams.values()
        n = 20_000
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for i in range(n):
                stream.send(b"x")
                if i % 500 == 0:
                    await trio.lowlevel.checkpoint()
            (there,) = tunnel.link.client.session.streams.values()
            await until(lambda: there.recv_window <= 262144 - n + 2500 or there._owed)
            await quiet(engine)
            assert tracemalloc.get_traced_memory()[0] - before < 6 * n
        finally:
            tracemalloc.stop()
        assert set(await user.receive_exactly(n)) == {ord("x")}
        user.close()
        tunnel.close()


@between
async def test_many_come_and_go_and_nothing_is_left(how: str) -> None:
    count = 30
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=False)
        before = descriptors(), alive()
        for i in range(count):
            user, service = await tunnel.user()
            await user.send(b"ping")
            assert await service.receive_exactly(4) == b"ping"
            first, second = (user, service) if i % 2 else (service, user)
            if i % 5 == 0:
                first.reset()
            else:
                first.close()
            try:
                assert await second.receive_all() == b""
            except ConnectionResetError:
                assert i % 5 == 0
            second.close()
        await until(lambda: len(tunnel.done) == 2 * count)
        tunnel.done.clear()
        del user, service, first, second
        engine.lingering.sweep(math.inf)
        await nothing_left(engine, tunnel)
        await quiet(engine)
        assert descriptors() <= before[0]
        assert {kind: n for kind, n in alive().items() if n > before[1].get(kind, 0)} == {}
        tunnel.close()


@pytest.mark.parametrize("how", ["mux", "mux+tls", "tcp", "tls"])
@pytest.mark.parametrize("half_close", [False, True])
async def test_what_is_over_goes_without_the_collector(how: str, half_close: bool) -> None:
    """It comes rarely, so as not to hold anybody up: what waited for it would be tens of megabytes."""
    async with running_engine() as engine:
        before = alive()
        gc.disable()
        try:
            tunnel: Any = Tunnel(engine, how, half_close=half_close)
            done = tunnel.done
            for end in ("reset", "close", "finish"):
                for i in range(2):
                    user, service = await tunnel.user()
                    first, second = (user, service) if i else (service, user)
                    getattr(first, end)()
                    with contextlib.suppress(ConnectionResetError):
                        assert await second.receive_all() == b""
                    for peer in (first, second):
                        peer.close()
            await until(lambda: len(done) == 12)
            done.clear()
            tunnel.close()
            await quiet(engine)
            del tunnel, user, service, first, second, peer
            await until(lambda: all(n <= before.get(kind, 0) for kind, n in alive(collect=False).items()))
        finally:
            gc.enable()


async def test_a_broken_link_breaks_every_user_off() -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, "mux", half_close=True)
        pairs = [await tunnel.user() for _ in range(10)]
        assert tunnel.link is not None
        link = tunnel.link
        link.server.close()
        for user, service in pairs:
            for peer in (user, service):
                with pytest.raises(ConnectionResetError):
                    await peer.receive()
                peer.close()
        assert len(tunnel.done) == 20
        assert sorted(link.lost) == ["connection closed by the other side", "link closed"]
        assert not link.client.is_open
        assert not link.client.session.streams


@pytest.mark.parametrize("how", ["mux", "tcp", "mux+tls+changed"])
async def test_who_still_sends_when_the_end_comes_loses_nothing_that_was_sent_to_him(how: str) -> None:
    """Neither by a reset because his bytes are unread, nor because there is nobody any more to take them."""
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=False, buffer=32768)
        user, service = await tunnel.user()
        answer = noise(1_500_000)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _pour() -> None:
                try:
                    while True:
                        await user.send(bytes(100))
                except OSError:
                    pass

            @nursery.start_soon
            async def _serve() -> None:
                nursery.start_soon(service.receive_all)
                await service.send(answer)
                service.finish()

            got = bytearray()
            while more := await user.receive(5_000):
                got += more
                await trio.lowlevel.checkpoint()
            assert got == answer
            nursery.cancel_scope.cancel()
        user.close()
        service.close()
        tunnel.close()


async def test_a_user_who_never_finishes_is_let_go_after_a_while() -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, "mux", half_close=False)
        user, service = await tunnel.user()
        service.close()
        assert await user.receive_all() == b""
        await until(lambda: len(engine.lingering) == 1)
        engine.lingering.sweep(trio.current_time() + 1)
        assert len(engine.lingering) == 1
        engine.lingering.sweep(trio.current_time() + 3)
        await quiet(engine)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012
            await user.send(b"x")
            await trio.sleep(0.01)
            await user.send(b"x")
        user.close()
        tunnel.close()


async def test_an_aborted_relay_resets_both_sides_and_is_done_once() -> None:
    async with running_engine() as engine:
        tunnel = Tunnel(engine, "tcp", half_close=True)
        user, service = await tunnel.user()
        (relay,) = {each for each in _relays(tunnel) if each.a.sock.getpeername() == user.sock.getsockname()}
        relay.abort()
        relay.abort()
        with pytest.raises(ConnectionResetError):
            await user.receive()
        with pytest.raises(ConnectionResetError):
            await service.receive()
        await until(lambda: len(tunnel.done) == 2)
        assert tunnel.done.count(relay) == 1


def _relays(tunnel: Tunnel) -> list:  # type: ignore[type-arg]
    import gc

    from frp_py.net.engine.relay import Relay

    return [each for each in gc.get_objects() if type(each) is Relay and each.on_done is not None and each._engine is tunnel.engine]


@between
async def test_a_user_who_waits_with_much_to_say_is_served_in_order(how: str) -> None:
    """What came before the join goes first: it was held, and counts once."""
    async with running_engine() as engine:
        tunnel = Tunnel(engine, how, half_close=True, buffer=4096)
        up = noise(100_000, 7)
        user, service = await tunnel.user()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.send, up)
            assert await service.receive_exactly(len(up)) == up
        assert not socket.socket.getsockopt(user.sock, socket.SOL_SOCKET, socket.SO_ERROR)
        user.finish()
        service.finish()
        await until(lambda: len(tunnel.done) == 2)
        await nothing_left(engine, tunnel, user, service)
        tunnel.close()
