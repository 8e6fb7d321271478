"""The store's entries, and their file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from frp_py.client.store import AlreadyExistsError, NotFoundError, Store
from frp_py.config.decode import entry_of, entry_tree
from frp_py.config.store import Kept
from frp_py.errors import ConfigError
from tests.support.inside import logged


def kept(name: str, kind: str = "proxy", **fields: Any) -> Kept:
    tree = entry_tree({"name": name, "type": "tcp" if kind == "proxy" else "stcp", **fields}, kind, "x", "the test")
    return Kept(tree, entry_of(tree, kind))


def names(store: Store, kind: str = "proxy") -> list[str]:
    return [each.entry.name for each in store.entries(kind)]


async def test_changes_are_in_the_file_when_they_count(tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.json"
    store = Store(str(path))
    with logged() as lines:
        await store.create("proxy", kept("b", localPort=1))
        await store.create("proxy", kept("a"))
        await store.create("visitor", kept("a", "visitor", bindPort=5))
        await store.update("proxy", kept("b", localPort=2, what="ever"))
        await store.delete("proxy", "a")
    assert lines.texts == [
        'store: created proxy "b"',
        'store: created proxy "a"',
        'store: created visitor "a"',
        'store: updated proxy "b"',
        'store: deleted proxy "a"',
    ]
    assert path.read_text() == (
        '{\n  "proxies": [\n    {\n      "name": "b",\n      "type": "tcp",\n      "transport": {\n        "bandwidthLimit": ""\n      },\n'
        '      "loadBalancer": {\n        "group": ""\n      },\n      "healthCheck": {\n        "type": "",\n'
        '        "intervalSeconds": 0\n      },\n      "localPort": 2,\n      "plugin": null\n    }\n  ],\n'
        '  "visitors": [\n    {\n      "name": "a",\n'
        '      "type": "stcp",\n      "transport": {},\n      "bindPort": 5,\n      "plugin": null\n    }\n  ]\n}'
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["store.json"]
    again = Store(str(path))
    assert (names(again), names(again, "visitor")) == (["b"], ["a"])
    assert [each.entry for each in again.entries("proxy")] == [each.entry for each in store.entries("proxy")]


async def test_what_can_not_be(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    await store.create("visitor", kept("a", "visitor"))
    with pytest.raises(AlreadyExistsError, match=r'^already exists: visitor "a"$'):
        await store.create("visitor", kept("a", "visitor"))
    with pytest.raises(NotFoundError, match=r'^not found: proxy "a"$'):
        await store.update("proxy", kept("a"))
    with pytest.raises(NotFoundError, match=r'^not found: proxy "a"$'):
        await store.delete("proxy", "a")


async def test_a_change_that_can_not_be_written_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    store = Store(str(path))
    await store.create("proxy", kept("a"))
    before = path.read_bytes()

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    for change in (store.create("proxy", kept("b")), store.update("proxy", kept("a", localPort=1)), store.delete("proxy", "a")):
        with pytest.raises(ConfigError, match=r"^failed to persist: open .*: no space left on device$"):
            await change
    assert names(store) == ["a"]
    assert store.get("proxy", "a") == kept("a")
    assert path.read_bytes() == before


async def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    store = Store(str(path))
    async with trio.open_nursery() as nursery:
        for i in range(20):
            nursery.start_soon(store.create, "proxy", kept(f"p{i}"))
    assert len(store.entries("proxy")) == len(json.loads(path.read_text())["proxies"]) == 20


async def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    with pytest.raises(ConfigError, match="failed to load existing data"):
        Store(str(tmp_path / "s"))
