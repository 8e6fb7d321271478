import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.protocol.pace import Bucket

MB = 1048576


def test_one_second_of_bytes_is_free_and_then_every_byte_costs() -> None:
    bucket = Bucket(1000, 5.0)
    assert bucket.take(600, 5.0) == 0
    assert bucket.take(400, 5.0) == 0
    assert bucket.take(100, 5.0) == pytest.approx(0.1)
    assert bucket.take(100, 5.1) == pytest.approx(0.1)
    assert bucket.take(100, 5.15) == pytest.approx(0.15)


def test_a_pause_fills_the_bucket_but_not_above_its_size() -> None:
    bucket = Bucket(1000, 0.0)
    bucket.take(1000, 0.0)
    assert bucket.take(500, 0.5) == 0
    assert bucket.take(1500, 1000.0) == pytest.approx(0.5)


def test_what_is_given_back_can_be_taken_again_but_no_more_than_the_bucket_holds() -> None:
    bucket = Bucket(1000, 0.0)
    bucket.take(1500, 0.0)
    bucket.give_back(300)
    assert bucket.take(0, 0.0) == pytest.approx(0.2)
    bucket.give_back(5000)
    assert bucket.take(1500, 0.0) == pytest.approx(0.5)


def test_more_than_the_bucket_holds_is_waited_for() -> None:
    assert Bucket(1000, 0.0).take(5000, 0.0) == pytest.approx(4.0)


@pytest.mark.parametrize(("rate", "size"), [(1, 512), (1024, 512), (MB, 20971), (100 * MB, 65536)])
def test_slices(rate: int, size: int) -> None:
    assert Bucket(rate, 0.0).slice_size == size


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_is_above_zero(rate: float) -> None:
    with pytest.raises(RuntimeError):
        Bucket(rate, 0.0)


@pytest.mark.parametrize("connections", [1, 2, 8])
def test_many_share_it_evenly_and_without_stalls(connections: int) -> None:
    """10 s at 1 MB/s: the rate holds, nobody waits over 200 ms, everybody gets the same."""
    bucket = Bucket(MB, 0.0)
    ready = [(0.0, number) for number in range(connections)]
    moved = [0] * connections
    longest = 0.0
    while ready[0][0] < 10:
        now, number = heapq.heappop(ready)
        moved[number] += bucket.slice_size
        delay = bucket.take(bucket.slice_size, now)
        longest = max(longest, delay)
        heapq.heappush(ready, (now + delay, number))
    assert sum(moved) == pytest.approx(11 * MB, rel=0.02)
    assert longest <= 0.2
    assert max(moved) - min(moved) <= MB + bucket.slice_size  # the full bucket may go to one


@given(st.integers(1, 10**9), st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 5)), max_size=30))
@settings(max_examples=100)
def test_never_more_than_the_rate_and_one_bucket(rate: int, steps: list[tuple[int, float]]) -> None:
    bucket = Bucket(rate, 0.0)
    now = 0.0
    total = 0
    for size, pause in steps:
        total += size
        now += bucket.take(size, now)
        assert total <= rate * (now + 1) * (1 + 1e-9) + 1e-3
        now += pause
