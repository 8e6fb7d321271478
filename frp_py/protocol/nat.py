"""What kind of NAT somebody is behind, judged by how two servers see one socket of his (nat.md 2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from frp_py.errors import FrpError

EASY, HARD = "EasyNAT", "HardNAT"
NO_CHANGE, IP_CHANGED, PORT_CHANGED, BOTH_CHANGED = "BehaviorNoChange", "BehaviorIPChanged", "BehaviorPortChanged", "BehaviorBothChanged"

_REGULAR = 5  # ports between two observations, up to which the next ones can be guessed

_KINDS = {
    (False, False): (EASY, NO_CHANGE),
    (True, False): (HARD, IP_CHANGED),
    (False, True): (HARD, PORT_CHANGED),
    (True, True): (HARD, BOTH_CHANGED),
}
"""By whether IP and port differ."""


class Nat(NamedTuple):
    """How a NAT behaves."""

    kind: str
    """EASY or HARD."""
    behavior: str
    ports_difference: int
    """Between the observed ports, when only these differ."""
    is_regular: bool
    """Ports change by so little that the next ones can be guessed."""
    is_public: bool
    """There is none: the address that others see is one of this machine."""


def classify(mapped: Sequence[str], own: Collection[str]) -> Nat:
    """Judge by the `ip:port` that others saw, at least two of them, and the IPs of the machine itself. Raises FrpError."""
    if len(mapped) < 2:
        raise FrpError("not enough addresses")
    addresses = [_split(text) for text in mapped]
    hosts = {host for host, _ in addresses}
    ports = [port for _, port in addresses]
    spread = max(ports) - min(ports)
    kind, behavior = _KINDS[len(hosts) > 1, spread > 0]
    difference = spread if behavior == PORT_CHANGED else 0
    return Nat(kind, behavior, difference, 1 <= difference <= _REGULAR, not hosts.isdisjoint(own))


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError
        return str(ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        raise FrpError(f"address {text[:80]!r} is invalid") from None
