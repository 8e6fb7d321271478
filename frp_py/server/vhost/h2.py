"""A user's connection that speaks cleartext HTTP/2 by prior knowledge (behaviour.md 3). Services are still asked in HTTP/1.1.

Imported when the first such user comes.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error, ProtocolError

from frp_py.log import get_logger
from frp_py.net.http.frames import Lengths
from frp_py.net.http.h2_core import IDLE, IDLE_FRAMES, READ, server_core
from frp_py.net.http.heads import Field
from frp_py.protocol.yamux import BLOCKED, PullFrom
from frp_py.server.vhost.h2_stream import H2Stream
from frp_py.server.vhost.parting import Parting

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End, SocketEnd
    from frp_py.server.vhost.http import HttpVhost

log = get_logger()

_BEHIND = 128 * 1024  # bytes waiting for the socket, above which neither responses are passed on nor requests read
_AHEAD = 1 << 20  # bytes held for a user to whom nothing can be sent, above which nothing more is fetched for him
_WINDOW, _SHARED_WINDOW = 256 * 1024, 1 << 20  # of requests' bodies
_PIECE = 2048  # bytes between looks at the clock
_TURN = 0.002  # s that one user may take before others get their turn
_RESETS = 200  # streams that a user may open and give up within a second


class H2Connection:
    """The connection: sink and owner of its socket's end."""

    __slots__ = (
        "_core",
        "_counted_tick",
        "_ending",
        "_has_ended",
        "_idle",
        "_lengths",
        "_resets",
        "_rest",
        "_resting",
        "_sent_then",
        "_waiting",
        "end",
        "held",
        "ip",
        "port",
        "streams",
        "vhost",
    )

    def __init__(self, vhost: HttpVhost, end: SocketEnd, address: Any, ip: bytes) -> None:
        self.vhost = vhost
        self.end = end
        self.ip = ip
        self.port: int = address[1]
        self.streams: dict[int, H2Stream] = {}
        self._core = server_core(window=_WINDOW, shared_window=_SHARED_WINDOW)
        self._has_ended = False
        self._ending = False
        self._sent_then = 0
        self._lengths = Lengths()
        self._resets = self._idle = self._counted_tick = 0
        self.held = 0
        """Bytes of responses for which there is no room, and of requests that no service has taken; the vhost counts them."""
        self._rest = b""  # of what was received, to be dealt with at his next turn
        self._waiting: dict[H2Stream, None] = {}  # whose requests have to wait until something can be sent
        self._resting = vhost.slow_heads  # where it is kept while nothing is asked for
        vhost.slow_heads.add(self.retire)
        vhost.h2_users[self] = None
        end.sink = end.owner = self
        vhost.users[self] = None

    def start(self, data: bytes) -> None:
        """Begin, with what has come so far."""
        self._receive(data)

    # as the sink of its end

    @property
    def kept(self) -> int:
        """Nothing is held here: flow control is HTTP/2's own."""
        return 0

    def pull(self, recv_into: PullFrom) -> int:
        """Receive, and deal with it."""
        if self.end.kept > _BEHIND or self._rest:
            return BLOCKED
        scratch = self.vhost.engine.scratch
        n = recv_into(scratch[:READ])
        if n:
            self._receive(bytes(scratch[:n]))
        return n

    def feed(self, data: memoryview) -> int:
        """Not called: sockets are pulled from."""
        raise NotImplementedError

    def _receive(self, data: bytes) -> None:
        """Of the smallest frames 16 KiB take 50 ms: the others have their turn in between."""
        until = perf_counter() + _TURN
        for at in range(0, len(data), _PIECE):
            if perf_counter() > until:
                self._rest = data[at:]
                self.vhost.engine.soon(self._next_turn)
                return
            self._deal_with_piece(data[at : at + _PIECE])
            if self._ending:
                return

    def _next_turn(self) -> None:
        data, self._rest = self._rest, b""
        if not self._ending:
            self._receive(data)
            if not self._rest and not self._ending:
                self.end.start()

    def _deal_with_piece(self, data: bytes) -> None:
        if not self._lengths.allow(data):
            self._core.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
            self._finish()
            return
        try:
            events = self._core.receive_data(data)
        except ProtocolError as error:
            self.vhost.refused((self.ip.decode(), self.port), str(error))
            self._finish()
            return
        room = False
        for event in events:
            if self._ending:
                return
            if isinstance(event, WindowUpdated):
                room = True
            else:
                self._on_event(event)
        if room:
            self._pump()  # once, however many there were
        self.flush()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            if not self.streams:
                self._resting.discard(self.retire)
            self.streams[event.stream_id] = stream = H2Stream(self, event.stream_id)
            stream.requested(event.headers, ended=event.stream_ended is not None)
        elif isinstance(event, DataReceived):
            if not event.flow_controlled_length and event.stream_ended is None:
                self._count(idle=1)
                return
            target = self.streams.get(event.stream_id)
            if target is None or target.ended:
                self.acknowledge(event.stream_id, event.flow_controlled_length)
            else:
                target.body_came(event.data, event.flow_controlled_length)
        elif isinstance(event, TrailersReceived):
            if event.stream_id in self.streams:
                self.streams[event.stream_id].trailers_came(event.headers)
        elif isinstance(event, StreamEnded):
            if event.stream_id in self.streams:
                self.streams[event.stream_id].request_ended()
        elif isinstance(event, StreamReset):
            self._count(resets=1)
            given_up = self.streams.get(event.stream_id)
            if given_up is not None:
                given_up.cancel()
                self.leave(event.stream_id)
        elif isinstance(event, IDLE):
            self._count(idle=1)
        elif isinstance(event, ConnectionTerminated) and not self.streams:
            self._finish()

    def _count(self, *, resets: int = 0, idle: int = 0) -> None:
        """So many more within this second; who goes too far is sent away."""
        if self._counted_tick != self.vhost.tick:
            self._counted_tick = self.vhost.tick
            self._resets = self._idle = 0
        self._resets += resets
        self._idle += idle
        if self._resets > _RESETS or self._idle > IDLE_FRAMES:
            self._core.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._finish()

    # what streams do

    def acknowledge(self, stream_id: int, n: int) -> None:
        """n bytes of request body have been passed on."""
        if n and not self._ending:
            self._guarded(lambda: self._core.acknowledge_received_data(n, stream_id))

    def send_headers(self, stream_id: int, headers: list[Field], *, end: bool) -> None:
        """Send a head, or trailers."""
        self._guarded(lambda: self._core.send_headers(stream_id, headers, end_stream=end))

    def send_data(self, stream_id: int, data: bytearray) -> int:
        """Send as much as windows and socket take; returns how much."""
        sent = 0
        try:
            while sent < len(data) and self.end.kept < _BEHIND and not self._ending:
                n = min(self._core.local_flow_control_window(stream_id), self._core.max_outbound_frame_size, len(data) - sent)
                if n <= 0:
                    break
                self._core.send_data(stream_id, bytes(data[sent : sent + n]))
                sent += n
                self.flush()
        except H2Error:
            return len(data)  # the stream is gone
        return sent

    def end_stream(self, stream_id: int) -> None:
        """Say that the response is complete."""
        self._guarded(lambda: self._core.end_stream(stream_id))

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """Give a stream up."""
        self._guarded(lambda: self._core.reset_stream(stream_id, code))

    def leave(self, stream_id: int) -> None:
        """A stream is over."""
        if stream_id in self.streams:
            self.streams[stream_id].acknowledge()  # what nobody took has its room in the connection's window all the same
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self.vhost.hold(self, -stream.held)
            if self._waiting:
                self._waiting.pop(stream, None)
                self.vhost.engine.soon(self._resume)
        if self.streams or self._ending:
            return
        if self._has_ended:
            self._finish()
        else:
            self._resting = self.vhost.resting
            self._resting.add(self.retire)

    def _guarded(self, act: Any) -> None:
        """What is said on a stream that the user has closed meanwhile is lost."""
        if not self._ending:
            try:
                act()
            except H2Error as error:
                log.debug("HTTP/2 user [%s]: %s", self.ip.decode(), error)
            self.flush()

    def flush(self) -> None:
        """Send what the core has to send."""
        data = self._core.data_to_send()
        if data and self in self.vhost.users:
            self.end.feed(memoryview(data))

    def _pump(self) -> None:
        for stream in list(self.streams.values()):
            if self.end.kept >= _BEHIND or self._ending:
                return
            stream.pump()
        self._resume()

    def _resume(self) -> None:
        while self._waiting and not self.is_congested:
            stream = next(iter(self._waiting))
            del self._waiting[stream]
            stream.obtain()

    @property
    def is_congested(self) -> bool:
        """Much is held, and no stream could be sent anything: it is not one stream's window that is to blame."""
        return self.held > _AHEAD and (self.end.kept >= _BEHIND or self._core.outbound_flow_control_window <= 0)

    def wait(self, stream: H2Stream) -> None:
        """Let the request wait until something can be sent."""
        self._waiting[stream] = None

    # ending

    @property
    def is_resting(self) -> bool:
        """Whether he asks for nothing and waits for nothing."""
        return not self.streams and not self._rest and not self.end.kept

    def retire(self) -> None:
        """Nothing was asked for in a long time."""
        if self.end.kept:
            self._resting.add(self.retire)  # he still gets something
        else:
            self._core.close_connection()
            self._finish()

    def give_up(self) -> None:
        """He doesn't take what he has asked for."""
        log.debug("HTTP/2 user [%s] closed: %d bytes wait for him", self.ip.decode(), self.held)
        self.abort()

    def _finish(self) -> None:
        if not self._ending:
            self.flush()
            self._leave()
            Parting(self.vhost, self.end, has_ended=self._has_ended)

    def _leave(self) -> None:
        self._ending = True
        self.vhost.users.pop(self, None)
        self.vhost.finished.discard(self.fade)
        self._resting.discard(self.retire)
        self.vhost.h2_users.pop(self, None)
        self.vhost.hold(self, -self.held)
        self._waiting.clear()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.cancel()

    def abort(self) -> None:
        """Break off."""
        if not self._ending:
            self._leave()
            self.end.abort()

    def ended(self, end: End) -> None:
        """The user sends nothing more; complete requests are answered."""
        self._has_ended = True
        for stream in [stream for stream in self.streams.values() if not stream.ended]:
            del self.streams[stream.id]
            self._waiting.pop(stream, None)
            self.vhost.hold(self, -stream.held)
            stream.cancel()
        self._resting.discard(self.retire)
        if self.streams:
            self._sent_then = self.end.sent_total
            self.vhost.finished.add(self.fade)
        else:
            self._finish()

    def fade(self) -> None:
        """As UserConnection.fade."""
        sent = self.end.sent_total
        if sent == self._sent_then:
            self.abort()
        else:
            self._sent_then = sent
            self.vhost.finished.add(self.fade)

    def broke(self, end: End, reason: str) -> None:
        """The user is gone."""
        self._leave()

    def drained(self, end: End, n: int) -> None:
        """There is room."""
        if self._ending:
            return
        if self.end.kept < _BEHIND:
            self._pump()
            if not self._has_ended and not self._ending:
                self.end.start()

    def flushed(self, end: End) -> None:
        """Not called: who is told that it is over has another owner."""
