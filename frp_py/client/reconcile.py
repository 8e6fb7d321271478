"""What has to be done so that what runs is what is wished: pure comparisons (behaviour.md 7.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from frp_py.config.base import Section

if TYPE_CHECKING:
    from frp_py.config.client import ClientCommon


class Named(Protocol):
    """A proxy or visitor: the part that matters here."""

    @property
    def name(self) -> str:
        """What tells it apart from others."""


Entry = TypeVar("Entry", bound=Named)


class Difference(NamedTuple, Generic[Entry]):
    """Between entries that are and entries that are wished. What is in none of the three stays as it is."""

    added: list[Entry]
    changed: list[Entry]
    """As they are wished; they have to stop as they are."""
    removed: list[str]

    @property
    def to_stop(self) -> list[str]:
        """Names of what doesn't stay."""
        return [*self.removed, *(entry.name for entry in self.changed)]

    @property
    def to_start(self) -> list[Entry]:
        """What has to be made."""
        return [*self.added, *self.changed]


def difference(present: Mapping[str, Entry], wished: Iterable[Entry]) -> Difference[Entry]:
    """Compare `present`, by name, with the `wished`, whose names differ from each other. An entry is equal only in every field."""
    found: Difference[Entry] = Difference([], [], [])
    names = set()
    for entry in wished:
        names.add(entry.name)
        known = present.get(entry.name)
        if known is None:
            found.added.append(entry)
        elif known != entry:
            found.changed.append(entry)
    found.removed.extend(name for name in present if name not in names)
    return found


def changed_keys(before: ClientCommon, after: ClientCommon) -> list[str]:
    """The keys of the common part that differ, as they are in files (`log.level`), in their order there."""
    return [*_changed(before, after, "")]


def _changed(before: Section, after: Section, prefix: str) -> Iterable[str]:
    for field in msgspec.structs.fields(before):
        if not prefix and field.name in ("proxies", "visitors"):
            continue
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        key = f"{prefix}{field.encode_name}"
        if isinstance(old, Section) and type(old) is type(new):
            yield from _changed(old, new, f"{key}.")
        else:
            yield key


NEEDS_RESTART = frozenset(
    (
        *("user", "clientID", "serverAddr", "serverPort", "dnsServer", "virtualNet.address", "featureGates", "udpPacketSize"),
        *("transport.protocol", "transport.wireProtocol", "transport.tcpMux", "transport.quic"),
        *("auth.method", "webServer.addr", "webServer.port", "store.path"),
    )
)
"""Keys, or tables of them, that keep the value they had at the start."""


def needs_restart(key: str) -> bool:
    """Whether a change of `key` can't be applied to a client that runs."""
    return key in NEEDS_RESTART or key.rpartition(".")[0] in NEEDS_RESTART


AnySection = TypeVar("AnySection", bound=Section)


def renewed(before: AnySection, after: AnySection, prefix: str = "") -> AnySection:
    """`after`, but with those values of `before` that can't change while the client runs. Proxies and visitors are those of `after`."""
    kept = {}
    for field in msgspec.structs.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        key = f"{prefix}{field.encode_name}"
        if old == new:
            continue
        if needs_restart(key):
            kept[field.name] = old
        elif isinstance(old, Section) and type(old) is type(new):
            kept[field.name] = renewed(old, new, f"{key}.")
    return msgspec.structs.replace(after, **kept) if kept else after
