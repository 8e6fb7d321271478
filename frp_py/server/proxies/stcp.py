"""stcp: a TCP service for visitors (behaviour.md 2.8)."""

from __future__ import annotations

from frp_py.server.visitors import SecretProxy


class StcpPublic(SecretProxy):
    """Has visitors only."""
