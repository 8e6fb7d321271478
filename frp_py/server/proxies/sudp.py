"""sudp: a UDP service for visitors (behaviour.md 2.9)."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from frp_py.net.engine.datagrams import keep_small
from frp_py.net.engine.translator import Translator
from frp_py.server.visitors import SecretProxy, Visitor

if TYPE_CHECKING:
    from frp_py.net.engine.ends import End
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
        UserTranslator(self, visitor, ours)
        work.hand_over()


class UserTranslator(Translator):
    """A visitor of `proxy` whose wire is another than that of `work`, counted while he is there."""

    __slots__ = ("address", "opened_at", "proxy")

    def __init__(self, proxy: SudpPublic, visitor: Visitor, work: End) -> None:
        control = proxy.control
        super().__init__(control.engine, visitor.application_end(), visitor.wire_name, work, control.wire_name, _left)
        self.proxy = proxy
        self.address = visitor.address
        self.opened_at = time()
        """Unix seconds."""
        control.server.users.add(self)
        proxy.count_open()

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of payload from and to users, so far."""
        return self.received, self.sent


def _left(translator: Translator) -> None:
    assert isinstance(translator, UserTranslator)
    proxy = translator.proxy
    proxy.control.server.users.discard(translator)
    proxy.count_closed()
    proxy.count(*translator.traffic)
