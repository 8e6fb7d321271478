from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.config.toml_writer import to_toml

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalar = text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(text, value, max_size=5))
def test_what_is_written_is_read(tree: dict[str, Any]) -> None:
    assert tomli.loads(to_toml(tree)) == tree


def test_the_look() -> None:
    tree = {"b": {"c": {"d": True}, "e": {}}, "a": 1, "list": [{"x": "é\n", "y": {"z": [1, "a"]}}, {}], "none": None, "odd key": []}
    assert to_toml(tree) == (
        'a = 1\n"odd key" = []\n\n[b.c]\nd = true\n\n[b.e]\n\n[[list]]\nx = "é\\n"\n\n[list.y]\nz = [1, "a"]\n\n[[list]]\n'
    )
    assert to_toml({}) == ""


def test_what_has_no_form() -> None:
    with pytest.raises(TypeError):
        to_toml({"a": [None]})
