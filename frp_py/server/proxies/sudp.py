"""sudp: a UDP service for visitors (behaviour.md 2.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frp_py.net.engine.datagrams import keep_small
from frp_py.net.engine.translator import Translator
from frp_py.server.visitors import SecretProxy, Visitor

if TYPE_CHECKING:
    from frp_py.net.engine.stream import Holder


class SudpPublic(SecretProxy):
    """Has visitors only. Their bytes pass untouched if both sides speak the same version of the wire."""

    def join_visitor(self, visitor: Visitor, work: Holder) -> None:
        """Join a visitor to his work connection, on which StartWorkConn has been sent."""
        control = self.control
        keep_small(visitor.end)
        keep_small(work.end)
        if visitor.wire_name == control.wire_name:
            super().join_visitor(visitor, work)
            return
        ours = self.application_end(work)
        translator = Translator(control.engine, visitor.application_end(), visitor.wire_name, ours, control.wire_name, self._translated)
        control.server.users.add(translator)
        self.count_open()
        work.hand_over()

    def _translated(self, translator: Translator) -> None:
        self.control.server.users.discard(translator)
        self.count_closed()
        self.count(translator.received, translator.sent)
