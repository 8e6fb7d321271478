"""Configuration: what the files say, typed, complete and checked.

Everything here is imported on first use; `import frp_py.config` alone costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import check_proxy, check_visitor, warnings_of
    from .client import ClientConfig
    from .load import LEGACY_WARNING, client_from_dict, load_client, load_server, server_from_dict
    from .server import ServerConfig
    from .sources import resolve_value_source
    from .supported import not_yet_supported
    from .toml_writer import to_toml
    from .tree import to_dict

__all__ = [
    "LEGACY_WARNING",
    "ClientConfig",
    "ServerConfig",
    "check_proxy",
    "check_visitor",
    "client_from_dict",
    "load_client",
    "load_server",
    "not_yet_supported",
    "resolve_value_source",
    "server_from_dict",
    "to_dict",
    "to_toml",
    "warnings_of",
]

_HOMES = {
    "check": ("check_proxy", "check_visitor", "warnings_of"),
    "client": ("ClientConfig",),
    "load": ("LEGACY_WARNING", "client_from_dict", "load_client", "load_server", "server_from_dict"),
    "server": ("ServerConfig",),
    "sources": ("resolve_value_source",),
    "supported": ("not_yet_supported",),
    "toml_writer": ("to_toml",),
    "tree": ("to_dict",),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f".{module}", __name__), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
