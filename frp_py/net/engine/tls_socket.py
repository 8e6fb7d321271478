"""A socket under TLS that decides itself how much of what has come OpenSSL gets to see at once.

OpenSSL on a socket reads until it finds something for us: who sends it records that carry nothing (changes of keys, 27 bytes each)
as fast as it undoes them keeps it, and with it the whole program, in one call for as long as he likes. Here the bytes go
through two buffers in memory, a record's worth at a time.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

RECORD = 16384
"""Bytes that a record carries at most."""

EMPTY = 128 * 1024
"""Bytes that may come, and carry nothing, before the connection is given up; a handshake with a long chain of certificates has less."""

_RAW = RECORD + 22  # the largest record of TLS 1.3, so that one that is full comes whole
_SENT_AT_ONCE = 4 * RECORD  # bytes encrypted before they are sent

_receive_raw = socket.socket.recv
_send_raw = socket.socket.send


class TlsSocket(socket.socket):
    """A non-blocking socket under TLS, which behaves as one without: BlockingIOError says that there is nothing, or no room, now.

    Receives and sends as `recv_into`, `recv` and `send` only; all else is said to the socket below. The handshake is to be done first.
    While it is `buffered`, nothing that has come is announced by epoll.
    """

    def __init__(self, context: ssl.SSLContext, sock: socket.socket, *, server_side: bool, server_hostname: str | None = None) -> None:
        """Takes `sock` over. Raises ValueError, and leaves it, when the name can't be one."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname)
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.fileno())
        sock.detach()
        self.setblocking(False)
        self.tls = tls
        inner: Any = getattr(tls, "_sslobj", None) or tls  # a layer less, where it can be had
        self._decrypt = inner.read
        self._encrypt = inner.write
        self._pending = inner.pending
        self._give = self._incoming.write
        self._take = self._outgoing.read
        self._at_once = _RAW  # bytes received
        self._rest = True  # something that has come may not have been looked at
        self._empty = 0  # bytes since the last that carried something
        self._failure: OSError | None = None  # to be raised behind what came before it
        self._has_ended = False
        self._end_waits = False  # and was not told
        self._unsent: bytes | memoryview | None = None  # encrypted, and the system has no room for it
        self._taken = 0  # bytes of what was sent that are in it

    # the handshake

    def do_handshake(self) -> None:
        """Go on with it. Raises SSLWantReadError or SSLWantWriteError until it is done, OSError when it fails."""
        self._send_rest()
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send_rest()
            try:
                self._receive()
            except BlockingIOError:
                raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the operation did not complete (read)") from None
            self.tls.do_handshake()
        finally:
            self._answer()
        self._send_rest()

    def _send_rest(self) -> None:
        try:
            self._send_outgoing()
        except BlockingIOError:
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "the operation did not complete (write)") from None

    # receiving

    def trust(self) -> None:
        """The other side is known: it may hold us up for four records, which is faster."""
        self._at_once = 4 * _RAW

    @property
    def buffered(self) -> bool:
        """Whether something has come that was not looked at yet."""
        return self._rest and bool(self._incoming.pending or self._pending() or self._end_waits or self._failure)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive what has come in whole records; 0 at the end. Raises OSError."""
        size = nbytes or len(buffer)
        got = 0
        try:
            if self._rest and (self._has_ended or self._failure is not None):
                return self._say_end()
            if not self._rest or not self.buffered:
                self._receive()
            while True:
                n = self._decrypt(size - got, buffer[got:] if got else buffer)
                if not n:
                    self._rest = self._has_ended = True
                    self._end_waits = got > 0
                    break
                got += n
                if got == size:
                    self._rest = True
                    break
                if not self._incoming.pending:  # there was room for more, so nothing is left inside either
                    self._rest = False
                    break
        except BlockingIOError:
            raise
        except ssl.SSLWantReadError:
            self._rest = False
            if not got:
                raise BlockingIOError(errno.EAGAIN, "no whole record") from None
        except ssl.SSLEOFError:  # without close_notify, where OpenSSL can't be told that this is an end as well
            self._rest = self._has_ended = True
            self._end_waits = got > 0
        except OSError as error:
            self._failure = error
            self._rest = True
            self._answer()  # the alert
            if not got:
                raise
        self._empty = 0
        return got

    def _say_end(self) -> int:
        if self._failure is not None:
            raise self._failure
        self._end_waits = False
        return 0

    def _receive(self) -> None:
        data = _receive_raw(self, self._at_once)
        if data:
            self._empty += len(data)
            if self._empty > EMPTY:
                raise OSError(errno.EPROTO, "TLS records that carry nothing")
            self._give(data)
        else:
            self._incoming.write_eof()

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """The same, as bytes."""
        buffer = bytearray(bufsize)
        return bytes(buffer[: self.recv_into(memoryview(buffer))])

    # sending

    def send(self, data: Any, flags: int = 0) -> int:
        """Send; returns how many bytes the system has taken. After BlockingIOError come again with the same bytes, or more behind them."""
        size = len(data)
        if self._unsent is None and 0 < size <= _SENT_AT_ONCE:  # nearly every time
            n: int = self._encrypt(data)
            out = self._take()
            try:
                sent = _send_raw(self, out)
            except BlockingIOError:
                sent = 0
            if sent == len(out):
                return n
            self._unsent, self._taken = memoryview(out)[sent:], n
        done = 0
        try:
            while done < size:
                if self._unsent is None:
                    self._taken = self._encrypt(data[done : done + _SENT_AT_ONCE])
                self._send_outgoing()
                done += self._taken
                self._taken = 0
        except BlockingIOError:
            if not done:
                raise
        return done

    def _send_outgoing(self) -> None:
        """Send what TLS has to say. Raises BlockingIOError, and keeps what doesn't go."""
        rest = self._unsent
        while rest is not None or self._outgoing.pending:
            if rest is None:
                rest = self._unsent = self._take()
            n = _send_raw(self, rest)
            rest = self._unsent = memoryview(rest)[n:] if n < len(rest) else None

    def _answer(self) -> None:
        """Send what TLS says by itself, as far as it goes now; the rest goes with what is sent next."""
        try:
            self._send_outgoing()
        except OSError:
            pass  # who reads on finds it, and there may still be something to be read

    def close(self) -> None:
        """Close the socket."""
        self._failure = None  # whose traceback would hold on to this
        super().close()

    # what people ask

    def getpeercert(self, *, binary_form: bool = False) -> Any:
        """As ssl has it."""
        return self.tls.getpeercert(binary_form)

    def selected_alpn_protocol(self) -> str | None:
        """As ssl has it."""
        return self.tls.selected_alpn_protocol()

    def version(self) -> str | None:
        """As ssl has it."""
        return self.tls.version()
