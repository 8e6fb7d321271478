"""Yamux: many streams over one byte stream (wire.md 2). No I/O, no clock.

A `Session` is fed what the transport received and collects what has to be sent in one buffer, so that everything which
a batch of events produces leaves in one write. Bytes are not copied on the way: `Stream.pull` lets a socket receive straight
into that buffer, behind the room for the frame's header, and received payload is handed on as slices of the reader's buffer.

Windows tune themselves. A stream starts with the 256 KiB that the protocol gives it; each time its reader has emptied
half a window without falling behind, and quickly enough for the window to be what limits it, the window doubles, up to
frp's 6 MiB. So a reader that stands still holds 256 KiB, not 6 MiB, and the sum of all that was added is bounded by a `Budget`.

What is put into the buffer waits there until all that is in it has gone. Where that takes long, the driver lowers
`Session.most_queued`; and a stream that has put nothing in yet finds a little room behind the others, so that a key stroke
doesn't wait for its turn among uploads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from mmap import mmap
from typing import TypeAlias

from frp_py.errors import PeerError

Buffer: TypeAlias = bytes | bytearray | memoryview

HEADER = struct.Struct(">III")  # version, type and flags in one word | stream id | length
HEADER_SIZE = 12
_pack_into = HEADER.pack_into
_unpack_from = HEADER.unpack_from
DATA, WINDOW_UPDATE, PING, GO_AWAY = (kind << 16 for kind in range(4))  # plain ints: an IntFlag costs five times as much a frame
SYN, ACK, FIN, RST = 1, 2, 4, 8

NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = range(3)  # reasons of GoAway

INITIAL_WINDOW = 262144
MAX_WINDOW = 6291456
FRP_FIRST_INCREMENT = MAX_WINDOW - INITIAL_WINDOW
BACKLOG = 256  # streams that may wait for their ACK

BUFFER_SIZE = 288 * 1024
_SLACK = 8 * 1024  # at the end of the buffer, for control frames only
_RESERVE = 32 * 1024  # before it, for streams that have put nothing into it yet
_LITTLE = 4096  # bytes that each of them may put there
LEAST_QUEUED, MOST_QUEUED = 16 * 1024, BUFFER_SIZE - _SLACK - _RESERVE
"""Bounds of `Session.most_queued`."""
_FLUSH_AT = 64 * 1024  # with this much waiting, ask the driver to send before more is added

OWED_LIMIT = 1 << 20
"""Bytes of control frames, beyond what the buffer holds, that a peer may make us owe it without reading them."""

HELD = 8
"""A bit of `Stream.state` for its user: while it is set, `pull` answers BLOCKED (older bytes have to go first)."""

SMALL = 16
"""A bit of `Stream.state` for its user: while it is set, the receive window doesn't grow."""

BLOCKED = -1
"""What `Stream.pull` returns when nothing may be sent now; `Stream.writable` is called when that changes."""

PullFrom: TypeAlias = Callable[[memoryview], int]


class Buffers:
    """Output buffers that sessions borrow while they have something to send, so that an idle session holds none."""

    __slots__ = ("_free", "_taken", "scarce")

    _KEPT = 16

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._taken = 0
        self.scarce = False
        """So many are taken that nobody should hold one without using it."""

    def take(self) -> memoryview:
        """A buffer of BUFFER_SIZE bytes."""
        self._taken += 1
        self.scarce = self._taken > self._KEPT
        # memory of its own: pages that nothing was written to cost nothing, and all go back to the system at the end
        return self._free.pop() if self._free else memoryview(mmap(-1, BUFFER_SIZE))

    def give_back(self, buffer: memoryview) -> None:
        """The taker doesn't use `buffer` any more."""
        self._taken -= 1
        self.scarce = self._taken > self._KEPT
        if len(self._free) < self._KEPT:
            self._free.append(buffer)


class Budget:
    """How many bytes of window all streams together may have beyond what the protocol gives each of them."""

    __slots__ = ("left",)

    def __init__(self, limit: int = 256 << 20) -> None:
        self.left = limit


class Stream:
    """One stream; a subclass receives its events.

    The events are `received`, `finished`, `broken`, `writable` and `acknowledged`. Whoever has dealt with received bytes
    says so with `consumed`: only then may the peer send more.
    """

    __slots__ = (
        "_credited_at",
        "_owed",
        "_turn",
        "_waits",
        "_window",
        "flags",
        "id",
        "opened_at",
        "recv_window",
        "send_window",
        "session",
        "state",
    )

    READ_DONE, WRITE_DONE, GONE = 1, 2, 4

    def __init__(self, session: Session, stream_id: int) -> None:
        self.session = session
        self.id = stream_id
        self.flags = 0  # to ride on the next frame
        self.state = 0
        self.send_window = INITIAL_WINDOW
        self.recv_window = INITIAL_WINDOW  # what the peer may still send
        self.opened_at = session.ticks
        self._window = INITIAL_WINDOW
        self._owed = 0  # consumed, and not yet given back to the peer
        self._credited_at = session.ticks
        self._turn = -1  # when it last put something into the buffer
        self._waits = False

    # what a subclass hears

    def received(self, data: memoryview) -> None:
        """Payload came; `data` is valid during the call only."""

    def finished(self) -> None:
        """The peer sends nothing more on this stream."""

    def broken(self, reason: str) -> None:
        """The stream is gone in both directions, by the peer's RST or with the whole session."""

    def writable(self) -> None:
        """After BLOCKED, or a short `send`: there is room again."""

    def acknowledged(self) -> None:
        """The peer has accepted the stream that we opened."""

    # what its user calls

    def pull(self, recv_into: PullFrom) -> int:
        """Send what `recv_into(memoryview) -> int` puts into the buffer it is given.

        Returns its answer, or BLOCKED, without calling it, when the peer's window or our buffer is full.
        What `recv_into` raises goes through, and nothing is sent then.
        """
        session = self.session
        view = session.view
        if view is None:
            view = session.take_buffer()
        start = session.end + HEADER_SIZE
        if start > _FLUSH_AT:
            session.flush()
            if (view := session.view) is None:
                view = session.take_buffer()
            start = session.end + HEADER_SIZE
        room = session.most_queued - start
        if room < _LITTLE and self._turn != session.turn:
            room = min(_LITTLE, room + _RESERVE)
        if room > self.send_window:
            room = self.send_window
        if room <= 0 or session.extra or self.state & 14:
            self._wait()
            return BLOCKED
        n = recv_into(view[start : start + room])
        if n:
            _pack_into(view, start - HEADER_SIZE, self.flags, self.id, n)
            self.flags = 0
            session.end = start + n
            self.send_window -= n
            self._turn = session.turn
            if not session.awake:
                session.awake = True
                session.wake()
        return n

    def send(self, data: Buffer) -> int:
        """Send as much of `data` as window and buffer take now; returns how much (`writable` tells when more goes)."""
        session = self.session
        done, total = 0, len(data)
        view, start = session.view, session.end + HEADER_SIZE
        end = start + total
        if (
            view is not None
            and 0 < total <= self.send_window
            and end <= _FLUSH_AT
            and end <= session.most_queued
            and not session.extra
            and not self.state & 6
        ):
            view[start:end] = data  # little, and room for it: nearly every time
            _pack_into(view, start - HEADER_SIZE, self.flags, self.id, total)
            self.flags = 0
            session.end = end
            self.send_window -= total
            self._turn = session.turn
            done = total
        while done < total:
            if session.end > _FLUSH_AT:
                session.flush()
            view = session.view
            if view is None:
                view = session.take_buffer()
            start = session.end + HEADER_SIZE
            room = session.most_queued - start
            if room < _LITTLE and self._turn != session.turn:
                room = min(_LITTLE, room + _RESERVE)
            n = min(total - done, self.send_window, room)
            if n <= 0 or session.extra or self.state & 6:
                self._wait()
                break
            view[start : start + n] = data if n == total else memoryview(data)[done : done + n]
            _pack_into(view, start - HEADER_SIZE, self.flags, self.id, n)
            self.flags = 0
            session.end = start + n
            self.send_window -= n
            self._turn = session.turn
            done += n
        if done and not session.awake:
            session.awake = True
            session.wake()
        return done

    def finish(self) -> None:
        """Send FIN: no data follows. Does nothing the second time, or when the stream is gone."""
        if self.state & 6:
            return
        self.state |= self.WRITE_DONE
        self._control(FIN)
        if self.state & self.READ_DONE:
            self._forget()

    def reset(self) -> None:
        """Give the stream up in both directions, with RST."""
        if not self.state & self.GONE:
            self._control(RST)
            self._forget()

    def forget(self) -> None:
        """After our FIN: take no more of what the peer still sends; frames for a forgotten stream are skipped (wire.md 2.5)."""
        if not self.state & self.GONE:
            self._forget()

    def consumed(self, n: int, *, keeps_up: bool = True) -> None:
        """The reader is through with n received bytes; `keeps_up`: and has no more waiting."""
        owed = self._owed + n
        window = self._window
        if owed < window >> 1 or self.state & 5:
            self._owed = owed
            return
        session = self.session
        if keeps_up and window < MAX_WINDOW and session.ticks - self._credited_at <= 1 and not self.state & SMALL:
            more = min(window, MAX_WINDOW - window)
            if more <= session.budget.left:
                session.budget.left -= more
                self._window = window + more
                owed += more
        self._credited_at = session.ticks
        self._owed = 0
        self.recv_window += owed
        session.put(WINDOW_UPDATE | self.flags, self.id, owed)
        self.flags = 0

    def accept(self) -> None:
        """Tell the peer that its stream was taken; it rides on whatever is sent next in this batch, or goes alone."""
        self.session.put(WINDOW_UPDATE | ACK, self.id, 0)

    def _control(self, flags: int) -> None:
        self.session.put(WINDOW_UPDATE | self.flags | flags, self.id, 0)
        self.flags = 0

    def _wait(self) -> None:
        if not self._waits and not self.state & 14:
            self._waits = True
            if self.send_window > 0:
                self.session.waiting.append(self)

    def _forget(self) -> None:
        self.state |= 7
        session = self.session
        session.streams.pop(self.id, None)
        session.unacknowledged.pop(self.id, None)
        session.budget.left += self._window - INITIAL_WINDOW


def _nothing(*_: object) -> None:
    """In place of what would hold on to a driver that is gone."""


class Session:
    """One side of a yamux connection.

    The driver calls `receive_data` with what came, sends `data_to_send()` and says how much of it went with `sent`. `wake` is called when
    there is something to send, once until `drained`, `flush` when it would be good to send now; both may do nothing.
    `new_stream` makes the object for a stream that the peer opens; None refuses it (RST).
    """

    __slots__ = (
        "_buffers",
        "_current",
        "_fin",
        "_head",
        "_left",
        "_new_stream",
        "_next_id",
        "awake",
        "budget",
        "end",
        "extra",
        "flush",
        "gone_away",
        "max_streams",
        "most_queued",
        "overflowed",
        "owed_limit",
        "ping_seen",
        "ping_sent",
        "start",
        "streams",
        "ticks",
        "turn",
        "unacknowledged",
        "view",
        "waiting",
        "wake",
    )

    def __init__(
        self,
        *,
        client: bool,
        new_stream: Callable[[Session, int], Stream | None],
        buffers: Buffers | None = None,
        budget: Budget | None = None,
        wake: Callable[[], None] = lambda: None,
        flush: Callable[[], None] = lambda: None,
        max_streams: int = 1 << 20,
    ) -> None:
        self.streams: dict[int, Stream] = {}
        self.unacknowledged: dict[int, Stream] = {}  # opened by us; oldest first
        self.waiting: list[Stream] = []  # found no room in the buffer (who waits for window isn't here)
        self.gone_away: int | None = None  # the peer's reason, once it takes no new streams
        self.ping_sent = 0  # how many, and thus the value of the next one
        self.ping_seen = 0
        self.ticks = 0  # a rough clock that the driver counts up, once a second
        self.max_streams = max_streams
        self.most_queued = MOST_QUEUED
        """Bytes of payload that the buffer takes before all of it has to go out."""
        self.turn = 0  # how often all has gone out
        self.awake = False  # wake() was called, drained() not yet
        self.wake = wake
        self.flush = flush
        self.budget = budget if budget is not None else Budget()
        self._buffers = buffers if buffers is not None else Buffers()
        self._new_stream = new_stream
        self._next_id = 1 if client else 2
        # what has to be sent: view[start:end], then extra
        self.view: memoryview | None = None
        self.start = self.end = 0
        self.extra = bytearray()
        self.overflowed = False
        self.owed_limit = OWED_LIMIT
        # where in the received bytes we are
        self._head = b""  # the beginning of a header
        self._left = 0  # payload still to come of the frame we are in
        self._current: Stream | None = None  # whose payload it is; None: nobody's, it is skipped
        self._fin = False  # and whether FIN goes with it

    # streams

    def open(self, make: Callable[[Session, int], Stream] = Stream) -> Stream:
        """Open a stream; its SYN rides on the first frame sent on it. Raises PeerError when ids are used up or the peer said GoAway."""
        if self.gone_away is not None:
            raise PeerError("peer takes no new streams (yamux GoAway)")
        stream_id = self._next_id
        while stream_id in self.streams:  # the peer may use any parity, and whose number is taken would be forgotten
            stream_id += 2
        if stream_id >= 0xFFFFFFFE:
            raise PeerError("yamux stream ids are used up")
        self._next_id = stream_id + 2
        stream = make(self, stream_id)
        stream.flags = SYN
        self.streams[stream_id] = stream
        self.unacknowledged[stream_id] = stream
        return stream

    def ping(self) -> None:
        """Ask for a sign of life; when `ping_seen` reaches `ping_sent` it has come."""
        self.put(PING | SYN, 0, self.ping_sent & 0xFFFFFFFF)
        self.ping_sent += 1

    def go_away(self, reason: int) -> None:
        """Say that the session ends (PROTOCOL_ERROR, INTERNAL_ERROR) or that new streams aren't taken (NORMAL)."""
        self.put(GO_AWAY, 0, reason)

    def broken(self, reason: str) -> None:
        """The transport is lost: every stream is told."""
        streams = list(self.streams.values())
        self.streams.clear()
        self.unacknowledged.clear()
        self.waiting.clear()
        self.max_streams = 0  # who lost the session in the midst of `receive_data` gets none from the rest of it
        for stream in streams:
            stream.state |= 7
            self.budget.left += stream._window - INITIAL_WINDOW
        failure: Exception | None = None
        for stream in streams:
            try:
                stream.broken(reason)
            except Exception as error:
                failure = error  # the others have to be told all the same
        self._release()
        self._buffers = Buffers()  # what is still said is for nobody, and is not to be counted
        self.wake = self.flush = _nothing
        self._new_stream = _nothing
        if failure is not None:
            raise failure

    # sending

    def take_buffer(self) -> memoryview:
        """The buffer that frames are put into, borrowed now."""
        self.view = view = self._buffers.take()
        self.start = self.end = 0
        return view

    def put(self, word: int, stream_id: int, length: int) -> None:
        """Queue a frame without payload.

        When the peer makes us owe it more than it reads, `overflowed` is set, and the session is to be ended.
        """
        view = self.view
        if view is None:
            view = self.take_buffer()
        if not self.awake:
            self.awake = True
            self.wake()
        if not self.extra and self.end + HEADER_SIZE <= BUFFER_SIZE:
            HEADER.pack_into(view, self.end, word, stream_id, length)
            self.end += HEADER_SIZE
            return
        if len(self.extra) > self.owed_limit:
            self.overflowed = True
            return
        self.extra += HEADER.pack(word, stream_id, length)

    def data_to_send(self) -> memoryview | None:
        """What has to go next; None when there is nothing. A retry after a short write gets at least the same bytes."""
        view = self.view
        if view is None or self.start == self.end:
            return None
        return view[self.start : self.end]

    def sent(self, n: int) -> None:
        """The first n bytes of `data_to_send()` went out."""
        self.start += n
        if self.start < self.end:
            return
        view = self.view
        assert view is not None
        self.start = self.end = 0
        if self.extra:
            n = min(len(self.extra), BUFFER_SIZE)
            view[:n] = memoryview(self.extra)[:n]
            del self.extra[:n]
            self.end = n
        elif self._buffers.scarce:
            self._release()

    def rest(self) -> None:
        """Give the buffer back, if nothing is in it: to be called from time to time."""
        if self.start == self.end and not self.extra:
            self._release()

    def drained(self) -> None:
        """All has been sent: streams that found no room may go on, and `wake` is called when there is something again."""
        self.awake = False
        self.turn += 1
        waiting, self.waiting = self.waiting, []
        for stream in waiting:
            stream._waits = False
            if not stream.state & 6:
                stream.writable()

    def _release(self) -> None:
        if self.view is not None:
            self._buffers.give_back(self.view)
            self.view = None
        self.start = self.end = 0

    # receiving

    def receive_data(self, data: memoryview) -> None:
        """Take what the transport received, cut anywhere. Raises PeerError when the peer broke a rule: the session is over then."""
        pos, end = 0, len(data)
        streams = self.streams
        left = self._left
        if left:
            pos = left if left < end else end
            self._left = left - pos
            stream = self._current
            if stream is not None and not stream.state & 5:
                stream.received(data[:pos])
            if pos == left:
                self._current = None
                if self._fin:
                    self._fin = False
                    if stream is not None:
                        self._finished(stream)
        elif self._head:
            missing = HEADER_SIZE - len(self._head)
            self._head += bytes(data[:missing])
            if len(self._head) < HEADER_SIZE:
                return
            head, self._head = self._head, b""
            word, stream_id, length = HEADER.unpack(head)
            pos = self._frame(word, stream_id, length, data, missing, end)
        while end - pos >= HEADER_SIZE:
            word, stream_id, length = _unpack_from(data, pos)
            pos += HEADER_SIZE
            if word == 0 and (stream := streams.get(stream_id)) is not None and 0 < length <= stream.recv_window and not stream.state & 1:
                # plain data, nearly every frame
                stream.recv_window -= length
                n = end - pos
                if length <= n:
                    stream.received(data[pos : pos + length])
                    pos += length
                else:
                    self._current = stream
                    self._left = length - n
                    if n:
                        stream.received(data[pos:end])
                    return
            else:
                pos = self._frame(word, stream_id, length, data, pos, end)
        if pos < end:
            self._head = bytes(data[pos:end])

    def _frame(self, word: int, stream_id: int, length: int, data: memoryview, pos: int, end: int) -> int:
        """Any frame, with its header taken off; returns where the next one begins."""
        kind = word & 0xFFFF0000
        flags = word & 0xFFFF
        if kind > GO_AWAY:
            if word >> 24:
                raise PeerError(f"yamux version {word >> 24} is not known (is tcpMux the same on both sides?)")
            raise PeerError(f"yamux frame type {word >> 16} is not known")
        if kind == PING:
            if flags & SYN:
                self.put(PING | ACK, 0, length)
            elif flags & ACK and self.ping_seen < self.ping_sent and length == (self.ping_sent - 1) & 0xFFFFFFFF:
                self.ping_seen = self.ping_sent
            return pos
        if kind == GO_AWAY:
            self.gone_away = length
            if length != NORMAL:
                raise PeerError(f"peer ended the session (yamux GoAway {length})")
            return pos
        stream = self.streams.get(stream_id)
        if flags & SYN:
            if stream is not None:
                raise PeerError(f"yamux stream {stream_id} was opened twice")
            if stream_id == 0:
                raise PeerError("yamux stream 0 can't be opened")
            stream = self._new_stream(self, stream_id) if len(self.streams) < self.max_streams else None
            if stream is None:
                self.put(WINDOW_UPDATE | RST, stream_id, 0)
            else:
                self.streams[stream_id] = stream
                stream.accept()
        if flags & ACK and stream is not None and self.unacknowledged.pop(stream_id, None) is not None:
            stream.acknowledged()
        if flags & RST:
            if stream is not None and not stream.state & 4:
                stream._forget()
                stream.broken("reset by the peer")
                stream = None
        elif kind == WINDOW_UPDATE and stream is not None and length:
            self._grant(stream, length)
        if kind == DATA and length:
            if stream is not None and length > stream.recv_window:
                raise PeerError(f"yamux stream {stream_id}: {length} bytes sent into a window of {stream.recv_window}")
            n = min(length, end - pos)
            if stream is not None:
                stream.recv_window -= length
                if n and not stream.state & 5:
                    stream.received(data[pos : pos + n])
            pos += n
            if n < length:
                self._current = stream
                self._left = length - n
                self._fin = bool(flags & FIN)
                return pos
        if flags & FIN and stream is not None:
            self._finished(stream)
        return pos

    def _finished(self, stream: Stream) -> None:
        if stream.state & Stream.GONE:
            return
        if stream.state & Stream.READ_DONE:
            raise PeerError(f"yamux stream {stream.id} was finished twice")
        stream.state |= Stream.READ_DONE
        if stream.state & Stream.WRITE_DONE:
            stream._forget()
        stream.finished()

    def _grant(self, stream: Stream, n: int) -> None:
        window = stream.send_window + n
        if window > 0xFFFFFFFF:
            raise PeerError(f"yamux stream {stream.id}: a window of {window} bytes is more than the protocol can count")
        stream.send_window = window
        if stream._waits and window == n and not stream.state & 6:  # it was waiting for just this, not for room in the buffer
            stream._waits = False
            stream.writable()
