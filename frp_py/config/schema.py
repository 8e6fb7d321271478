"""What the structs of a configuration hold, key by key, and the JSON Schemas that are made of it.

The schemas are shipped as files beside this module, so that editors can complete and check configuration files; this makes them
and docs/reference anew (`make docs`).
"""

import os
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from .base import Bandwidth, Section, file_key
from .client import ClientConfig
from .meanings import Key, meaning_of
from .proxies import ProxyBase
from .server import ServerConfig
from .visitors import VisitorBase, VisitorPluginBase

ROOTS: dict[str, type[Section]] = {"frps": ServerConfig, "frpc": ClientConfig}
_SCALARS: dict[Any, str] = {str: "string", bool: "bool", int: "int", Bandwidth: "string"}
_JSON_TYPES = {"string": "string", "bool": "boolean", "int": "integer"}
_BANDWIDTH = r"^\s*(-?[0-9.]+([eE][-+]?[0-9]+)?(MB|KB))?\s*$"
_DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors know best


class Field(NamedTuple):
    """One key of a table. `kind` is string, bool, int, table, a list of these as `string[]`, or `map<string,string>`."""

    attribute: str
    name: str
    kind: str
    default: Any
    tables: tuple[type[Section], ...]
    """What a table, or each table of a list, may be."""
    key: Key | None
    """None for a table that is no choice among several; the docstring of its struct says what it is for."""
    is_bandwidth: bool


def fields_of(struct: type[Section]) -> Iterator[Field]:
    """The keys of a table, without the `type` that tells structs apart, in the order of the struct."""
    whole = struct()
    for field in msgspec.structs.fields(struct):
        kind, tables, is_bandwidth = _kind(field.type)
        key = (
            None
            if kind == "table" and len(tables) == 1 and not issubclass(tables[0], VisitorPluginBase)
            else meaning_of(struct, field.name)
        )
        default = getattr(whole, field.name)
        yield Field(field.name, field.encode_name, kind, default, tables, key, is_bandwidth)


def _kind(annotation: Any) -> tuple[str, tuple[type[Section], ...], bool]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kind(typing.get_args(annotation)[0])
    if origin is tuple:
        kind, tables, _ = _kind(typing.get_args(annotation)[0])
        return f"{kind}[]", tables, False
    if origin is dict:
        return f"map<string,{_SCALARS[typing.get_args(annotation)[1]]}>", (), False
    if origin in (types.UnionType, typing.Union):
        return "table", tuple(arg for arg in typing.get_args(annotation) if arg is not types.NoneType), False
    if annotation in _SCALARS:
        return _SCALARS[annotation], (), annotation is Bandwidth
    return "table", (annotation,), False


def tag_of(struct: type[Section]) -> str:
    """The `type` that a table must have to be this struct, or nothing."""
    return str(struct.__struct_config__.tag or "")


def purpose_of(struct: type[Section]) -> str:
    """What a table is for, with keys as they are in files."""
    text = " ".join((struct.__doc__ or "").split())
    text = re.sub(r" \(config\.md [^)]*\)", "", text)
    return re.sub(r"`([a-z0-9_]+)`", lambda match: f"`{file_key(match[1])}`", text)


def plain_text(markdown: str) -> str:
    """A meaning as editors show it: without its link."""
    return re.sub(r": see \[[^\]]*\]\([^)]*\)", "", markdown)


def schema_of(program: str) -> dict[str, Any]:
    """The JSON Schema of the configuration of `frps` or `frpc`.

    It is stricter than the programs where they take what nobody means: keys in other capitals, ports that are none.
    """
    definitions: dict[str, Any] = {}
    root = _object(ROOTS[program], definitions)
    description = f"The configuration file of {program}."
    return {"$schema": _DRAFT, "title": program, **root, "description": description, "definitions": dict(sorted(definitions.items()))}


def _object(struct: type[Section], definitions: dict[str, Any]) -> dict[str, Any]:
    tag = tag_of(struct)
    properties: dict[str, Any] = {"type": {"const": tag, "description": f"What kind it is: {tag}."}} if tag else {}
    for field in fields_of(struct):
        properties[field.name] = _property(field, definitions)
    made: dict[str, Any] = {"type": "object", "description": purpose_of(struct), "properties": properties, "additionalProperties": False}
    required = (["name"] if issubclass(struct, ProxyBase | VisitorBase) else []) + (["type"] if tag else [])
    return {**made, "required": required} if required else made


def _reference(struct: type[Section], definitions: dict[str, Any]) -> dict[str, Any]:
    name = struct.__name__
    if name not in definitions:
        definitions[name] = {}  # a place for it, should it be met below itself
        definitions[name] = _object(struct, definitions)
    return {"$ref": f"#/definitions/{name}"}


def _property(field: Field, definitions: dict[str, Any]) -> dict[str, Any]:
    base, is_list = field.kind.removesuffix("[]"), field.kind.endswith("[]")
    key = field.key
    value: dict[str, Any]
    if base == "table":
        references = [_reference(struct, definitions) for struct in field.tables]
        value = references[0] if len(references) == 1 and (is_list or key is None) else {"oneOf": references}
        if is_list:
            value = {"type": "array", "items": value}
    elif base.startswith("map<"):
        value = {"type": "object", "additionalProperties": {"type": _JSON_TYPES[base[11:-1]]}}
    else:
        value = {"type": _JSON_TYPES[base]}
        if field.is_bandwidth:
            value["pattern"] = _BANDWIDTH
        if key and key.choices:
            value["enum"] = [*key.choices]
        if key and key.lowest is not None:
            value["minimum"], value["maximum"] = key.lowest, key.highest
        if is_list:
            value = {"type": "array", "items": value}
    if key is None:
        return value
    value = {"description": plain_text(key.meaning), **value}
    if base != "table":
        if not key.default and field.default not in ("", (), {}):
            value["default"] = _plain(field.default)
        value["examples"] = [key.example]
    return value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def shipped_schema(program: str) -> str:
    """The path of the schema's file for `frps` or `frpc`."""
    return os.path.join(os.path.dirname(__file__), f"{program}.schema.json")
