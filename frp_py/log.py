"""Log lines for operators: `2026-01-02 15:04:05.678 [I] [dir/file.py:12] [prefix] message` (behaviour.md 13).

Records go through the standard library's logger `frp_py`, so a program that embeds us routes them as it likes. `setup`
is for the process that is frps or frpc: it takes the records over and writes them itself, one `write` per line and no
buffer, because others read a line and act on it at once.

Three rules hold whatever happens. Nothing that a peer sends can forge a line or steer a terminal: what isn't printable
is written as an escape. Nothing that is wrong with the log stops a tunnel: a full disk, a missing directory or a reader
who doesn't read cost lines, which are counted and reported once lines can be written again. And a line that is switched
off costs next to nothing.
"""

from __future__ import annotations

import logging
import os
import re
import select
import stat
import sys
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from types import FrameType

TRACE = 5
DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_LEVELS = {"trace": TRACE, "debug": DEBUG, "info": INFO, "warn": WARNING, "error": ERROR}
_NAMES = {number: name for name, number in _LEVELS.items()}
_LETTERS = {TRACE: "T", DEBUG: "D", INFO: "I", WARNING: "W", ERROR: "E"}
_COLOURS = {DEBUG: "\x1b[1;36m", INFO: "\x1b[1;34m", WARNING: "\x1b[1;33m", ERROR: "\x1b[1;31m"}

_STALL = 100
"""Milliseconds that a reader of standard output may keep us waiting, once; then lines are dropped until it reads again."""
_REOPEN_AFTER = 10.0
"""Seconds between two tries to open a log file that can't be opened."""
_LONGEST = 4096
"""Characters of a line that is remembered."""
_PIPE_BUF = 4096
"""Bytes that a pipe takes without blocking when poll() says it is writable."""

logging.addLevelName(TRACE, "TRACE")
_stdlib = logging.getLogger("frp_py")
_is_enabled_for = _stdlib.isEnabledFor


class Settings(Protocol):
    """What `setup` reads: the `log` table of either configuration (config.md 2.1)."""

    @property
    def to(self) -> str:
        """`console` or the path of a file."""

    @property
    def level(self) -> str:
        """`trace`, `debug`, `info`, `warn` or `error`; anything else means info."""

    @property
    def max_days(self) -> int:
        """Days that rotated files are kept."""

    @property
    def disable_print_color(self) -> bool:
        """No colours on the console."""


def printable(text: str) -> str:
    """`text` with everything that can't be printed (newline, ESC, bidi marks, lone surrogates ...) as an escape such as `\\n`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Logger:
    """Writes lines that begin with the same prefixes, e.g. the run id and the proxy's name."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def with_prefix(self, prefix: str) -> Logger:
        """A logger whose lines carry `[prefix] ` after the prefixes of this one."""
        return Logger(f"{self._prefix}[{prefix}] ")

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name that logging gave it
        """Whether a line of `level` would be written; to be asked where its arguments are dear."""
        return _is_enabled_for(level)

    def trace(self, fmt: str, *args: object) -> None:
        """Write `fmt % args` for those who debug the program itself."""
        if _is_enabled_for(TRACE):
            self._write(TRACE, fmt, args, sys._getframe(1))

    def debug(self, fmt: str, *args: object) -> None:
        """Write `fmt % args` for those who look for a fault."""
        if _is_enabled_for(DEBUG):
            self._write(DEBUG, fmt, args, sys._getframe(1))

    def info(self, fmt: str, *args: object) -> None:
        """Write `fmt % args` about the normal course of things."""
        if _is_enabled_for(INFO):
            self._write(INFO, fmt, args, sys._getframe(1))

    def warning(self, fmt: str, *args: object) -> None:
        """Write `fmt % args` about something that is wrong outside this program."""
        if _is_enabled_for(WARNING):
            self._write(WARNING, fmt, args, sys._getframe(1))

    def error(self, fmt: str, *args: object) -> None:
        """Write `fmt % args` about something that keeps this program from its work."""
        if _is_enabled_for(ERROR):
            self._write(ERROR, fmt, args, sys._getframe(1))

    def exception(self, fmt: str, *args: object) -> None:
        """Write `fmt % args` and the traceback of the exception being handled: for bugs only."""
        if _is_enabled_for(ERROR):
            self._write(ERROR, fmt, args, sys._getframe(1), with_traceback=True)

    def _write(self, level: int, fmt: str, args: tuple[object, ...], frame: FrameType, *, with_traceback: bool = False) -> None:
        try:
            text = self._prefix + (fmt % args if args else fmt)
        except (TypeError, ValueError) as misuse:
            text = f"{self._prefix}{fmt!r} % {args!r}: {misuse}"
        code = frame.f_code
        # The text is complete and `args` empty: what came from a peer is never taken for a format.
        record = logging.LogRecord(
            "frp_py",
            level,
            code.co_filename,
            frame.f_lineno,
            text,
            (),
            sys.exc_info() if with_traceback else None,
            code.co_name,
        )
        _stdlib.handle(record)


def get_logger(*prefixes: str) -> Logger:
    """A logger whose lines begin with `[prefix] ` for each of `prefixes`."""
    return Logger("".join(f"[{p}] " for p in prefixes))


class LineFormatter(logging.Formatter):
    """Turns a record into one line without its end; a traceback follows in lines of its own, indented."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._clock = ""
        self._tags: dict[str, str] = {}

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`, in local time."""
        second = int(record.created)
        if second != self._second:
            self._clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second
        tag = self._tags.get(record.pathname)
        if tag is None:
            tag = self._tags[record.pathname] = "/".join(record.pathname.replace("\\", "/").split("/")[-2:])
        letter = _LETTERS.get(record.levelno) or "E"
        text = printable(record.getMessage())
        line = f"{self._clock}.{int(record.msecs):03d} [{letter}] [{tag}:{record.lineno}] {text}"
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            line += "".join(f"\n  {printable(part)}" for part in trace.rstrip("\n").split("\n"))
        return line


class _Output(logging.Handler):
    """Writes lines and counts those that could not be written."""

    def __init__(self) -> None:
        super().__init__()
        self.formatter = LineFormatter()
        self.lost = 0
        self._unreported = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._unreported and self._write(self._notice(self._unreported), WARNING, record.created):
                self._unreported = 0
            if self._unreported or not self._write(self.format(record), record.levelno, record.created):
                self.lost += 1
                self._unreported += 1
        except Exception:  # whatever it is, a log line is no reason to end anything
            self.lost += 1
            self._unreported += 1

    def _notice(self, lines: int) -> str:
        text = f"{lines} log lines could not be written"
        return self.format(logging.LogRecord("frp_py", WARNING, __file__, 0, text, (), None))

    def _write(self, line: str, level: int, now: float) -> bool:
        """Write one line; False means that it could not be written."""
        raise NotImplementedError


class _Console(_Output):
    """Standard output, with colours even where it is no terminal (config.md 4.8)."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._colours = _COLOURS if coloured else {}
        self._stalled = False
        self._poll: select.poll | None = None
        self._fd: int | None = None
        self._stream = sys.stdout
        try:
            self._stream.flush()
            self._fd = self._stream.fileno()
            mode = os.fstat(self._fd).st_mode
        except (OSError, ValueError, AttributeError):  # closed, or replaced by something without a descriptor
            return
        if hasattr(select, "poll") and not stat.S_ISREG(mode):
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLOUT)

    def _write(self, line: str, level: int, now: float) -> bool:
        colour = self._colours.get(level)
        line = f"{colour}{line}\n\x1b[0m" if colour else line + "\n"
        if self._fd is None:
            self._stream.write(line)
            self._stream.flush()
            return True
        data = line.encode()
        if len(data) <= _PIPE_BUF:
            return self._ready() and _write_all(self._fd, data)
        return all(self._ready() and _write_all(self._fd, data[i : i + _PIPE_BUF]) for i in range(0, len(data), _PIPE_BUF))

    def _ready(self) -> bool:
        if self._poll is None:
            return True
        self._stalled = not self._poll.poll(0 if self._stalled else _STALL)
        return not self._stalled


class _File(_Output):
    """A file that is put aside at local midnight as `name.YYYYMMDD-HHMMSS.ext` and kept `max_days` days."""

    def __init__(self, path: str, max_days: int) -> None:
        super().__init__()
        self._path = os.path.abspath(path)
        self._max_days = max_days
        self._fd = -1
        self._midnight = 0.0
        self._try_again = 0.0

    def open(self, now: float) -> None:
        """Open the file, putting aside what an earlier day left there; OSError when it can't be opened."""
        self._midnight = _next_midnight(now)
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        if os.path.isfile(self._path) and os.path.getmtime(self._path) < _midnight_before(now):
            self._put_aside(now)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()

    def _write(self, line: str, level: int, now: float) -> bool:
        if self._fd >= 0 and now >= self._midnight:
            self._rotate(now)
        if self._fd < 0:
            if now < self._try_again:
                return False
            self._try_again = now + _REOPEN_AFTER
            self.open(now)
        return _write_all(self._fd, f"{line}\n".encode())

    def _rotate(self, now: float) -> None:
        self._midnight = _next_midnight(now)
        try:
            ours = os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except OSError:
            ours = False
        os.close(self._fd)
        self._fd = -1
        self._try_again = 0.0
        # A device stays where it is, and so does what another process that writes to the same file has begun.
        if ours and os.path.isfile(self._path):
            self._put_aside(now)

    def _put_aside(self, now: float) -> None:
        stem, extension = os.path.splitext(self._path)
        directory, name = os.path.split(stem)
        rotated = re.compile(rf"{re.escape(name)}\.(\d{{8}}-\d{{6}}){re.escape(extension)}")
        oldest = _stamp(now - self._max_days * 86400)
        try:
            while os.path.exists(aside := f"{stem}.{_stamp(now)}{extension}"):
                now += 1
            os.rename(self._path, aside)
            for entry in os.listdir(directory):
                if (found := rotated.fullmatch(entry)) and found[1] < oldest:
                    os.unlink(os.path.join(directory, entry))
        except OSError:
            pass  # a directory that may not be changed: go on in the old file


def _write_all(fd: int, data: bytes) -> bool:
    """Write all of `data`, or as much as the disk takes; False when something is missing."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return False
    return True


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now))


def _midnight_before(now: float) -> float:
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))


def _next_midnight(now: float) -> float:
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))


class Line(NamedTuple):
    """A line that was logged."""

    id: int
    """Grows with each line."""
    time: float
    """Unix time."""
    level: str
    """`trace`, `debug`, `info`, `warn` or `error`."""
    text: str
    """Prefixes and message, and the traceback if there is one; printable."""


class Recent(logging.Handler):
    """Remembers the last lines, while it is switched on."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=most)
        self._last_id = 0

    def switch(self, *, on: bool) -> None:
        """Begin or end to listen."""
        (_stdlib.addHandler if on else _stdlib.removeHandler)(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a line, or the beginning of a very long one."""
        text = printable(record.getMessage()[:_LONGEST])
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))[:_LONGEST]
            text += "".join(f"\n  {printable(part)}" for part in trace.rstrip("\n").split("\n"))
        self._last_id += 1
        self._lines.append(Line(self._last_id, record.created, _NAMES.get(record.levelno) or "error", text))

    @property
    def last_id(self) -> int:
        """Of the newest line."""
        return self._last_id

    def after(self, line_id: int = 0, level: str = "trace") -> list[Line]:
        """The lines that came after the one with this id and have at least this level, oldest first.

        An id that there has not been yet is from before a restart of the program: everything came after it.
        """
        if line_id == self._last_id:
            return []
        lowest, line_id = _LEVELS.get(level, TRACE), line_id if line_id < self._last_id else 0
        return [line for line in list(self._lines) if line.id > line_id and _LEVELS[line.level] >= lowest]


_output: _Output | None = None


def setup(settings: Settings) -> None:
    """Write the lines of this process where `settings` says. May be called again; the last call counts.

    A file that can't be opened is reported on standard error and tried again later; the program goes on.
    """
    global _output
    output: _Output
    if settings.to in ("console", ""):
        output = _Console(coloured=not settings.disable_print_color)
    else:
        output = file = _File(settings.to, settings.max_days)
        try:
            file.open(time.time())
        except OSError as reason:
            print(f"WARNING: no log is written: {reason}", file=sys.stderr, flush=True)
    reset()
    _output = output
    _stdlib.addHandler(output)
    _stdlib.setLevel(_LEVELS.get(settings.level, INFO))
    _stdlib.propagate = False


def reset() -> None:
    """Undo `setup`: lines go to the standard library's loggers again."""
    global _output
    if _output is not None:
        _stdlib.removeHandler(_output)
        _output.close()
        _output = None
    _stdlib.setLevel(logging.NOTSET)
    _stdlib.propagate = True


def lost_lines() -> int:
    """How many lines could not be written since `setup`."""
    return _output.lost if _output is not None else 0
