"""An frp-compatible reverse proxy: what programs may embed.

`Server` and `Client` each have `async def run()` for a trio program; the functions make their configuration. Everything
is imported on first use, so `import frp_py` costs nothing.
"""

from __future__ import annotations

from frp_py.errors import ConfigError, FrpError
from frp_py.version import __version__

TYPE_CHECKING = False  # not from typing, which takes longer to import than all that `frps --version` needs
if TYPE_CHECKING:
    from frp_py.client.app import Client
    from frp_py.config import client_from_dict, load_client, load_server, server_from_dict
    from frp_py.server.app import Server

__all__ = [
    "Client",
    "ConfigError",
    "FrpError",
    "Server",
    "__version__",
    "client_from_dict",
    "load_client",
    "load_server",
    "server_from_dict",
]

_HOMES = {
    "Client": "frp_py.client.app",
    "Server": "frp_py.server.app",
    "client_from_dict": "frp_py.config",
    "load_client": "frp_py.config",
    "load_server": "frp_py.config",
    "server_from_dict": "frp_py.config",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'frp_py' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
