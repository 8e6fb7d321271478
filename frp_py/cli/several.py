"""Several clients in one process, for `frpc --config_dir` (config.md 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.cli.process import leaves_of, reason
from frp_py.client.app import Client
from frp_py.errors import FrpError
from frp_py.log import get_logger, setup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from frp_py.client.sources import ConfigFile
    from frp_py.config.client import ClientConfig

_log = get_logger()


class SeveralClients:
    """Runs a client for each (file, configuration); one that fails does not concern the others."""

    def __init__(self, configs: Sequence[tuple[ConfigFile, ClientConfig]]) -> None:
        self._configs = configs
        self._clients: dict[str, Client] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until the last client has ended."""
        async with trio.open_nursery() as nursery:
            for i, (file, config) in enumerate(self._configs):
                nursery.start_soon(self._run_one, file, config, i == 0)
            task_status.started()

    async def reload(self) -> None:
        """All clients that run read their files again; one that can't goes on as it is."""
        for path, client in list(self._clients.items()):
            try:
                await client.reload()
            except FrpError as error:
                _log.error("reload config file [%s] error: %s", path, error)

    async def _run_one(self, file: ConfigFile, config: ClientConfig, is_first: bool) -> None:
        path = file.path
        _log.info("start frpc service for config file [%s] with aggregated configuration", path)
        try:
            self._clients[path] = client = Client(config, file, setup if is_first else None)
            await client.run()
        except* FrpError as failed:
            print(f"frpc service error for config file [{path}]: {reason(leaves_of(failed)[0])}", flush=True)
        except* Exception:
            _log.exception("bug in the client for config file [%s]", path)
            print(f"frpc service error for config file [{path}]", flush=True)
        finally:
            self._clients.pop(path, None)
        _log.info("frpc service for config file [%s] stopped", path)
