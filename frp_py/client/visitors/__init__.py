"""The visitors: the local ends of other clients' secret proxies."""

from frp_py.client.visitors.base import Kind
from frp_py.client.visitors.stcp import StcpVisitor
from frp_py.client.visitors.sudp import SudpVisitor

KINDS: dict[str, Kind] = {
    "stcp": StcpVisitor,
    "sudp": SudpVisitor,
}
"""By the name of the kind."""
