"""Version 1 of the API (behaviour.md 11.2)."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, Struct
from msgspec.json import encode

from frp_py.net.web.operations import ApiError, Operation, Query
from frp_py.server.statistics import DAYS
from frp_py.server.web import shapes
from frp_py.server.web.common import CLIENT_KEY, NO_CLIENT, NO_PROXY, PROXY_NAME, Part

if TYPE_CHECKING:
    from frp_py.net.web.request import Request
    from frp_py.server.registry import ClientEntry


class Traffic(Struct, rename="camel"):
    """Bytes of the last seven days; the first is today's."""

    name: str
    traffic_in: list[int]
    traffic_out: list[int]


class Done(Struct, rename="pascal"):
    """It was done."""

    code: int
    msg: str


class Version1(Part):
    """Its operations."""

    def operations(self) -> tuple[Operation, ...]:
        """All of them."""
        return (
            Operation("GET", "/api/serverinfo", self._server_info, "The server", returns=shapes.ServerInfo),
            Operation("GET", "/api/proxy/{type}", self._proxies, "The proxies of a type", returns=shapes.Proxies),
            Operation(
                "GET",
                "/api/proxy/{type}/{name}",
                self._proxy_of_type,
                "A proxy of a type",
                returns=shapes.ProxyStats,
                errors=NO_PROXY,
                nouns=PROXY_NAME,
            ),
            Operation("GET", "/api/proxies/{name}", self._proxy, "A proxy", returns=shapes.ProxyStats, errors=NO_PROXY, nouns=PROXY_NAME),
            Operation(
                "GET", "/api/traffic/{name}", self._traffic, "The traffic of a proxy", returns=Traffic, errors=NO_PROXY, nouns=PROXY_NAME
            ),
            Operation(
                "GET",
                "/api/clients",
                self._clients,
                "The clients",
                query=(
                    Query("user", "Only those of this user; empty: of all."),
                    Query("clientId", "Only those with this id; empty: all."),
                    Query("runId", "Only those with this run id; empty: all."),
                    Query("status", "`online`, `offline`; anything else: all."),
                ),
                returns=list[shapes.Client],
            ),
            Operation("GET", "/api/clients/{key}", self._client, "A client", returns=shapes.Client, errors=NO_CLIENT, nouns=CLIENT_KEY),
            Operation(
                "DELETE",
                "/api/proxies",
                self._clear,
                "Remove the statistics of proxies that are offline",
                query=(Query("status", required=True, choices=("offline",)),),
                returns=Done,
                errors={400: "Only those that are offline can be removed."},
                changes=True,
            ),
        )

    async def _server_info(self, request: Request) -> shapes.ServerInfo:
        statistics, config = self.statistics, self.server.config
        n, m = statistics.days.of(statistics.today)
        return shapes.ServerInfo(
            version=self.server.version,
            **shapes.ports(config),
            allow_ports_str=shapes.allowed_ports(config) or UNSET,
            tls_force=config.transport.tls.force or UNSET,
            total_traffic_in=n,
            total_traffic_out=m,
            cur_conns=statistics.connections,
            client_counts=statistics.clients,
            proxy_type_count=statistics.types,
        )

    async def _proxies(self, request: Request) -> dict[str, list[Raw]]:
        statistics, view, kind = self.statistics, self.view(request), request.path_parameters["type"]
        records = sorted((r for r in statistics.records.values() if r.type == kind), key=attrgetter("name"))
        # encoded one by one: there are no pages, and a hundred thousand objects at once would keep the collector busy
        return {"proxies": await self.each(lambda record: Raw(encode(shapes.proxy_stats(record, statistics.today, view))), records)}

    async def _proxy_of_type(self, request: Request) -> shapes.ProxyStats:
        return shapes.proxy_stats(self.record(request, request.path_parameters["type"]), self.statistics.today, self.view(request))

    async def _proxy(self, request: Request) -> shapes.ProxyStats:
        return shapes.proxy_stats(self.record(request), self.statistics.today, self.view(request))

    async def _traffic(self, request: Request) -> Traffic:
        record, today = self.record(request), self.statistics.today
        days = record.days.latest(today)
        assert len(days) == DAYS
        return Traffic(record.name, [n for n, _ in days], [m for _, m in days])

    async def _clients(self, request: Request) -> list[shapes.Client]:
        query, view = request.query, self.view(request)
        user, client_id, run_id, status = (query.get(name, "") for name in ("user", "clientId", "runId", "status"))

        def is_wanted(entry: ClientEntry) -> bool:
            return (
                user in ("", entry.user)
                and client_id in ("", view.id(entry))
                and run_id in ("", view.run_id(entry))
                and (status not in ("online", "offline") or entry.online == (status == "online"))
            )

        entries = await self.those(is_wanted, self.server.clients.entries.values())
        return await self.each(lambda entry: shapes.client(entry, view), sorted(entries, key=view.order))

    async def _client(self, request: Request) -> shapes.Client:
        return shapes.client(self.client(request), self.view(request))

    async def _clear(self, request: Request) -> Done:
        if request.query.get("status") != "offline":
            raise ApiError(400, "status only support offline")
        self.audit(request, f"statistics of {self.statistics.prune()} offline proxies removed")
        return Done(200, "success")
