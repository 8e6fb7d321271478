"""Log lines: their form, where they go, and that nothing about them stops the program."""

from __future__ import annotations

import inspect
import logging
import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py import log

DAY = 86400


@dataclass
class Settings:
    to: str = "console"
    level: str = "info"
    max_days: int = 3
    disable_print_color: bool = True


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    yield
    log.reset()


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def record(text: str, created: float, level: int = log.INFO) -> logging.LogRecord:
    made = logging.LogRecord("frp_py", level, "/x/server/control.py", 7, text, (), None)
    made.created = created
    made.msecs = 0.0
    return made


class Pipe:
    """A pipe in the place of standard output."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream = os.fdopen(writer, "w")

    def setup(self, settings: Settings) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", self.stream)
            log.setup(settings)

    def read(self) -> str:
        data = b""
        while select.select([self.reader], [], [], 0)[0] and (more := os.read(self.reader, 1 << 20)):
            data += more
        return data.decode()

    def close(self) -> None:
        os.close(self.reader)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    log.reset()
    made.close()


def test_a_line_has_time_level_source_and_prefixes(pipe: Pipe) -> None:
    pipe.setup(Settings())
    frame = inspect.currentframe()
    assert frame is not None
    line = frame.f_lineno + 1
    log.get_logger("ab12").with_prefix("ssh").info("start proxy %s", "success")
    out = pipe.read()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[I\] ", out)
    assert out[28:] == f"[tests/test_log.py:{line}] [ab12] [ssh] start proxy success\n"


def test_time_is_local_with_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        made = record("x", 1767366304.0)
        made.msecs = 56.9
        assert log.LineFormatter().format(made) == "2026-01-02 16:05:04.056 [I] [server/control.py:7] x"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("level", "letters"),
    [("trace", "TDIWE"), ("debug", "DIWE"), ("info", "IWE"), ("warn", "WE"), ("error", "E"), ("nonsense", "IWE")],
)
def test_levels(level: str, letters: str, pipe: Pipe) -> None:
    pipe.setup(Settings(level=level))
    logger = log.get_logger()
    for write in (logger.trace, logger.debug, logger.info, logger.warning, logger.error):
        write("x")
    assert "".join(re.findall(r"\[([TDIWE])\]", pipe.read())) == letters
    assert [logger.isEnabledFor(n) for n in (log.TRACE, log.ERROR)] == ["T" in letters, True]


def test_colours_wrap_the_line_with_its_end(pipe: Pipe) -> None:
    pipe.setup(Settings(level="trace", disable_print_color=False))
    logger = log.get_logger()
    for write in (logger.trace, logger.debug, logger.info, logger.warning, logger.error):
        write("x")
    shape = re.sub(r"\d{4}-.*? x", "LINE", pipe.read())
    assert shape == "LINE\n" + "".join(f"\x1b[1;{n}mLINE\n\x1b[0m" for n in (36, 34, 33, 31))


def test_standard_output_without_a_descriptor(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(Settings())
    log.get_logger().info("seen")
    assert capsys.readouterr().out.endswith("] seen\n")


def test_without_setup_records_go_to_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="frp_py"):
        log.get_logger("run").info("100 %s", "%d")
    assert [r.getMessage() for r in caplog.records] == ["[run] 100 %d"]


def test_a_line_from_a_peer_can_not_be_forged(pipe: Pipe) -> None:
    pipe.setup(Settings())
    log.get_logger("a]\n[b").info("name %s", "x\r\n2026-01-01 \x1b[2J\u202e\ud800")
    out = pipe.read()
    assert out.count("\n") == 1
    assert out.endswith(r"[a]\n[b] name x\r\n2026-01-01 \x1b[2J\u202e\ud800" + "\n")


@given(st.text(st.characters(codec=None)))
def test_whatever_comes_is_one_printable_line(text: str) -> None:
    line = log.LineFormatter().format(record(text, 0.0))
    assert line.isprintable()
    line.encode()
    assert text in line or not text.isprintable()


def test_a_wrong_format_is_no_reason_to_fail(pipe: Pipe) -> None:
    pipe.setup(Settings())
    log.get_logger("p").info("%d of %d", "x")
    assert "[p] '%d of %d' % ('x',):" in pipe.read()


def test_a_percent_sign_in_a_prefix_or_in_plain_text_stays(pipe: Pipe) -> None:
    pipe.setup(Settings())
    log.get_logger("%s%n").info("100%")
    log.get_logger("%s").info("%s", "%d")
    assert re.findall(r"\d\] (\[.*)", pipe.read()) == ["[%s%n] 100%", "[%s] %d"]


def test_a_bug_has_its_traceback_indented_and_printable(pipe: Pipe) -> None:
    pipe.setup(Settings())
    try:
        raise ZeroDivisionError("\x1b[31m\n2026-01-01 00:00:00.000 [I] forged")
    except ZeroDivisionError:
        log.get_logger().exception("bug in %s", "x")
    first, *rest = pipe.read().splitlines()
    assert "[E]" in first
    assert first.endswith("bug in x")
    assert "ZeroDivisionError" in "".join(rest)
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_a_reader_who_does_not_read_costs_lines_not_time(pipe: Pipe) -> None:
    pipe.setup(Settings())
    logger = log.get_logger()
    started = time.monotonic()
    for _ in range(5000):
        logger.info("x" * 100)
    assert time.monotonic() - started < 5
    lost = log.lost_lines()
    assert 3000 < lost < 5000
    assert len(pipe.read().splitlines()) == 5000 - lost
    logger.info("again")
    out = pipe.read().splitlines()
    assert [line.split("] ", 2)[2] for line in out] == [f"{lost} log lines could not be written", "again"]
    assert log.lost_lines() == lost


def test_a_reader_who_has_gone_costs_lines_only(pipe: Pipe) -> None:
    pipe.setup(Settings())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, pipe.reader)
    os.close(null)
    log.get_logger().info("x")
    assert log.lost_lines() == 1


def test_a_file_is_made_with_its_directories_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "frps.log"
    log.setup(Settings(to=str(path), disable_print_color=False))
    log.get_logger().info("first")
    log.setup(Settings(to=str(path)))
    log.get_logger().info("second")
    assert [line[-6:].strip() for line in lines(path)] == ["first", "second"]
    assert "\x1b" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_rotated_at_midnight_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "frps.log"
    noon = time.mktime((2026, 3, 28, 12, 0, 0, 0, 0, -1))  # in Europe the day after has 23 hours
    for name in ("frps.20260324-000000.log", "frps.20260327-000000.log", "frps.20260324.log", "other.20200101-000000.log"):
        (tmp_path / name).touch()
    log.setup(Settings(to=str(path), max_days=3))
    output = log._output
    assert isinstance(output, log._File)
    output._midnight = log._next_midnight(noon)
    after = time.mktime((2026, 3, 29, 0, 0, 0, 0, 0, -1))
    output.emit(record("one", noon))
    output.emit(record("two", after - 1))
    output.emit(record("three", after + 1))
    output.emit(record("four", after + 3600 * 20))
    assert [line[-3:] for line in lines(tmp_path / "frps.20260329-000001.log")] == ["one", "two"]
    assert [line.split()[-1] for line in lines(path)] == ["three", "four"]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["frps.20260324.log", "frps.20260327-000000.log", "frps.20260329-000001.log", "frps.log", "other.20200101-000000.log"]


def test_a_file_of_an_earlier_day_is_put_aside_at_start(tmp_path: Path) -> None:
    path = tmp_path / "frpc.log"
    path.write_text("old\n")
    os.utime(path, (time.time() - 2 * DAY,) * 2)
    log.setup(Settings(to=str(path)))
    log.get_logger().info("new")
    (aside,) = tmp_path.glob("frpc.*-*.log")
    assert aside.read_text() == "old\n"
    assert [line[-3:] for line in lines(path)] == ["new"]


def test_a_second_process_does_not_rotate_again(tmp_path: Path) -> None:
    path = tmp_path / "frps.log"
    log.setup(Settings(to=str(path)))
    output = log._output
    assert isinstance(output, log._File)
    output.emit(record("one", time.time()))
    path.rename(tmp_path / "frps.20260101-000000.log")
    path.write_text("by another process\n")
    output._midnight = time.time() - 1
    output.emit(record("two", time.time()))
    assert len(list(tmp_path.iterdir())) == 2
    assert [line.split()[-1] for line in lines(path)] == ["process", "two"]


def test_two_rotations_in_one_second_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "frps.log"
    log.setup(Settings(to=str(path)))
    output = log._output
    assert isinstance(output, log._File)
    now = time.time()
    for text in ("one", "two", "three"):
        output.emit(record(text, now))
        output._midnight = now
    assert sorted(line[-3:] for p in tmp_path.iterdir() for line in lines(p)) == ["one", "ree", "two"]


def test_a_full_disk_is_survived_and_a_device_is_never_renamed(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    log.setup(Settings(to=str(path)))
    output = log._output
    assert isinstance(output, log._File)
    for _ in range(3):
        log.get_logger().info("x")
        output._midnight = 0.0
    assert log.lost_lines() == 3
    assert list(tmp_path.iterdir()) == [path]


def test_lines_lost_to_a_full_disk_are_reported_when_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "frps.log"
    log.setup(Settings(to=str(path)))
    with monkeypatch.context() as full:
        full.setattr(log, "_write_all", lambda fd, data: False)
        log.get_logger().info("x")
        log.get_logger().info("y")
    log.get_logger().info("z")
    assert [line.split("] ", 2)[2] for line in lines(path)] == ["2 log lines could not be written", "z"]


def test_a_file_that_can_not_be_opened_is_told_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dir").write_text("a file where a directory should be")
    path = tmp_path / "dir" / "frps.log"
    log.setup(Settings(to=str(path)))
    assert str(path.parent) in capsys.readouterr().err
    output = log._output
    assert isinstance(output, log._File)
    now = time.time()
    output.emit(record("one", now))
    (tmp_path / "dir").unlink()
    output.emit(record("two", now + 1))
    assert log.lost_lines() == 2
    output.emit(record("three", now + 11))
    assert [line.split("] ", 2)[2] for line in lines(path)] == ["2 log lines could not be written", "three"]


# the last lines


def test_the_last_lines_are_remembered_while_that_is_on() -> None:
    recent = log.Recent(3)
    logger = log.get_logger("run", "proxy")
    log._stdlib.setLevel(log.DEBUG)
    logger.info("before")
    recent.switch(on=True)
    try:
        began = time.time()
        for n in range(5):
            logger.warning("line %d\n", n)
        logger.debug("fine")
        assert [(line.id, line.level, line.text) for line in recent.after()] == [
            (4, "warn", "[run] [proxy] line 3\\n"),
            (5, "warn", "[run] [proxy] line 4\\n"),
            (6, "debug", "[run] [proxy] fine"),
        ]
        assert began <= recent.after()[0].time <= time.time()
        assert [line.id for line in recent.after(4)] == [5, 6]
        assert [line.id for line in recent.after(4, "info")] == [5]
        assert [line.id for line in recent.after(6)] == []
        assert [line.id for line in recent.after(7)] == [4, 5, 6]  # an id from before a restart
        try:
            raise ValueError("\x1b[2J")
        except ValueError:
            logger.exception("%s", "x" * 10_000)
        (line,) = recent.after(recent.last_id - 1)
        assert line.text.startswith("[run] [proxy] xxx")
        assert line.text.endswith("ValueError: \\x1b[2J")
        assert len(line.text) < 9000
    finally:
        recent.switch(on=False)
    logger.info("after")
    assert recent.last_id == 7
