"""A configuration as a tree of plain values, shaped like a file."""

from typing import Any

import msgspec

from .base import Bandwidth, Section


def to_dict(section: Section) -> dict[str, Any]:
    """Return what a file must say to give this configuration: camelCase keys, without what is a default.

    A loaded ClientConfig still names its `includes`, though their entries are in it; drop that key before it is loaded again.
    """
    kind = getattr(section, "type", None) if section.__struct_config__.tag else None
    tree: dict[str, Any] = {} if kind is None else {"type": kind}
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value != default:
            tree[field.encode_name] = _plain(value)
    return tree


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Bandwidth):
        return value.text
    return dict(value) if isinstance(value, dict) else value
