import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.config.decode import Number
from frp_py.config.json_reader import read_json
from frp_py.errors import ConfigError

ERRORS = [
    ('{"user":"a",}', "invalid character '}' looking for beginning of object key string"),
    ('{"user" "a"}', "invalid character '\"' after object key"),
    ('{"user":"a" "b"}', "invalid character '\"' after object key:value pair"),
    ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
    ("[1 2]", "invalid character '2' after array element"),
    ("[1,]", "invalid character ']' looking for beginning of value"),
    ('{"a": tru}', "invalid character '}' in literal true (expecting 'e')"),
    ('{"a": nul', "unexpected EOF"),
    ('{"a": fxx', "invalid character 'x' in literal false (expecting 'a')"),
    ('{"a": 01}', "invalid character '1' after object key:value pair"),
    ('{"a": -}', "invalid character '}' in numeric literal"),
    ('{"a": 1.}', "invalid character '}' after decimal point in numeric literal"),
    ('{"a": 1e}', "invalid character '}' in exponent of numeric literal"),
    ('{"a": 1e+x}', "invalid character 'x' in exponent of numeric literal"),
    ('{"a": 1.5e3', "unexpected EOF"),
    ('{"a": "b\nc"}', r"invalid character '\n' in string literal"),
    (r'{"a": "\q"}', "invalid character 'q' in string escape code"),
    (r'{"a": "\u12x4"}', "invalid character 'x' in \\u hexadecimal character escape"),
    (r'{"a": "\u1234\n' + "'", "unexpected EOF"),
    ("{", "unexpected EOF"),
    ('{"a', "unexpected EOF"),
    ('{"a": [', "unexpected EOF"),
    ('{"a": NaN}', "invalid character 'N' looking for beginning of value"),
    ('{"a": -Infinity}', "invalid character 'I' in numeric literal"),
    ('{"a": // no\n1}', "invalid character '/' looking for beginning of value"),
    ("", "unexpected EOF"),
    (r'{"a": {"b": [[], {}, "c d\"", -1.5e+3, true]}, "e" 1}', "invalid character '1' after object key"),
    ('{"a": {"b": 1} "c": 2}', "invalid character '\"' after object key:value pair"),
]


@pytest.mark.parametrize(("text", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_errors(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_json(text, "x.json")
    first, _, where = str(caught.value).partition("\n  in ")
    assert first == expected
    assert where.startswith("x.json: line ")


def test_text_after_the_value() -> None:
    assert read_json('{"a": 1} x', "x") == {"a": 1}
    with pytest.raises(ConfigError, match=r"^invalid character 'x' after top-level value"):
        read_json('{"a": 1}\n x', "x", strict=False)
    with pytest.raises(ConfigError, match=r"^unexpected end of JSON input"):
        read_json('{"a": 1', "x", strict=False)
    assert read_json(' {"a": 1} \r\n', "x", strict=False) == {"a": 1}


def test_numbers_that_are_no_integers_keep_their_literal() -> None:
    tree = read_json("[7000.0, 7e3, -1, 12, 1234567890123456789012345]", "x")
    assert [item.literal for item in tree if isinstance(item, Number)] == ["7000.0", "7e3", "1234567890123456789012345"]
    assert tree[2:4] == [-1, 12]


def test_of_duplicate_keys_the_last_wins_and_tables_are_merged() -> None:
    assert read_json('{"a": 1, "b": {"x": 1, "y": 1}, "a": 2, "b": {"x": 2, "z": {"q": 1}}}', "x") == {
        "a": 2,
        "b": {"x": 2, "y": 1, "z": {"q": 1}},
    }


def test_what_is_no_unicode_is_replaced() -> None:
    assert read_json('{"a": "x\udc80y"}', "x") == {"a": "x\ufffdy"}
    assert read_json(r'{"a\ud800": ["\ud800", "\ud83d\ude00", 1]}', "x") == {"a\ufffd": ["\ufffd", "😀", 1]}


def test_nesting_is_bounded() -> None:
    with pytest.raises(ConfigError, match=r"^exceeded max depth"):
        read_json('{"a":' * 100_000, "x")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(plain, st.booleans())
def test_what_is_written_is_read(tree: Any, ascii_only: bool) -> None:
    assert read_json(json.dumps(tree, ensure_ascii=ascii_only), "x", strict=False) == tree


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]",:\\u0123eE+-. \ntruefalsn/'))
def test_hostile_text_gives_a_value_or_a_reason(text: str) -> None:
    try:
        expected = json.loads(text, parse_float=lambda literal: None)
    except ValueError:
        with pytest.raises(ConfigError):
            read_json(text, "x", strict=False)
    else:
        assert type(read_json(text, "x", strict=False)) in (type(expected), Number)
