"""frpc's configuration in the legacy format (config.md 6)."""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .base import Bandwidth
from .client import ClientConfig
from .decode import Document, decode_client
from .files import read_file
from .formats import decoded, render
from .includes import directory_exists, included_files
from .legacy_ini import DEFAULT, Ini
from .legacy_keys import CLIENT, PLUGINS, PLUGINS_WITH_HEADERS, PROXIES, VISITORS, family, moved
from .legacy_server import additional_scopes, read_ini
from .plugins import PLUGINS as KNOWN_PLUGINS
from .ranges import parse_numbers

_PROTOCOLS = ("tcp", "kcp", "quic", "websocket", "wss")


def read_client(data: bytes, path: str, environ: Mapping[str, str]) -> tuple[ClientConfig, list[str]]:
    """Return the configuration in a legacy file and the files it includes, and lines to print.

    Raises ConfigError with the texts of config.md 6.6.
    """
    text = render(decoded(data), path, environ, ranges=False)
    ini = read_ini(text, path)
    tree = _common(ini)
    lines = _check(tree, path)
    if tree.get("includes"):
        ini = read_ini("\n".join([text, *_included(tree["includes"], path, environ)]), path)
    _expand_ranges(ini, path)
    tree["proxies"], tree["visitors"] = [], []
    for name in ini.sections:
        if name in ("common", DEFAULT) or name.startswith("range:"):
            continue
        role = ini.get(name, "role")
        if role in (None, "", "server"):
            tree["proxies"].append(_proxy(ini, name, path))
        elif role == "visitor":
            tree["visitors"].append(_visitor(ini, name, path))
        else:
            raise ConfigError(f"proxy {name} role should be 'server' or 'visitor'\n  in {path}: [{name}] role is {role!r}")
    return decode_client(Document(tree, "toml", path), strict=False), lines


def _common(ini: Ini) -> dict[str, Any]:
    tree = moved(ini, "common", CLIENT)
    if scopes := additional_scopes(ini):
        tree.setdefault("auth", {})["additionalScopes"] = scopes
    if parameters := family(ini, "common", "oidc_additional_"):
        tree.setdefault("auth", {}).setdefault("oidc", {})["additionalEndpointParams"] = parameters
    tree["metadatas"] = family(ini, "common", "meta_")
    return tree


def _check(tree: dict[str, Any], path: str) -> list[str]:
    transport = tree.get("transport", {})
    if 0 < transport.get("heartbeatTimeout", 0) < transport.get("heartbeatInterval", 0):
        text = "parse config error: invalid heartbeat_timeout, heartbeat_timeout is less than heartbeat_interval"
        raise ConfigError(f"{text}\n  in {path}: [common]")
    protocol = transport.get("protocol") or "tcp"
    if protocol not in _PROTOCOLS:
        where = f"[common] protocol must be one of {', '.join(_PROTOCOLS)}, not {protocol!r}"
        raise ConfigError(f"parse config error: invalid protocol\n  in {path}: {where}")
    for entry in tree.get("includes", ()):
        if not directory_exists(entry):
            raise ConfigError(f"parse config error: include: directory of {entry} not exist\n  in {path}: [common] includes")
    tls = transport.get("tls", {})
    if tls.get("enable", True):
        return []
    files = {"tls_cert_file": "certFile", "tls_key_file": "keyFile", "tls_trusted_ca_file": "trustedCaFile"}
    return [f"WARNING! {key} is invalid when tls_enable is false" for key, new in files.items() if tls.get(new)]


def _included(entries: list[str], source: str, environ: Mapping[str, str]) -> list[str]:
    texts = []
    for path in included_files(entries, source):
        text = decoded(read_file(path))
        try:
            texts.append(render(text, path, environ, ranges=False))
        except ConfigError as error:
            raise ConfigError(f"getIncludeContents error: render extra config {path} error: {error}") from None
    return texts


def _expand_ranges(ini: Ini, path: str) -> None:
    for name in [*ini.sections]:
        if not name.startswith("range:"):
            continue
        prefix = name.removeprefix("range:").strip()
        local, remote = ini.get(name, "local_port"), ini.get(name, "remote_port")
        try:
            if not local or not remote:
                raise ValueError("local_port or remote_port is empty")
            locals_, remotes = parse_numbers(local), parse_numbers(remote)
            if len(locals_) != len(remotes):
                raise ValueError("local ports number should be same with remote ports number")
        except ValueError as error:
            where = f"[{name}] needs local_port and remote_port with equally many ports, such as 6000-6005,7000"
            raise ConfigError(f"failed to render template for proxy range:{prefix}: {error}\n  in {path}: {where}") from None
        own = ini.own(name)
        for i, (local_port, remote_port) in enumerate(zip(locals_, remotes, strict=True)):
            section = ini.sections.setdefault(f"{prefix}_{i}", {})
            section |= {**own, "local_port": str(local_port), "remote_port": str(remote_port)}


def _proxy(ini: Ini, name: str, path: str) -> dict[str, Any]:
    kind = ini.get(name, "type") or "tcp"
    if kind not in PROXIES:
        where = f"[{name}] type must be one of {', '.join(PROXIES)}"
        raise ConfigError(f"failed to parse proxy {name}, err: invalid type [{kind}]\n  in {path}: {where}")
    tree = {"name": name, "type": kind, **moved(ini, name, PROXIES[kind]), "metadatas": family(ini, name, "meta_")}
    try:
        Bandwidth(tree.get("transport", {}).get("bandwidthLimit", ""))
    except ValueError as error:
        where = f'[{name}] bandwidth_limit must be like "1MB" or "512KB"'
        raise ConfigError(f"failed to parse proxy {name}, err: {error}\n  in {path}: {where}") from None
    if kind == "http" and (headers := family(ini, name, "header_")):
        tree["requestHeaders"] = {"set": headers}
    plugin = ini.get(name, "plugin")
    if plugin:
        tree["plugin"] = _plugin(ini, name, plugin, path)
    return tree


def _plugin(ini: Ini, name: str, kind: str, path: str) -> dict[str, Any]:
    if kind not in KNOWN_PLUGINS:
        where = f"[{name}] plugin must be one of {', '.join(KNOWN_PLUGINS)}"
        raise ConfigError(f"failed to parse proxy {name}, err: unknown plugin type: {kind}\n  in {path}: {where}")
    tree = {"type": kind, **moved(ini, name, PLUGINS.get(kind, {}))}
    if kind in PLUGINS_WITH_HEADERS and (headers := family(ini, name, "plugin_header_")):
        tree["requestHeaders"] = {"set": headers}
    return tree


def _visitor(ini: Ini, name: str, path: str) -> dict[str, Any]:
    kind = ini.get(name, "type") or ""
    if kind not in VISITORS:
        reason = f"type [{kind}] error" if kind else "type shouldn't be empty"
        where = f"[{name}] type must be one of {', '.join(VISITORS)}"
        raise ConfigError(f"failed to parse visitor {name}, err: {reason}\n  in {path}: {where}")
    tree = {"name": name, "type": kind, **moved(ini, name, VISITORS[kind])}
    for key in ("maxRetriesAnHour", "minRetryInterval", "fallbackTimeoutMs"):
        if tree.get(key, 1) <= 0:
            del tree[key]
    return tree
