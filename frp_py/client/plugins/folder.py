"""Files below a folder, and nothing else: whatever a path says, it doesn't lead out of it. All of this blocks."""

from __future__ import annotations

import errno
import html
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

_READ = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NOCTTY", 0)
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_LISTED = 100_000  # entries
_LONGEST = 4096  # bytes of a path: the system opens none that is longer


class Found(NamedTuple):
    """An open file or directory, to be closed by whoever gets it."""

    fd: int
    path: str
    is_directory: bool
    size: int
    modified_ns: int


def parts_of(path: str) -> list[str] | None:
    """The names in the path of a URL; None when there is one that can't be served."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return None if ".." in parts or "\0" in path else parts


def find(folder: str, parts: Sequence[str]) -> Found:
    """Open what is there. Raises OSError, FileNotFoundError among them for what lies outside or is neither a file nor a directory.

    Symbolic links are followed as long as they lead to something inside. What was found inside is then opened name by name
    without following any, so that a link that is put there meanwhile leads nowhere.
    """
    root = os.path.realpath(folder)
    if sum([len(part) + 1 for part in parts]) > _LONGEST:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))  # name by name it would take 200 ms to find out
    path = os.path.realpath(os.path.join(root, *parts), strict=True)
    if path != root and not path.startswith(root.rstrip(os.sep) + os.sep):
        raise FileNotFoundError(path)
    names = [name for name in path[len(root) :].split(os.sep) if name]
    at = os.open(root, _STEP)
    try:
        for name in names[:-1]:
            below = os.open(name, _STEP, dir_fd=at)
            os.close(at)
            at = below
        last = names[-1] if names else "."
        status = os.stat(last, dir_fd=at, follow_symlinks=False)
        if not _is_servable(status):
            raise FileNotFoundError(path)  # opening a device or a pipe may already do something
        fd = os.open(last, _READ, dir_fd=at)
    finally:
        os.close(at)
    try:
        status = os.fstat(fd)
        if not _is_servable(status):
            raise FileNotFoundError(path)
    except BaseException:
        os.close(fd)
        raise
    return Found(fd, path, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime_ns)


def _is_servable(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)


def listing(folder: str, found: Found) -> bytes:
    """A page with a link for each entry of an open directory; those that lead out of `folder` are left out."""
    root = os.path.realpath(folder)
    lines: list[str] = []
    with os.scandir(found.fd) as entries:
        for entry in entries:
            if len(lines) >= _LISTED:
                break
            if entry.is_symlink():
                target = os.path.realpath(os.path.join(found.path, entry.name))
                if target != root and not target.startswith(root.rstrip(os.sep) + os.sep):
                    continue
            try:
                name = entry.name + "/" * entry.is_dir()
            except OSError:
                name = entry.name
            lines.append(name)
    links = "".join(f'<a href="{link_to(name)}">{_shown(name)}</a>\n' for name in sorted(lines, key=lambda name: name.removesuffix("/")))
    return f'<!doctype html>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<pre>\n{links}</pre>\n'.encode()


def link_to(name: str) -> str:
    """A relative reference to a neighbour; directories end with a slash."""
    return quote(os.fsencode(name.removesuffix("/")), safe="") + "/" * name.endswith("/")


def _shown(name: str) -> str:
    return html.escape(os.fsencode(name).decode(errors="replace"))
