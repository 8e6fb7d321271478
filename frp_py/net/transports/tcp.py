"""Connecting to a server over TCP."""

from __future__ import annotations

import os
import socket

import trio

from frp_py.errors import FrpError
from frp_py.net.engine.listen import set_keepalive


async def dial(host: str, port: int, *, timeout: float, local_ip: str = "", keepalive: int = 7200) -> socket.socket:
    """A connected, non-blocking socket; all addresses of the name are tried. Raises FrpError.

    `timeout` and `keepalive` in s; a keep-alive not above 0 is off.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_tcp_stream(host, port, local_address=local_ip or None)
    except trio.TooSlowError:
        raise FrpError(f"dial tcp {where}: i/o timeout") from None
    except socket.gaierror as error:
        raise FrpError(f"dial tcp: lookup {host}: {error.strerror or error}") from None
    except (OSError, ValueError) as error:
        raise FrpError(f"dial tcp {where}: {_cause(error)}") from None
    family, kind, proto = stream.socket.family, stream.socket.type, stream.socket.proto
    sock = socket.socket(family, kind, proto, fileno=stream.socket.detach())
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    set_keepalive(sock, keepalive)
    return sock


def _cause(error: BaseException) -> str:
    """What went wrong with each address, once."""
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause or error,)
    texts = [f"connect: {(os.strerror(e.errno) if e.errno else str(e)).lower()}" if isinstance(e, OSError) else str(e) for e in errors]
    return "; ".join(dict.fromkeys(texts))
