"""Signals, exit codes and limits of the process."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest
import trio

from frp_py import log
from frp_py.cli import process
from frp_py.errors import ConfigError, FrpError


class Fake:
    """A service that does what a test wants of it."""

    def __init__(self, error: BaseException | None = None, *, signals: tuple[signal.Signals, ...] = ()) -> None:
        self.error = error
        self.signals = signals
        self.cancelled = False

    async def reload(self) -> None:
        """Nothing is read."""

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started("somewhere")
        if self.error:
            raise self.error
        if not self.signals:
            return
        for number in self.signals:
            os.kill(os.getpid(), number)
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled = True


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    log.reset()


def test_a_regular_end() -> None:
    assert process.run("frpc", Fake()) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_service(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    fake = Fake(signals=(number,))
    before = signal.getsignal(number)
    assert process.run("frps", fake) == 0
    assert fake.cancelled
    assert capfd.readouterr() == ("", "")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(None, ""), (ConfigError("no such key"), "reload config error: no such key"), (ValueError("?"), "bug in a reload")],
)
def test_a_hangup_reloads(outcome: Exception | None, said: str, caplog: pytest.LogCaptureFixture) -> None:
    class Reloading(Fake):
        reloads = 0

        async def reload(self) -> None:
            self.reloads += 1
            os.kill(os.getpid(), signal.SIGTERM)
            if outcome is not None:
                raise outcome

    fake = Reloading(signals=(signal.SIGHUP,))
    with caplog.at_level("INFO"):
        assert process.run("frps", fake) == 0
    assert fake.reloads == 1
    assert "SIGHUP received" in caplog.text
    assert said in caplog.text


def test_a_hangup_at_the_end_hurts_nobody() -> None:
    class Ending(Fake):
        async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
            os.kill(os.getpid(), signal.SIGHUP)

    assert process.run("frps", Ending()) == 0


@pytest.mark.parametrize(
    "error",
    [
        FrpError("port taken"),
        ConfigError("port taken"),
        ExceptionGroup("", [ExceptionGroup("", [FrpError("port taken")])]),
    ],
)
def test_an_expected_failure_is_printed(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    assert process.run("frps", Fake(error)) == 1
    assert capfd.readouterr() == ("port taken\n", "")


def test_what_a_server_says_does_not_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert process.run("frpc", Fake(FrpError("login to the server failed: \x1b[2J\r"))) == 1
    assert capfd.readouterr().out == "login to the server failed: \\x1b[2J\\r\n"


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), ExceptionGroup("", [FrpError("x"), ZeroDivisionError("oops")])])
def test_a_bug_is_logged_with_its_traceback(error: Exception, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    assert process.run("frps", Fake(error)) == 1
    (record,) = [r for r in caplog.records if r.getMessage() == "bug in frps"]
    assert record.exc_info
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("frps ended by a bug: ")


def test_an_interrupt_before_the_handlers_are_in_place_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    assert process.run("frps", Fake(KeyboardInterrupt())) == 0
    assert capfd.readouterr() == ("", "")


def test_the_collector_is_told_what_stays() -> None:
    gc.unfreeze()
    process.run("frps", Fake())
    assert gc.get_freeze_count() > 1000


def test_the_file_limit_is_raised() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        process.raise_file_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard == before[1] or 256 < soft <= 1 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


STUBBORN = """
    import os, signal, sys, time
    import trio
    from frp_py.cli import process

    class Stubborn:
        async def run(self, *, task_status):
            print("up", flush=True)
            with trio.CancelScope(shield=True):
                {wait}

    sys.exit(process.run("frps", Stubborn()))
"""


@pytest.mark.parametrize("wait", ["await trio.sleep_forever()", "time.sleep(60)"])
@pytest.mark.parametrize("signals", [1, 2])
def test_a_service_that_does_not_end_is_ended(wait: str, signals: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STUBBORN.format(wait=wait))], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        started = time.monotonic()
        for _ in range(signals):
            child.send_signal(signal.SIGTERM)
            time.sleep(0.1 * (signals - 1))
        assert child.wait(5) == 0
        took = time.monotonic() - started
        assert took < 0.9 if signals == 2 else 0.9 < took < 3
        assert child.communicate() == (b"", b"")
