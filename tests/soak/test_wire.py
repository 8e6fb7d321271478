from __future__ import annotations

import socket

import pytest

from tests.soak.wire import Wire
from tests.support.programs import Service, connect, eventually, receive_exactly


def patient(connection: socket.socket) -> None:
    """Takes no notice of anything but the end."""
    receive_exactly(connection, 1 << 20)


def test_who_ends_a_connection_tells_the_other_side() -> None:
    service = Service(patient)
    wire = Wire(service.port)
    with connect(wire.port):
        eventually(lambda: service.open == wire.connections == 1, "it is connected")
        session = wire.oldest()
        assert session is not None
        assert wire.holders(session) == ["client", "server"]
    eventually(lambda: wire.oldest() is None and not service.open, "both sides are gone")
    assert wire.holders(session) == []
    wire.close()
    service.close()


@pytest.mark.parametrize("swallow", [{"up"}, {"down"}, {"up", "down"}])
def test_an_end_can_be_swallowed(swallow: set[str]) -> None:
    service = Service(patient)
    wire = Wire(service.port)
    with connect(wire.port) as user:
        eventually(lambda: service.open == wire.connections == 1, "it is connected")
        session = wire.oldest()
        assert session is not None
        wire.swallow = swallow
        user.close()
        left = ["server"] if "up" in swallow else []
        eventually(lambda: wire.holders(session) == left, "the client has gone", 2)
        eventually(lambda: service.open == len(left), "so has the service, if it was told")
    wire.close()
    service.close()
