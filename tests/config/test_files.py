"""Files are replaced as a whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from frp_py.config.files import write_file
from frp_py.errors import ConfigError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.json"
    write_file(str(path), b"x")
    assert (path.read_bytes(), mode(path), os.listdir(path.parent)) == (b"x", 0o600, ["c.json"])
    assert mode(path.parent) == 0o755 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_old_one_keeps_its_mode_and_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with path.open("rb") as reader:
        write_file(str(path), b"new")
        assert reader.read() == b"old"
    assert (path.read_bytes(), mode(path)) == (b"new", 0o640)
    write_file(str(path), b"newer", private=True)
    assert mode(path) == 0o600


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "there" / "c", tmp_path / "link"
    path.parent.mkdir()
    path.write_bytes(b"old")
    link.symlink_to("there/c")
    write_file(str(link), b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_when_it_fails_the_old_one_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"old")

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigError) as failure:
        write_file(str(path), b"new")
    assert str(failure.value) == f"open {path}: no space left on device"
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["c"])


def test_what_can_not_be_replaced_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is a mount of its own, as in a container."""
    path = tmp_path / "c"
    path.write_bytes(b"old and longer")

    def fail(source: str, target: str) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "replace", fail)
    write_file(str(path), b"new")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"new", ["c"])


@pytest.mark.parametrize("old", [b"old", b"old and longer than the new one"])
def test_what_is_written_over_comes_back_when_there_is_no_space(old: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    path.write_bytes(old)

    def busy(source: str, target: str) -> None:
        raise OSError(16, "Device or resource busy")

    synced: list[bytes] = []

    def full(fd: int) -> None:
        synced.append(path.read_bytes())
        if len(synced) == 2:  # the first is the one beside it
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError) as failure:
        write_file(str(path), b"new, but too long")
    assert str(failure.value) == f"open {path}: no space left on device"
    assert (synced[1], path.read_bytes()) == (b"new, but too long", old)


def test_what_lies_in_the_way_is_not_written_to(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"somebody else's")
    os.link(other, tmp_path / "c.tmp")
    write_file(str(tmp_path / "c"), b"new")
    os.mkfifo(tmp_path / "c.tmp")
    write_file(str(tmp_path / "c"), b"newer")
    assert other.read_bytes() == b"somebody else's"
    assert sorted(os.listdir(tmp_path)) == ["c", "other"]
    assert (tmp_path / "c").read_bytes() == b"newer"


def test_paths_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (str(tmp_path / "file" / "c"), "a\0b"):
        with pytest.raises(ConfigError):
            write_file(path, b"x")
