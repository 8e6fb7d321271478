"""What all plugins have in common (behaviour.md 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from frp_py.config.plugins import PluginBase
from frp_py.net.engine.loop import Timeouts
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.stream import EndStream, Holder
from frp_py.protocol.proxy_protocol import NoHeaderError

if TYPE_CHECKING:
    from frp_py.client.proxies.base import LocalSide
    from frp_py.net.engine.ends import End, SocketEnd
    from frp_py.protocol.messages import StartWorkConn

_NEGOTIATION = 60  # s from a user's coming until it is known where he wants to go

Options = TypeVar("Options", bound=PluginBase)


class Plugin(Generic[Options]):
    """Takes the place of the local service of one proxy, for one session."""

    def __init__(self, proxy: LocalSide, options: Options) -> None:
        self.proxy = proxy
        self.options = options
        self.session = proxy.session
        self.engine = proxy.session.engine
        self.log = proxy.users_log
        self.negotiations = Timeouts(_NEGOTIATION)
        """Of users who have yet to say what they want."""

    async def prepare(self) -> None:
        """Make ready to serve. Raises FrpError, whose text becomes the proxy's `start error`."""
        self.engine.each_second(self.each_second)

    def each_second(self) -> None:
        """Give up those whose time is over."""
        self.negotiations.sweep(trio.current_time())

    def close(self) -> None:
        """The proxy has stopped. Users who are joined already stay so."""
        self.engine.not_each_second(self.each_second)

    def serve(self, work: Holder, start: StartWorkConn) -> None:
        """A user has come; `work` is his connection."""
        raise NotImplementedError

    def hold(self, work: Holder, user: Holder) -> None:
        """Give `user` the work connection as the application's bytes see it."""
        end = self.proxy.application_end(work)
        user.end = end
        end.sink = end.owner = user
        work.hand_over()
        end.start()

    def stream(self, work: Holder) -> EndStream:
        """The same for a task."""
        stream = EndStream(self.engine).attach(self.proxy.application_end(work))
        work.hand_over()
        return stream

    def introduce(self, local: SocketEnd, start: StartWorkConn) -> bool:
        """Tell the local service who comes, if it is to know; False when it can't be told."""
        try:
            introduction = self.proxy.proxy_header(start)
        except NoHeaderError as error:
            self.log.error("write proxy protocol header to local conn error: %s", error)
            return False
        if introduction:
            local.feed(memoryview(introduction))
        return True

    def join(self, local: End, user: Holder) -> None:
        """Join a user to a connection that was made for him."""
        self._relay(local, user.end, user)

    async def join_streams(self, local: EndStream, early: bytes, user: EndStream, user_early: bytes) -> None:
        """Join two streams; the bytes were received from them already. Raises trio.BrokenResourceError."""
        if user_early:
            await local.send_all(user_early)
        if early:
            await user.send_all(early)
        if local.is_lost or user.is_lost:
            raise trio.BrokenResourceError("lost before it was joined")
        self._relay(local.end, user.end, local, user)

    def _relay(self, local: End, user: End, *holders: Holder | EndStream) -> None:
        users = self.session.users
        relay = Relay(self.engine, local, user, half_close=self.session.half_close, on_done=users.discard)
        users.add(relay)
        for holder in holders:
            holder.hand_over()
        relay.start()
