"""The token in effect (config.md 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from frp_py.config import resolve_value_source

if TYPE_CHECKING:
    from frp_py.config.client import ClientAuthConfig
    from frp_py.config.server import ServerAuthConfig


async def token_of(auth: ServerAuthConfig | ClientAuthConfig) -> str:
    """`auth.token`, or what `auth.tokenSource` gives. Raises ConfigError."""
    if auth.token_source is None or auth.method != "token":
        return auth.token
    return await trio.to_thread.run_sync(resolve_value_source, auth.token_source, "auth.tokenSource")
