"""The store: proxies and visitors that are kept beside the configuration file, and changed by the web API (config.md 1.14)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import trio

from frp_py.config.files import write_file
from frp_py.config.store import Kept, read_store
from frp_py.config.written import as_written
from frp_py.errors import ConfigError, FrpError
from frp_py.log import get_logger

log = get_logger()


class AlreadyExistsError(FrpError):
    """There is an entry of this name."""


class NotFoundError(FrpError):
    """There is no entry of this name."""


class Store:
    """The entries of one file, whose changes are in the file before they count. A `kind` is proxy or visitor."""

    def __init__(self, path: str) -> None:
        """Read the file, if there is one. Raises ConfigError."""
        self.path = path
        stored = read_store(path)
        self._entries = {
            "proxy": {kept.entry.name: kept for kept in stored.proxies},
            "visitor": {kept.entry.name: kept for kept in stored.visitors},
        }
        self._changing = trio.Lock()

    def entries(self, kind: str) -> list[Kept]:
        """All of them, sorted by name."""
        return [kept for _, kept in sorted(self._entries[kind].items())]

    def get(self, kind: str, name: str) -> Kept | None:
        """The entry of this name."""
        return self._entries[kind].get(name)

    async def create(self, kind: str, new: Kept) -> None:
        """Add an entry. Raises AlreadyExistsError, or ConfigError when it can't be written."""
        name = new.entry.name

        def change(entries: dict[str, Kept]) -> None:
            if name in entries:
                raise AlreadyExistsError(f'already exists: {kind} "{name}"')
            entries[name] = new

        await self._change(kind, change)
        log.info('store: created %s "%s"', kind, name)

    async def update(self, kind: str, new: Kept) -> None:
        """Replace an entry. Raises NotFoundError, or ConfigError when it can't be written."""
        name = new.entry.name

        def change(entries: dict[str, Kept]) -> None:
            if name not in entries:
                raise NotFoundError(f'not found: {kind} "{name}"')
            entries[name] = new

        await self._change(kind, change)
        log.info('store: updated %s "%s"', kind, name)

    async def delete(self, kind: str, name: str) -> None:
        """Remove an entry. Raises NotFoundError, or ConfigError when it can't be written."""

        def change(entries: dict[str, Kept]) -> None:
            if entries.pop(name, None) is None:
                raise NotFoundError(f'not found: {kind} "{name}"')

        await self._change(kind, change)
        log.info('store: deleted %s "%s"', kind, name)

    async def _change(self, kind: str, change: Callable[[dict[str, Kept]], None]) -> None:
        async with self._changing:
            wanted = {**self._entries, kind: dict(self._entries[kind])}
            change(wanted[kind])
            await trio.to_thread.run_sync(self._write, wanted)
            self._entries = wanted

    def _write(self, entries: dict[str, dict[str, Kept]]) -> None:
        tree: dict[str, Any] = {
            key: [as_written(kept.tree, kind) for kept in entries[kind].values()]
            for key, kind in (("proxies", "proxy"), ("visitors", "visitor"))
        }
        try:
            write_file(self.path, json.dumps(tree, indent=2, ensure_ascii=False).encode(), private=True)
        except ConfigError as error:
            raise ConfigError(f"failed to persist: {error}") from None
