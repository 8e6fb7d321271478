"""Where a client's proxies and visitors come from: its file, and its store (behaviour.md 7.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from frp_py.config.load import load_client
from frp_py.config.supported import not_yet_supported, unset_secrets
from frp_py.errors import ConfigError

if TYPE_CHECKING:
    from frp_py.client.store import Store
    from frp_py.config.client import ClientConfig


class ConfigFile:
    """The file that a client was started with."""

    def __init__(self, path: str, *, strict: bool = True, allow_unsafe: Collection[str] = ()) -> None:
        self.path = path
        self.strict = strict
        """Whether unknown keys are errors, where whoever asks doesn't say."""
        self._allow_unsafe = tuple(allow_unsafe)

    def load(self, *, strict: bool | None = None, data: bytes | None = None) -> ClientConfig:
        """What it says now, or would with the content `data`: without the store, complete, checked as for a start. Raises ConfigError."""
        strict = self.strict if strict is None else strict
        config = load_client(self.path, strict=strict, allow_unsafe=self._allow_unsafe, gates=True, data=data)
        if refused := not_yet_supported(config) + unset_secrets(config):
            raise ConfigError("\n".join(refused))
        return config

    def paths(self, includes: Collection[str]) -> Iterator[str]:
        """It, and the files that it includes as they are now."""
        yield self.path
        if includes:
            from frp_py.config.includes import included_files

            with contextlib.suppress(ConfigError):
                yield from included_files(includes, self.path)


Entry = TypeVar("Entry", bound=Any)


class Sources:
    """The file's entries and the store's. What is wished of a client is both, the store's before the file's of the same name."""

    def __init__(self, config: ClientConfig, file: ConfigFile | None = None) -> None:
        """`config` is what the client starts with, the store's entries in it. Raises ConfigError."""
        self.file = file
        self.store: Store | None = None
        if config.store.path:
            from frp_py.client.store import Store

            self.store = Store(config.store.path)
        if self.store is not None and file is not None:
            self._config = file.load()
        else:
            self._config = self._without_stored(config)

    def _without_stored(self, config: ClientConfig) -> ClientConfig:
        return msgspec.structs.replace(
            config,
            proxies=tuple(entry for entry in config.proxies if not self.is_stored("proxy", entry.name)),
            visitors=tuple(entry for entry in config.visitors if not self.is_stored("visitor", entry.name)),
        )

    def replace(self, config: ClientConfig) -> None:
        """Take what the file says now in the place of what it said."""
        self._config = config

    def is_stored(self, kind: str, name: str) -> bool:
        """Whether the proxy or visitor (`kind`) of this name comes from the store."""
        kept = self.store.get(kind, name) if self.store is not None else None
        return kept is not None and kept.entry.enabled

    def merged(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Proxies and visitors that are wished, sorted by name."""
        return self._merged("proxy", self._config.proxies), self._merged("visitor", self._config.visitors)

    def _merged(self, kind: str, configured: Iterable[Entry]) -> tuple[Entry, ...]:
        by_name = {entry.name: entry for entry in configured}
        start = self._config.start
        for kept in self.store.entries(kind) if self.store is not None else ():
            if kept.entry.enabled and (not start or kept.entry.name in start):
                by_name[kept.entry.name] = kept.entry
        return tuple(by_name[name] for name in sorted(by_name))
