"""tcp: users of a server port are joined to a local service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from frp_py.client.proxies.base import LocalSide

if TYPE_CHECKING:
    from frp_py.protocol.messages import NewProxy


class TcpLocal(LocalSide):
    """Has a port on the server."""

    def wish(self) -> NewProxy:
        """What the server is asked for."""
        return msgspec.structs.replace(super().wish(), remote_port=getattr(self.config, "remote_port", 0))
