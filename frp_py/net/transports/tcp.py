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
        raise FrpError(f"dial tcp: lookup {host}: {cause(error)}") from None
    except (OSError, ValueError) as error:
        raise FrpError(f"dial tcp {where}: {cause(error)}") from None
    family, kind, proto = stream.socket.family, stream.socket.type, stream.socket.proto
    sock = socket.socket(family, kind, proto, fileno=stream.socket.detach())
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    set_keepalive(sock, keepalive)
    return sock


def cause(error: BaseException) -> str:
    """Why trio.open_tcp_stream failed: what went wrong with each address, once."""
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    below = error.__cause__
    errors = below.exceptions if isinstance(below, BaseExceptionGroup) else (below or error,)
    texts = [f"connect: {os.strerror(e.errno).lower()}" if isinstance(e, OSError) and e.errno else str(e) for e in errors]
    return "; ".join(dict.fromkeys(texts))
