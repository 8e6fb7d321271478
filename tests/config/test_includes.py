import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.config.includes import directory_exists, included_files, pattern_expression
from frp_py.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*.toml", "a.toml", True),
        ("*.toml", ".toml", True),
        ("*", ".hidden", True),
        ("*", "a/b", False),
        ("?.x", "é.x", True),
        ("?", "/", False),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[^a-c]x", "dx", True),
        ("[^a]x", "ax", False),
        ("[!a]", "!", True),
        ("[!a]", "b", False),
        (r"[\]a]", "]", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("{a,b}", "{a,b}", True),
        ("{a,b}", "a", False),
        ("a.c", "abc", False),
        ("[c-a]", "b", False),
        ("[^c-a]", "b", True),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    expression = pattern_expression(pattern)
    assert expression is not None
    assert bool(expression.fullmatch(text)) is expected


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[]a]", "[-]", "[a-]", "a\\", "[^]"])
def test_malformed_patterns(pattern: str) -> None:
    assert pattern_expression(pattern) is None


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab*?[]^-\\/."))
def test_any_pattern_is_an_expression_or_malformed(pattern: str) -> None:
    pattern_expression(pattern)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.toml", "a.toml", "c.ini", "x[1].d/a.toml", "dir.toml/z.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    here = os.getcwd()
    assert [*included_files(["*.toml", "c.*"], "x")] == [f"{here}/{name}" for name in ("a.toml", "b.toml", "c.ini")]
    assert [*included_files([f"{here}/a.*", "./a.toml"], "x")] == [f"{here}/a.toml"] * 2
    assert [*included_files(["x[1].d/*", "dir.toml", "none.*", "["], "x")] == []
    for entry, reason in (
        ("no/*", f"stat {here}/no: no such file or directory"),
        ("a.toml/*", f"open {here}/a.toml: not a directory"),
        ("a\0b/*", f"stat {here}/a\0b: invalid argument"),
    ):
        with pytest.raises(ConfigError) as caught:
            list(included_files([entry], "x.toml"))
        assert str(caught.value) == f"{reason}\n  in x.toml: includes[0] names no directory that exists"
    assert directory_exists("x/../*.toml") is True
    assert not directory_exists("no/*.toml")
