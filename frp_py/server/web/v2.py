"""Version 2 of the API: envelopes and pages (behaviour.md 11.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct

from frp_py.net.web.operations import ApiError, Operation, Query
from frp_py.server.web import shapes
from frp_py.server.web.common import CLIENT_KEY, NO_CLIENT, NO_PROXY, PROXY_NAME, Part

if TYPE_CHECKING:
    from frp_py.net.web.request import Request
    from frp_py.server.registry import ClientEntry
    from frp_py.server.statistics import Record
    from frp_py.server.web.view import View

T = TypeVar("T")

_LARGEST_INT = 2**63 - 1
_MOST = 200  # items of a page
_STATUSES = ("all", "online", "offline")

_PAGING = (
    Query("page", "Number of the page, from 1 on.", "integer"),
    Query("pageSize", "Items of a page, 1 to 200; 50 when it isn't given.", "integer"),
)
_STATUS = Query("status", "Only those that are online or offline.", choices=_STATUSES)
_USER = Query("user", "Only those of this user, who may be empty.")
_CLIENT_ID = Query("clientID", "Only those with this client id, or run id where there is none; empty: all.")
_SEARCH = "Only those that contain this text; upper and lower case are the same."
_BAD_QUERY = {400: "A parameter is wrong."}

_CLIENT_SORTS: dict[str, Callable[[ClientEntry, View], Any]] = {
    "name": lambda entry, view: view.order(entry),
    "connected": lambda entry, _: entry.last_connected_at if entry.online else entry.disconnected_at,
    "address": lambda entry, _: entry.ip,
    "version": lambda entry, _: entry.version,
}


class Status(Struct, rename="camel"):
    """What the server does; traffic is today's, in bytes."""

    total_traffic_in: int
    total_traffic_out: int
    cur_conns: int
    client_counts: int
    proxy_type_count: dict[str, int]


class System(Struct):
    """The server."""

    version: str
    config: shapes.Configuration
    status: Status


class Pruned(Struct):
    """What was removed."""

    type: str
    cleared: int
    total: int
    """How many there were."""


class Page(Struct, Generic[T], rename="camel"):
    """One page of a list."""

    total: int
    page: int
    page_size: int
    items: list[T]


class User(Struct, rename="camel"):
    """Somebody whose clients or proxies are known."""

    user: str
    client_count: int
    proxy_count: int


class ClientDetail(shapes.Client, rename="camel", kw_only=True):
    """A client, and what it does."""

    status: shapes.ClientStatus


class Day(Struct, rename="camel"):
    """Bytes of a day, `YYYY-MM-DD`."""

    date: str
    traffic_in: int
    traffic_out: int


class TrafficHistory(Struct):
    """The last seven days, the oldest first."""

    name: str
    unit: str
    granularity: str
    history: list[Day]


class Version2(Part):
    """Its operations."""

    def operations(self) -> tuple[Operation, ...]:
        """All of them."""
        order = Query("order", choices=("asc", "desc"))
        return (
            Operation("GET", "/api/v2/system/info", self._system, "The server", returns=System, envelope=True),
            Operation(
                "POST",
                "/api/v2/system/prune",
                self._prune,
                "Remove the statistics of proxies that are offline",
                query=(Query("type", required=True, choices=("offline_proxies",)),),
                returns=Pruned,
                errors=_BAD_QUERY,
                envelope=True,
                changes=True,
            ),
            Operation(
                "GET",
                "/api/v2/users",
                self._users,
                "The users",
                query=(*_PAGING, Query("q", _SEARCH)),
                returns=Page[User],
                errors=_BAD_QUERY,
                envelope=True,
            ),
            Operation(
                "GET",
                "/api/v2/clients",
                self._clients,
                "The clients",
                query=(
                    *_PAGING,
                    _STATUS,
                    _USER,
                    _CLIENT_ID,
                    Query("runID", "Only the one with this run id; empty: all."),
                    Query("q", _SEARCH),
                    Query("sort", "What they are sorted by; by name when it isn't given.", choices=tuple(_CLIENT_SORTS)),
                    order,
                ),
                returns=Page[shapes.Client],
                errors=_BAD_QUERY,
                envelope=True,
            ),
            Operation(
                "GET",
                "/api/v2/clients/{key}",
                self._client,
                "A client",
                returns=ClientDetail,
                errors=NO_CLIENT,
                envelope=True,
                nouns=CLIENT_KEY,
            ),
            Operation(
                "GET",
                "/api/v2/proxies",
                self._proxies,
                "The proxies",
                query=(
                    *_PAGING,
                    _STATUS,
                    Query("type", choices=shapes.TYPES),
                    _USER,
                    _CLIENT_ID,
                    Query("q", _SEARCH),
                    Query("sort", "What they are sorted by; by type and name when it isn't given.", choices=_PROXY_SORTS),
                    order,
                ),
                returns=Page[shapes.Proxy],
                errors=_BAD_QUERY,
                envelope=True,
            ),
            Operation(
                "GET",
                "/api/v2/proxies/{name}",
                self._proxy,
                "A proxy",
                returns=shapes.Proxy,
                errors=NO_PROXY,
                envelope=True,
                nouns=PROXY_NAME,
            ),
            Operation(
                "GET",
                "/api/v2/proxies/{name}/traffic",
                self._traffic,
                "The traffic of a proxy by day",
                returns=TrafficHistory,
                errors=NO_PROXY,
                envelope=True,
                nouns=PROXY_NAME,
            ),
        )

    async def _system(self, request: Request) -> System:
        statistics, config = self.statistics, self.server.config
        n, m = statistics.days.of(statistics.today)
        shown = shapes.Configuration(
            **shapes.ports(config), allow_ports_str=shapes.allowed_ports(config), tls_force=config.transport.tls.force
        )
        return System(self.server.version, shown, Status(n, m, statistics.connections, statistics.clients, statistics.types))

    async def _prune(self, request: Request) -> Pruned:
        kind = request.query.get("type", "")
        if not kind:
            raise ApiError(400, "type is required")
        if kind != "offline_proxies":
            raise ApiError(400, "type must be one of offline_proxies")
        statistics = self.statistics
        total = len(statistics.records)
        cleared = statistics.prune()
        self.audit(request, f"statistics of {cleared} offline proxies removed")
        return Pruned(kind, cleared, total)

    async def _users(self, request: Request) -> Page[User]:
        cut, text = _paging(request), request.query.get("q", "").lower()
        clients = Counter(entry.user for entry in self.server.clients.entries.values())
        proxies = Counter(record.user for record in self.server.statistics.records.values())
        users = sorted(user for user in clients.keys() | proxies.keys() if text in user.lower())
        return cut.page(users, [User(user, clients[user], proxies[user]) for user in cut(users)])

    # clients

    async def _clients(self, request: Request) -> Page[shapes.Client]:
        cut, query, view = _paging(request), request.query, self.view(request)
        status = _one_of(request, "status", _STATUSES)
        sort = _one_of(request, "sort", tuple(_CLIENT_SORTS))
        descends = _one_of(request, "order", ("asc", "desc")) == "desc"
        user, client_id, run_id, text = query.get("user"), query.get("clientID", ""), query.get("runID", ""), query.get("q", "").lower()

        def is_wanted(entry: ClientEntry) -> bool:
            return (
                (user is None or entry.user == user)
                and client_id in ("", view.id(entry))
                and run_id in ("", view.run_id(entry))
                and (status in ("", "all") or entry.online == (status == "online"))
                and (not text or _contains(text, *_searched(entry, view)))
            )

        entries = await self.those(is_wanted, self.server.clients.entries.values())
        entries.sort(key=view.order)
        if sort or descends:
            key = _CLIENT_SORTS[sort or "name"]
            entries.sort(key=lambda entry: key(entry, view), reverse=descends)
        return cut.page(entries, [shapes.client(entry, view) for entry in cut(entries)])

    async def _client(self, request: Request) -> ClientDetail:
        entry = self.client(request)
        connections = proxies = 0
        for record in self.server.statistics.records.values():
            if record.client_id == entry.shown_id and record.user == entry.user:
                connections += record.connections
                proxies += 1
        shown = shapes.client(entry, self.view(request))
        status = shapes.ClientStatus("online" if entry.online else "offline", connections, proxies)
        return ClientDetail(**{name: getattr(shown, name) for name in shown.__struct_fields__}, status=status)

    # proxies

    async def _proxies(self, request: Request) -> Page[shapes.Proxy]:
        cut, query, view = _paging(request), request.query, self.view(request)
        status = _one_of(request, "status", _STATUSES)
        kind = _one_of(request, "type", shapes.TYPES)
        sort = _one_of(request, "sort", _PROXY_SORTS)
        descends = _one_of(request, "order", ("asc", "desc")) == "desc"
        user, client_id, text = query.get("user"), query.get("clientID", ""), query.get("q", "").lower()

        def is_wanted(record: Record) -> bool:
            return (
                (user is None or record.user == user)
                and client_id in ("", view.owner(record))
                and kind in ("", record.type)
                and (status in ("", "all") or (record.proxy is not None) == (status == "online"))
                and (not text or _matches(record, view, text))
            )

        statistics = self.statistics
        today = statistics.today
        records = await self.those(is_wanted, statistics.records.values())
        records.sort(key=_proxy_order)
        if sort or descends:
            key = _proxy_key(sort, today, view)
            keys = dict(zip(records, await self.each(key, records), strict=True))
            records.sort(key=keys.__getitem__, reverse=descends)
        return cut.page(records, [shapes.proxy(record, today, view) for record in cut(records)])

    async def _proxy(self, request: Request) -> shapes.Proxy:
        return shapes.proxy(self.record(request), self.statistics.today, self.view(request))

    async def _traffic(self, request: Request) -> TrafficHistory:
        record, statistics = self.record(request), self.statistics
        days = [Day(day.isoformat(), n, m) for day, n, m in statistics.history(record, statistics.today)]
        return TrafficHistory(record.name, "bytes", "day", days)


_PROXY_SORTS = ("name", "type", "status", "connections", "traffic", "client")


def _proxy_order(record: Record) -> tuple[str, str]:
    return record.type, record.name


def _proxy_key(sort: str, today: int, view: View) -> Callable[[Record], Any]:
    keys: dict[str, Callable[[Record], Any]] = {
        "": _proxy_order,
        "type": _proxy_order,
        "name": lambda record: record.name,
        "status": lambda record: record.proxy is None,
        "connections": lambda record: record.connections,
        "traffic": lambda record: sum(record.days.of(today)),
        "client": lambda record: (record.user, view.owner(record)),
    }
    return keys[sort]


def _searched(entry: ClientEntry, view: View) -> tuple[str, ...]:
    return view.key(entry), entry.user, view.id(entry), view.run_id(entry), entry.version, entry.wire_protocol, entry.hostname, entry.ip


def _matches(record: Record, view: View, text: str) -> bool:
    if _contains(text, record.name, record.type, record.user, view.owner(record), shapes.phase(record)):
        return True
    proxy = record.proxy
    if proxy is None:
        return False
    return bool(proxy.port and text in str(proxy.port)) or _contains(text, *proxy.wish.custom_domains, proxy.wish.subdomain)


def _contains(text: str, *values: str) -> bool:
    return any(text in value.lower() for value in values)


def _one_of(request: Request, name: str, choices: Collection[str]) -> str:
    """The value of a parameter; empty when it isn't given. Raises ApiError."""
    value = request.query.get(name, "")
    if value and value not in choices:
        raise ApiError(400, f"{name} must be one of {', '.join(choices)}")
    return value


class _Cut:
    """Which part of a list is asked for."""

    def __init__(self, number: int, size: int) -> None:
        self._number = number
        self._size = size

    def __call__(self, items: Sequence[T]) -> Sequence[T]:
        start = (self._number - 1) * self._size
        return items[start : start + self._size]

    def page(self, items: Sequence[object], shown: list[T]) -> Page[T]:
        """The answer: `shown` of all the `items`."""
        return Page(len(items), self._number, self._size, shown)


def _paging(request: Request) -> _Cut:
    """Raises ApiError."""
    number, size = _positive(request, "page", 1), _positive(request, "pageSize", 50)
    if size > _MOST:
        raise ApiError(400, f"pageSize must be between 1 and {_MOST}")
    if (number - 1) * size > _LARGEST_INT:
        raise ApiError(400, "page is too large")
    return _Cut(number, size)


def _positive(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    digits = text.removeprefix("+")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 1000 else 0
    if not 0 < number <= _LARGEST_INT:
        raise ApiError(400, f"{name} must be a positive integer")
    return number
