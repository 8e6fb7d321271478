"""The operations that frp's clients have (behaviour.md 11.4)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio

from frp_py.client.store import AlreadyExistsError, NotFoundError
from frp_py.client.web.definitions import completed_definition, definition_of, read_definition
from frp_py.config.files import read_file, write_file
from frp_py.config.proxies import ProxyBase, TcpProxy, UdpProxy
from frp_py.errors import ConfigError, FrpError
from frp_py.net.web.operations import ApiError, Operation, Query

if TYPE_CHECKING:
    from frp_py.client.app import Client, Reloaded
    from frp_py.client.proxies.base import LocalSide
    from frp_py.client.store import Store
    from frp_py.net.web.request import Request

_STOP_DELAY = 0.1  # s
_LONGEST_FILE = 16 << 20  # bytes
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_INVALID, _ABSENT = "the request is not valid", "there is none of this name"

Definition = dict[str, Any]


class ProxyDefinition(msgspec.Struct, omit_defaults=True):
    """A proxy: its name, its type, and its keys as in a configuration file in the one block that is called like the type."""

    name: str
    type: Literal["tcp", "udp", "http", "https", "tcpmux", "stcp", "sudp", "xtcp"]
    tcp: dict[str, Any] | None = None
    udp: dict[str, Any] | None = None
    http: dict[str, Any] | None = None
    https: dict[str, Any] | None = None
    tcpmux: dict[str, Any] | None = None
    stcp: dict[str, Any] | None = None
    sudp: dict[str, Any] | None = None
    xtcp: dict[str, Any] | None = None


class VisitorDefinition(msgspec.Struct, omit_defaults=True):
    """A visitor, in the same way."""

    name: str
    type: Literal["stcp", "sudp", "xtcp"]
    stcp: dict[str, Any] | None = None
    sudp: dict[str, Any] | None = None
    xtcp: dict[str, Any] | None = None


DEFINITIONS = {"proxy": ProxyDefinition, "visitor": VisitorDefinition}


class ProxyStatus(msgspec.Struct, omit_defaults=True):
    """One proxy, as `frpc status` shows it."""

    name: str
    type: str
    status: str
    err: str
    local_addr: str
    plugin: str
    remote_addr: str
    source: str = ""


STRICT = Query("strictConfig", "refuse unknown keys", "boolean")


def operations(client: Client) -> Iterator[Operation]:
    """The operations of a client; those of the store only where there is one."""
    api = _Api(client)
    yield Operation(
        "GET",
        "/api/reload",
        api.reload,
        "Read the configuration file again",
        query=(STRICT,),
        errors={400: "the file can't be used: nothing has changed", 500: "it can't be applied"},
        changes=True,
    )
    yield Operation("POST", "/api/stop", api.stop, "Stop this client", changes=True)
    yield Operation("GET", "/api/status", api.status, "The proxies by their type", returns=dict[str, list[ProxyStatus]])
    yield Operation(
        "GET", "/api/config", api.read_config, "The configuration file", returns=str, errors={400: "there is none"}, secrets=True
    )
    yield Operation(
        "PUT", "/api/config", api.write_config, "Replace the configuration file", body=bytes, errors={400: _INVALID}, changes=True
    )
    for kind in ("proxy", "visitor"):
        yield Operation(
            "GET",
            f"/api/{kind}/{{name}}/config",
            partial(api.config_of, kind),
            f"One {kind}, with its defaults",
            returns=DEFINITIONS[kind],
            errors={404: _ABSENT},
            secrets=True,
            nouns={"name": f"{kind} name"},
        )
    if client.sources.store is not None:
        yield from _StoreApi(client, client.sources.store, "proxy", "proxies").operations()
        yield from _StoreApi(client, client.sources.store, "visitor", "visitors").operations()


async def reload(client: Client, request: Request) -> Reloaded:
    """Make the client read its file again. Raises ApiError."""
    try:
        return await client.reload(strict=request.query.get("strictConfig") in _TRUE)
    except ConfigError as error:
        raise ApiError(400, f"invalid argument: {error}") from None
    except FrpError as error:
        raise ApiError(500, f"apply config failed: {error}") from None


def local_address(config: ProxyBase) -> str:
    """Where the service is; empty without a port."""
    host = f"[{config.local_ip}]" if ":" in config.local_ip else config.local_ip
    return f"{host}:{config.local_port}" if config.local_port else ""


def remote_address(side: LocalSide) -> str:
    """Where users come; empty while that goes wrong."""
    if side.error:
        return ""
    if isinstance(side.config, TcpProxy | UdpProxy):
        return side.session.config.server_addr + side.remote_address
    return side.remote_address


class _Api:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._writing = trio.Lock()  # the file: two who do it at once would mix theirs

    async def reload(self, request: Request) -> None:
        await reload(self._client, request)

    async def stop(self, request: Request) -> None:
        self._client.stop(_STOP_DELAY)

    async def status(self, request: Request) -> dict[str, list[ProxyStatus]]:
        client = self._client
        groups: dict[str, list[ProxyStatus]] = {}
        sides = client.session.proxies.values() if client.session is not None else ()
        for side in sorted(sides, key=lambda side: side.name):
            config = side.config
            groups.setdefault(config.type, []).append(
                ProxyStatus(
                    config.name,
                    config.type,
                    side.phase.value,
                    side.error,
                    local_address(config),
                    config.plugin.type if config.plugin is not None else "",
                    remote_address(side),
                    "store" if client.sources.is_stored("proxy", config.name) else "",
                )
            )
        return groups

    def _path(self) -> str:
        file = self._client.sources.file
        if file is None:
            raise ApiError(400, "invalid argument: frpc has no config file path")
        return file.path

    async def read_config(self, request: Request) -> bytes:
        try:
            return await trio.to_thread.run_sync(read_file, self._path())
        except ConfigError as error:
            raise ApiError(400, f"invalid argument: {error}") from None

    async def write_config(self, request: Request) -> None:
        path = self._path()
        body = await request.body(_LONGEST_FILE)
        if not body:
            raise ApiError(400, "body can't be empty")
        try:
            async with self._writing:
                await trio.to_thread.run_sync(write_file, path, body)
        except ConfigError as error:
            raise ApiError(500, str(error)) from None

    async def config_of(self, kind: str, request: Request) -> Definition:
        name, client = request.path_parameters["name"], self._client
        entries: tuple[Any, ...] = client.config.proxies if kind == "proxy" else client.config.visitors
        if (entry := next((entry for entry in entries if entry.name == name), None)) is not None:
            return completed_definition(entry)
        if client.sources.store is not None and (kept := client.sources.store.get(kind, name)) is not None:
            return definition_of(kept.tree, kind)
        raise ApiError(404, f'{kind} "{name}" not found')


class _StoreApi:
    """The five operations on one kind of the store's entries."""

    def __init__(self, client: Client, store: Store, kind: str, plural: str) -> None:
        self._client = client
        self._store = store
        self._kind = kind
        self._plural = plural

    def operations(self) -> Iterator[Operation]:
        kind, path = self._kind, f"/api/store/{self._plural}"
        one = f"{path}/{{name}}"
        nouns = {"name": f"{kind} name"}
        definition: Any = DEFINITIONS[kind]
        listed = dict[str, list[definition]]
        yield Operation("GET", path, self.all, f"The {self._plural} of the store", returns=listed, secrets=True)
        yield Operation(
            "POST",
            path,
            self.create,
            f"Add a {kind} to the store",
            body=definition,
            returns=definition,
            errors={400: _INVALID, 409: "there is one of this name", 500: "it can't be kept or applied"},
            changes=True,
        )
        yield Operation(
            "GET", one, self.get, f"One {kind} of the store", returns=definition, errors={404: _ABSENT}, secrets=True, nouns=nouns
        )
        yield Operation(
            "PUT",
            one,
            self.update,
            f"Replace a {kind} of the store",
            body=definition,
            returns=definition,
            errors={400: _INVALID, 404: _ABSENT, 500: "it can't be kept or applied"},
            changes=True,
            nouns=nouns,
        )
        yield Operation(
            "DELETE",
            one,
            self.delete,
            f"Remove a {kind} from the store",
            errors={404: _ABSENT, 500: "it can't be kept or applied"},
            changes=True,
            nouns=nouns,
        )

    async def all(self, request: Request) -> dict[str, list[Definition]]:
        return {self._plural: [definition_of(kept.tree, self._kind) for kept in self._store.entries(self._kind)]}

    async def get(self, request: Request) -> Definition:
        name = request.path_parameters["name"]
        kept = self._store.get(self._kind, name)
        if kept is None:
            raise ApiError(404, f'not found: {self._kind} "{name}"')
        return definition_of(kept.tree, self._kind)

    async def create(self, request: Request) -> Definition:
        kept = read_definition(await request.body(), self._kind)
        await self._change(partial(self._store.create, self._kind, kept))
        return definition_of(kept.tree, self._kind)

    async def update(self, request: Request) -> Definition:
        kept = read_definition(await request.body(), self._kind)
        if kept.entry.name != request.path_parameters["name"]:
            raise ApiError(400, f"{self._kind} name in URL must match name in body")
        await self._change(partial(self._store.update, self._kind, kept))
        return definition_of(kept.tree, self._kind)

    async def delete(self, request: Request) -> None:
        await self._change(partial(self._store.delete, self._kind, request.path_parameters["name"]))

    async def _change(self, change: partial[Any]) -> None:
        """Change the store and what runs; both, even when the requester leaves in between. Raises ApiError."""
        with trio.CancelScope(shield=True):
            try:
                await change()
            except AlreadyExistsError as error:
                raise ApiError(409, f"conflict: {error}") from None
            except NotFoundError as error:
                raise ApiError(404, f"not found: {error}") from None
            except ConfigError as error:
                raise ApiError(500, str(error)) from None
            try:
                self._client.apply()
            except FrpError as error:
                raise ApiError(500, f"apply config failed: {error}") from None
