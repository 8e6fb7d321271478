"""The admin server: what is asked, and the lines that it shows (behaviour.md 11.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frp_py.client.web import own, routes
from frp_py.log import Recent
from frp_py.net.web.service import WebService

if TYPE_CHECKING:
    from frp_py.client.app import Client
    from frp_py.config.common import WebServerConfig


class AdminServer:
    """Answers for one client."""

    def __init__(self, client: Client) -> None:
        self._lines = Recent()
        operations = (*routes.operations(client), *own.operations(client, self._lines))
        self._service = WebService(client.engine, client.config.web_server, program="frpc", operations=operations, pages="client")

    def listen(self) -> tuple[str, int]:
        """Bind; connections wait until `run`. Raises FrpError."""
        self._lines.switch(on=True)
        return self._service.listen()

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._service.run()

    def close(self) -> None:
        """Stop listening; the port is free at once."""
        self._lines.switch(on=False)
        self._service.close()

    def renew(self, config: WebServerConfig) -> None:
        """Go on with another password or certificate. Raises FrpError, and changes nothing then."""
        self._service.renew(config)
