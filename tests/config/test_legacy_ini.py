import time

import pytest

from frp_py.config.legacy_ini import Ini, IniError, boolean, integer, is_legacy, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[common]\n", True),
        ("\ufeff[common]\r\na = 1\r\n", True),
        ("# c\n; c\n  [common]\nkey: value", True),
        ("x = 1\n[common]\n", True),
        ("[a]\n[[common]]\n", False),
        ("[Common]\n", False),
        ("[common]\nbare\n", False),
        ("[common\n", False),
        ("[common]\n{{ end }}\n", False),
        ("[common]\nx = {{ .Envs.X }}\n", True),
        ('[common]\na = """x\ny\n"""\n', True),
        ("[common]\na = `x\n", False),
        ("common: 1", False),
        ("", False),
    ],
)
def test_detection(text: str, expected: bool) -> None:
    assert is_legacy(text.encode()) is expected


def test_values() -> None:
    ini = Ini(
        """
first = 1
[common]
a = b # c
b: x = y
c = "quoted # ; "
d = 'single'
e = `back`
f = \"\"\"over
two\"\"\"
g = one \\
    two
h = "half
i = %(a)s and %(first)s and %(none)s
j=
bare
a = last
[common]
k = 1
[DEFAULT]
second = 2
"""
    )
    assert ini.own("common") == {
        "a": "last",
        "b": "x = y",
        "c": "quoted # ; ",
        "d": "single",
        "e": "back",
        "f": "over\ntwo",
        "g": "one two",
        "h": '"half',
        "i": "last and 1 and %(none)s",
        "j": "",
        "bare": "true",
        "k": "1",
    }
    assert ini.own("DEFAULT") == {"first": "1", "second": "2"}


def test_sections_inherit() -> None:
    ini = Ini("[a]\nx = 1\ny = 2\n[a.b]\ny = 3\n[a.b.c]\n")
    assert (ini.get("a.b", "x"), ini.get("a.b", "y"), ini.get("a.b.c", "y"), ini.get("a.b.c", "z")) == ("1", "3", "3", None)
    assert ini.own("a.b") == {"y": "3"}


def test_references_to_themselves_stay_small() -> None:
    assert len(Ini("[a]\nx = %(x)s%(x)s y\n").own("a")["x"]) < 1_000_000
    assert Ini("[a]\nx = %(x)s\n").own("a")["x"] == "%(x)s"


def test_errors() -> None:
    for text, reason in (("[a", "unclosed section: [a"), ("x", "key-value delimiter not found: x"), ("= 1", "empty key name: = 1")):
        with pytest.raises(IniError) as caught:
            Ini(text, strict=True)
        assert str(caught.value) == reason


def test_types() -> None:
    assert [integer(text) for text in ("7", "-7", "0x10", "0b11", "010", "1_000", "abc", "10s", "7.0", "", "7e3", "9" * 30)] == [
        7,
        -7,
        16,
        3,
        8,
        1000,
        *[None] * 6,
    ]
    assert [integer(text) for text in ("9223372036854775807", "9223372036854775808", "-9223372036854775808")] == [2**63 - 1, None, -(2**63)]
    assert [boolean(text) for text in ("1", "yes", "ON", "0", "n", "off", "", "maybe", "tRue")] == [True] * 3 + [False] * 3 + [None] * 3
    assert words(" a, b ,,c, ") == ["a", "b", "c"]


def test_a_long_gap_takes_no_time() -> None:
    began = time.monotonic()
    assert Ini("[common]\na" + " " * 100_000 + "b").sections["common"].popitem()[1] == "true"
    assert Ini("[common]\na" + " " * 100_000 + "= b").own("common") == {"a": "b"}
    assert time.monotonic() - began < 2
