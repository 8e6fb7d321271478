"""Writes the pages of this directory and the JSON Schemas in frp_py/config, from what frp_py/config says of its keys: `make docs`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from frp_py.config.base import Bandwidth, Section
from frp_py.config.plugins import PLUGINS, PluginBase
from frp_py.config.proxies import PROXIES, ProxyBase
from frp_py.config.schema import ROOTS, Field, fields_of, purpose_of, schema_of, shipped_schema
from frp_py.config.toml_writer import to_toml
from frp_py.config.visitors import VISITOR_PLUGINS, VISITORS, VisitorBase

_HEAD = "| key | type | default | meaning | example |\n|---|---|---|---|---|\n"
_NOTE = "\nMade by `make docs` from frp_py/config/meanings.py; don't edit it.\n"


def value_as_toml(value: Any) -> str:
    """A value as it stands behind the equals sign, on one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"[{', '.join(map(value_as_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {value_as_toml(inner)}' for name, inner in value.items())} }}"
    return to_toml({"x": value}).removeprefix("x = ").strip()


def default_of(field: Field) -> str:
    """The default in words."""
    assert field.key is not None
    if field.key.default:
        return field.key.default
    value = field.default.text if isinstance(field.default, Bandwidth) else field.default
    return "" if value in ("", (), {}, None) else f"`{value_as_toml(value)}`"


def rows(fields: Iterable[Field], prefix: str = "") -> Iterator[str]:
    """A line for each key; tables that need no page of their own are gone into."""
    for field in fields:
        path = prefix + field.name
        key = field.key
        if key is not None:
            choices = f" One of {', '.join(f'`{value_as_toml(choice)}`' for choice in key.choices)}." if key.choices else ""
            if field.kind == "string[]" and choices:
                choices = choices.replace("One of", "Any of", 1)
            kind = "rate" if field.is_bandwidth else field.kind.replace("<", "&lt;").replace(">", "&gt;")
            example = f"`{value_as_toml(key.example)}`".replace("|", "\\|")
            yield f"| `{path}` | {kind} | {default_of(field)} | {key.meaning}{choices} | {example} |\n"
        inner = field.tables[0] if len(field.tables) == 1 else None
        if inner is not None and not issubclass(inner, PluginBase | ProxyBase | VisitorBase) and not inner.__struct_config__.tag:
            yield from rows(fields_of(inner), f"{path}[]." if field.kind.endswith("[]") else f"{path}.")


def table(fields: Iterable[Field]) -> str:
    """The keys of one struct."""
    lines = "".join(rows(fields))
    return f"{_HEAD}{lines}" if lines else "No further keys.\n"


def own_fields(struct: type[Section], base: type[Section]) -> list[Field]:
    """The keys that a kind has and its base has not."""
    common = {field.name for field in fields_of(base)}
    return [field for field in fields_of(struct) if field.name not in common]


def program_page(program: str, title: str) -> str:
    """All keys of one program's file: first the plain ones, then table by table."""
    fields = list(fields_of(ROOTS[program]))
    plain = [field for field in fields if field.key is not None]
    text = f"# {title}\n{_NOTE}\n{table(plain)}"
    for field in fields:
        if field.key is None:
            struct = field.tables[0]
            text += f"\n## {field.name}\n\n{purpose_of(struct)}\n\n{_HEAD}{''.join(rows(fields_of(struct), f'{field.name}.'))}"
    return text


def kinds_page(title: str, words: str, base: type[Section], kinds: Mapping[str, type[Section]]) -> str:
    """The keys that all kinds have, and those of each."""
    chosen = ", ".join(f"`{value_as_toml(kind)}`" for kind in kinds)
    of_type = f"| `type` | string |  | What kind it is. Must be given. One of {chosen}. | `{value_as_toml(next(iter(kinds)))}` |\n"
    text = f"# {title}\n{_NOTE}\n{words}\n\n## Every type\n\n{_HEAD}{of_type}{''.join(rows(fields_of(base)))}"
    for kind, struct in kinds.items():
        text += f"\n## {kind}\n\n{purpose_of(struct)}\n\n{table(own_fields(struct, base))}"
    return text


def pages() -> dict[str, str]:
    """The pages by their file names."""
    proxy_words = "A client's file has a table `[[proxies]]` for each service that it makes reachable."
    visitor_words = "A client's file has a table `[[visitors]]` for each secret proxy of another client that it wants to reach."
    plugin_words = "The table `plugin` of a proxy puts a plugin in the place of the local service."
    plugins = kinds_page("Plugins", plugin_words, PluginBase, PLUGINS)
    for kind, struct in VISITOR_PLUGINS.items():
        plugins += f"\n## {kind}, of a visitor\n\n{purpose_of(struct)}\n\n{table(fields_of(struct))}"
    return {
        "frps.md": program_page("frps", "The configuration of frps"),
        "frpc.md": program_page("frpc", "The configuration of frpc"),
        "proxies.md": kinds_page("Proxies", proxy_words, ProxyBase, PROXIES),
        "visitors.md": kinds_page("Visitors", visitor_words, VisitorBase, VISITORS),
        "plugins.md": plugins,
    }


def schemas() -> dict[str, str]:
    """The texts of the schemas by their paths."""
    return {shipped_schema(program): json.dumps(schema_of(program), indent=1) + "\n" for program in ROOTS}


def main() -> None:
    """Write everything."""
    for name, text in pages().items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
    for path, text in schemas().items():
        Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
