import types
from typing import Any, Union, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import NODEFAULT, Struct, structs

from frp_py.protocol import messages
from frp_py.protocol.messages import (
    OF_TYPE_BYTE,
    OF_TYPE_ID,
    TYPE_BYTE,
    TYPE_ID,
    ClientSpec,
    DetectBehavior,
    Login,
    LoginResp,
    Message,
    NatHoleResp,
    UDPAddress,
    UDPPacket,
    decode,
    encode,
)
from tests.protocol.helpers import VECTORS


@pytest.mark.parametrize("vector", VECTORS["v1_messages"], ids=lambda vector: f"{vector['name']}-{vector['case']}")
def test_vectors(vector: dict[str, str]) -> None:
    cls = getattr(messages, vector["name"])
    assert TYPE_BYTE[cls] == ord(vector["type_byte"])
    text = vector["body_json"].encode()
    assert encode(decode(cls, text)) == text


def test_the_vectors_and_the_tables_have_all_messages() -> None:
    names = {vector["name"] for vector in VECTORS["v1_messages"]}
    assert names == {cls.__name__ for cls in TYPE_BYTE} == {cls.__name__ for cls in TYPE_ID}
    assert len(names) == len(OF_TYPE_BYTE) == len(OF_TYPE_ID) == 18
    assert {vector["name"]: vector["type_id"] for vector in VECTORS["v2_messages"]} == {
        cls.__name__: number for cls, number in TYPE_ID.items()
    }


@pytest.mark.parametrize("cls", TYPE_BYTE)
def test_an_empty_message_has_only_its_structs(cls: type[Message]) -> None:
    assert encode(cls()) == {Login: b'{"client_spec":{}}', NatHoleResp: b'{"detect_behavior":{}}'}.get(cls, b"{}")
    assert decode(cls, b"{}") == cls()


def test_features_come_last_and_only_when_there_are_any() -> None:
    assert encode(Login(pool_count=1, features=("a", "b"))) == b'{"client_spec":{},"pool_count":1,"features":["a","b"]}'
    assert encode(LoginResp(error="x", features=("a",))) == b'{"error":"x","features":["a"]}'
    assert b"features" not in encode(LoginResp(run_id="x"))


def test_a_decoded_empty_value_is_left_out_too() -> None:
    text = b'{"version":"","timestamp":0,"metas":{},"client_spec":{"type":"","always_auth_pass":false},"pool_count":0,"features":[]}'
    assert encode(decode(Login, text)) == b'{"client_spec":{}}'
    assert encode(decode(UDPPacket, b'{"c":""}')) == b"{}"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", UDPAddress("192.0.2.7", 9)),
        ("2001:db8::1", UDPAddress("2001:db8::1", 9)),
        ("::ffff:192.0.2.7", UDPAddress("192.0.2.7", 9)),
        ("fe80::1%eth0", UDPAddress("fe80::1", 9, "eth0")),
    ],
)
def test_address_of_a_socket(host: str, address: UDPAddress) -> None:
    assert UDPAddress.of(host, 9) == address


def _values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if metadata := getattr(kind, "__metadata__", None):
        return st.integers(metadata[0].ge, metadata[0].le)
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of([_values(choice) for choice in get_args(kind)])
    if get_origin(kind) is tuple:
        return st.lists(_values(get_args(kind)[0]), max_size=3).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return instances(kind)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=8),
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return plain[kind]


def instances(cls: type[Struct]) -> st.SearchStrategy[Any]:
    """Structs with random fields."""
    return st.builds(cls, **{field.name: _values(field.type) for field in structs.fields(cls)})


MESSAGES: st.SearchStrategy[Message] = st.one_of([instances(cls) for cls in TYPE_BYTE])


@given(MESSAGES)
@settings(max_examples=200)
def test_round_trip(message: Message) -> None:
    assert decode(type(message), encode(message)) == message


def test_every_field_may_be_absent() -> None:
    classes: list[type[Struct]] = [*TYPE_BYTE, ClientSpec, DetectBehavior, UDPAddress]
    for cls in classes:
        for field in structs.fields(cls):
            assert (field.default, field.default_factory) != (NODEFAULT, NODEFAULT), (cls, field.name)
