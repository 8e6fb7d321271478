"""The log of strangers is bounded."""

from __future__ import annotations

from trio.testing import MockClock

from frp_py.server.strangers import StrangersLog
from tests.support.inside import logged


async def test_a_few_lines_are_all_written(mock_clock: MockClock) -> None:
    with logged() as lines:
        log = StrangersLog()
        log.warning("connection from [%s] closed", "192.0.2.1")
        log.with_prefix("192.0.2.1").info("%s", "hello")
    assert lines.texts == ["connection from [192.0.2.1] closed", "[192.0.2.1] hello"]


async def test_of_many_lines_the_rest_is_counted(mock_clock: MockClock) -> None:
    with logged() as lines:
        log = StrangersLog()
        for n in range(1000):
            log.with_prefix("x").warning("%d", n)
        assert lines.texts == [f"[x] {n}" for n in range(200)]
        mock_clock.jump(1)
        for n in range(1000, 1010):
            log.warning("%d", n)
        assert lines.texts[200:] == ["800 lines about unknown peers were left out", "1000", "1001", "1002", "1003", "1004"]
        mock_clock.jump(3600)
        for n in range(1000):
            log.warning("%d", n)
        assert len(lines.texts) == 206 + 201
    assert "5 lines about unknown peers were left out" in lines


async def test_long_lines_are_cut(mock_clock: MockClock) -> None:
    with logged() as lines:
        StrangersLog().warning("%s and %s", "x" * 65536, "y")
    assert lines.texts == ["x" * 400 + "..."]


async def test_what_they_say_is_never_a_format(mock_clock: MockClock) -> None:
    with logged() as lines:
        StrangersLog().warning("said %s", "%d %s %n")
    assert lines.texts == ["said %d %s %n"]
