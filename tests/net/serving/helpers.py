"""A server on one side of a pair of sockets, and a user who says bytes on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from frp_py.errors import PeerError
from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.stream import EndStream
from frp_py.net.serving.exchange import Handler
from tests.support.net import Peer, running_engine, tcp_pair


class Served:
    """`user` is the other side; `error` is how serving ended, if not well."""

    def __init__(self, user: Peer, stream: EndStream) -> None:
        self.user = user
        self.stream = stream
        self.error: PeerError | None = None
        self.over = trio.Event()
        self.deadline = trio.CancelScope()


@asynccontextmanager
async def serving(serve: Callable[[EndStream, Handler], Awaitable[None]], handle: Handler) -> AsyncIterator[Served]:
    async with running_engine() as engine, trio.open_nursery() as nursery:
        ours, theirs = tcp_pair()
        stream = EndStream(engine)
        stream.attach(SocketEnd(engine, ours, stream, stream))
        served = Served(Peer(theirs), stream)

        async def run() -> None:
            try:
                await serve(stream, handle)
            except PeerError as error:
                served.error = error
                stream.abort()
            else:
                stream.close()
            served.over.set()

        nursery.start_soon(run)
        served.deadline.deadline = trio.current_time() + 10
        with served.deadline:
            yield served
        assert not served.deadline.cancelled_caught
        nursery.cancel_scope.cancel()
        served.user.close()
