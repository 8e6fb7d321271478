"""The local side of each kind of proxy."""

from frp_py.client.proxies.base import Kind
from frp_py.client.proxies.tcp import TcpLocal

KINDS: dict[str, Kind] = {
    "tcp": TcpLocal,
}
"""By the name of the kind."""
