import pytest

from frp_py.config.gotext import go_float, json_number, parse_number, quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("\n\t\x07\x00\x7f", '"\\n\\t\\a\\x00\\x7f"'),
        ("é😀", '"é😀"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (1.5, "1.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-0.0, "-0"),
        (0.0, "0"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_floats(value: float, text: str) -> None:
    assert go_float(value) == text


def test_numbers_of_json() -> None:
    assert [json_number(value) for value in (7000.0, 70.5, 1e20, 1e22, -0.0)] == ["7000", "70.5", "100000000000000000000", "1e+22", "-0"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-10", -10),
        ("+1", 1),
        ("0x1F", 31),
        ("0b11", 3),
        ("0o17", 15),
        ("017", 15),
        ("0", 0),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("0x1p4", 16.0),
        ("08", None),
        ("1__0", None),
        ("1_", None),
        ("_1", None),
        ("0x", None),
        ("", None),
        ("1e", None),
    ],
)
def test_number_syntax(text: str, value: float | None) -> None:
    found = parse_number(text)
    assert (found, type(found)) == (value, type(value))
