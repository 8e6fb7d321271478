"""Configuration files, the store, and what the web API is given for them: all ends in a configuration or in the one error for it."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

import msgspec
import yaml

from frp_py.client.web.definitions import completed_definition, definition_of, read_definition
from frp_py.config.check import check_client, check_proxy, check_server, check_visitor
from frp_py.config.decode import Number, decode_client, decode_server
from frp_py.config.formats import decoded, parse_text, render
from frp_py.config.gotext import go_float, quote
from frp_py.config.json_reader import read_json
from frp_py.config.legacy_client import read_client
from frp_py.config.legacy_ini import Ini, IniError, is_legacy
from frp_py.config.legacy_server import read_server
from frp_py.config.store import read_store
from frp_py.config.template import render as render_template
from frp_py.config.toml_writer import to_toml
from frp_py.config.written import as_written
from frp_py.config.yaml_reader import plain_scalar, read_yaml
from frp_py.errors import ConfigError
from frp_py.net.web.operations import ApiError

_ENVIRON = {"HOME": "/home/frp", "PORTS": "6000-6005,7000", "EMPTY": ""}
_EXTENSIONS = ("", ".toml", ".yaml", ".json")
_LONGEST_TEXT = 64 << 20  # characters of a rendered template
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files cost least."""


def config(data: bytes) -> None:
    """The first byte chooses the program and the file's name. Written as TOML, what was understood means the same."""
    choice, text = data[:1] or b"\0", decoded(data[1:])
    decode: Any = decode_client if choice[0] & 1 else decode_server
    try:
        document = parse_text(render(text, "f", _ENVIRON), "f" + _EXTENSIONS[choice[0] >> 1 & 3], strict=True)
        found = decode(document)
    except ConfigError:
        return
    assert decode(document, strict=False) == found
    if choice[0] & 1:
        check_client(found, ())
        for proxy in found.proxies:
            check_proxy(proxy)
        for visitor in found.visitors:
            check_visitor(visitor)
    else:
        check_server(found, ())
    if isinstance(document.tree, dict):
        again = parse_text(to_toml(document.tree), "f.toml").tree
        assert decode(document._replace(tree=again)) == found


def _plain(value: Any) -> Any:
    """Numbers that are no integers, or such as don't fit into 64 bits, as floats."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Number):
        return float(value.literal)
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**64 else value


def _has_twins(data: bytes) -> bool:
    """Whether an object has a key twice: then others keep the last value, and we merge them."""
    twins = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twins
        twins |= len({key for key, _ in pairs}) < len(pairs)

    json.loads(data, object_pairs_hook=look)
    return twins


def config_json(data: bytes) -> None:
    """What msgspec takes, we take, and find the same; so does our reader of YAML, of which JSON is a part, and TOML's of a translation."""
    text = decoded(data)
    try:
        value = _plain(read_json(text, "f", strict=False))
    except ConfigError:
        value = ConfigError
    try:
        expected = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        assert value is not ConfigError, "we refuse what others take"
        assert _has_twins(data) or value == _plain(expected)
    if value is ConfigError or "Infinity" in (written := json.dumps(value, ensure_ascii=False)):
        return
    try:
        assert read_yaml(written, "f") == value
    except ConfigError:
        pass  # longer keys and other characters than YAML allows
    if isinstance(value, dict) and "null" not in written:
        assert parse_text(to_toml(value), "f.toml").tree == value


def _key(node: Any) -> str:
    """What Go makes of a key: some that are written differently are the same."""
    value = node.value if node.style else plain_scalar(node.value)
    if isinstance(value, bool):
        return str(value).lower()
    return go_float(value) if isinstance(value, float) else str(value)


def _same_shape(ours: Any, theirs: yaml.Node) -> bool:
    """Scalars are not compared, as ours are Go's; their keys are."""
    if isinstance(theirs, yaml.MappingNode):
        values = {_key(key): value for key, value in theirs.value}
        return isinstance(ours, dict) and ours.keys() == values.keys() and all(_same_shape(ours[key], values[key]) for key in values)
    if isinstance(theirs, yaml.SequenceNode):
        return isinstance(ours, list) and len(ours) == len(theirs.value) and all(map(_same_shape, ours, theirs.value))
    return not isinstance(ours, dict | list)


def config_yaml(data: bytes) -> None:
    """Lists and mappings are where PyYAML finds them, and no key is missing."""
    text = decoded(data)
    try:
        ours = read_yaml(text, "f")
    except ConfigError:
        return
    if "<<" in text or "!" in text or max(text.count(mark) for mark in "[{-:?") > 100:
        return  # merges; tags, which say what a key means; and PyYAML's own recursion
    try:
        theirs = next(yaml.compose_all(text, yaml.CBaseLoader), None)
    except yaml.YAMLError:
        return
    assert ours is None if theirs is None else _same_shape(ours, theirs)


def config_ini(data: bytes) -> None:
    """Both programs; a text that passes for INI has the same sections for them."""
    if b"includes" in data:
        return  # would be read
    for read in (read_client, read_server):
        try:
            read(data, "f.ini", _ENVIRON)
        except ConfigError:
            pass
    text = decoded(data)
    try:
        strict = Ini(text, strict=True)
    except IniError:
        assert not is_legacy(data)
        return
    assert Ini(text).sections == strict.sections
    assert is_legacy(data) is ("common" in strict.sections)


def template(data: bytes) -> None:
    """What is no template stays as it is, and what is quoted comes out as it went in."""
    text = decoded(data)
    if "{{" not in text:
        assert render(text, "f", _ENVIRON) == text
        assert render_template("{{" + quote(text) + "}}", _ENVIRON) == text
    try:
        rendered = render_template(text, _ENVIRON)
    except ConfigError:
        return
    assert len(rendered) <= _LONGEST_TEXT
    assert render_template(text, _ENVIRON) == rendered


def store(data: bytes) -> None:
    """What was read is the same when it is written and read again."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_MEMORY) as directory:
        path = os.path.join(directory, "store.json")

        def read(content: bytes) -> Any:
            with open(path, "wb") as file:
                file.write(content)
            return read_store(path)

        try:
            found = read(data)
        except ConfigError:
            return
        tree = {
            key: [as_written(kept.tree, kind) for kept in entries]
            for key, kind, entries in (("proxies", "proxy", found.proxies), ("visitors", "visitor", found.visitors))
        }
        again = read(json.dumps(tree).encode())
    for before, after in zip(found, again, strict=True):
        assert [kept.entry for kept in before] == [kept.entry for kept in after]


def definition(data: bytes) -> None:
    """The first byte chooses the kind. A definition, as we give it and with its defaults, defines the same."""
    kind = "visitor" if data[:1] > b"\x7f" else "proxy"
    try:
        kept = read_definition(data[1:], kind)
    except ApiError:
        return
    assert kept.entry.name
    completed = completed_definition(kept.entry)
    for told in (definition_of(kept.tree, kind), completed):
        again = read_definition(json.dumps(told).encode(), kind)
        assert completed_definition(again.entry) == completed
