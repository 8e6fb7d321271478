"""How many local sockets for datagrams a program has, and who makes room for whom.

A source can be invented for each datagram; so there is an end to the sockets, and a flood for one proxy takes the places of that proxy.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frp_py.net.engine.datagrams import LocalSocket


class Places:
    """How many local sockets there may be in a program, `most`, and who has them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.crowds: set[Crowd] = set()
        """Those who have any."""

    def make_room(self, crowd: Crowd) -> None:
        """One of `crowd` or of another goes. A crowd above the average doesn't look for a bigger one: that is what a flood is."""
        if self.taken:
            (crowd if len(crowd.locals) * len(self.crowds) > self.taken else max(self.crowds, key=_size)).give_one_up()


class Crowd:
    """The local sockets of one proxy, those first that have been there for longest, more or less."""

    def __init__(self, places: Places) -> None:
        self.locals: OrderedDict[LocalSocket, None] = OrderedDict()
        self._places = places

    def make_room(self) -> None:
        """For one more, when all places are taken."""
        if self._places.taken >= self._places.most:
            self._places.make_room(self)

    def make_room_at_once(self) -> None:
        """The system says that there is none."""
        self._places.make_room(self)

    def add(self, local: LocalSocket) -> None:
        """It has come."""
        self.locals[local] = None
        self._places.taken += 1
        self._places.crowds.add(self)

    def remove(self, local: LocalSocket) -> None:
        """It has gone."""
        del self.locals[local]
        self._places.taken -= 1
        if not self.locals:
            self._places.crowds.discard(self)

    def give_one_up(self) -> None:
        """The oldest, but a few that were used a moment ago are looked over."""
        for _ in range(16):
            local = next(iter(self.locals))
            if not local.was_used_lately:
                break
            self.locals.move_to_end(local)
        next(iter(self.locals)).make_room()


def _size(crowd: Crowd) -> int:
    return len(crowd.locals)
