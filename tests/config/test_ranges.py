import pytest

from frp_py.config.ranges import NumberPair, parse_numbers, parse_pairs, parse_ranges


def test_ranges() -> None:
    assert parse_ranges("1-3, 7 ,9 - 9") == [(1, 3), (7, 7), (9, 9)]
    assert parse_numbers("3-5,1") == [3, 4, 5, 1]
    assert parse_pairs("1-2", "8,9") == [NumberPair(1, 8), NumberPair(2, 9)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1-2-3", ""),
        ("2-1", ""),
        ("", ', strconv.ParseInt: parsing "": invalid syntax'),
        ("1,", ', strconv.ParseInt: parsing "": invalid syntax'),
        ("a-2", ', strconv.ParseInt: parsing "a": invalid syntax'),
        ("1-b", ', strconv.ParseInt: parsing "b": invalid syntax'),
        ("-1", ', strconv.ParseInt: parsing "": invalid syntax'),
        ("1_0", ', strconv.ParseInt: parsing "1_0": invalid syntax'),
        ("٣", ', strconv.ParseInt: parsing "٣": invalid syntax'),
        ("0-99999999999999", ""),
    ],
)
def test_bad_ranges(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_numbers(text)
    assert str(caught.value) == "range number is invalid" + reason


def test_unequal_pairs() -> None:
    with pytest.raises(ValueError, match=r"^first and second range numbers are not in pairs$"):
        parse_pairs("1-2", "1")
