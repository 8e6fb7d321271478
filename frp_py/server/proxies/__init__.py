"""The public side of each kind of proxy."""

from frp_py.server.proxies.base import Kind
from frp_py.server.proxies.http import HttpPublic
from frp_py.server.proxies.https import HttpsPublic
from frp_py.server.proxies.stcp import StcpPublic
from frp_py.server.proxies.sudp import SudpPublic
from frp_py.server.proxies.tcp import TcpPublic
from frp_py.server.proxies.tcpmux import TcpmuxPublic
from frp_py.server.proxies.udp import UdpPublic

KINDS: dict[str, Kind] = {
    "tcp": TcpPublic,
    "udp": UdpPublic,
    "stcp": StcpPublic,
    "sudp": SudpPublic,
    "http": HttpPublic,
    "https": HttpsPublic,
    "tcpmux": TcpmuxPublic,
}
"""By the name of the kind; importing a module registers nothing."""

KNOWN = frozenset(("tcp", "udp", "http", "https", "tcpmux", "stcp", "sudp", "xtcp"))
"""The kinds that frp has."""
