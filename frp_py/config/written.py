"""Proxies and visitors as stores and the web API write them (config.md 1.14, behaviour.md 11.4)."""

from typing import Any

import msgspec

from .base import Bandwidth, Section
from .common import NatTraversal
from .decode import keys_of
from .plugins import PLUGINS, PluginBase
from .proxies import PROXIES, HealthCheck, HttpHeader, LoadBalancer, ProxyBase, ProxyTransport
from .visitors import VISITOR_PLUGINS, VISITORS, VisitorBase

KINDS: dict[str, dict[str, type[Section]]] = {"proxy": {**PROXIES}, "visitor": {**VISITORS}}
"""What entries there are: proxies and visitors, by type."""

_PLUGINS: dict[str, type[Section]] = {**PLUGINS, **VISITOR_PLUGINS}
_ALWAYS: dict[type[Section], tuple[str, ...]] = {
    ProxyTransport: ("bandwidthLimit",),
    LoadBalancer: ("group",),
    HealthCheck: ("type", "intervalSeconds"),
    HttpHeader: ("name", "value"),
}
_HEALTH_CHECK = {"timeoutSeconds": 3, "maxFailed": 1, "intervalSeconds": 10}


def as_written(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    """The tree of an entry (`kind` proxy or visitor) as it is written: what is empty is left out, but the tables are there.

    Nothing is made up: what has a default and isn't given stays away.
    """
    entry_type = tree["type"]
    return {"name": tree.get("name", ""), "type": entry_type, **_table(tree, KINDS[kind][entry_type])}


def completed(entry: Any) -> dict[str, Any]:
    """The same of an entry with its defaults."""
    tree = msgspec.to_builtins(entry, enc_hook=_plain)
    if entry.enabled:
        del tree["enabled"]
    if tree.get("natTraversal") == {"disableAssistedAddrs": False}:
        del tree["natTraversal"]
    if tree.get("healthCheck", {}).get("type"):
        check = tree["healthCheck"]
        tree["healthCheck"] = {**check, **{key: value for key, value in _HEALTH_CHECK.items() if check[key] <= 0}}
    return as_written(tree, "proxy" if isinstance(entry, ProxyBase) else "visitor")


def _plain(value: Any) -> Any:
    if isinstance(value, Bandwidth):
        return value.text
    raise NotImplementedError


def _table(tree: dict[str, Any], cls: type[Section]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    always = _ALWAYS.get(cls, ())
    for field, key in zip(msgspec.structs.fields(cls), keys_of(cls).values(), strict=True):
        name = key.name
        if name == "name" and issubclass(cls, ProxyBase | VisitorBase):
            continue
        value = tree.get(name)
        if name == "plugin" and not issubclass(cls, PluginBase):
            result[name] = value and {"type": value["type"], **_table(value, _PLUGINS[value["type"]])}
        elif key.nested == "list" and isinstance(key.type, type) and issubclass(key.type, Section):
            if value:
                result[name] = [_table(item, key.type) for item in value]
        elif not key.nested and isinstance(key.type, type) and issubclass(key.type, Section):
            if value or (field.default is not None and key.type is not NatTraversal):
                result[name] = _table(value or {}, key.type)
        elif key.type is Bandwidth:
            result[name] = (value or "").strip()
        elif value or name in always or (value is False and field.default is True):
            result[name] = value if value is not None else key.type()
    return result
