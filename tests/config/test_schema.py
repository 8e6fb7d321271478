"""The schemas and the reference say what the structs and the specification say, and are up to date."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from frp_py.config.base import Section
from frp_py.config.meanings import KEYS, Key
from frp_py.config.plugins import PLUGINS
from frp_py.config.proxies import PROXIES, ProxyBase
from frp_py.config.schema import ROOTS, Field, fields_of, plain_text, purpose_of, schema_of, shipped_schema
from frp_py.config.visitors import VISITOR_PLUGINS, VISITORS, VisitorBase

REPO = Path(__file__).parents[2]
DATA = REPO / "tests" / "data"
SPEC: list[dict[str, Any]] = [k for k in json.loads((DATA / "config_keys.json").read_text()) if not k["scope"].startswith("legacy.")]
SCHEMAS = {program: schema_of(program) for program in ROOTS}
GENERATE = runpy.run_path(str(REPO / "docs" / "reference" / "generate.py"))
JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}


def faults(value: Any, rule: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """What is wrong with `value`, by the part of JSON Schema that our schemas use."""
    unknown = set(rule) - {
        *("$schema", "$ref", "type", "const", "enum", "pattern", "minimum", "maximum", "items", "properties", "additionalProperties"),
        *("required", "oneOf", "title", "description", "default", "examples", "definitions"),
    }
    assert unknown == set()
    if "$ref" in rule:
        assert set(rule) == {"$ref"}, "in this draft, what stands beside a reference doesn't count"
        yield from faults(value, root["definitions"][rule["$ref"].removeprefix("#/definitions/")], root, path)
        return
    if "type" in rule:
        is_type = isinstance(value, JSON_TYPES[rule["type"]]) and (rule["type"] != "integer" or not isinstance(value, bool))
        if not is_type:
            yield f"{path}: not {rule['type']}"
            return
    if "const" in rule and value != rule["const"]:
        yield f"{path}: not {rule['const']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{path}: none of {rule['enum']}"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        yield f"{path}: not like {rule['pattern']}"
    if "minimum" in rule and not rule["minimum"] <= value <= rule["maximum"]:
        yield f"{path}: out of range"
    if "oneOf" in rule and sum(not list(faults(value, one, root)) for one in rule["oneOf"]) != 1:
        yield f"{path}: not exactly one of its kinds"
    for i, item in enumerate(value if "items" in rule else ()):
        yield from faults(item, rule["items"], root, f"{path}[{i}]")
    if isinstance(value, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties")
        yield from (f"{path}: no {name}" for name in rule.get("required", ()) if name not in value)
        for name, inner in value.items():
            if name in known:
                yield from faults(inner, known[name], root, f"{path}.{name}")
            elif isinstance(others, dict):
                yield from faults(inner, others, root, f"{path}.{name}")
            elif others is False:
                yield f"{path}: unknown {name}"


def check(program: str, tree: Any) -> list[str]:
    return list(faults(tree, SCHEMAS[program], SCHEMAS[program]))


def flattened(struct: type[Section], prefix: str = "") -> Iterator[tuple[str, Field]]:
    for field in fields_of(struct):
        if field.key is not None:
            yield prefix + field.name, field
        elif not field.kind.endswith("[]"):
            yield from flattened(field.tables[0], f"{prefix}{field.name}.")
        if field.kind == "table[]" and len(field.tables) == 1:
            yield from flattened(field.tables[0], f"{prefix}{field.name}[].")


def scopes() -> dict[str, type[Section]]:
    return {
        **ROOTS,
        **{f"proxy.{kind}": cls for kind, cls in PROXIES.items()},
        **{f"visitor.{kind}": cls for kind, cls in VISITORS.items()},
        **{f"plugin.{kind}": cls for kind, cls in PLUGINS.items()},
        **{f"visitor_plugin.{kind}": cls for kind, cls in VISITOR_PLUGINS.items()},
    }


OWN = {
    "frps": {
        "bandwidthLimitPerClient",
        "maxProxiesPerClient",
        "maxStreamsPerClient",
        "maxUnauthenticated",
        "maxUnauthenticatedPerSource",
        "maxUsersPerClient",
        "sourcePenalties.exempt",
        "sourcePenalties.longest",
        "statistics.keepDays",
        "statistics.keepHours",
        "statistics.path",
        "watchConfig",
    },
    "frpc": {"watchConfig"},
}
"""Keys that frp doesn't have."""


def specified(scope: str) -> dict[str, dict[str, Any]]:
    base = f"{scope.partition('.')[0]}.base"
    return {k["key"]: k for k in SPEC if k["scope"] in (scope, base) and k["key"] != "type"}


@pytest.mark.parametrize("scope", scopes())
def test_keys_types_choices_and_defaults_are_those_of_the_specification(scope: str) -> None:
    known = specified(scope)
    ours = dict(flattened(scopes()[scope]))
    assert OWN.get(scope, set()) <= set(ours)
    ours = {path: field for path, field in ours.items() if path not in OWN.get(scope, ())}
    assert set(ours) == set(known)
    for path, field in ours.items():
        spec, key = known[path], field.key
        assert key is not None
        kind = "bandwidth" if field.is_bandwidth else field.kind
        assert kind == spec["type"].rstrip("?"), path
        assert set(key.choices) == set(spec.get("enum", ())), path
        if path.startswith("healthCheck.") and key.default:
            assert field.default == 0
        elif not key.default and path != "enabled":
            default = field.default
            assert (list(default) if isinstance(default, tuple) else default) == (
                spec["default"] if spec["default"] is not None else {} if kind.startswith("map") else None if kind == "table" else []
            ), path


def test_no_meaning_is_left_over() -> None:
    used = {(cls, field.attribute) for struct in all_structs() for field in fields_of(struct) if field.key for cls in struct.__mro__}
    written = {(cls, attribute) for cls, keys in KEYS.items() for attribute in keys}
    assert {(cls.__name__, attribute) for cls, attribute in written if (cls, attribute) not in used} == set()


def all_structs() -> set[type[Section]]:
    found: set[type[Section]] = set()
    todo = list(ROOTS.values())
    while todo:
        struct = todo.pop()
        if struct not in found:
            found.add(struct)
            todo += [inner for field in fields_of(struct) for inner in field.tables]
    return found


@pytest.mark.parametrize("scope", scopes())
def test_every_example_is_good(scope: str) -> None:
    program = "frps" if scope == "frps" else "frpc"
    struct = scopes()[scope]
    for path, field in flattened(struct):
        assert field.key is not None
        tree = tree_of(path, field.key)
        if scope not in ROOTS:
            kind = scope.partition(".")[2]
            if "plugin" in scope:
                tree = {"plugin": {"type": kind, **tree}}
                kind = "stcp" if "visitor" in scope else "tcp"
            tree = {"proxies" if issubclass(proxy_or_visitor(scope), ProxyBase) else "visitors": [{"name": "x", "type": kind, **tree}]}
        assert check(program, tree) == [], path
        from frp_py.config.decode import Document, decode_client, decode_server

        (decode_server if program == "frps" else decode_client)(Document(tree, "toml", "x"))


def proxy_or_visitor(scope: str) -> type[ProxyBase] | type[VisitorBase]:
    return VisitorBase if scope.startswith("visitor") else ProxyBase


def tree_of(path: str, key: Key) -> dict[str, Any]:
    value: Any = key.example
    for name in reversed(path.split(".")):
        value = {name.removesuffix("[]"): [value] if name.endswith("[]") else value}
    assert isinstance(value, dict)
    return value


READERS: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".yaml": yaml.safe_load, ".json": json.loads}


@pytest.mark.parametrize(
    "path",
    [*(path for path in sorted((DATA / "config_examples").iterdir()) if path.suffix != ".ini"), *sorted((REPO / "conf").glob("*.toml"))],
    ids=lambda path: path.name,
)
def test_files_that_load_are_good(path: Path) -> None:
    text = path.read_text()
    if "{{" in text.replace("{{ .Envs.", "") or "SERVERADDR" in text:
        return  # a template is no TOML, and the schema wants keys spelled as they are
    tree = READERS[path.suffix](re.sub(r'= \{\{[^"]*\}\}', "= 1", text))
    assert check(path.name[:4], {name: value for name, value in tree.items() if not name.startswith(".")}) == []


@pytest.mark.parametrize(
    ("program", "tree", "fault"),
    [
        ("frps", {"bindport": 7000}, ": unknown bindport"),
        ("frps", {"bindPort": "7000"}, ".bindPort: not integer"),
        ("frps", {"bindPort": 70000}, ".bindPort: out of range"),
        ("frps", {"bindPort": True}, ".bindPort: not integer"),
        ("frps", {"log": {"level": "INFO"}}, ".log.level: none of ['trace', 'debug', 'info', 'warn', 'error']"),
        ("frps", {"includes": []}, ": unknown includes"),
        ("frps", {"allowPorts": "1-2"}, ".allowPorts: not array"),
        ("frpc", {"metadatas": {"a": 1}}, ".metadatas.a: not string"),
        ("frpc", {"proxies": [{"name": "a"}]}, ".proxies[0]: not exactly one of its kinds"),
        ("frpc", {"proxies": [{"name": "a", "type": "tcp", "subdomain": "x"}]}, ".proxies[0]: not exactly one of its kinds"),
        ("frpc", {"proxies": [{"name": "a", "type": "tcp", "plugin": {"type": "x"}}]}, ".proxies[0]: not exactly one of its kinds"),
        (
            "frpc",
            {"proxies": [{"name": "a", "type": "tcp", "transport": {"bandwidthLimit": "1GB"}}]},
            ".proxies[0]: not exactly one of its kinds",
        ),
    ],
)
def test_the_schema_sees_mistakes(program: str, tree: Any, fault: str) -> None:
    assert check(program, tree) == [fault]


@pytest.mark.parametrize("path", GENERATE["schemas"]())
def test_the_shipped_schemas_are_up_to_date(path: str) -> None:
    assert Path(path).read_text() == GENERATE["schemas"]()[path], "run `make docs`"
    assert path in map(shipped_schema, ROOTS)


def test_the_reference_is_up_to_date() -> None:
    pages: dict[str, str] = GENERATE["pages"]()
    directory = REPO / "docs" / "reference"
    assert {path.name for path in directory.glob("*.md")} == set(pages)
    for name, text in pages.items():
        assert (directory / name).read_text() == text, "run `make docs`"


def test_every_key_of_the_specification_is_in_the_reference() -> None:
    pages = GENERATE["pages"]()
    where = {"frps": "frps.md", "frpc": "frpc.md", "proxy": "proxies.md", "visitor": "visitors.md", "plugin": "plugins.md"}
    for entry in SPEC:
        page = where[entry["scope"].partition(".")[0].removeprefix("visitor_")]
        assert f"| `{entry['key']}` |" in pages[page], entry


def test_words_for_people() -> None:
    assert plain_text("Ports: see [proxies](proxies.md).") == "Ports."
    for struct in all_structs():
        assert not re.search(r"`[a-z]+_[a-z_]+`|config\.md", purpose_of(struct)), struct
