"""From a file to a configuration that is complete and checked (config.md 1.1)."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..errors import ConfigError
from .check import Finding, check_client, check_proxy, check_server, check_visitor
from .client import ClientConfig
from .decode import Document, decode_client, decode_server
from .files import read_file
from .formats import parse
from .server import ServerConfig

LEGACY_WARNING = (
    "WARNING: ini format is deprecated and the support will be removed in the future, please use yaml/json/toml format instead!"
)


class Entry(NamedTuple):
    """A proxy or visitor, and where it was written: `path` is its key, such as `proxies[0]`, in the file `source`."""

    value: Any
    path: str
    source: str


def load_server(
    path: str,
    *,
    strict: bool = True,
    allow_unsafe: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
    notices: list[str] | None = None,
) -> ServerConfig:
    """Return frps's configuration from a file in any format.

    `notices` gets the lines a legacy file asks to be printed (LEGACY_WARNING first). `environ` is what templates see.
    Raises ConfigError: first the text of config.md 1.8 or 4.3, then an indented line that says where.
    """
    environ = os.environ if environ is None else environ
    data = read_file(path)
    if _is_legacy(data):
        from .legacy_server import read_server

        config = read_server(data, path, environ)
        _notify(notices, [LEGACY_WARNING])
    else:
        config = decode_server(parse(data, path, environ, strict=strict), strict=strict)
    if config.statistics.path:
        file = os.path.join(os.path.dirname(os.path.abspath(path)), config.statistics.path)
        config = replace(config, statistics=replace(config.statistics, path=file))
    return _checked_server(config, path, allow_unsafe)


def server_from_dict(tree: Mapping[str, Any], *, strict: bool = True, allow_unsafe: Collection[str] = ()) -> ServerConfig:
    """Return frps's configuration from a tree shaped like a file. Raises ConfigError like load_server."""
    source = "the server configuration"
    return _checked_server(decode_server(Document(dict(tree), "toml", source), strict=strict), source, allow_unsafe)


def load_client(
    path: str,
    *,
    strict: bool = True,
    allow_unsafe: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
    store: bool = False,
    gates: bool = False,
    notices: list[str] | None = None,
    data: bytes | None = None,
) -> ClientConfig:
    """Return frpc's configuration from a file in any format: included files read, disabled and unlisted entries gone.

    With `store`, load as a starting client does: feature gates count, the store file is merged in, entries are sorted by name.
    Without it, as `verify` and the other commands do. With `gates`, feature gates count all the same: for a client that reads its
    file again. `notices` gets the lines a legacy file asks to be printed (LEGACY_WARNING first). `environ` is what templates and
    the default of transport.proxyURL see. `data` is taken for what the file contains.
    Raises ConfigError: first the text of config.md 1.8, 1.11 to 1.14 or 4.2 to 4.5, then an indented line that says where.
    """
    environ = os.environ if environ is None else environ
    data = read_file(path) if data is None else data
    if _is_legacy(data):
        from .legacy_client import read_client

        config, lines = read_client(data, path, environ)
        _notify(notices, [LEGACY_WARNING, *lines])
        entries = [*_entries(config.proxies, "", path)], [*_entries(config.visitors, "", path)]
    else:
        config = decode_client(parse(data, path, environ, strict=strict), strict=strict)
        entries = _with_includes(config, path, strict, environ)
    directory = os.path.dirname(os.path.abspath(path))
    return _checked_client(config, entries, path, allow_unsafe, environ, directory, store, gates or store)


def client_from_dict(
    tree: Mapping[str, Any],
    *,
    strict: bool = True,
    allow_unsafe: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
    store: bool = False,
) -> ClientConfig:
    """Return frpc's configuration from a tree shaped like a file, with the files it includes. Raises ConfigError like load_client."""
    source = "the client configuration"
    environ = os.environ if environ is None else environ
    config = decode_client(Document(dict(tree), "toml", source), strict=strict)
    entries = _with_includes(config, source, strict, environ)
    return _checked_client(config, entries, source, allow_unsafe, environ, os.getcwd(), store, store)


def _is_legacy(data: bytes) -> bool:
    if b"common" not in data:
        return False
    from .legacy_ini import is_legacy

    return is_legacy(data)


def _notify(notices: list[str] | None, lines: Iterable[str]) -> None:
    if notices is not None:
        notices.extend(lines)


def _checked_server(config: ServerConfig, source: str, allow_unsafe: Collection[str]) -> ServerConfig:
    if findings := check_server(config, allow_unsafe):
        raise _refusal(findings, source)
    return config


def _refusal(findings: Sequence[Finding], source: str) -> ConfigError:
    texts = "\n".join(finding.text for finding in findings)
    places = "; ".join(f"{finding.key} {finding.expected}" for finding in findings)
    return ConfigError(f"{texts}\n  in {source}: {places}")


def _entries(values: Iterable[Any], key: str, source: str) -> Iterable[Entry]:
    return (Entry(value, f"{key}[{i}]" if key else f"[{value.name}]", source) for i, value in enumerate(values))


def _with_includes(config: ClientConfig, source: str, strict: bool, environ: Mapping[str, str]) -> tuple[list[Entry], list[Entry]]:
    proxies = [*_entries(config.proxies, "proxies", source)]
    visitors = [*_entries(config.visitors, "visitors", source)]
    if config.includes:
        from .includes import included_files

        for path in included_files(config.includes, source):
            try:
                extra = decode_client(parse(read_file(path), path, environ, strict=strict), strict=strict)
            except ConfigError as error:
                raise ConfigError(f"load additional config from {path} error: {error}") from None
            proxies += _entries(extra.proxies, "proxies", path)
            visitors += _entries(extra.visitors, "visitors", path)
    return proxies, visitors


def _checked_client(
    config: ClientConfig,
    entries: tuple[list[Entry], list[Entry]],
    source: str,
    allow_unsafe: Collection[str],
    environ: Mapping[str, str],
    directory: str,
    store: bool,
    gates: bool,
) -> ClientConfig:
    proxies, visitors = entries
    if not config.transport.proxy_url and (proxy_url := environ.get("http_proxy")):
        config = replace(config, transport=replace(config.transport, proxy_url=proxy_url))
    if config.store.path:
        config = replace(config, store=replace(config.store, path=os.path.join(directory, config.store.path)))
    _check_names(proxies, "proxy")
    _check_names(visitors, "visitor")
    if gates:
        _check_gates(config, source)
    if store:
        for word, some in (("proxy", proxies), ("visitor", visitors)):
            if nameless := next((entry for entry in some if not entry.value.name), None):
                where = f"{nameless.source}: {nameless.path}.name must be given"
                raise ConfigError(f"failed to set config source: {word} name cannot be empty\n  in {where}")
        proxies, visitors = _with_store(config.store.path, proxies, visitors)
    proxies = _wanted(proxies, config.start)
    visitors = _wanted(visitors, config.start)
    if findings := check_client(config, allow_unsafe, gates=gates):
        raise _refusal(findings, source)
    _check_entries(proxies, "proxy", check_proxy)
    _check_entries(visitors, "visitor", check_visitor)
    return replace(config, proxies=tuple(entry.value for entry in proxies), visitors=tuple(entry.value for entry in visitors))


def _check_names(entries: Iterable[Entry], word: str) -> None:
    seen: dict[str, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.value.name, entry)
        if first is not entry:
            also = "" if first.source == entry.source else f" in {first.source}"
            where = f"{entry.source}: {entry.path} has the name of {first.path}{also}"
            raise ConfigError(f"{word} name [{entry.value.name}] is duplicated\n  in {where}")


def _check_gates(config: ClientConfig, source: str) -> None:
    for gate in config.feature_gates:
        if gate != "VirtualNet":
            raise ConfigError(f"unrecognized feature gate: {gate}\n  in {source}: featureGates knows only VirtualNet")


def _with_store(path: str, proxies: list[Entry], visitors: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    merged: list[list[Entry]] = []
    stored: tuple[list[Any], list[Any]] = [], []
    if path:
        from .store import read_store

        kept = read_store(path)
        stored = [value.entry for value in kept.proxies], [value.entry for value in kept.visitors]
    for configured, extra, key in ((proxies, stored[0], "proxies"), (visitors, stored[1], "visitors")):
        by_name = {entry.value.name: entry for entry in configured if entry.value.enabled}
        by_name |= {value.name: Entry(value, f"{key}[{value.name}]", path) for value in extra if value.enabled}
        merged.append(sorted(by_name.values(), key=lambda entry: str(entry.value.name)))
    return merged[0], merged[1]


def _wanted(entries: Iterable[Entry], start: Collection[str]) -> list[Entry]:
    return [entry for entry in entries if entry.value.enabled and (not start or entry.value.name in start)]


def _check_entries(entries: Iterable[Entry], word: str, check: Callable[[Any], Finding | None]) -> None:
    for entry in entries:
        if finding := check(entry.value):
            where = f"{entry.source}: {entry.path}.{finding.key} {finding.expected}"
            raise ConfigError(f"{word} {entry.value.name}: {finding.text}\n  in {where}")
