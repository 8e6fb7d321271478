"""TLS that ends here: the certificate, the protocols offered, and the name that the user asked for (behaviour.md 8.6)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from frp_py.config.common import TlsFiles
from frp_py.net.transports import tls

if TYPE_CHECKING:
    from collections.abc import Sequence


class UserTls(ssl.SSLObject):
    """One connection, with the name that its user asked for."""

    server_name = ""
    """Empty until the hello is there, and when it has none."""


async def termination(crt_path: str, key_path: str, protocols: Sequence[str]) -> ssl.SSLContext:
    """A context with the certificate of these files, or one made now when either is missing. Raises FrpError."""
    files = TlsFiles(cert_file=crt_path, key_file=key_path)
    context = await trio.to_thread.run_sync(tls.server_context, files, abandon_on_cancel=True)
    context.sslobject_class = UserTls
    context.sni_callback = _remember_name
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def _remember_name(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
    if isinstance(connection, UserTls):
        connection.server_name = name or ""
