"""The local side of each kind of proxy."""

from frp_py.client.proxies.base import Kind
from frp_py.client.proxies.http import HttpLocal
from frp_py.client.proxies.named import NamedLocal, TcpmuxLocal
from frp_py.client.proxies.secret import StcpLocal, SudpLocal
from frp_py.client.proxies.tcp import TcpLocal
from frp_py.client.proxies.udp import UdpLocal

KINDS: dict[str, Kind] = {
    "tcp": TcpLocal,
    "udp": UdpLocal,
    "stcp": StcpLocal,
    "sudp": SudpLocal,
    "http": HttpLocal,
    "https": NamedLocal,
    "tcpmux": TcpmuxLocal,
}
"""By the name of the kind."""
