"""What the file and the store wish together (behaviour.md 7.4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from frp_py.client.sources import ConfigFile, Sources
from frp_py.config import client_from_dict, load_client
from frp_py.errors import ConfigError


def entry(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "tcp", "localPort": port, **more}


def visitor(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "stcp", "serverName": "s", "bindPort": port, **more}


def world(directory: Path, tree: dict[str, Any], store: dict[str, Any] | None = None) -> ConfigFile:
    (directory / "frpc.json").write_text(json.dumps({"store": {"path": "s.json"}, **tree}))
    if store is not None:
        (directory / "s.json").write_text(json.dumps(store))
    return ConfigFile(str(directory / "frpc.json"))


def merged(sources: Sources) -> list[tuple[str, int]]:
    proxies, visitors = sources.merged()
    return [(each.name, each.local_port) for each in proxies] + [(each.name, each.bind_port) for each in visitors]


def test_the_store_wins_and_disabled_ones_hide_nothing(tmp_path: Path) -> None:
    file = world(
        tmp_path,
        {
            "proxies": [entry("z", 1), entry("both", 2), entry("hidden", 3), entry("off", 4, enabled=False)],
            "visitors": [visitor("w", 1), visitor("v", 1)],
        },
        {
            "proxies": [entry("both", 20), entry("hidden", 30, enabled=False), entry("off", 40), entry("a", 50)],
            "visitors": [visitor("v", 2)],
        },
    )
    config = load_client(file.path, store=True)
    sources = Sources(config, file)
    assert merged(sources) == [("a", 50), ("both", 20), ("hidden", 3), ("off", 40), ("z", 1), ("v", 2), ("w", 1)]
    assert sources.merged() == (config.proxies, config.visitors)
    assert [sources.is_stored("proxy", name) for name in ("both", "hidden", "a", "z")] == [True, False, True, False]


def test_what_the_store_hid_is_back_when_that_is_gone(tmp_path: Path) -> None:
    file = world(tmp_path, {"proxies": [entry("both", 2)]}, {"proxies": [entry("both", 20)]})
    sources = Sources(load_client(file.path, store=True), file)
    assert sources.store is not None
    sources.store._entries["proxy"].clear()
    assert merged(sources) == [("both", 2)]


def test_start_holds_for_both(tmp_path: Path) -> None:
    file = world(tmp_path, {"start": ["a", "b"], "proxies": [entry("a", 1), entry("c", 1)]}, {"proxies": [entry("b", 2), entry("d", 2)]})
    sources = Sources(load_client(file.path, store=True), file)
    assert merged(sources) == [("a", 1), ("b", 2)]
    world(tmp_path, {"proxies": [entry("a", 1), entry("c", 1)]})
    sources.replace(file.load())
    assert merged(sources) == [("a", 1), ("b", 2), ("c", 1), ("d", 2)]


def test_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(json.dumps({"proxies": [entry("b", 2)]}))
    tree = {"store": {"path": str(tmp_path / "s")}, "proxies": [entry("a", 1)]}
    config = client_from_dict(tree, environ={}, store=True)
    assert merged(Sources(config)) == [("a", 1), ("b", 2)]
    assert merged(Sources(client_from_dict({"proxies": [entry("a", 1)]}, environ={}))) == [("a", 1)]


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"proxies": [{"name": "a", "type": "xtcp"}]}, 'proxy a: type = "xtcp" is not supported yet'),
        ({"auth": {"token": "<no value>"}}, "auth.token contains <no value>"),
        ({"featureGates": {"X": True}}, "unrecognized feature gate: X"),
        ({"serverPort": "x"}, "cannot unmarshal string into int"),
        ({"what": 1}, 'unknown field "what"'),
    ],
)
def test_a_file_that_no_client_would_start_with_is_refused(tree: dict[str, Any], text: str, tmp_path: Path) -> None:
    file = world(tmp_path, tree)
    with pytest.raises(ConfigError) as failure:
        file.load()
    assert text in str(failure.value)
    data = Path(file.path).read_bytes()
    world(tmp_path, {})
    with pytest.raises(ConfigError) as failure:
        file.load(data=data)
    assert text in str(failure.value)
    assert file.load().proxies == ()


def test_unknown_keys_are_refused_as_told(tmp_path: Path) -> None:
    file = world(tmp_path, {"what": 1})
    file.load(strict=False)
    lenient = ConfigFile(file.path, strict=False)
    lenient.load()
    with pytest.raises(ConfigError):
        lenient.load(strict=True)


def test_the_files_to_watch(tmp_path: Path) -> None:
    file = world(tmp_path, {})
    includes = [str(tmp_path / "d" / "*.toml"), str(tmp_path / "e.toml")]
    assert [*file.paths(includes)] == [file.path]
    (tmp_path / "d").mkdir()
    for name in ("d/a.toml", "d/b.toml", "d/c.txt", "e.toml"):
        (tmp_path / name).write_text("")
    assert [*file.paths(includes)] == [file.path, *(str(tmp_path / name) for name in ("d/a.toml", "d/b.toml", "e.toml"))]
