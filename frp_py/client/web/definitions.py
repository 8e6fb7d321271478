"""Definitions of proxies and visitors, as the API takes and gives them (behaviour.md 11.4)."""

from __future__ import annotations

from typing import Any

from frp_py.config.check import check_proxy, check_visitor
from frp_py.config.client import ClientConfig
from frp_py.config.decode import entry_of, entry_tree, fold
from frp_py.config.json_reader import read_json
from frp_py.config.store import Kept
from frp_py.config.supported import not_yet_supported
from frp_py.config.written import KINDS, as_written, completed
from frp_py.errors import ConfigError
from frp_py.net.web.operations import ApiError

_SOURCE = "the request"


def definition_of(tree: dict[str, Any], kind: str) -> dict[str, Any]:
    """The definition of an entry (`kind` proxy or visitor) that is given as a tree."""
    written = as_written(tree, kind)
    return {"name": written["name"], "type": written["type"], written["type"]: written}


def completed_definition(entry: Any) -> dict[str, Any]:
    """The definition of an entry, with its defaults."""
    written = completed(entry)
    return {"name": written["name"], "type": written["type"], written["type"]: written}


def read_definition(body: bytes, kind: str) -> Kept:
    """The entry that a request defines. Raises ApiError (400)."""
    try:
        tree = read_json(body.decode("utf-8", "surrogateescape"), _SOURCE, strict=False)
    except ConfigError as error:
        raise ApiError(400, f"parse JSON error: {error}") from None
    if not isinstance(tree, dict):
        raise ApiError(400, "parse JSON error: json: the definition is no object")
    told = {fold(key): value for key, value in tree.items()}
    name, entry_type = _text(told, "name"), _text(told, "type")
    blocks = [block for block in KINDS[kind] if told.get(block) is not None]
    if not name:
        raise ApiError(400, f"{kind} name is required")
    if entry_type not in KINDS[kind]:
        raise ApiError(400, f"invalid {kind} type: {entry_type}")
    if len(blocks) != 1:
        raise ApiError(400, f"exactly one {kind} type block is required")
    if blocks[0] != entry_type:
        raise ApiError(400, f'{kind} type block "{blocks[0]}" does not match type "{entry_type}"')
    block = told[entry_type]
    if not isinstance(block, dict):
        raise ApiError(400, f'parse JSON error: json: "{entry_type}" is no object')
    entry = {key: value for key, value in block.items() if fold(key) not in ("name", "type")}
    try:
        kept = entry_tree({"name": name, "type": entry_type, **entry}, kind, entry_type, _SOURCE)
    except ConfigError as error:
        raise ApiError(400, f"parse JSON error: {error}") from None
    made = Kept(kept, entry_of(kept, kind))
    _validate(made.entry, kind)
    return made


def _text(told: dict[str, Any], key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str | None):
        raise ApiError(400, f'parse JSON error: json: "{key}" is no string')
    return value or ""


def _validate(entry: Any, kind: str) -> None:
    """Raises ApiError (400)."""
    finding = check_proxy(entry) if kind == "proxy" else check_visitor(entry)
    if finding is not None:
        raise ApiError(400, f"invalid argument: validation error: {finding.text}")
    config = ClientConfig(proxies=(entry,)) if kind == "proxy" else ClientConfig(visitors=(entry,))
    if refused := not_yet_supported(config):
        raise ApiError(400, f"invalid argument: validation error: {refused[0]}")
