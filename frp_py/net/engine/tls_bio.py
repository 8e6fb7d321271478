"""TLS over any end: over a work connection, or over a transport that has no socket of its own.

Where there is a socket, `TlsEnd` is faster. Here the bytes go through two buffers in memory, and the handshake is part of
it, so nobody needs a task. As elsewhere what the sink keeps stops the source: while it keeps something, nothing more is decrypted, and
what has come is not reported to the end below as gone.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from frp_py.net.engine.inward import Inward
from frp_py.net.engine.tls_socket import RECORD
from frp_py.protocol.yamux import BLOCKED, PullFrom

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End, Owner, Sink
    from frp_py.net.engine.loop import Engine

_BATCH = 4 * RECORD
_EMPTY = 64 * 1024  # bytes that may come, and carry nothing: OpenSSL undoes them all in one call


class TlsOverEnd:
    """An end seen through TLS. What is fed to it before the handshake is over goes out after it.

    `on_ready` is called once, when the handshake is over; the owner hears of one that fails, as of any loss.
    """

    __slots__ = (
        "_delivering",
        "_early",
        "_empty",
        "_finishing",
        "_has_ended",
        "_incoming",
        "_inner",
        "_inner_ended",
        "_kept",
        "_later",
        "_on_ready",
        "_open",
        "_outgoing",
        "_owed",
        "_ready",
        "_unsent",
        "owner",
        "received_total",
        "scratch",
        "sent_total",
        "sink",
        "tls",
    )

    def __init__(
        self,
        engine: Engine,
        inner: End,
        context: ssl.SSLContext,
        sink: Sink,
        owner: Owner,
        *,
        server_side: bool,
        server_name: str | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.scratch = engine.scratch[:_BATCH]
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name)
        self._on_ready = on_ready
        self._ready = False
        self._open = True
        self._early = bytearray()  # fed before the handshake was over
        self._later = bytearray()  # came, and OpenSSL has not seen it
        self._empty = 0  # bytes that it has seen since the last that carried something
        self._finishing = False
        self._inner_ended = False
        self._has_ended = False
        self._delivering = False
        self._kept = 0  # bytes of what was received that the sink keeps
        self._owed = 0  # bytes of `inner` that wait for that
        self._unsent = 0  # bytes taken that `inner` keeps, as what they became
        self.sink = sink
        self.owner = owner
        self.received_total = 0
        self.sent_total = 0
        inner.sink = Inward(self)
        inner.owner = self

    # towards `inner`

    @property
    def kept(self) -> int:
        """Bytes taken and not sent yet."""
        return len(self._early) + self._inner.kept

    def pull(self, recv_into: PullFrom) -> int:
        """Receive, encrypt, send."""
        if self.kept or not self._ready:
            return BLOCKED
        n = recv_into(self.scratch)
        if n:
            self.feed(self.scratch[:n])
        return n

    def feed(self, data: memoryview) -> int:
        """Encrypt and send."""
        if not self._open:
            return 0
        self.sent_total += len(data)
        if not self._ready:
            self._early += data
            self._unsent += len(data)
            return len(data)
        if not self._encrypt(data) or not self._flush():
            return 0
        self._unsent += len(data)
        return len(data)

    def _encrypt(self, data: memoryview) -> bool:
        try:
            while data:
                data = data[self.tls.write(data) :]
        except ssl.SSLError as error:
            self._fail(error)
            return False
        return True

    def _flush(self) -> int:
        """Send what TLS has to say; returns how much of it the end below keeps."""
        return self._inner.feed(memoryview(self._outgoing.read())) if self._outgoing.pending else 0

    def start(self) -> None:
        """Begin, with the handshake, or go on."""
        if self._open:
            self._inner.start()
            self._advance()

    def pause(self) -> None:
        """Receive nothing for now."""
        self._inner.pause()

    def consumed(self, n: int) -> None:
        """The sink is rid of n bytes it had kept."""
        self._kept = max(0, self._kept - n)
        if self._open and not self._delivering:
            self._deliver()
            if not self._kept and self._open:
                owed, self._owed = self._owed, 0
                self._inner.consumed(owed)

    def finish(self) -> None:
        """Send what is kept, then the end of it, in TLS and below."""
        if self._open and not self._finishing:
            self._finishing = True
            if self._ready:
                self._say_end()

    def _say_end(self) -> None:
        self._notify()
        self._inner.finish()

    def _notify(self) -> None:
        """Say close_notify. OpenSSL would look for the answer at once, and take user bytes in its place for a crime: it sees none."""
        rest = self._incoming.read()
        try:
            self.tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # it has been said; the answer is not waited for
        self._incoming.write(rest)
        self._flush()

    def close(self) -> None:
        """Give it up where it is; the other side is told that this is the end."""
        if self._open:
            if self._ready and not self._finishing:
                self._notify()
            self._forget()
            self._inner.close()

    def abort(self) -> None:
        """Give it up so that the other side notices."""
        if self._open:
            self._forget()
            self._inner.abort()

    def _forget(self) -> None:
        self._open = False
        self._early.clear()
        self._later.clear()
        self._on_ready = None

    # from `inner`

    @property
    def undelivered(self) -> int:
        """Bytes received that the sink has not passed on."""
        return self._kept

    def arrived(self, data: memoryview) -> int:
        """Decrypt and pass on, as far as the sink takes it; returns how much of `data` isn't through yet."""
        if not self._open:
            return 0
        self._later += data
        self._advance()
        if not self._kept or not self._open:
            return 0
        self._owed += len(data)
        return len(data)

    def _look_on(self) -> bool:
        """Give OpenSSL a record's worth of what came, since it undoes in one call all that carries nothing; False: there was no more."""
        if self._empty > _EMPTY:
            self._lose("TLS records that carry nothing")
        if not self._later or not self._open:
            return False
        self._empty += self._incoming.write(self._later[:RECORD])
        del self._later[:RECORD]
        return True

    def _advance(self) -> None:
        while not self._ready:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if self._look_on():
                    continue
                if self._inner_ended:
                    self._lose("closed during the TLS handshake")
                return
            except (ssl.SSLError, ValueError) as error:
                self._fail(error)
                return
            self._ready = True
            self._after_handshake()
        self._deliver()

    def _after_handshake(self) -> None:
        self._flush()
        if self._early:
            early, self._early = self._early, bytearray()
            if self._encrypt(memoryview(early)):
                self._flush()
        if self._finishing and self._open:
            self._say_end()
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()
        if self._open and not self._inner.kept:
            unsent, self._unsent = self._unsent, 0
            self.owner.drained(self, unsent)  # with 0, too: `pull` has refused until now

    def _deliver(self) -> None:
        """Decrypt and pass on until there is nothing more, or the sink keeps something."""
        if not self._delivering:
            self._delivering = True
            try:
                self._deliver_all()
            finally:
                self._delivering = False

    def _deliver_all(self) -> None:
        more = True
        while more and self._ready and self._open and not self._kept and not self._has_ended:
            pieces: list[bytes] = []
            size, ended = 0, False
            try:
                while size < _BATCH and not ended:
                    try:
                        piece = self.tls.read(RECORD)
                    except ssl.SSLWantReadError:
                        if self._look_on():
                            continue
                        more, ended = False, self._inner_ended
                        break
                    pieces.append(piece)
                    size += len(piece)
                    self._empty = 0
                    ended = not piece
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                ended = True
            except ssl.SSLError as error:
                self._fail(error)
                return
            self._flush()
            if size:
                self.received_total += size
                self._kept = size  # first: a sink may report in the midst of it what it is rid of
                kept = self.sink.feed(memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces)))
                self._kept -= size - kept
            if ended and self._open:
                self._has_ended = True
                self.owner.ended(self)

    def _fail(self, error: ssl.SSLError | ValueError) -> None:
        if self._open:
            self._flush()  # the alert
            reason = getattr(error, "reason", None) or str(error)
            self._lose(f"tls: {reason.lower().replace('_', ' ')}")

    def _lose(self, reason: str) -> None:
        if self._open:
            handshake_failed = not self._ready
            self._forget()
            if handshake_failed:
                self._inner.close()  # the alert still goes out
            else:
                self._inner.abort()
            self.owner.broke(self, reason)

    def ended(self, end: End) -> None:
        """The other side has finished, with or without close_notify; the owner hears of it behind the last byte."""
        self._inner_ended = True
        if self._open:
            self._advance()

    def broke(self, end: End, reason: str) -> None:
        """It is lost."""
        if self._open:
            self._forget()
            self.owner.broke(self, reason)

    def drained(self, end: End, n: int) -> None:
        """What was kept below has gone."""
        if self._open and self._ready and not self._inner.kept:
            unsent, self._unsent = self._unsent, 0
            self.owner.drained(self, unsent)

    def flushed(self, end: End) -> None:
        """All was sent, and the end said."""
        self.owner.flushed(self)
