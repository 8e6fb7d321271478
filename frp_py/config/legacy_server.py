"""frps's configuration in the legacy format (config.md 6)."""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .decode import Document, decode_server
from .formats import decoded, render
from .legacy_ini import Ini, IniError, boolean
from .legacy_keys import DASHBOARD_TLS, HOOK, SERVER, moved
from .ranges import parse_ranges
from .server import ServerConfig


def read_server(data: bytes, path: str, environ: Mapping[str, str]) -> ServerConfig:
    """Return the configuration in a legacy file. Raises ConfigError with the texts of config.md 6.6."""
    ini = read_ini(render(decoded(data), path, environ, ranges=False), path)
    tree = moved(ini, "common", SERVER)
    if scopes := additional_scopes(ini):
        tree.setdefault("auth", {})["additionalScopes"] = scopes
    web = tree.setdefault("webServer", {})
    if not web.get("addr"):
        web["addr"] = "0.0.0.0"
    if boolean(ini.get("common", "dashboard_tls_mode") or ""):
        web["tls"] = moved(ini, "common", DASHBOARD_TLS).get("webServer", {}).get("tls", {})
    if ports := (ini.get("common", "allow_ports") or "").strip():
        tree["allowPorts"] = _ports(ports, path)
    tree["httpPlugins"] = [
        {"name": name.removeprefix("plugin.").strip(), **moved(ini, name, HOOK)} for name in ini.sections if name.startswith("plugin.")
    ]
    return decode_server(Document(tree, "toml", path), strict=False)


def read_ini(text: str, path: str) -> Ini:
    """Return the sections of a legacy file's rendered text. Raises ConfigError."""
    try:
        return Ini(text)
    except IniError as error:
        raise ConfigError(f"{error}\n  in {path}") from None


def additional_scopes(ini: Ini) -> list[str]:
    """Return which messages carry credentials beyond the login."""
    scopes = {"authenticate_heartbeats": "HeartBeats", "authenticate_new_work_conns": "NewWorkConns"}
    return [scope for key, scope in scopes.items() if boolean(ini.get("common", key) or "")]


def _ports(text: str, path: str) -> list[dict[str, Any]]:
    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        # Ignoring it, as others do, would open every port.
        raise ConfigError(
            f"parse config error: invalid allow_ports: {error}\n  in {path}: [common] allow_ports must be like 6000-6999, 9000"
        ) from None
    return [{"single": first} if first == last else {"start": first, "end": last} for first, last in ranges]
