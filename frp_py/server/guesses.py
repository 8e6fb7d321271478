"""Wrong secret keys of visitors: only so many are looked at, whoever gives them.

A client that is logged in isn't shut out for them (penalties.py): one visitor that is configured wrongly must not end its tunnels, nor the
visits of others. So there is a budget for each session and proxy. Who logs in again for a new one shares another, of his network; it is so
much larger that a few wrong configurations don't use it up for their neighbours.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from frp_py.server.penalties import network_of

if TYPE_CHECKING:
    from frp_py.server.penalties import Penalties

OF_ONE, OF_ONE_RATE = 10, 1 / 6
"""Wrong keys for a proxy at once, and a second later on, in one session; or from one network, of those who have none."""
OF_NETWORK, OF_NETWORK_RATE = 60, 0.5
"""The same in all sessions with clients of one network."""
MOST = 16_384
"""Budgets that are kept in mind; the one that was used longest ago has to make room."""


class _Budgets:
    def __init__(self, most: int, rate: float) -> None:
        self._most = most
        self._rate = rate
        self._spent: dict[Hashable, tuple[float, float]] = {}  # how much, and when that was

    def has_room(self, key: Hashable, now: float) -> bool:
        return not self._spent or self._spent_by(key, now) <= self._most - 1

    def spend(self, key: Hashable, now: float) -> None:
        spent = self._spent_by(key, now) + 1
        self._spent.pop(key, None)
        self._spent[key] = spent, now
        if len(self._spent) > MOST:
            del self._spent[next(iter(self._spent))]

    def _spent_by(self, key: Hashable, now: float) -> float:
        spent, at = self._spent.get(key, (0.0, now))
        return max(0.0, spent - (now - at) * self._rate)


class Guesses:
    """Those of all visitors. `run_id` is that of the visitor's session, or empty; `host` is numeric."""

    def __init__(self, penalties: Penalties) -> None:
        self._penalties = penalties
        self._of_one = _Budgets(OF_ONE, OF_ONE_RATE)
        self._of_network = _Budgets(OF_NETWORK, OF_NETWORK_RATE)

    def may_try(self, proxy: str, run_id: str, host: str, now: float) -> bool:
        """Whether a key that is given for `proxy` is looked at."""
        if not self._of_one.has_room((proxy, run_id or network_of(host)), now):
            return False
        return not run_id or self._of_network.has_room((proxy, network_of(host)), now)

    def wrong(self, proxy: str, run_id: str, host: str, now: float) -> None:
        """It was looked at, and wrong."""
        self._of_one.spend((proxy, run_id or network_of(host)), now)
        if run_id and not self._penalties.is_exempt(host):  # all clients may seem to come from there
            self._of_network.spend((proxy, network_of(host)), now)
