"""Reading files, with the operating system's reasons in the specification's words (config.md 1.1)."""

import os

from ..errors import ConfigError


def read_file(path: str) -> bytes:
    """Return a file's content. Raises ConfigError, such as `open frpc.toml: no such file or directory`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(os_reason(error, path)) from None
    except ValueError:  # a null byte in the path
        raise ConfigError(f"open {path}: invalid argument") from None


def os_reason(error: OSError, path: str) -> str:
    """Return which operation on a path failed, and why."""
    # open() reports a directory itself; Go opens it and fails to read.
    return f"{'read' if isinstance(error, IsADirectoryError) else 'open'} {path}: {errno_text(error)}"


def errno_text(error: OSError) -> str:
    """Return the system's words for an error, in lower case as everywhere in the texts."""
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]
