"""Whether the program that runs with a configuration works, seen from another process on the same machine.

The server is asked for a pong, which proves that its loop turns and not only that the kernel accepts. A client has
nothing to ask; it is well while a connection to its server stands, for it is refused or waits otherwise.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from frp_py.errors import FrpError

if TYPE_CHECKING:
    from frp_py.config.client import ClientConfig
    from frp_py.config.server import ServerConfig

_TIMEOUT = 5.0
_PING = b"\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x2a"
"""yamux: version 0, type ping, flag SYN, stream 0, opaque value 42 (wire.md 2)."""
_PONG = b"\x00\x02\x00\x02\x00\x00\x00\x00\x00\x00\x00\x2a"
_ESTABLISHED = "01"


def check_server(config: ServerConfig) -> str:
    """A sentence saying that the server answers on its client port; FrpError or OSError when it doesn't."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(config.bind_addr, config.bind_addr)
    where = f"{host} port {config.bind_port}"
    with socket.create_connection((host, config.bind_port), _TIMEOUT) as connection:
        if not config.transport.tcp_mux:
            return f"frps accepts connections on {where}"
        if config.transport.tls.force:
            if config.transport.tls.trusted_ca_file:
                return f"frps accepts connections on {where}"  # it wants a certificate that we don't have
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection)
        with connection:
            connection.sendall(_PING)
            answer = b""
            while len(answer) < len(_PONG) and (more := connection.recv(len(_PONG) - len(answer))):
                answer += more
    if answer != _PONG:
        raise FrpError(f"no frps answers on {where}")
    return f"frps answers on {where}"


def check_client(config: ClientConfig) -> str:
    """A sentence saying that a connection to the server stands; FrpError when there is none (Linux only)."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path, encoding="ascii") as table:
                next(table)
                rows = [line.split(maxsplit=4) for line in table]
        except FileNotFoundError:
            continue
        if any(row[3] == _ESTABLISHED and int(row[2].rpartition(":")[2], 16) == config.server_port for row in rows):
            return f"frpc is connected to port {config.server_port} of its server"
    raise FrpError(f"there is no connection to port {config.server_port} of {config.server_addr}")
