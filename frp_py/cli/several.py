"""Several clients in one process, for `frpc --config_dir` (config.md 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.cli.process import leaves_of, reason
from frp_py.client.app import Client
from frp_py.errors import FrpError
from frp_py.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frp_py.config.client import ClientConfig

_log = get_logger()


class SeveralClients:
    """Runs a client for each (path, configuration); one that fails does not concern the others."""

    def __init__(self, configs: Sequence[tuple[str, ClientConfig]]) -> None:
        self._configs = configs

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until the last client has ended."""
        async with trio.open_nursery() as nursery:
            for path, config in self._configs:
                nursery.start_soon(self._run_one, path, config)
            task_status.started()

    async def _run_one(self, path: str, config: ClientConfig) -> None:
        _log.info("start frpc service for config file [%s] with aggregated configuration", path)
        try:
            await Client(config).run()
        except* FrpError as failed:
            print(f"frpc service error for config file [{path}]: {reason(leaves_of(failed)[0])}", flush=True)
        except* Exception:
            _log.exception("bug in the client for config file [%s]", path)
            print(f"frpc service error for config file [{path}]", flush=True)
        _log.info("frpc service for config file [%s] stopped", path)
