"""Values that are read from a file or printed by a program (config.md 2.8)."""

import os

from ..errors import ConfigError
from .check import source_fault
from .common import ExecSource, ValueSource


def resolve_value_source(source: ValueSource, key: str = "") -> str:
    """Return the value, without surrounding white space. Raises ConfigError with the reasons of config.md 4.8, `key` named; may block."""
    try:
        return _value(source)
    except ConfigError as error:
        raise ConfigError(f"failed to resolve {key}: {error}" if key else str(error)) from None


def _value(source: ValueSource) -> str:
    if fault := source_fault(source):
        raise ConfigError(fault)
    if source.file is not None and source.type == "file":
        return _file(source.file.path)
    assert source.exec is not None
    return _program(source.exec)


def _file(path: str) -> str:
    from .files import os_reason

    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape").strip()
    except OSError as error:
        raise ConfigError(f"failed to read file {path}: {os_reason(error, path)}") from None


def _program(source: ExecSource) -> str:
    import subprocess

    from .files import errno_text

    environ = {**os.environ, **{entry.name: entry.value for entry in source.env}}
    try:
        done = subprocess.run(
            [source.command, *source.args],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError as error:
        reason = errno_text(error)
        if isinstance(error, FileNotFoundError) and "/" not in source.command:
            reason = f'exec: "{source.command}": executable file not found in $PATH'
        elif "/" in source.command:
            reason = f"fork/exec {source.command}: {reason}"
        raise ConfigError(f"failed to execute command {source.command}: {reason}") from None
    except ValueError as error:  # a null byte somewhere
        raise ConfigError(f"failed to execute command {source.command}: {error}") from None
    if done.returncode:
        import signal

        ending = f"exit status {done.returncode}"
        if done.returncode < 0:
            ending = f"signal: {(signal.strsignal(-done.returncode) or str(-done.returncode)).lower()}"
        raise ConfigError(f"failed to execute command {source.command}: {ending}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()
