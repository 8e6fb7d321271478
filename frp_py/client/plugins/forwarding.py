"""What the plugins have in common that pass requests on by HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from frp_py.client.plugins.backends import Backends
from frp_py.client.plugins.base import Options
from frp_py.client.plugins.forward import Forwarder
from frp_py.client.plugins.http_plugin import HttpPlugin

if TYPE_CHECKING:
    from frp_py.net.serving.exchange import Exchange


class ForwardingPlugin(HttpPlugin[Options]):
    """Has connections to services, which are kept between requests."""

    backend_tls: ClassVar[bool] = False

    async def prepare(self) -> None:
        """Make ready. Raises FrpError."""
        self.backends = Backends(self.session, use_tls=self.backend_tls)
        self.forwarder = Forwarder(self, self.backends, self.failed)
        await super().prepare()

    async def failed(self, exchange: Exchange, reason: str) -> None:
        """Answer an exchange whose service has failed."""
        raise NotImplementedError

    def each_second(self) -> None:
        """Look after what waits."""
        super().each_second()
        self.backends.sweep()

    def close(self) -> None:
        """Stop."""
        super().close()
        self.backends.close()
