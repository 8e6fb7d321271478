"""The operations that frp's clients don't have: what the dashboard needs beyond."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from frp_py.client.advice import advice_for
from frp_py.client.phase import Phase
from frp_py.client.web.checking import Check, check
from frp_py.client.web.routes import STRICT, local_address, reload, remote_address
from frp_py.log import printable
from frp_py.net.web.operations import ApiError, Events, Operation, Query

if TYPE_CHECKING:
    from frp_py.client.app import Client
    from frp_py.client.proxies.base import LocalSide
    from frp_py.client.reconcile import Difference
    from frp_py.log import Line, Recent
    from frp_py.net.web.request import Request

_LEVELS = ("trace", "debug", "info", "warn", "error")
_LONGEST_FILE = 16 << 20  # bytes
_LOOK = 0.5  # s between looks at what has changed, for those who listen
_SHARE = 20  # how much longer than telling the state the pause after it is at least
_LEFT_OUT = "the key `start` doesn't name it"


class ProxyState(msgspec.Struct, rename="camel"):
    """A proxy that is configured."""

    name: str
    type: str
    status: str
    err: str
    advice: str
    """What to do about the error."""
    local_addr: str
    plugin: str
    remote_addr: str
    source: str
    enabled: bool


class VisitorState(msgspec.Struct, rename="camel"):
    """A visitor that is configured."""

    name: str
    type: str
    status: str
    """running, start error or new"""
    err: str
    advice: str
    bind_addr: str
    source: str
    enabled: bool


class Status(msgspec.Struct, rename="camel"):
    """All there is to know about a client; times are Unix seconds."""

    connected: bool
    phase: str
    run_id: str = msgspec.field(name="runID")
    server_addr: str
    since: float
    last_error: str
    advice: str
    next_try: float
    config_file: str
    store_path: str
    proxies: list[ProxyState]
    visitors: list[VisitorState]


class LogLine(msgspec.Struct):
    """A line of the log."""

    id: int
    time: float
    level: str
    text: str


class LogLines(msgspec.Struct):
    """The newest lines, oldest first."""

    lines: list[LogLine]


class Changes(msgspec.Struct):
    """Names."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class ReloadResult(msgspec.Struct):
    """What a reload has changed: proxies, visitors, and keys that are in effect now; and keys that need a restart."""

    proxies: Changes
    visitors: Changes
    applied: list[str]
    restart: list[str]


def operations(client: Client, lines: Recent) -> Iterator[Operation]:
    """The operations of a client that logs `lines`."""
    api = _Api(client, lines)
    after = Query("after", "id of the last line that is known", "integer")
    level = Query("level", "lowest level", choices=_LEVELS)
    yield Operation("GET", "/api/x/status", api.status, "The connection, the proxies and the visitors", returns=Status)
    yield Operation(
        "GET",
        "/api/x/events",
        api.events,
        "`status` when that has changed, and `log` for each line behind `after` (those to come, when it is absent)",
        query=(after,),
        returns=Events,
        errors={400: "the number is none"},
    )
    yield Operation(
        "GET", "/api/x/log", api.log, "The last lines of the log", query=(after, level), returns=LogLines, errors={400: "no such level"}
    )
    yield Operation(
        "POST",
        "/api/x/config/check",
        api.check,
        "Whether the body would do as the configuration file",
        body=bytes,
        returns=Check,
        changes=True,  # it says what is in the files that it includes
    )
    yield Operation(
        "POST",
        "/api/x/reload",
        api.reload,
        "Read the configuration file again",
        query=(STRICT,),
        returns=ReloadResult,
        errors={400: "the file can't be used: nothing has changed", 500: "it can't be applied"},
        changes=True,
    )


class _Api:
    def __init__(self, client: Client, lines: Recent) -> None:
        self._client = client
        self._lines = lines
        self._status: tuple[int, Status] | None = None  # what all who ask are told until something changes

    def _current(self) -> Status:
        changes = self._client.changes
        if self._status is None or self._status[0] != changes:
            self._status = changes, status_of(self._client)
        return self._status[1]

    async def status(self, request: Request) -> Status:
        return self._shown(self._current(), request)

    def _shown(self, status: Status, request: Request) -> Status:
        return status if request.sees_secrets else msgspec.structs.replace(status, run_id="")

    def _line(self, line: Line, request: Request) -> LogLine:
        """A line of the log as the asker may see it: the run id stands in most of them, and is as good as a key."""
        run_id = self._client.run_id
        text = line.text if request.sees_secrets or not run_id else line.text.replace(printable(run_id), "***")
        return LogLine(line.id, line.time, line.level, text)

    async def events(self, request: Request) -> Events:
        after = _number(request, "after", self._lines.last_id)
        return Events(lambda: self._events(after, request))

    async def _events(self, last_line: int, request: Request) -> AsyncIterator[tuple[str, object]]:
        seen = None
        while True:
            began = perf_counter()
            status = self._current()
            took = perf_counter() - began
            if status is not seen:
                seen = status
                yield "status", self._shown(status, request)
            for line in self._lines.after(last_line):
                last_line = line.id
                yield "log", self._line(line, request)
            await trio.sleep(max(_LOOK, _SHARE * took))  # thousands of proxies that keep changing

    async def log(self, request: Request) -> LogLines:
        level = request.query.get("level", "trace")
        if level not in _LEVELS:
            raise ApiError(400, f"invalid argument: level must be one of {', '.join(_LEVELS)}")
        return LogLines([self._line(line, request) for line in self._lines.after(_number(request, "after", 0), level)])

    async def check(self, request: Request) -> Check:
        return await trio.to_thread.run_sync(check, await request.body(_LONGEST_FILE), self._client.sources.file)

    async def reload(self, request: Request) -> ReloadResult:
        done = await reload(self._client, request)
        return ReloadResult(_names(done.proxies), _names(done.visitors), done.applied, done.restart)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ApiError(400, f"invalid argument: {name} must be a number")
    return int(text)


def _names(found: Difference[Any]) -> Changes:
    return Changes([entry.name for entry in found.added], [entry.name for entry in found.changed], found.removed)


def status_of(client: Client) -> Status:
    """How a client is."""
    config, way, sources = client.config, client.way, client.sources
    host = f"[{config.server_addr}]" if ":" in config.server_addr else config.server_addr
    return Status(
        connected=client.session is not None,
        phase=way.phase,
        run_id=client.session.run_id if client.session is not None else "",
        server_addr=f"{host}:{config.server_port}",
        since=way.since,
        last_error=way.error,
        advice=advice_for(way.error),
        next_try=way.next_try,
        config_file=sources.file.path if sources.file is not None else "",
        store_path=sources.store.path if sources.store is not None else "",
        proxies=_proxies(client),
        visitors=_visitors(client),
    )


def _idle(client: Client, kind: str, names: set[str]) -> Iterator[tuple[Any, bool]]:
    """The entries of the store that are switched off or left out, and whether they are enabled."""
    store = client.sources.store
    for kept in store.entries(kind) if store is not None else ():
        if kept.entry.name not in names:
            yield kept.entry, kept.entry.enabled


def _source(client: Client, kind: str, name: str) -> str:
    return "store" if client.sources.is_stored(kind, name) else "config"


def _proxies(client: Client) -> list[ProxyState]:
    session = client.session
    states = []
    for config in client.config.proxies:
        side = session.proxies.get(session.wire_name_of(config.name)) if session is not None else None
        states.append(
            ProxyState(
                config.name,
                config.type,
                (side.phase if side is not None else Phase.CLOSED).value,
                side.error if side is not None else "",
                _advice(side) if side is not None else "",
                local_address(config),
                config.plugin.type if config.plugin is not None else "",
                remote_address(side) if side is not None else "",
                _source(client, "proxy", config.name),
                True,
            )
        )
    for config, enabled in _idle(client, "proxy", {config.name for config in client.config.proxies}):
        plugin = config.plugin.type if config.plugin is not None else ""
        advice = _LEFT_OUT if enabled else ""
        states.append(
            ProxyState(config.name, config.type, Phase.CLOSED.value, "", advice, local_address(config), plugin, "", "store", enabled)
        )
    return sorted(states, key=lambda state: state.name)


def _advice(side: LocalSide) -> str:
    if side.phase is Phase.CHECK_FAILED:
        return f"the health check of {local_address(side.config)} fails: is the service running?"
    return advice_for(side.error)


def _visitors(client: Client) -> list[VisitorState]:
    running = client.session.visitors if client.session is not None else {}
    states = []
    for config in client.config.visitors:
        visitor = running.get(config.name)
        error = visitor.error if visitor is not None else ""
        status = "start error" if error else "running" if visitor is not None and visitor.is_started else "new"
        source = _source(client, "visitor", config.name)
        states.append(VisitorState(config.name, config.type, status, error, advice_for(error), _bound(config), source, True))
    for config, enabled in _idle(client, "visitor", {config.name for config in client.config.visitors}):
        advice = _LEFT_OUT if enabled else ""
        states.append(VisitorState(config.name, config.type, "new", "", advice, _bound(config), "store", enabled))
    return sorted(states, key=lambda state: state.name)


def _bound(config: Any) -> str:
    """Where users come; empty when it doesn't listen."""
    host = f"[{config.bind_addr}]" if ":" in config.bind_addr else config.bind_addr
    return f"{host}:{config.bind_port}" if config.bind_port > 0 else ""
