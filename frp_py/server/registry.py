"""Who is connected: the current control of each run id, and the clients as operators see them (behaviour.md 1.6, 1.7)."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from frp_py.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from frp_py.server.control import Control
    from frp_py.server.reception import Caller


MOST_OFFLINE = 10_000
"""Clients that are remembered after they left: ids are theirs to make up."""

_LONGEST_ID = 1024  # bytes of a user, a client id or a run id: they stay in statistics when the client has gone
_LONGEST_HOSTNAME, _LONGEST_VERSION = 300, 100  # characters that are remembered


class Controls:
    """The current control of each run id. A newer one waits until the older one has given back all it had."""

    def __init__(self) -> None:
        self._current: dict[str, Control] = {}
        self._count = 0
        self._closed = False

    def next_id(self) -> int:
        """Tells generations with the same run id apart, for people."""
        self._count += 1
        return self._count

    async def become_current(self, control: Control) -> None:
        """Replace the one with the same run id, and return when that has ended. Raises Refused when a still newer one came meanwhile."""
        if self._closed:
            raise Refused("control manager is closed")
        run_id = control.run_id
        older = self._current.get(run_id)
        self._current[run_id] = control
        if older is not None:
            older.close(f"replaced by client [{run_id}] (control ID {control.id})")
            await older.ended.wait()
        if self._current.get(run_id) is not control:
            raise Refused("control was replaced during login")

    def is_current(self, control: Control) -> bool:
        """Whether no newer one has its run id."""
        return self._current.get(control.run_id) is control

    def remove(self, control: Control) -> None:
        """It has ended."""
        if self.is_current(control):
            del self._current[control.run_id]

    def running(self, run_id: str) -> Control:
        """The control that work connections of `run_id` belong to. Raises Refused."""
        if self._closed:
            raise Refused("control manager is closed")
        control = self._current.get(run_id)
        if control is None:
            raise Refused(f"no client control found for run id [{run_id}]")
        if not control.is_running:
            raise Refused(f"client control for run id [{run_id}] is not running")
        return control

    def running_for(self, run_id: str, caller: Caller) -> Control:
        """The same for what came on `caller`, which may be a stranger's who has read the run id somewhere. Raises Refused."""
        control = self.running(run_id)
        if not control.speaks_on(caller):
            raise Refused(f"no client control found for run id [{run_id}]")  # as if it were wrong: he learns nothing
        return control

    def all(self) -> list[Control]:
        """Those that are current."""
        return list(self._current.values())

    def close(self) -> None:
        """Nobody gets in any more."""
        self._closed = True


Identity: TypeAlias = tuple[str, str]
"""User and client id, or run id where there is none."""


class ClientEntry(msgspec.Struct):
    """One client as the registry keeps it; times in Unix seconds."""

    identity: Identity
    user: str
    client_id: str
    """As the client sent it; may be empty."""
    public_id: str
    """The client id, or what is told instead to those who may not know the run id."""
    run_id: str
    control_id: int
    hostname: str
    ip: str
    version: str
    wire_protocol: str
    first_connected_at: int
    last_connected_at: int
    disconnected_at: int = 0
    online: bool = True

    @property
    def key(self) -> str:
        """What operators call it."""
        return ".".join(filter(None, self.identity))

    @property
    def shown_id(self) -> str:
        """The client id, or the run id where there is none."""
        return self.identity[1]


class Clients:
    """All clients that are online, and those with an id of their own that were."""

    def __init__(self) -> None:
        self.entries: dict[Identity, ClientEntry] = {}
        self._online: dict[str, ClientEntry] = {}  # by run id
        self._by_public_id: dict[str, ClientEntry] = {}  # those that are online and have no id of their own
        self._offline: dict[Identity, None] = {}  # those that left first at the beginning
        self._secret = os.urandom(16)

    def register(self, control: Control, now: float) -> None:
        """`control` is online. Raises Refused when its client id is in use by another client that is online, or an id is too long."""
        login = control.login
        for what, text in (("user", login.user), ("client_id", login.client_id), ("run id", control.run_id)):
            if len(text.encode()) > _LONGEST_ID:
                raise Refused(f"{what} is longer than {_LONGEST_ID} bytes")
        identity = login.user, login.client_id or control.run_id
        if identity in (("", "."), ("", "..")):  # browsers take it out of an address: nobody could disconnect it by the dashboard
            raise Refused(f"no client may be called {identity[1]}")
        entry = self.entries.get(identity)
        if entry is not None and entry.online and entry.run_id != control.run_id and login.client_id:
            raise Refused(f"client_id [{login.client_id}] for user [{login.user}] is already online")
        other = self._online.get(control.run_id)
        if other is not None and other.identity != identity:
            self._leave(other, now)
        self._offline.pop(identity, None)
        self.entries[identity] = self._online[control.run_id] = new = ClientEntry(
            identity=identity,
            user=login.user,
            client_id=login.client_id,
            public_id=login.client_id or self._alias(control.run_id),
            run_id=control.run_id,
            control_id=control.id,
            hostname=login.hostname[:_LONGEST_HOSTNAME],
            ip=control.ip,
            version=login.version[:_LONGEST_VERSION],
            wire_protocol=control.wire_name,
            first_connected_at=entry.first_connected_at if entry is not None else int(now),
            last_connected_at=int(now),
        )
        if not new.client_id:
            self._by_public_id[new.public_id] = new

    def unregister(self, control: Control, now: float) -> None:
        """`control` has ended; an entry that a newer one has taken over stays as it is."""
        entry = self._online.get(control.run_id)
        if entry is not None and entry.control_id == control.id:
            self._leave(entry, now)

    def _leave(self, entry: ClientEntry, now: float) -> None:
        del self._online[entry.run_id]
        if not entry.client_id:
            del self._by_public_id[entry.public_id]
        if self.entries.get(entry.identity) is not entry:
            return  # another one has its run id for a client id
        if entry.client_id:
            entry.online = False
            entry.run_id = ""
            entry.disconnected_at = int(now)
            self._offline[entry.identity] = None
            if len(self._offline) > MOST_OFFLINE:
                longest_gone = next(iter(self._offline))
                del self._offline[longest_gone], self.entries[longest_gone]
        else:
            del self.entries[entry.identity]

    def public_id(self, user: str, shown_id: str) -> str:
        """What those who may not know run ids are told of a client that is, or was, shown with this id; it may be a run id."""
        entry = self.entries.get((user, shown_id))
        return shown_id if entry is not None and entry.client_id else self._alias(shown_id)

    def _alias(self, run_id: str) -> str:
        return f"client-{blake2b(run_id.encode(), key=self._secret, digest_size=6).hexdigest()}"

    @property
    def offline(self) -> int:
        """How many are not online."""
        return len(self._offline)

    def find(self, key: str) -> ClientEntry | None:
        """The client that is shown with this key; one that is online if there are several."""
        found = None
        if len(key) > 2 * _LONGEST_ID + 1:
            return None  # nobody's: to try what it may mean takes the square of its length
        for identity in _identities(key):
            entry = self.entries.get(identity) or self._by_public_id.get(identity[1])
            if entry is not None and entry.user == identity[0]:
                if entry.online:
                    return entry
                found = found or entry
        return found


def _identities(key: str) -> Iterator[Identity]:
    """Whose key it may be: dots are allowed on both sides of the dot."""
    yield "", key
    dot = key.find(".")
    while dot >= 0:
        yield key[:dot], key[dot + 1 :]
        dot = key.find(".", dot + 1)
