"""Lists of numbers and ranges such as `6000-6005,7000` (config.md 1.9, 2.10)."""

from typing import NamedTuple

from .gotext import quote


class NumberPair(NamedTuple):
    """What parseNumberRangePair gives: numbers at the same place of two lists."""

    First: int
    Second: int


_LIMIT = 65536 * 16  # numbers in a list; far more than ports exist, far less than fills the memory


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """Return the ranges in `text`, both ends included. Raises ValueError with the specification's text."""
    ranges = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2:
            raise ValueError("range number is invalid")
        first, last = _number(ends[0]), _number(ends[-1])
        if last < first:
            raise ValueError("range number is invalid")
        ranges.append((first, last))
    return ranges


def parse_numbers(text: str) -> list[int]:
    """Return the numbers in `text`, in order. Raises ValueError with the specification's text."""
    ranges = parse_ranges(text)
    if sum(last - first + 1 for first, last in ranges) > _LIMIT:
        raise ValueError("range number is invalid")
    return [number for first, last in ranges for number in range(first, last + 1)]


def parse_pairs(first: str, second: str) -> list[NumberPair]:
    """Return the numbers of two lists in pairs. Raises ValueError with the specification's text."""
    left, right = parse_numbers(first), parse_numbers(second)
    if len(left) != len(right):
        raise ValueError("first and second range numbers are not in pairs")
    return [*map(NumberPair, left, right)]


def _number(text: str) -> int:
    # Only digits: what int() takes beyond that ("1_0", other scripts' digits) is no number here.
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"range number is invalid, strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    return int(text)
