"""Load balancing: proxies that share their users (behaviour.md 4).

A group comes into being with its first member, which fixes its parameters and its key, and goes with its last one. All of that
happens between two awaits, so nobody can join a group that is being given up.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

from frp_py.errors import Refused

if TYPE_CHECKING:
    from frp_py.server.proxies.base import PublicProxy

G = TypeVar("G", bound="Group")


class Group:
    """Proxies that take turns, from number `turn` on; also a single one that belongs to none.

    `close()` is called when the last has left.
    """

    __slots__ = ("_turn", "close", "key", "members", "params")

    def __init__(self, first: PublicProxy, params: Hashable = None, *, close: Callable[[], None] = lambda: None, turn: int = 0) -> None:
        self.members = [first]
        """In the order in which they joined; never empty while the group lasts."""
        self.key = first.wish.group_key
        self.params = params
        self.close = close
        self._turn = turn

    @property
    def first(self) -> PublicProxy | None:
        """The member that has been there for the longest time."""
        return self.members[0] if self.members else None

    def next(self) -> PublicProxy | None:
        """The member whose turn it is; None when all have left."""
        members = self.members
        turn = self._turn
        self._turn = turn + 1
        return members[turn % len(members)] if members else None


class Groups(Generic[G]):
    """The groups of one kind of proxy, by name."""

    def __init__(self) -> None:
        self._groups: dict[str, G] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def join(
        self,
        member: PublicProxy,
        params: Hashable,
        make: Callable[[], G],
        *,
        mismatch: str = "group params invalid",
        once: bool = False,
    ) -> G:
        """Make `member` one of the group that its wish names, which is made by `make()` if there is none.

        Raises Refused with `mismatch` when the parameters differ, when the key is wrong, or, with `once`, when it is a member already.
        """
        name = member.wish.group
        group = self._groups.get(name)
        if group is None:
            group = make()
            self._groups[name] = group
            return group
        if group.params != params:
            raise Refused(mismatch)
        if not hmac.compare_digest(group.key.encode(), member.wish.group_key.encode()):
            raise Refused("group auth failed")
        if once and member in group.members:
            raise Refused("group proxy repeated")
        group.members.append(member)
        return group

    def leave(self, member: PublicProxy, group: G) -> None:
        """`member` goes, once for each time it joined."""
        if member in group.members:
            group.members.remove(member)
            if not group.members:
                del self._groups[member.wish.group]
                group.close()
