"""What `frpc doctor` and `frps doctor` have in common: the report, and looks at what both depend on."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from frp_py.client.advice import advice_for
from frp_py.config import not_yet_supported, warnings_of
from frp_py.log import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    from frp_py.config.client import ClientConfig
    from frp_py.config.server import ServerConfig

SKEW = 120
"""Seconds that clocks may differ."""


class Report:
    """Writes the steps as they are taken."""

    def __init__(self) -> None:
        self.failures = 0

    def ok(self, step: str, text: str = "", advice: str = "") -> None:
        """It works; the advice is for what could still be better."""
        self._write("ok", step, text, advice)

    def skipped(self, step: str, text: str) -> None:
        """It was not tried."""
        self._write("skipped", step, text, "")

    def failed(self, step: str, text: str, advice: str = "") -> None:
        """It doesn't work."""
        self.failures += 1
        self._write("failed", step, text, advice or advice_for(text))

    def _write(self, state: str, step: str, text: str, advice: str) -> None:
        first, *more = text.splitlines() or [""]
        print(printable(f"{state:<8} {step}{': ' if first else ''}{first}"), flush=True)
        for line in more:
            print(f"           {printable(line.strip())}", flush=True)
        if advice:
            print(f"         -> {printable(advice)}", flush=True)

    def result(self) -> int:
        """The last line, and the exit code."""
        if self.failures:
            print(f"\n{self.failures} step{'s' * (self.failures > 1)} failed")
        else:
            print("\nno fault found")
        return 1 if self.failures else 0


@contextmanager
def quiet() -> Iterator[None]:
    """Without log lines, which would stand between the steps."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def tell_configuration(report: Report, what: str, config: ClientConfig | ServerConfig) -> None:
    """The first step, when the configuration could be loaded."""
    missing = not_yet_supported(config)
    if missing:
        report.failed("configuration", "\n".join(missing), "remove these keys, or use a release that has them")
    else:
        report.ok("configuration", what, "; ".join(warnings_of(config)))


def clock_faults(path: str) -> list[str]:
    """What a file says against this machine's clock."""
    try:
        ahead = os.stat(path).st_mtime - time.time()
    except OSError:
        return []
    return [f"{path} was written {span(ahead)} from now"] if ahead > SKEW else []


def span(seconds: float) -> str:
    """A length of time in the largest unit of which it has two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} seconds"


def tell_clock(report: Report, faults: list[str]) -> None:
    """The step about the clock. frp tells nobody the time, so a wrong one shows only by what contradicts it."""
    if faults:
        report.failed("clock", "\n".join(faults), "set the clock of this machine, e.g. timedatectl set-ntp true")
    else:
        report.ok("clock", f"nothing contradicts {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")


def counted(things: Sized, one: str, several: str) -> str:
    """How many there are, in words."""
    return f"{len(things)} {one if len(things) == 1 else several}"


def where_is(host: str, port: int) -> str:
    """`host:port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tell_port(report: Report, step: str, host: str, port: int, kind: int, program: str) -> None:
    """Whether a port can be listened on; `program` is what may have it already."""
    where = where_is(host, port)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_STREAM and os.name == "posix":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and program:
            report.ok(step, f"{where} is in use, it seems by the {program} that runs on this machine")
        elif error.errno == errno.EADDRINUSE:
            report.failed(step, f"{where} is in use", "another program has it (ss -lntup shows which): choose another port, or stop it")
        else:
            report.failed(step, f"{where}: {(error.strerror or str(error)).lower()}")
    except OverflowError:
        report.failed(step, f"{port} is no port")
    else:
        report.ok(step, f"{where} is free")
