"""Whole sessions: a client that has logged in, and a server that has let one in, say whatever they like.

An input is lines, each a byte that chooses the message and its JSON. Nothing of it is a bug in the log, nothing is left behind, and
whoever comes next is served.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import cache

import trio

from frp_py.errors import PeerError
from frp_py.protocol import go_json
from frp_py.protocol.messages import OF_TYPE_ID, CloseProxy, Message, NewProxy, Ping, Pong
from tests.fuzz.serving import no_bugs
from tests.support.inside import Frps, Talk, frps, peers_of, proxy, running_frpc, running_server
from tests.support.ports import free_port

_KINDS = list(OF_TYPE_ID.values())
_ON_A_STREAM = 0x80
_MOST = 20  # messages
_GONE = (AssertionError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""How the other side's end shows in `Talk`."""


def _messages(data: bytes) -> Iterator[tuple[bool, Message]]:
    """Whether it is said on a stream of its own, and what."""
    for line in data.split(b"\n")[:_MOST]:
        with contextlib.suppress(PeerError, IndexError):
            yield bool(line[0] & _ON_A_STREAM), go_json.decode(_KINDS[(line[0] & ~_ON_A_STREAM) % len(_KINDS)], line[1:])


@cache
def _ports() -> list[int]:
    """None of them is one that outgoing connections may have meanwhile."""
    return [free_port() for _ in range(5)]


def _run(act: Callable[[], Awaitable[None]]) -> None:
    logging.getLogger("frp_py").setLevel(logging.ERROR)
    with no_bugs():
        trio.run(act)


def server_session(data: bytes) -> None:
    """A client with the token, who opens proxies and visitors as it likes."""
    bind, allowed, http, https, mux = _ports()
    changes = {
        "bindPort": bind,
        "allowPorts": [{"single": allowed}],
        "vhostHTTPPort": http,
        "vhostHTTPSPort": https,
        "tcpmuxHTTPConnectPort": mux,
        "subDomainHost": "frp.test",
    }

    async def act() -> None:
        async with running_server(changes) as server, peers_of(server) as peers:
            peer = await peers.logged_in(half_close=True)
            streams: list[Talk] = []
            with contextlib.suppress(*_GONE):
                for on_stream, message in _messages(data):
                    if on_stream:
                        streams.append(peer.open())
                    await (streams[-1] if on_stream else peer.control).send(message)
                await peer.control.send(Ping())
                await peer.control.expect(Pong)
            other = await peers.logged_in()
            assert (await other.register("the next", remote_port=allowed)).error in ("", "port already used")
            await other.control.send(CloseProxy("the next"))

    _run(act)


def client_session(data: bytes) -> None:
    """A server that asks for work connections, and accepts and refuses proxies, as it likes."""

    async def act() -> None:
        async with frps() as made, running_frpc(made, {"loginFailExit": False}, [proxy("it", 1, 1)]):
            session = await made.session(features=("half-close", "direct"))
            streams: list[Talk] = []
            with contextlib.suppress(*_GONE):
                for on_stream, message in _messages(data):
                    if on_stream:
                        streams.append(session.open())
                    await (streams[-1] if on_stream else session.control).send(message)
                await trio.sleep(0.002)  # to see them
            session.cut()
            await _comes_again(made)

    async def _comes_again(made: Frps) -> None:
        with trio.fail_after(20):
            while True:
                with contextlib.suppress(*_GONE):
                    again = await made.session()
                    assert isinstance(await again.control.expect(NewProxy), NewProxy)
                    return

    _run(act)
