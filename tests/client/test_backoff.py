"""Pauses before the next attempt (behaviour.md 7.1)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.client.backoff import Attempts, Losses

RANDOM = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("cap", "pauses"),
    [(10.0, [2, 4, 8, 10, 10, 10]), (20.0, [2, 4, 8, 16, 20, 20])],
)
def test_attempts_double_up_to_the_cap(cap: float, pauses: list[float]) -> None:
    attempts = Attempts(cap, lambda: 0.0)
    assert [attempts.next_pause() for _ in pauses] == pauses


def test_attempts_have_up_to_a_tenth_more_each_time() -> None:
    attempts = Attempts(20.0, lambda: 0.5)
    assert [round(attempts.next_pause(), 6) for _ in range(4)] == [2.1, 4.41, 9.261, 19.4481]


@settings(max_examples=60)
@given(st.floats(1, 60), st.lists(RANDOM, min_size=1, max_size=30))
def test_attempts_never_go_back_or_over_the_cap(cap: float, randoms: list[float]) -> None:
    source = iter(randoms)
    attempts = Attempts(cap, lambda: next(source))
    before = 0.0
    for _ in randoms:
        pause = attempts.next_pause()
        assert before <= pause <= cap
        assert pause == cap or (before or 1) * 2 <= pause <= (before or 1) * 2.2
        before = pause


def losses(random: float, *, lasted: float = 0.0, count: int, every: float = 0.0) -> list[float]:
    """The pauses of sessions lost one after the other, each `every` s after the pause before it was over."""
    now, series, pauses = 1000.0, Losses(lambda: random), []
    for _ in range(count):
        pauses.append(series.next_pause(now, lasted))
        now += pauses[-1] + every
    return pauses


def test_sessions_lost_at_once() -> None:
    assert losses(0.0, count=12) == [0, 0.2, 0.2, 0.4, 0.2, 0.2, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]


def test_after_the_window_three_fast_ones_are_granted_again() -> None:
    pauses = losses(0.0, count=22)
    assert pauses[11:] == [6.4, 12.8, 20, 20, 0.2, 0.2, 0.2, 0.4, 0.8, 1.6, 3.2]


def test_the_fast_pauses_are_spread() -> None:
    assert losses(0.5, count=3)[1:] == [0.25, 0.25]
    assert losses(0.999, count=4)[3] == pytest.approx(0.2999 * 2 * 1.0999)


def test_a_session_of_more_than_a_minute_makes_it_start_over() -> None:
    series = Losses(lambda: 0.0)
    for n in range(10):
        series.next_pause(n, 1)
    assert [series.next_pause(500, 61), series.next_pause(501, 1), series.next_pause(502, 1)] == [0, 0.2, 0.2]


@settings(max_examples=60)
@given(st.lists(st.tuples(RANDOM, st.floats(0, 300), st.floats(0, 300)), max_size=40))
def test_only_the_first_loss_after_a_good_session_is_retried_at_once(schedule: list[tuple[float, float, float]]) -> None:
    """Each loss: a random number, how long the session lasted, how long the login before it took."""
    source = iter([step[0] for step in schedule for _ in range(2)])
    series = Losses(lambda: next(source))
    now = 0.0
    for n, (_, lasted, took) in enumerate(schedule):
        now += took + lasted
        pause = series.next_pause(now, lasted)
        assert (pause == 0) == (n == 0 or lasted > 60)
        assert pause <= 20
        now += pause


@given(RANDOM)
@settings(max_examples=20)
def test_a_minute_of_immediate_losses_is_few_attempts(random: float) -> None:
    now, series, attempts = 0.0, Losses(lambda: random), 0
    while now < 60:
        now += series.next_pause(now, 0.0)
        attempts += 1
    assert attempts <= 16
