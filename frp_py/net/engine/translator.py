"""sudp between clients of different wire versions: their packets are taken apart and put together anew (wire.md 8.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from frp_py.net.engine.datagrams import KNOWN, PacketStream, only_ping
from frp_py.protocol.datagrams import PACK, PING, PacketReader
from frp_py.protocol.messages import Message, UDPAddress

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
    from frp_py.net.engine.loop import Engine


class Translator:
    """Joins packet streams of different wire versions (wire.md 8.3): `visitor` and `work`, with the names of their wires.

    `on_done(self)` is called once, when both are closed. Pings go from `work` to `visitor` only.
    """

    __slots__ = ("_on_done", "_visitor", "_work", "received", "sent")

    def __init__(
        self, engine: Engine, visitor: End, visitor_wire: str, work: End, work_wire: str, on_done: Callable[[Translator], None]
    ) -> None:
        self.received = 0
        """Bytes in datagrams of users."""
        self.sent = 0
        """Bytes in datagrams for users."""
        self._on_done: Callable[[Translator], None] | None = on_done
        known: dict[bytes, bytes] = {}

        def meet(user: UDPAddress, tail: bytes) -> bytes:
            if len(known) >= KNOWN:
                known.clear()
            known[tail] = tail
            return tail

        def from_visitor(packets: list[tuple[bytes, bytes]]) -> None:
            pack = PACK[work_wire]
            self.received += sum(len(content) for _, content in packets)
            self._pass_on(self._work, [pack(content, tail) for tail, content in packets])

        def from_work(packets: list[tuple[bytes, bytes]]) -> None:
            pack = PACK[visitor_wire]
            self.sent += sum(len(content) for _, content in packets)
            self._pass_on(self._visitor, [pack(content, tail) for tail, content in packets])

        def other_from_visitor(message: Message) -> None:
            only_ping(message)

        def other_from_work(message: Message) -> None:
            only_ping(message)
            self._pass_on(self._visitor, [PING[visitor_wire]])

        visitors = PacketReader(visitor_wire, known, meet, other_from_visitor)
        works = PacketReader(work_wire, known, meet, other_from_work)
        self._visitor = PacketStream(engine, visitor, visitors, from_visitor, self._lost)
        self._work = PacketStream(engine, work, works, from_work, self._lost)

    def _pass_on(self, stream: PacketStream, frames: list[bytes]) -> None:
        if not stream.is_full:
            stream.send(b"".join(frames))

    def abort(self) -> None:
        """End both."""
        self._lost("")

    def _lost(self, reason: str) -> None:
        self._visitor.close()
        self._work.close()
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(self)
