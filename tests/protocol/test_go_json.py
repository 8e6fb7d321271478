import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from frp_py.errors import PeerError
from frp_py.protocol.go_json import decode, encode
from frp_py.protocol.messages import (
    Login,
    NatHoleResp,
    NewProxy,
    NewProxyResp,
    NewWorkConn,
    Ping,
    PortsRange,
    StartWorkConn,
    UDPAddress,
    UDPPacket,
)


def test_the_signs_that_html_knows_are_escaped() -> None:
    assert encode(Ping("<&>\u2028\u2029\u2027é")) == '{"privilege_key":"\\u003c\\u0026\\u003e\\u2028\\u2029\u2027é"}'.encode()


def test_map_keys_are_sorted_and_fields_are_not() -> None:
    assert encode(NewProxy("z", headers={"b": "1", "a": "2"})) == b'{"proxy_name":"z","headers":{"a":"2","b":"1"}}'


def test_text_that_is_no_utf8_is_replaced_when_written() -> None:
    login = Login(hostname="a\udcff", metas={"\udc80": "x"}, features=("\ud800",))
    replaced = {"hostname": "a\ufffd", "metas": {"\ufffd": "x"}, "client_spec": {}, "features": ["\ufffd"]}
    assert json.loads(encode(login)) == replaced
    assert list(json.loads(encode(login))) == list(replaced)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{}", Login()),
        (b' {"user" : "a"}\r\n\t ', Login(user="a")),
        (b'{"USER":"a","Run_Id":"r"}', Login(user="a", run_id="r")),
        ('{"o\u017f":"a","\u212aey":1}'.encode(), Login(os="a")),
        (b'{"User":"a","user":"b"}', Login(user="b")),
        (b'{"user":"b","User":"a"}', Login(user="a")),
        (b'{"user":"a","user":"b"}', Login(user="b")),
        (b'{"user":"a","USER":null}', Login()),
        (b'{"bogus":{"deep":[1.5,null,{}]},"user":"a"}', Login(user="a")),
        (b'{"user":null,"timestamp":null,"metas":null,"client_spec":null,"features":null}', Login()),
        (b'{"metas":{"a":null,"A":"x"},"Features":["p",null]}', Login(metas={"a": "", "A": "x"}, features=("p", ""))),
        (b'{"user":"\xff\xc3"}', Login(user="\ufffd\ufffd")),
        (b'{"user":"\\ud800x"}', Login(user="\ufffdx")),
        (b'{"user":"\\ud83d\\ude00\\ud83d","x":1}', Login(user="\U0001f600\ufffd")),
        (b'{"client_spec":{"Type":"ssh","x":0}}', structs.replace(Login(), client_spec=structs.replace(Login().client_spec, type="ssh"))),
        (b'{"timestamp":-9223372036854775808}', Login(timestamp=-(2**63))),
        (b'{"timestamp":9223372036854775807,"x":1}', Login(timestamp=2**63 - 1)),
        (b'{"x":1e400,"user":"a"}', Login(user="a")),
    ],
)
def test_what_go_takes_is_taken(text: bytes, message: Login) -> None:
    assert decode(Login, text) == message


def test_nested_structs_are_taken_leniently() -> None:
    text = b'{"DETECT_behavior":{"Mode":1,"x":2,"candidate_ports":[null,{"From":3,"TO":4}]}}'
    behavior = decode(NatHoleResp, text).detect_behavior
    assert (behavior.mode, behavior.candidate_ports) == (1, (PortsRange(), PortsRange(3, 4)))


def test_an_optional_struct_is_taken_leniently() -> None:
    packet = decode(UDPPacket, b'{"C":"aGk=","l":null,"R":{"ip":"::1","PORT":5,"Zone":null}}')
    assert packet == UDPPacket(b"hi", None, UDPAddress("::1", 5, ""))


@pytest.mark.parametrize("unknown", ["", '"bogus":0,'])  # both ways of reading
@pytest.mark.parametrize(
    "fields",
    [
        '"timestamp":1.0',
        '"timestamp":1e3',
        '"timestamp":"1"',
        '"timestamp":true',
        '"timestamp":01',
        '"timestamp":9223372036854775808',
        '"timestamp":-9223372036854775809',
        '"timestamp":' + "9" * 5000,
        '"timestamp":NaN',
        '"timestamp":-Infinity',
        '"user":1',
        '"user":["a"]',
        '"user":{}',
        '"user":"a\nb"',
        '"metas":[]',
        '"metas":{"a":1}',
        '"client_spec":[]',
        '"client_spec":"x"',
        '"features":{}',
        '"features":"x"',
        '"features":[1]',
        '"user":"a",',
        '"user"',
        "'user':'a'",
    ],
)
def test_what_go_refuses_is_refused(fields: str, unknown: str) -> None:
    with pytest.raises(PeerError, match=r"Login message is not valid: "):
        decode(Login, f"{{{unknown}{fields}}}".encode())


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b'"x"', b"1", b"{", b"{} {}", b"{}x", b"{}\x00", b"\xef\xbb\xbf{}", b"[" * 10000, b'{"x":' * 2000]
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(PeerError):
        decode(Ping, text)


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_is_within_its_range(port: int) -> None:
    with pytest.raises(PeerError, match="src_port"):
        decode(StartWorkConn, b'{"src_port":%d}' % port)


@pytest.mark.parametrize("content", ["aGk", "aGk==", "a-_=", "a", "aGk=aGk="])
def test_bytes_are_base64_with_padding(content: str) -> None:
    with pytest.raises(PeerError, match="base64"):
        decode(UDPPacket, f'{{"c":"{content}"}}'.encode())


@given(st.binary(max_size=80) | st.text(alphabet='{}[]":,\\u0d8abnulx1.e-', max_size=60).map(str.encode))
@settings(max_examples=300)
def test_garbage_is_refused_or_decoded(text: bytes) -> None:
    for cls in (Login, UDPPacket, NatHoleResp):
        try:
            encode(decode(cls, text))
        except PeerError:
            pass


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=12).filter(lambda key: not key.isascii()), VALUES
)
@settings(max_examples=150)
def test_an_unknown_key_changes_nothing(user: str, timestamp: int, key: str, value: Any) -> None:
    plain = {"privilege_key": user, "timestamp": timestamp}
    if key.lower().replace("\u017f", "s") not in ("privilege_key", "timestamp", "run_id"):
        assert decode(NewWorkConn, json.dumps({**plain, key: value}).encode()) == NewWorkConn("", user, timestamp)


@given(st.builds(NewProxyResp, *[st.text(st.characters(categories=["Cs", "L", "N", "P", "Zl", "Zp"]), max_size=10)] * 3))
@settings(max_examples=150)
def test_any_text_is_written_as_valid_json(message: NewProxyResp) -> None:
    text = encode(message)
    assert not {b"<", b">", b"&"} & {text[i : i + 1] for i in range(len(text))}
    assert encode(decode(NewProxyResp, text)) == text
