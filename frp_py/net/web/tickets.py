"""Tell browsers that once gave the password from the others of their source.

Behind another web server or a tunnel all are one source, and whoever guesses there would lock out the operator as well. So a browser
that was let in gets a ticket, and is a source of its own from then on. A ticket opens nothing: the password is asked for all the same.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from frp_py.net.http.heads import values_of

if TYPE_CHECKING:
    from frp_py.net.web.request import Request

_LASTS = 30 * 86400  # s


class Tickets:
    """Those of one program, until it ends. Cookies of all ports of a machine go together, so the name has the port."""

    def __init__(self, port: int) -> None:
        self._name = f"frp-ticket-{port}"
        self._secret = os.urandom(32)

    def new(self, request: Request) -> str:
        """A value for Set-Cookie."""
        number = os.urandom(8).hex()
        secure = "; Secure" if request.call.is_secure else ""
        return f"{self._name}={number}{self._seal(number)}; Max-Age={_LASTS}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def holder(self, request: Request) -> str:
        """Who has the ticket that comes with a request; empty without a genuine one."""
        for value in values_of(request.fields, b"cookie"):
            for cookie in value.decode("latin-1").split(";"):
                name, _, ticket = cookie.strip().partition("=")
                number, seal = ticket[:16], ticket[16:]
                if name == self._name and hmac.compare_digest(seal.encode(), self._seal(number).encode()):
                    return f"ticket {number}"
        return ""

    def _seal(self, number: str) -> str:
        return hmac.digest(self._secret, number.encode(), "sha256").hex()
