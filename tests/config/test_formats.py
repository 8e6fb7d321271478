import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.config.decode import decode_client
from frp_py.config.formats import parse, parse_text
from frp_py.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("x.toml", "a = 1", "toml"),
        ("x.yaml", "a = 1", "toml"),
        ("x.JSON", "a = 1", "toml"),
        ("x", "a = 1", "toml"),
        ("x.yml", "a: 1", "yaml"),
        ("x.json", "a: 1", "yaml"),
        ("x", "a: 1", "yaml"),
        ("x.json", '{"a": 1}', "json"),
        ("x.yaml", ' \n{"a": 1}', "json"),
        ("x", '{"a": 1}', "json"),
        ("x.json", '\ufeff{"a": 1}', "yaml"),
        ("x.toml", "  a = 1\r\n\t[b]\r\n", "toml"),
        ("x", "", "toml"),
    ],
)
def test_the_content_decides(name: str, text: str, expected: str) -> None:
    document = parse_text(text, name)
    assert document.format == expected
    assert "a" in document.tree or not text


TOML_ERRORS = [
    ("serverAddr: x\n", "line 1, column 11: toml: expected character ="),
    ("[[proxies]\n", "line 1, column 11: toml: expected character ]"),
    ("\n[log\n", "line 2, column 5: toml: expected character ]"),
    ("a = abc\n", "line 1, column 5: toml: incomplete number"),
    ("a = [1, abc]\n", "line 1, column 9: toml: incomplete number"),
    ('a = "x\n', "line 1, column 7: toml: basic strings cannot have new lines"),
    ("{a\n", "line 1, column 1: toml: invalid character at start of key: {"),
    ("a = [1 2]\n", "line 1, column 8: toml: array elements must be separated by commas"),
    ("\ufeffa = 1", "line 1, column 1: toml: invalid character at start of key: \ufeff"),
    ("a = 1\nb = 2 3\n", "line 2, column 7: toml: expected newline or end of document after a statement"),
    ("a = '\udc80'", "line 1, column 6: toml: invalid UTF-8"),
]


@pytest.mark.parametrize(("text", "expected"), TOML_ERRORS, ids=range(len(TOML_ERRORS)))
def test_toml_errors_have_a_place(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, "a.TOML")
    first, _, where = str(caught.value).partition("\n  in ")
    assert first == "toml: " + expected
    assert where.startswith("a.TOML: " + expected.partition(": ")[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('user = "a"\nuser = "b"\n', "toml: key user is already defined"),
        ("[log]\n[log]\n", "toml: table log already exists"),
        ('log.level = "x"\n[log]\n', "toml: table log already exists"),
        ("a = 1\na.b = 2\n", "toml: key b is already defined"),
        ("a = {x = 1, x = 2}", "toml: key x is already defined"),
        ('[a]\n[b."c"]\n[b."c"]', "toml: table c already exists"),
        ("[a]\nb = 1\n[a.b]\n", "toml: table b already exists"),
    ],
)
def test_toml_duplicates_have_no_place_in_the_text(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, "x.toml")
    first, _, where = str(caught.value).partition("\n  in ")
    assert first == expected
    assert where.startswith("x.toml: line ")


def test_templates_are_rendered_first_and_only_when_there_are_any() -> None:
    assert parse(b'a = "{{ .Envs.X }}"', "x.toml", {"X": "y"}).tree == {"a": "y"}
    assert parse(b"a = 1 # }}", "x.toml", {}).tree == {"a": 1}
    with pytest.raises(ConfigError, match=r"^template: frp:1: unclosed action\n  in x\.toml: line 1$"):
        parse(b"# {{", "x.toml", {})


@pytest.mark.parametrize("depth", [600, 100_000])
@pytest.mark.parametrize(
    ("name", "start", "nested", "end"),
    [
        ("x.toml", "a=", "[", "]"),
        ("x.toml", "[a", ".a", ""),
        ("x.json", "", '{"a":', "}"),
        ("x.yaml", "", "[", "]"),
        ("x.yaml", "", "- ", ""),
    ],
)
def test_deep_nesting_is_an_error(name: str, start: str, nested: str, end: str, depth: int) -> None:
    for closing in ("", end):
        with pytest.raises(ConfigError):
            decode_client(parse_text(start + nested * depth + closing * depth, name))


@pytest.mark.parametrize("name", ["x", "x.toml", "x.yaml"])
def test_a_number_that_nobody_can_read_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^toml: a number has too many digits\n  in {name}$"):
        parse_text("bindPort = " + "9" * 5000, name)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]"=:\n .$|()-ab1', max_size=60).map(str.encode))
def test_hostile_bytes_give_a_tree_or_a_reason(data: bytes) -> None:
    for name in ("x", "x.toml"):
        with contextlib.suppress(ConfigError):
            parse(data, name, {})
