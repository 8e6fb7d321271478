"""Who is shut out, for how long, and who never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py.server import penalties
from frp_py.server.penalties import FAILED_LOGIN, MOST_SOURCES, NO_LOGIN, THRESHOLD, TRUSTED_FOR, Penalties, network_of

BAD = "203.0.113.7"


def test_shut_out_after_a_few_failed_logins_and_let_in_again() -> None:
    book = Penalties(600)
    assert [book.offend(BAD, FAILED_LOGIN, 0.0) for _ in range(3)] == [0, 0, 15]
    assert book.shuts_out(BAD, 0.0)
    assert book.shuts_out(BAD, 14.9)
    assert not book.shuts_out(BAD, 15.1)
    assert book.refused == 2


def test_others_are_not_concerned() -> None:
    book = Penalties(600)
    for _ in range(10):
        book.offend(BAD, FAILED_LOGIN, 0.0)
    assert not book.shuts_out("203.0.113.8", 0.0)


def test_penalties_grow_and_are_bounded() -> None:
    book = Penalties(600)
    now, lengths = 0.0, []
    for _ in range(12):
        while not (shut := book.offend(BAD, FAILED_LOGIN, now)):
            pass
        lengths.append(shut)
        now += shut + 1
        assert not book.shuts_out(BAD, now)
    assert lengths == sorted(lengths)
    assert lengths[-1] > 4 * lengths[0]
    assert max(lengths) <= 600


def test_slow_mistakes_of_an_owner_never_shut_him_out() -> None:
    """A client with a wrong token tries again every 10 s."""
    book = Penalties(600)
    assert not any(book.offend(BAD, FAILED_LOGIN, now) for now in range(0, 3600, 10))


def test_a_stranger_again_after_an_hour() -> None:
    book = Penalties(600)
    for _ in range(3):
        book.offend(BAD, FAILED_LOGIN, 0.0)
    assert book.offend(BAD, FAILED_LOGIN, 4000.0) == 0
    assert [book.offend(BAD, FAILED_LOGIN, 4000.0) for _ in range(2)] == [0, 15]


def test_who_has_logged_in_is_trusted() -> None:
    book = Penalties(600)
    for _ in range(3):
        book.offend(BAD, FAILED_LOGIN, 0.0)
    book.trust(BAD, 0.0)
    assert not book.shuts_out(BAD, 0.0)
    assert not any(book.offend(BAD, FAILED_LOGIN, 1.0) for _ in range(100))
    assert any(book.offend(BAD, FAILED_LOGIN, TRUSTED_FOR + 1) for _ in range(3))


def test_who_is_logged_in_is_trusted_however_long_that_lasts() -> None:
    book = Penalties(600)
    book.came(BAD)
    book.came(BAD)
    book.went(BAD, 10.0)
    assert not any(book.offend(BAD, FAILED_LOGIN, 1e6) for _ in range(100))
    book.went(BAD, 1e6)
    assert not any(book.offend(BAD, FAILED_LOGIN, 1e6 + TRUSTED_FOR - 1) for _ in range(100))
    assert any(book.offend(BAD, FAILED_LOGIN, 1e6 + TRUSTED_FOR + 1) for _ in range(3))
    assert not book._present


def test_off() -> None:
    book = Penalties(0)
    assert not any(book.offend(BAD, FAILED_LOGIN, 0.0) for _ in range(100))
    assert not book.shuts_out(BAD, 0.0)


def test_a_small_maximum_is_the_threshold_too() -> None:
    book = Penalties(3)
    assert [book.offend(BAD, NO_LOGIN, 0.0) for _ in range(3)] == [0, 0, 3]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.5", "10.1.2.3", ""])
def test_exempt(host: str) -> None:
    book = Penalties(600, ["127.0.0.0/8", "::1", "10.1.0.0/16"])
    assert not any(book.offend(host, FAILED_LOGIN, 0.0) for _ in range(100))
    assert any(book.offend("10.2.0.1", FAILED_LOGIN, 0.0) for _ in range(100))


def test_networks() -> None:
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1")
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")


def test_bounded_and_the_worst_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penalties, "MOST_SOURCES", 100)
    book = Penalties(600)
    for _ in range(3):
        book.offend(BAD, FAILED_LOGIN, 0.0)
    for i in range(1000):
        book.offend(f"10.0.{i // 256}.{i % 256}", NO_LOGIN, 0.0)
    assert len(book._records) <= 100 < MOST_SOURCES
    assert book.shuts_out(BAD, 0.0)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([FAILED_LOGIN, NO_LOGIN])), max_size=50), st.floats(1, 1000))
def test_never_longer_than_the_longest(steps: list[tuple[float, float]], longest: float) -> None:
    book, now = Penalties(longest), 0.0
    for pause, cost in steps:
        now += pause
        shut = book.offend(BAD, cost, now)
        assert shut == 0 or min(THRESHOLD, longest) <= shut <= longest
        assert not book.shuts_out(BAD, now + longest + 0.001)
