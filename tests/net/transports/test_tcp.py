"""Connecting: options of the socket, and what is said when it fails."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from frp_py.errors import FrpError
from frp_py.net.engine.listen import tcp_listener
from frp_py.net.transports.tcp import dial
from tests.support.net import descriptors


async def test_a_connected_socket_is_ready_for_the_engine() -> None:
    before = descriptors()
    with tcp_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        sock = await dial("127.0.0.1", port, timeout=5)
        assert sock.getpeername() == ("127.0.0.1", port)
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7200
        sock.close()
        with await dial("localhost", port, timeout=5, keepalive=-1, local_ip="127.0.0.1") as sock:
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockname()[0] == "127.0.0.1"
    assert descriptors() == before


async def test_why_it_failed_is_said() -> None:
    with tcp_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(FrpError) as caught:
        await dial("127.0.0.1", port, timeout=5)
    assert str(caught.value) == f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    with pytest.raises(FrpError, match=r"^dial tcp \[::1\]:1: "):
        await dial("::1", 1, timeout=5)
    with pytest.raises(FrpError, match=r"^dial tcp: lookup nowhere\.invalid: |^dial tcp nowhere\.invalid:1: "):
        await dial("nowhere.invalid", 1, timeout=5)
    with pytest.raises(FrpError, match="dial tcp"):
        await dial("127.0.0.1", port, timeout=5, local_ip="203.0.113.7")


async def test_it_does_not_take_longer_than_it_may(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*args: object, **more: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    with pytest.raises(FrpError, match=r"^dial tcp 192\.0\.2\.1:7000: i/o timeout$"):
        await dial("192.0.2.1", 7000, timeout=10)
