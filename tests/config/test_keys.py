"""Every key of config_keys.json is set in every format that has it, and found where it belongs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from frp_py.config.base import Bandwidth
from frp_py.config.decode import Document, decode_client, decode_server
from frp_py.config.formats import parse_text
from frp_py.config.legacy_client import read_client
from frp_py.config.legacy_keys import PROXIES, VISITORS
from frp_py.config.legacy_server import read_server
from frp_py.config.toml_writer import to_toml

KEYS: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "data" / "config_keys.json").read_text())
MODERN = [entry for entry in KEYS if not entry["scope"].startswith("legacy.")]
LEGACY = [entry for entry in KEYS if entry["scope"].startswith("legacy.")]
KIND_OF = {"plugin": "tcp", "visitor_plugin": "stcp"}
WRITERS: dict[str, Callable[[Any], str]] = {"toml": to_toml, "json": json.dumps, "yaml": yaml.safe_dump}


def value_for(entry: dict[str, Any]) -> Any:
    """Return a value that isn't the default."""
    kind, choices, key = entry["type"], entry.get("enum") or [], entry["key"]
    if key in ("proxies", "visitors"):
        return [{"name": "a", "type": "stcp"}]
    if key == "plugin":
        return {"type": "virtual_net"}
    return {
        "string": next((choice for choice in choices if choice and choice != entry["default"]), choices[0] if choices else "x"),
        "int": 7,
        "bool": True,
        "bool?": False,
        "string[]": choices or ["a", "b"],
        "map<string,string>": {"Some-Key": "v"},
        "map<string,bool>": {"VirtualNet": True},
        "bandwidth": "1.5MB",
        "table[]": [{}],
    }[kind]


def tree_for(key: str, value: Any) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    inner = tree_for(rest, value) if rest else value
    return {name[:-2]: [inner]} if name.endswith("[]") else {name: inner}


def document(entry: dict[str, Any], value: Any) -> tuple[str, dict[str, Any]]:
    """Return the program and the tree of its file in which a key of some scope is set."""
    scope, _, kind = entry["scope"].partition(".")
    tree = tree_for(entry["key"], value)
    if scope in ("frps", "frpc"):
        return scope, tree
    if scope in ("plugin", "visitor_plugin"):
        tree, scope, kind = {"plugin": {"type": kind, **tree}}, "visitor" if "visitor" in scope else "proxy", KIND_OF[scope]
    kind = "xtcp" if kind == "base" else kind
    return "frpc", {"proxies" if scope == "proxy" else "visitors": [{"name": "entry", "type": kind, **tree}]}


def at(config: Any, path: str) -> Any:
    for name in path.split("."):
        found = next((field for field in msgspec.structs.fields(config) if field.encode_name == name.removesuffix("[]")), None)
        config = getattr(config, found.name if found else name)
        if name.endswith("[]"):
            config = config[0]
    return config


def plain(value: Any) -> Any:
    if isinstance(value, Bandwidth):
        return value.text
    if isinstance(value, tuple):
        return [item if isinstance(item, str) else {} for item in value]
    return value


def prefix(scope: str) -> str:
    return {"proxy": "proxies[].", "visitor": "visitors[].", "plugin": "proxies[].plugin.", "visitor_plugin": "visitors[].plugin."}.get(
        scope, ""
    )


def test_the_list_is_whole() -> None:
    assert len(MODERN) + len(LEGACY) == 434


@pytest.mark.parametrize("file_format", WRITERS)
@pytest.mark.parametrize("entry", MODERN, ids=lambda entry: f"{entry['scope']}:{entry['key']}")
def test_modern_formats(entry: dict[str, Any], file_format: str) -> None:
    value = value_for(entry)
    program, tree = document(entry, value)
    text = WRITERS[file_format](tree)
    parsed = parse_text(text, f"file.{file_format}")
    # (An empty list of tables is the same text in two formats, so YAML and JSON are told apart by their parsers only.)
    assert parsed.tree == tree
    config = (decode_server if program == "frps" else decode_client)(parsed)
    found = at(config, prefix(entry["scope"].partition(".")[0]) + entry["key"])
    if entry["key"] in ("proxies", "visitors", "plugin"):
        assert (found if entry["key"] == "plugin" else found[0]).type == (value if entry["key"] == "plugin" else value[0])["type"]
    elif entry["key"] == "type" and entry["scope"] in ("proxy.base", "visitor.base"):
        assert found == value
    else:
        assert plain(found) == value


def has_default(key: str) -> bool:
    """Return whether a key has a value where it isn't set: its table always exists, and it isn't what tells entries apart."""
    return not (key in ("name", "type", "enabled") or "[]" in key or "ource." in key or key.startswith("webServer.tls"))


@pytest.mark.parametrize(
    "entry", [entry for entry in MODERN if has_default(entry["key"])], ids=lambda entry: f"{entry['scope']}:{entry['key']}"
)
def test_defaults(entry: dict[str, Any]) -> None:
    scope, key = entry["scope"].partition(".")[0], entry["key"]
    kind = entry["scope"].partition(".")[2]
    if scope in ("plugin", "visitor_plugin"):
        word, tree = ("visitors" if "visitor" in scope else "proxies"), {"type": KIND_OF[scope], "plugin": {"type": kind}}
    else:
        word, tree = ("visitors" if scope == "visitor" else "proxies"), {"type": "xtcp" if kind == "base" else kind}
    if scope == "frps":
        config: Any = decode_server(Document({}, "toml", "x"))
    else:
        config = decode_client(Document({} if scope == "frpc" else {word: [{"name": "entry", **tree}]}, "toml", "x"))
    found = plain(at(config, prefix(scope) + key))
    expected = entry["default"]
    assert found == (expected if expected is not None else {} if entry["type"].startswith("map") else None if key == "plugin" else [])


def legacy_text(entry: dict[str, Any]) -> tuple[str, str, Any]:
    """Return an INI file that sets a legacy key, the key's own name in it, and the value expected at the new place."""
    key, scope = entry["key"], entry["scope"]
    name = key.replace("*", "Some")
    kind = entry["type"]
    default = entry["default"]
    written, value = {
        "string": ("x", "x"),
        "int": ("7", 7),
        "bool": ("off", False) if default else ("on", True),
        "string[]": ("a, b,", ["a", "b"]),
        "bandwidth": ("1.5MB", "1.5MB"),
    }[kind]
    if key == "protocol" and scope == "legacy.frpc.common":
        written = value = "kcp"
    if key == "includes":
        written, value = "./*.none", ["./*.none"]
    if key == "allow_ports":
        written, value = "1-2", [{}]
    if key == "type":
        written = value = "xtcp"
    if key == "role":
        written = "visitor" if "visitor" in scope else "server"
    if key == "plugin":
        written = value = "socks5"
    return f"{name} = {written}\n", name, value


def legacy_section(entry: dict[str, Any]) -> str:
    scope, key = entry["scope"], entry["key"]
    if scope.endswith(".common"):
        return "[common]\n" + ("dashboard_tls_mode = true\n" if key.startswith("dashboard_tls_") and key != "dashboard_tls_mode" else "")
    if scope == "legacy.frps.plugin":
        return "[common]\n[plugin.hook]\n"
    if scope.startswith("legacy.plugin."):
        return f"[common]\n[entry]\nplugin = {scope.removeprefix('legacy.plugin.')}\n"
    tables = VISITORS if scope == "legacy.visitor" else PROXIES
    kind = next((kind for kind, keys in tables.items() if key in keys), "xtcp" if key == "type" else "http")
    kind = "stcp" if scope == "legacy.visitor" and kind == "http" else kind
    return f"[common]\n[entry]\n{'role = visitor' if scope == 'legacy.visitor' else ''}\n" + ("" if key == "type" else f"type = {kind}\n")


@pytest.mark.parametrize("entry", LEGACY, ids=lambda entry: f"{entry['scope']}:{entry['key']}")
def test_the_legacy_format(entry: dict[str, Any]) -> None:
    line, name, value = legacy_text(entry)
    text = (legacy_section(entry) + line).encode()
    scope, target = entry["scope"], entry["maps_to"]
    if scope.startswith("legacy.frps"):
        config: Any = read_server(text, "frps.ini", {})
        base = "httpPlugins[]." if scope.endswith("plugin") and not target.startswith("httpPlugins") else ""
    else:
        config = read_client(text, "frpc.ini", {})[0]
        base = "visitors[]." if scope == "legacy.visitor" else "" if scope.endswith("common") else "proxies[]."
    if target is None:
        return  # it is read and ignored
    if target == "webServer.tls":
        assert config.web_server.tls is not None
        return
    if name.startswith("authenticate_"):
        assert config.auth.additional_scopes == ("HeartBeats" if "heartbeats" in name else "NewWorkConns",)
        return
    if target.endswith(".*"):
        assert at(config, base + target.removesuffix(".*")) == {"Some": "x"}
        return
    assert plain(at(config, base + target)) == value
