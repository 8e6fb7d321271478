"""The server's web server, and the statistics that are kept while it runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from frp_py.net.web.service import WebService
from frp_py.server.history import History
from frp_py.server.web.extra import Extra
from frp_py.server.web.live import sample
from frp_py.server.web.metrics import Metrics
from frp_py.server.web.v1 import Version1
from frp_py.server.web.v2 import Version2

if TYPE_CHECKING:
    from frp_py.config.common import WebServerConfig
    from frp_py.server.app import Server


class Web:
    """The web side of `server`."""

    def __init__(self, server: Server) -> None:
        config = server.config
        self.history = History(config.statistics, server.statistics, partial(sample, server))
        parts = (Version1(server), Version2(server), Extra(server, self.history))
        self.service = WebService(
            server.engine,
            config.web_server,
            program="frps",
            operations=[operation for part in parts for operation in part.operations()],
            pages="server",
            raw=Metrics(server).routes(),
        )

    async def open(self) -> tuple[str, int]:
        """Bind, and read the statistics of earlier runs; returns the address. Raises FrpError."""
        address = self.service.listen()
        await self.history.open()
        return address

    def renew(self, config: WebServerConfig) -> None:
        """Go on with another configuration. Raises FrpError, and changes nothing then."""
        self.service.renew(config)

    async def run(self) -> None:
        """Answer, and keep the statistics, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.history.run)
            await self.service.run()

    def close(self) -> None:
        """Let nobody in any more, and write what is to be kept."""
        self.service.close()
        self.history.finish()
