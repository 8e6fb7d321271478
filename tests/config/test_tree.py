"""Random configurations, written in each format, are the same configurations when read."""

import json
import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.config.base import Bandwidth, Section
from frp_py.config.client import ClientConfig
from frp_py.config.decode import decode_client, decode_server
from frp_py.config.formats import parse_text
from frp_py.config.server import ServerConfig
from frp_py.config.toml_writer import to_toml
from frp_py.config.tree import to_dict

from .test_yaml_reader import Quoting

text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"), max_size=6)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 5),
    Bandwidth: st.sampled_from(["", "1MB", "1.5KB", "-2MB"]).map(Bandwidth),
}
WRITERS: dict[str, Callable[[Any], str]] = {
    "toml": to_toml,
    "json": json.dumps,
    "yaml": lambda tree: yaml.dump(tree, Dumper=Quoting, allow_unicode=True),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return SCALARS[args[0]]
    if origin is types.UnionType:
        return st.one_of([st.none() if arg is type(None) else values(arg) for arg in args])
    if origin is tuple:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(text, SCALARS[args[1]], max_size=2)
    return SCALARS[hint] if hint in SCALARS else configurations(hint)


def configurations(kind: type[Section]) -> st.SearchStrategy[Any]:
    fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries({}, optional=fields).map(lambda chosen: kind(**chosen))


@pytest.mark.parametrize("file_format", WRITERS)
@pytest.mark.parametrize(("kind", "decode"), [(ServerConfig, decode_server), (ClientConfig, decode_client)])
def test_any_configuration_survives_any_format(kind: type[Section], decode: Any, file_format: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(configurations(kind))
    def survives(config: Section) -> None:
        written = WRITERS[file_format](to_dict(config))
        assert decode(parse_text(written, f"x.{file_format}")) == config

    survives()


def test_defaults_are_left_out_but_not_what_only_looks_like_one() -> None:
    assert to_dict(ClientConfig()) == {}
    assert to_dict(ServerConfig(bind_addr="192.0.2.1", proxy_bind_addr="0.0.0.0")) == {"bindAddr": "192.0.2.1", "proxyBindAddr": "0.0.0.0"}
