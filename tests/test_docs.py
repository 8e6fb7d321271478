"""What the documentation shows works: every example loads, every key is explained, every link leads somewhere."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frp_py.config import load_client, load_server, not_yet_supported

ROOT = Path(__file__).parents[1]
CONF = sorted((ROOT / "conf").rglob("*.toml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
KEYS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "data" / "config_keys.json").read_text(encoding="utf-8"))


def load(path: Path, program: str) -> list[str]:
    """Load a file as `program` does and return what it can't do yet."""
    environ = {"FRP_TOKEN": "x", "CREDENTIALS_DIRECTORY": "/run"}
    if program == "frps":
        return not_yet_supported(load_server(str(path), environ=environ))
    return not_yet_supported(load_client(str(path), environ=environ, store=True))


def examples() -> Iterator[Any]:
    for page in PAGES:
        for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            yield pytest.param(block, id=f"{page.name}: {block.splitlines()[0]}")


@pytest.mark.parametrize("path", CONF, ids=lambda p: p.name)
def test_example_files_load(path: Path) -> None:
    assert load(path, path.name[:4]) == []


@pytest.mark.parametrize("block", list(examples()))
def test_examples_in_the_text_load(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = re.match(r"# (?:\S*/)?(frp[sc])\.toml\b", block)
    assert named, "an example begins with the name of its file, # frps.toml or # frpc.toml"
    path = tmp_path / "example.toml"
    path.write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load(path, named[1]) == []


def paths(table: dict[str, Any], leaves: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The key paths of a table; `leaves` are keys whose value, a table or a list of tables, is not gone into."""
    for key, value in table.items():
        path = prefix + key
        if isinstance(value, dict) and path not in leaves:
            yield from paths(value, leaves, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield path, value
            for entry in value:
                yield from paths(entry, leaves, f"{path}[].")
        else:
            yield path, value


def scope(*names: str) -> dict[str, dict[str, Any]]:
    return {k["key"]: k for k in KEYS if k["scope"] in names}


def switched_on(program: str) -> dict[str, Any]:
    text = (ROOT / "conf" / f"{program}_full.toml").read_text(encoding="utf-8")
    return tomllib.loads(re.sub(r"^#(?=[a-zA-Z\[])", "", text, flags=re.MULTILINE))


TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "int": int,
    "bool": bool,
    "bool?": bool,
    "string[]": list,
    "table[]": list,
    "table": dict,
    "map<string,string>": dict,
    "map<string,bool>": dict,
    "bandwidth": str,
}


def check(shown: dict[str, Any], known: dict[str, dict[str, Any]]) -> set[str]:
    """Check keys, types and defaults of one table; return the keys that it shows."""
    seen = set()
    for path, value in paths(shown, {key for key, k in known.items() if k["type"].startswith("map")}):
        assert path in known, path
        key = known[path]
        assert type(value) is TYPES[key["type"]], path
        if key["default"] not in (None, "", 0, False) and "enum" not in key and path != "serverAddr":
            assert value == key["default"], f"{path} is shown with something else than its default"
        for choice in value if isinstance(value, list) else [value]:
            assert "enum" not in key or choice in key["enum"], path
        seen.add(path)
    return seen


def test_every_key_of_frps_is_shown() -> None:
    known = scope("frps")
    shown = check(switched_on("frps"), known)
    assert set(known) - shown == {"allowPorts[].single", "allowPorts[].start", "allowPorts[].end"} - shown


def test_every_key_of_frpc_is_shown() -> None:
    everything = switched_on("frpc")
    proxies, visitors = everything.pop("proxies"), everything.pop("visitors")
    known = scope("frpc")
    assert set(known) - check(everything, known) == {"proxies", "visitors"}

    seen: dict[str, set[str]] = {}
    for entry, kind in [(p, "proxy") for p in proxies] + [(v, "visitor") for v in visitors]:
        plugin = entry.pop("plugin", None)
        of_type = f"{kind}.{entry['type']}"
        own = check(entry, scope(f"{kind}.base", of_type))
        seen.setdefault(f"{kind}.base", set()).update(own & set(scope(f"{kind}.base")))
        seen.setdefault(of_type, set()).update(own & set(scope(of_type)))
        if plugin:
            of_plugin = f"plugin.{plugin['type']}" if kind == "proxy" else f"visitor_plugin.{plugin['type']}"
            seen.setdefault(of_plugin, set()).update(check(plugin, scope(of_plugin)))
            seen[f"{kind}.base"].add("plugin")
    scopes = {k["scope"] for k in KEYS if k["scope"].startswith(("proxy.", "visitor", "plugin."))}
    assert {s: set(scope(s)) - seen.get(s, set()) for s in scopes} == {s: set() for s in scopes}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("program", ["frps", "frpc"])
def test_the_systemd_units_start_the_program(program: str) -> None:
    unit = (ROOT / "conf" / "systemd" / f"{program}.service").read_text(encoding="utf-8")
    assert f"ExecStart=/usr/local/bin/{program} -c /etc/frp/{program}.toml\n" in unit
    assert "Restart=always\n" in unit
