"""What somebody who asks may see of clients and proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frp_py.server.registry import ClientEntry, Clients
    from frp_py.server.statistics import Record


class View:
    """With `secrets`, all there is. Without, clients that have no id are called by another name than their run id, and filtered,
    searched and sorted by that: each of these would tell the run id piece by piece.
    """

    def __init__(self, clients: Clients, *, secrets: bool) -> None:
        self._clients = clients
        self.secrets = secrets

    def id(self, entry: ClientEntry) -> str:
        """The id of a client."""
        return entry.shown_id if self.secrets else entry.public_id

    def key(self, entry: ClientEntry) -> str:
        """What a client is called."""
        return ".".join(filter(None, (entry.user, self.id(entry))))

    def run_id(self, entry: ClientEntry) -> str:
        """The run id of a client that is online; empty when it may not be seen."""
        return entry.run_id if self.secrets else ""

    def order(self, entry: ClientEntry) -> tuple[str, str, str]:
        """Clients are sorted by user, id and key."""
        return entry.user, self.id(entry), self.key(entry)

    def owner(self, record: Record) -> str:
        """The id of the client that has, or had, a proxy."""
        return record.client_id if self.secrets else self._clients.public_id(record.user, record.client_id)
