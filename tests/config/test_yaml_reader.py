import contextlib
import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.config.yaml_reader import plain_scalar, read_yaml
from frp_py.errors import ConfigError

SCALARS: list[tuple[str, Any]] = [
    *[(word, True) for word in ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"]],
    *[(word, False) for word in ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"]],
    *[(word, None) for word in ("~", "null", "Null", "NULL")],
    *[
        (word, word)
        for word in ("tRUE", "yEs", "nULL", "x", "=", "1:30", "2001-01-02", "2001-01-02T03:04:05Z", "1.2.3", "0x", "1e", "+", "_1")
    ],
    *[("010", 8), ("0o10", 8), ("0x1f", 31), ("1_000", 1000), ("0b101", 5), ("-0x10", -16), ("+5", 5), ("0", 0), ("-0", 0), ("08", 8.0)],
    *[("9" * 19, 10**19 - 1), ("9" * 30, 1e30), ("0x" + "f" * 30, "0x" + "f" * 30), ("1" + "0" * 5000, "1" + "0" * 5000)],
    *[("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1.5e-3", -0.0015), (".inf", math.inf), ("-.INF", -math.inf)],
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_scalars(text: str, value: Any) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)
    assert read_yaml(f"a: {text}\n", "x") == {"a": value}
    assert read_yaml(f"a: '{text}'\nb: \"{text}\"\nc: !!str {text}", "x") == {"a": text, "b": text, "c": text}


def test_tags() -> None:
    assert read_yaml("a: !!str 123\nb: !!int '12'\nc: !!float 1\nd: !!bool 'yes'\ne: !!null ''\nf: !own x\ng: ! 12", "x") == {
        "a": "123",
        "b": 12,
        "c": 1.0,
        "d": True,
        "e": None,
        "f": "x",
        "g": "12",
    }
    assert read_yaml("a: !!binary aGk=\nb: !!timestamp 2001-01-01", "x") == {"a": "hi", "b": "2001-01-01"}
    for bad in ("a: !!int x", "a: !!bool 1", "a: !!binary a", "a: !!float x"):
        with pytest.raises(ConfigError):
            read_yaml(bad, "x")


def test_a_number_of_any_length_is_read() -> None:
    for digits in ("9" * 5000, "0x" + "f" * 5000, "0b" + "1" * 20000):
        assert read_yaml(f"? {digits}\n: {digits}", "f") == {digits: digits}
        with pytest.raises(ConfigError, match="cannot decode"):
            read_yaml(f"!!float {digits}", "f")


def test_many_empty_lines_take_no_time() -> None:
    began = time.monotonic()
    assert read_yaml("# a note\n" + "\n" * 100_000 + "a: 1", "f") == {"a": 1}
    assert read_yaml("# a note\n" * 20_000 + " \n" * 20_000, "f") is None
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("head", ["%YAML 1.1\n---\n", "# a note\n\n%YAML   1.1\n---\n", "\n  \n%YAML  1.1 # a note\n---\n"])
def test_version_1_1_may_be_named(head: str) -> None:
    assert read_yaml(head + "a: 1", "f") == {"a": 1}


def test_anchors_and_merge_keys() -> None:
    assert read_yaml("a: &a {x: 1, z: 2}\nb: {<<: *a, z: 3}\nc: {z: 4, <<: [*a, {q: 1, x: 9}]}\nd: &s text\ne: *s", "x") == {
        "a": {"x": 1, "z": 2},
        "b": {"x": 1, "z": 3},
        "c": {"z": 4, "x": 1, "q": 1},
        "d": "text",
        "e": "text",
    }
    assert read_yaml("a: &a 1\nb: &a 2\nc: *a", "x") == {"a": 1, "b": 2, "c": 2}
    assert read_yaml("'<<': 1", "x") == {"<<": 1}


def test_keys_become_text_and_the_last_duplicate_wins() -> None:
    assert read_yaml("1: a\ntrue: b\n1.5: c\n0x10: d\nx: 1\nx: 2", "x") == {"1": "a", "true": "b", "1.5": "c", "16": "d", "x": 2}


def test_documents() -> None:
    for empty in ("", "---", "# only a comment\n", "~", "\ufeff"):
        assert read_yaml(empty, "x") is None
    assert read_yaml("a: 1\n---\n{{{ never read", "x") == {"a": 1}
    assert read_yaml("\ufeffa: 1\r\nb: 2\r\n", "x") == {"a": 1, "b": 2}
    assert read_yaml("%YAML 1.1\n---\na: 1", "x") == {"a": 1}


ERRORS = [
    ("a: b: c", "yaml: mapping values are not allowed in this context"),
    ("\na: b: c", "yaml: line 2: mapping values are not allowed in this context"),
    ("a: 1\n b: 2", "yaml: line 2: mapping values are not allowed in this context"),
    ("\na: %x", "yaml: line 2: found character that cannot start any token"),
    ("a:\n  - b\n  c: d", "yaml: line 2: did not find expected '-' indicator"),
    ("%YAML 1.2\n---\na: 1", "yaml: found incompatible YAML document"),
    ("a: *no", "yaml: unknown anchor 'no' referenced"),
    ("a: &a [*a]", "yaml: anchor 'a' value contains itself"),
    ("<<: 5", "yaml: map merge requires map or sequence of maps as the value"),
    ("? [a]\n: b", "Unsupported map key of type: slice"),
    ("? {a: b}\n: b", "Unsupported map key of type: map"),
    ("~: b", "Unsupported map key of type: <nil>"),
    ("a: \x01", "yaml: control characters are not allowed"),
    ("a: \udc80", "yaml: control characters are not allowed"),
    ("[" * 100_000, "yaml: exceeded max depth"),
    (
        "a: &a "
        + str(list(range(200)))
        + "".join(f"\n{c}: &{c} [{', '.join(f'*{p}' for _ in range(200))}]" for p, c in ("ab", "bc", "cd")),
        None,
    ),
]


@pytest.mark.parametrize(("text", "expected"), ERRORS, ids=range(len(ERRORS)))
def test_errors(text: str, expected: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "x.yaml")
    first, _, where = str(caught.value).partition("\n  in ")
    assert first == "error converting YAML to JSON: " + (expected or "yaml: document contains excessive aliasing")
    assert where.startswith("x.yaml: ")


def test_the_second_line_says_where() -> None:
    for broken, where in (
        ("b: 1\na: *no", "line 2, column 4"),
        ("a: b: c", "line 1, column 5: mapping values"),
        ("a: 1\n\nb: %x", "line 3, column 4: found"),
    ):
        with pytest.raises(ConfigError, match=f"\n  in x.yaml: {where}"):
            read_yaml(broken, "x.yaml")


text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)


class Quoting(yaml.SafeDumper):
    """Quotes every string, since `y` and others mean more here than to PyYAML."""


Quoting.add_representer(str, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"'))


@settings(max_examples=60, deadline=None)
@given(plain, st.booleans())
def test_what_is_written_is_read(tree: Any, flow: bool) -> None:
    assert read_yaml(yaml.dump(tree, Dumper=Quoting, default_flow_style=flow, allow_unicode=True), "x") == tree


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@#? \n\t0.,<~"))
def test_hostile_text_gives_a_value_or_a_reason(text: str) -> None:
    with contextlib.suppress(ConfigError):
        read_yaml(text, "x")
