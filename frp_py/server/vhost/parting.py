"""Users to whom all has been said, while they still take it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from frp_py.net.engine.ends import Drop
from frp_py.net.engine.relay import Lingering

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End, SocketEnd
    from frp_py.server.vhost.http import HttpVhost


def taken(end: SocketEnd) -> int:
    """Bytes that the other side has confirmed, as far as the system tells; else those that the system has taken."""
    try:
        from fcntl import ioctl
        from termios import TIOCOUTQ

        return end.sent_total - int.from_bytes(ioctl(end.fd, TIOCOUTQ, bytes(4)), sys.byteorder)
    except (ImportError, OSError):
        return end.sent_total


class Parting:
    """One of them. Closed while he still sends, the connection would be reset, and the last answer lost with it."""

    __slots__ = ("_end", "_has_ended", "_taken_then", "_vhost")

    def __init__(self, vhost: HttpVhost, end: SocketEnd, *, has_ended: bool) -> None:
        self._vhost = vhost
        self._end = end
        self._has_ended = has_ended
        self._taken_then = taken(end)
        vhost.partings[self] = None
        vhost.last_words.add(self.look)
        end.sink = Drop(vhost.engine)
        end.owner = self
        end.start()
        end.finish()

    def look(self) -> None:
        """Whether he has taken anything since the last time; if not, it is over."""
        now = taken(self._end)
        if now == self._taken_then:
            self.abort()
        else:
            self._taken_then = now
            self._vhost.last_words.add(self.look)

    def _done(self) -> None:
        self._vhost.partings.pop(self, None)
        self._vhost.last_words.discard(self.look)

    def abort(self) -> None:
        """Break off."""
        self._done()
        self._end.abort()

    # as the owner of the end

    def ended(self, end: End) -> None:
        """He has finished too."""
        self._has_ended = True

    def broke(self, end: End, reason: str) -> None:
        """He is gone."""
        self._done()

    def drained(self, end: End, n: int) -> None:
        """He has taken some."""

    def flushed(self, end: End) -> None:
        """He has all, and knows that it is over."""
        self._done()
        if self._has_ended:
            self._end.close()
        else:
            Lingering(self._vhost.engine, self._end)
