"""What all operations share: time and statistics as they are now, long lists without a stall, who asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import trio

from frp_py.log import get_logger
from frp_py.net.web.operations import ApiError
from frp_py.server.web.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from frp_py.net.web.request import Request
    from frp_py.server.app import Server
    from frp_py.server.registry import ClientEntry
    from frp_py.server.statistics import Record, Statistics

T = TypeVar("T")
R = TypeVar("R")

log = get_logger()

_TURN = 0.004  # s that an answer is worked on before others get their turn
_CHUNK = 64  # items between two looks at the clock

CLIENT_KEY = {"key": "client key"}
PROXY_NAME = {"name": "proxy name"}
NO_PROXY = {404: "There is no such proxy."}
NO_CLIENT = {404: "There is no such client."}


class Part:
    """Some operations on `server`."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def statistics(self) -> Statistics:
        """The server's, with all that was counted until now."""
        statistics = self.server.statistics
        statistics.collect(time.time())
        return statistics

    def view(self, request: Request) -> View:
        """What the asker may see."""
        return View(self.server.clients, secrets=request.sees_secrets)

    def record(self, request: Request, kind: str | None = None) -> Record:
        """The proxy that the path names. Raises ApiError."""
        record = self.server.statistics.records.get(request.path_parameters["name"])
        if record is None or kind not in (None, record.type):
            raise ApiError(404, "no proxy info found")
        return record

    def client(self, request: Request) -> ClientEntry:
        """The client that the path names. Raises ApiError."""
        key = request.path_parameters["key"]
        entry = self.server.clients.find(key)
        if entry is None:
            raise ApiError(404, f"client {key} not found")
        return entry

    async def each(self, make: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """What `make` gives for each item; the engine gets its turn in between."""
        items = list(items)
        made: list[R] = []
        until = time.perf_counter() + _TURN
        for start in range(0, len(items), _CHUNK):
            made += map(make, items[start : start + _CHUNK])
            if time.perf_counter() > until:
                self.server.engine.tasks_wait = True
                await trio.lowlevel.checkpoint()
                until = time.perf_counter() + _TURN
        return made

    async def those(self, holds: Callable[[T], bool], items: Iterable[T]) -> list[T]:
        """The items for which it holds."""
        items = list(items)
        return [item for item, wanted in zip(items, await self.each(holds, items), strict=True) if wanted]

    def audit(self, request: Request, what: str) -> None:
        """A line about a change that was asked for."""
        log.info("web API: %s, asked by user [%s] from [%s]", what, self.server.config.web_server.user, request.peer)
