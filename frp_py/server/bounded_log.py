"""The logs of those who come to the server: users who are refused, and clients by their networks."""

from __future__ import annotations

from frp_py.net.bounded_log import BoundedLog, Budget
from frp_py.server.penalties import network_of

_MOST_NETWORKS = 4096
_BURST, _RATE = 1000, 20.0  # lines about users who were refused: at once, and a second later on


def refusals_log() -> BoundedLog:
    """For users of a shared port who are sent away: what reads the log to shut out attackers finds their addresses there."""
    return BoundedLog("", Budget(_BURST, _RATE), about="users who were refused", longest=400)


class Budgets:
    """One for each network, so that who comes again and again doesn't get a new one each time."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._budgets: dict[bytes, Budget] = {}  # who came last is at the end

    def of(self, host: str) -> Budget:
        """That of the network of `host` (numeric)."""
        network = network_of(host)
        budget = self._budgets.pop(network, None) or Budget(self._burst, self._rate)
        self._budgets[network] = budget
        if len(self._budgets) > _MOST_NETWORKS:
            del self._budgets[next(iter(self._budgets))]
        return budget
