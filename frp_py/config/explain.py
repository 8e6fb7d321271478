"""What errors say to people beyond the specification's texts: where, what was expected, what was probably meant.

Only ever used on the way to an error, so nothing here is fast and everything heavy is imported inside.
"""

from typing import Any

import msgspec

from .base import Section
from .plugins import PLUGINS
from .proxies import PROXIES
from .visitors import VISITORS

_SECRET = ("token", "password", "secret", "groupkey", "passwd")


def shown(value: Any, key: str = "") -> str:
    """Return a value as it may stand in an error: short, on one line, and never a secret."""
    import json

    if any(word in key.lower() for word in _SECRET):
        return "what stands there"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a table"
    if hasattr(value, "literal"):
        return str(value.literal)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: str, choices: list[str]) -> str | None:
    """Return the choice that `word` was probably meant to be; case, dashes and underscores don't matter."""
    from difflib import get_close_matches

    plain = {_plain(choice): choice for choice in choices}
    found = get_close_matches(_plain(word), list(plain), n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def explain_unknown(key: str, cls: type[Section], owner: str) -> str:
    """Return what follows the path of an unknown key."""
    from .client import ClientConfig
    from .server import ServerConfig

    own = _keys(cls)
    if meant := nearest(key, own):
        return f'is no known key; did you mean "{meant}"?'
    plain = _plain(key)
    for kinds, word in ((PROXIES, "proxies"), (VISITORS, "visitors"), (PLUGINS, "plugins")):
        having = [name for name, other in kinds.items() if plain in map(_plain, _keys(other))]
        if cls in kinds.values() and having:
            return f"is no key of {owner}; {', '.join(having)} {word} have it"
    for here, there, program in ((ServerConfig, ClientConfig, "frpc"), (ClientConfig, ServerConfig, "frps")):
        if cls is here and plain in map(_plain, _keys(there)):
            return f"is a key of {program} only"
    return f"is no key of {owner}" if owner != "this table" else "is no known key"


def _keys(cls: type[Section]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(cls)]


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()
