"""What frp's API doesn't have: figures that live, history, connections, kicking clients, reloading. Below `/api/x/`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

import trio
from msgspec import Struct

from frp_py.errors import ConfigError
from frp_py.net.web.operations import ApiError, Events, Operation, Query
from frp_py.net.web.started import Started
from frp_py.server.history import RANGES, History, Point
from frp_py.server.statistics import CLIENT, PROXY, Subject
from frp_py.server.web import live, shapes
from frp_py.server.web.common import CLIENT_KEY, NO_CLIENT, NO_PROXY, PROXY_NAME, Part

if TYPE_CHECKING:
    from frp_py.net.web.request import Request
    from frp_py.server.app import Server

_FRESH = 0.9  # s for which an overview serves others too
_COUNTS = {"hour": 48, "day": 30}
_MOST = {"hour": 8784, "day": 3660}
_BAD_QUERY = {400: "A parameter is wrong."}
_HISTORY_QUERY = (
    Query("granularity", "What one figure is of; an hour when it isn't given.", choices=tuple(_COUNTS)),
    Query("count", "How many of them; 48 hours or 30 days when it isn't given.", "integer"),
)


class Overview(Struct, rename="camel"):
    """The server now; bytes of running connections count too."""

    time: int
    version: str
    started_at: int
    clients: int
    clients_offline: int
    proxies: int
    proxy_type_count: dict[str, int]
    connections: int
    traffic_in: int
    """Bytes since the start."""
    traffic_out: int
    today_traffic_in: int
    today_traffic_out: int
    memory: int
    """Bytes."""
    hints: list[str]
    """What the operator should see to."""


class Changed(Struct):
    """Some came or went."""

    what: Literal["clients", "proxies"]


class Series(Struct):
    """Figures over time, the oldest first; `step` in s."""

    range: str
    step: int
    points: list[Point]


class Traffic(Struct, rename="camel"):
    """Bytes from `time` on, Unix seconds."""

    time: int
    traffic_in: int
    traffic_out: int


class TrafficHistory(Struct):
    """Traffic by hour or day, the oldest first."""

    name: str
    granularity: str
    history: list[Traffic]


class Kicked(Struct):
    """Whose session was ended."""

    key: str


class Reloaded(Struct):
    """The keys that are in effect now, and those that need a restart."""

    applied: list[str]
    restart: list[str]


class Extra(Part):
    """Its operations."""

    def __init__(self, server: Server, history: History) -> None:
        super().__init__(server)
        self._history = history
        self._started = Started()
        self._overview = (-_FRESH, self._make_overview())

    def operations(self) -> tuple[Operation, ...]:
        """All of them."""

        def get(path: str, handler: Any, summary: str, returns: Any, **more: Any) -> Operation:
            return Operation("GET", f"/api/x/{path}", handler, summary, returns=returns, envelope=True, **more)

        ranges = Query("range", "An hour when it isn't given.", choices=tuple(RANGES))
        unreadable = {400: "The configuration can't be used, or there is no file."}
        not_there = {**NO_CLIENT, 409: "It is offline."}
        return (
            get("overview", self._get_overview, "The server now", Overview),
            get("events", self._events, "The overview every 2 s, and what has changed", Events),
            get("series", self._series, "Traffic, connections and clients over time", Series, query=(ranges,), errors=_BAD_QUERY),
            get(
                "proxies/{name}/traffic",
                self._proxy_traffic,
                "The traffic of a proxy by hour or day",
                TrafficHistory,
                query=_HISTORY_QUERY,
                errors={**_BAD_QUERY, **NO_PROXY},
                nouns=PROXY_NAME,
            ),
            get(
                "clients/{key}/traffic",
                self._client_traffic,
                "The traffic of a client by hour or day",
                TrafficHistory,
                query=_HISTORY_QUERY,
                errors={**_BAD_QUERY, **NO_CLIENT},
                nouns=CLIENT_KEY,
            ),
            get(
                "proxies/{name}/connections",
                self._connections,
                "The connections of a proxy",
                shapes.Connections,
                errors=NO_PROXY,
                nouns=PROXY_NAME,
            ),
            Operation(
                "POST",
                "/api/x/clients/{key}/kick",
                self._kick,
                "End the session of a client",
                returns=Kicked,
                errors=not_there,
                envelope=True,
                changes=True,
                nouns=CLIENT_KEY,
            ),
            Operation(
                "POST",
                "/api/x/system/reload",
                self._reload,
                "Read the configuration file again",
                returns=Reloaded,
                errors=unreadable,
                envelope=True,
                changes=True,
            ),
        )

    # now

    async def _get_overview(self, request: Request) -> Overview:
        return self.overview()

    def overview(self) -> Overview:
        """The server now; the same for all who ask within a second."""
        made_at, overview = self._overview
        now = trio.current_time()
        if not 0 <= now - made_at < _FRESH:
            overview = self._make_overview()
            self._overview = now, overview
        return overview

    def _make_overview(self) -> Overview:
        server, statistics = self.server, self.statistics
        sample = live.sample(server)
        n, m = statistics.days.of(statistics.today)
        running_in, running_out = sample.traffic_in - statistics.traffic_in, sample.traffic_out - statistics.traffic_out
        return Overview(
            int(time.time()),
            server.version,
            self._started.at,
            sample.clients,
            server.clients.offline,
            sum(statistics.types.values()),
            dict(statistics.types),
            sample.connections,
            sample.traffic_in,
            sample.traffic_out,
            n + running_in,
            m + running_out,
            live.memory(),
            self._hints(),
        )

    def _hints(self) -> list[str]:
        hints = []
        if self.server.is_open:
            hints.append("auth.token is empty: everybody who reaches the client port may open proxies")
        if self._history.problem:
            hints.append(self._history.problem)
        return hints

    async def _events(self, request: Request) -> Events:
        return Events(self._each_second)

    async def _each_second(self) -> AsyncIterator[tuple[str, object]]:
        statistics = self.server.statistics
        clients, proxies = statistics.clients_changes, statistics.proxies_changes
        while True:
            yield "overview", self.overview()
            for _ in range(2):
                await trio.sleep(1)
                if clients != statistics.clients_changes:
                    clients = statistics.clients_changes
                    yield "changed", Changed("clients")
                if proxies != statistics.proxies_changes:
                    proxies = statistics.proxies_changes
                    yield "changed", Changed("proxies")

    async def _connections(self, request: Request) -> shapes.Connections:
        return live.connections(self.server, self.record(request))

    # before

    async def _series(self, request: Request) -> Series:
        name = _choice(request, "range", tuple(RANGES))
        return Series(name, RANGES[name].step, await self._history.series(name, time.time()))

    async def _proxy_traffic(self, request: Request) -> TrafficHistory:
        record = self.record(request)
        return await self._traffic(request, record.name, Subject(PROXY, record.name, record.type))

    async def _client_traffic(self, request: Request) -> TrafficHistory:
        entry = self.client(request)
        return await self._traffic(request, self.view(request).key(entry), Subject(CLIENT, *entry.identity))

    async def _traffic(self, request: Request, name: str, subject: Subject) -> TrafficHistory:
        granularity = _choice(request, "granularity", tuple(_COUNTS))
        text = request.query.get("count") or str(_COUNTS[granularity])
        most = _MOST[granularity]
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
            raise ApiError(400, f"count must be between 1 and {most}")
        last = int(time.time()) // 3600 if granularity == "hour" else self.statistics.today
        steps = range(last - int(text) + 1, last + 1)
        found = await self._history.traffic(subject, granularity, steps.start)
        begin = _begin_of_hour if granularity == "hour" else _begin_of_day
        return TrafficHistory(name, granularity, [Traffic(begin(at), *found.get(at, (0, 0))) for at in steps])

    # changes

    async def _kick(self, request: Request) -> Kicked:
        entry = self.client(request)
        control = next((each for each in self.server.controls.all() if each.id == entry.control_id), None)
        if not entry.online or control is None:
            raise ApiError(409, f"client {entry.key} is offline")
        self.audit(request, f"client [{entry.key}] kicked")
        control.close("kicked by an operator")
        return Kicked(entry.key)

    async def _reload(self, request: Request) -> Reloaded:
        self.audit(request, "reload")
        try:
            done = await self.server.reload()
        except ConfigError as error:
            raise ApiError(400, str(error)) from None
        return Reloaded(list(done.applied), list(done.restart))


def _choice(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """The value of a parameter, the first choice when it isn't given. Raises ApiError."""
    value = request.query.get(name) or choices[0]
    if value not in choices:
        raise ApiError(400, f"{name} must be one of {', '.join(choices)}")
    return value


def _begin_of_hour(hour: int) -> int:
    return hour * 3600


def _begin_of_day(day: int) -> int:
    """Unix seconds of the local midnight."""
    it = date.fromordinal(day)
    return int(time.mktime((it.year, it.month, it.day, 0, 0, 0, 0, 0, -1)))
