"""Reading and writing files, with the operating system's reasons in the specification's words (config.md 1.1)."""

import contextlib
import errno
import io
import os
import stat

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


def write_file(path: str, data: bytes, *, private: bool = False) -> None:
    """Put `data` in the place of a file's content, so that whoever reads it finds the old or the new, and a crash leaves one of them.

    The file behind a symbolic link is meant. A new file is for its owner only; an old one keeps mode and owner unless `private`. Missing
    directories are made. Where a file can't be replaced as a whole, as one that is mounted by itself, it is written over.
    Raises ConfigError.
    """
    try:
        path = os.path.realpath(path)
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        try:
            _replace(path, data, private)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS) or not os.path.isfile(path):
                raise
            _write_over(path, data)
    except OSError as error:
        raise ConfigError(os_reason(error, path)) from None
    except ValueError:
        raise ConfigError(f"open {path}: invalid argument") from None


def _replace(path: str, data: bytes, private: bool) -> None:
    beside = f"{path}.tmp"
    try:
        old = None if private else os.stat(path)
    except FileNotFoundError:
        old = None
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # what a crash left there; or a link or a pipe, which would lead elsewhere
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(fd, "wb") as file:
            if os.name == "posix":
                os.fchmod(fd, 0o600 if old is None else stat.S_IMODE(old.st_mode))
                if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(fd, old.st_uid, old.st_gid)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    if os.name == "posix":
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _write_over(path: str, data: bytes) -> None:
    with open(path, "r+b", buffering=0) as file:  # not cut off first: what it has on the disk is kept for what it was
        old = file.readall()
        try:
            _put(file, data)
        except OSError:
            with contextlib.suppress(OSError):
                _put(file, old)
            raise


def _put(file: io.FileIO, data: bytes) -> None:
    file.seek(0)
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    file.truncate()
    os.fsync(file.fileno())
