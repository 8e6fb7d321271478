"""Reading a client's store file (config.md 1.14)."""

from typing import Any, NamedTuple

from ..errors import ConfigError
from .decode import entry_of, entry_tree
from .files import errno_text
from .json_reader import read_json

_FRAME = "failed to create store source: failed to load existing data: "


class Kept(NamedTuple):
    """One entry of a store: as it is written, without unknown keys, and complete."""

    tree: dict[str, Any]
    entry: Any


class Stored(NamedTuple):
    """What a store holds; of two entries of one name the last is kept."""

    proxies: list[Kept]
    visitors: list[Kept]


def read_store(path: str) -> Stored:
    """Return a store file's entries; a missing file is an empty store. Raises ConfigError with the texts of config.md 1.14."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return Stored([], [])
    except OSError as error:
        raise ConfigError(f"{_FRAME}failed to read file: open {path}: {errno_text(error)}") from None
    try:
        tree = read_json(data.decode("utf-8", "surrogateescape"), path, strict=False)
    except ConfigError as error:
        raise ConfigError(f"{_FRAME}failed to parse JSON: {error}") from None
    if not isinstance(tree, dict | None):
        raise ConfigError(f"{_FRAME}failed to parse JSON: json: the store is no object\n  in {path}")
    folded = {key.lower(): value for key, value in (tree or {}).items()}
    return Stored(_entries(folded.get("proxies"), "proxy", path), _entries(folded.get("visitors"), "visitor", path))


def _entries(values: Any, word: str, path: str) -> list[Kept]:
    if not isinstance(values, list | None):
        raise ConfigError(f"{_FRAME}failed to parse JSON: json: the list of each {word} is no array\n  in {path}")
    by_name: dict[str, Kept] = {}
    for i, value in enumerate(values or ()):
        try:
            tree = entry_tree(value, word, f"{'proxies' if word == 'proxy' else 'visitors'}[{i}]", path)
            entry = entry_of(tree, word)
        except ConfigError as error:
            raise ConfigError(f"{_FRAME}failed to decode {word} at index {i}: {error}") from None
        if not entry.name:
            raise ConfigError(f"{_FRAME}{word} name cannot be empty\n  in {path}: entry {i}")
        by_name[entry.name] = Kept(tree, entry)
    return [*by_name.values()]
