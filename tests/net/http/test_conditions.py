from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py.net.http.conditions import Verdict, Version, accepts_gzip, judge, ranges_of

NOW = 1_800_000_000
IT = Version(1000, NOW, b'"tag"')
WEAK = Version(1000, NOW, b'W/"tag"')


def date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-99", ((0, 100),)),
        (b"bytes=0-0", ((0, 1),)),
        (b"bytes=990-", ((990, 1000),)),
        (b"bytes=990-5000", ((990, 1000),)),
        (b"bytes=-10", ((990, 1000),)),
        (b"bytes=-5000", ((0, 1000),)),
        (b"Bytes = 0-1", ((0, 2),)),
        (b"bytes=0-1, 5-6,,-1", ((0, 2), (5, 7), (999, 1000))),
        (b"bytes=1000-", ()),
        (b"bytes=5000-6000,2000-", ()),
        (b"bytes=-0", ()),
        (b"bytes=5-1", None),
        (b"bytes=-", None),
        (b"bytes=", None),
        (b"bytes=,", None),
        (b"bytes=a-b", None),
        (b"bytes=1--2", None),
        (b"lines=0-1", None),
        (b"bytes=0-999,0-999", None),  # more than there is
        (b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(11)), None),
        (b"bytes=0-0" + b"," * 30, None),
        (b"bytes=" + b"9" * 5000 + b"-", None),
    ],
)
def test_ranges(value: bytes, ranges: tuple[tuple[int, int], ...] | None) -> None:
    assert ranges_of(value, 1000) == ranges


@given(st.binary(max_size=60), st.integers(0, 1 << 40))
def test_ranges_lie_inside_whatever_is_asked(value: bytes, size: int) -> None:
    ranges = ranges_of(b"bytes=" + value, size)
    assert ranges is None or all(0 <= begin < end <= size for begin, end in ranges)


def test_an_empty_file_has_no_ranges() -> None:
    assert ranges_of(b"bytes=0-", 0) == ()
    assert ranges_of(b"bytes=-5", 0) == ()


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, Verdict(200)),
        ({"If-Match": b'"tag"'}, Verdict(200)),
        ({"If-Match": b"*"}, Verdict(200)),
        ({"If-Match": b'"a", "b"'}, Verdict(412)),
        ({"If-Match": b'W/"tag"'}, Verdict(412)),
        ({"If-Unmodified-Since": date(NOW)}, Verdict(200)),
        ({"If-Unmodified-Since": date(NOW - 1)}, Verdict(412)),
        ({"If-Unmodified-Since": date(NOW - 1), "If-Match": b'"tag"'}, Verdict(200)),
        ({"If-None-Match": b'"x", W/"tag"'}, Verdict(304)),
        ({"If-None-Match": b"*"}, Verdict(304)),
        ({"If-None-Match": b'"x"', "If-Modified-Since": date(NOW)}, Verdict(200)),
        ({"If-Modified-Since": date(NOW)}, Verdict(304)),
        ({"If-Modified-Since": date(NOW - 1)}, Verdict(200)),
        ({"If-Modified-Since": b"yesterday"}, Verdict(200)),
        ({"If-Modified-Since": b"\xff"}, Verdict(200)),
        ({"If-Modified-Since": b"Mon, 01 Jan 99999999999 00:00:00 GMT"}, Verdict(200)),
        ({"Range": b"bytes=1-2"}, Verdict(206, ((1, 3),))),
        ({"Range": b"bytes=2000-"}, Verdict(416)),
        ({"Range": b"nonsense"}, Verdict(200)),
        ({"Range": b"bytes=1-2", "If-Range": b'"tag"'}, Verdict(206, ((1, 3),))),
        ({"Range": b"bytes=1-2", "If-Range": b'"old"'}, Verdict(200)),
        ({"Range": b"bytes=1-2", "If-Range": b'W/"tag"'}, Verdict(200)),
        ({"Range": b"bytes=1-2", "If-Range": date(NOW)}, Verdict(206, ((1, 3),))),
        ({"Range": b"bytes=1-2", "If-Range": date(NOW - 1)}, Verdict(200)),
        ({"Range": b"bytes=1-2", "If-None-Match": b'"tag"'}, Verdict(304)),
    ],
)
def test_verdicts(fields: dict[str, bytes], verdict: Verdict) -> None:
    assert judge([(name.encode(), value) for name, value in fields.items()], IT) == verdict


def test_a_weak_tag_is_good_enough_for_a_cache_but_not_for_parts() -> None:
    assert judge([(b"if-none-match", b'"tag"')], WEAK) == Verdict(304)
    assert judge([(b"if-match", b'W/"tag"')], WEAK) == Verdict(412)
    assert judge([(b"range", b"bytes=0-1"), (b"if-range", b'W/"tag"')], WEAK) == Verdict(200)


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"x-gzip, br", False),
        (b"identity", False),
        (b"", False),
    ],
)
def test_gzip(value: bytes, accepted: bool) -> None:
    assert accepts_gzip([(b"Accept-Encoding", value)]) is accepted
