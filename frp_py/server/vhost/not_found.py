"""The page for users who ask for what isn't there (behaviour.md 3.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frp_py.net.http.pages import NOT_FOUND, response
from frp_py.version import FRP_VERSION

if TYPE_CHECKING:
    from frp_py.net.bounded_log import BoundedLog


def page(path: str, log: BoundedLog) -> bytes:
    """The content of the file `path`, read anew each time; the default page when there is none, or it can't be read.

    Strangers ask for it as often as they like, so the log for that has a budget.
    """
    if path:
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            log.warning("read custom 404 page error: %s", error)
    return NOT_FOUND


def answer_to_connect(path: str, log: BoundedLog) -> bytes:
    """The whole answer to a CONNECT request; `path` and `log` as for `page`."""
    return response(404, [(b"Content-Type", b"text/html"), (b"Server", f"frp/{FRP_VERSION}".encode())], page(path, log))
