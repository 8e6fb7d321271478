"""Tell browsers that once gave the password from the others of their source.

Behind another web server or a tunnel all are one source, and whoever guesses there would lock out the operator as well. So a browser
that was let in gets a ticket, and is a source of its own from then on. A ticket opens nothing: the password is asked for all the same.
"""

from __future__ import annotations

import hmac
import os
import re
from itertools import islice
from typing import TYPE_CHECKING

from frp_py.net.http.heads import values_of

if TYPE_CHECKING:
    from frp_py.net.web.request import Request

_LASTS = 30 * 86400  # s
_MOST = 8  # tickets of a request that are looked at


class Tickets:
    """Those of one program, until it ends. Cookies of all ports of a machine go together, so the name has the port."""

    def __init__(self, port: int) -> None:
        self._name = f"frp-ticket-{port}"
        self._pattern = re.compile(rb"(?:^|;)[ \t]*%b=([0-9a-f]{16})([0-9a-f]{64})[ \t]*(?=;|$)" % self._name.encode())
        self._secret = os.urandom(32)

    def new(self, request: Request) -> str:
        """A value for Set-Cookie."""
        number = os.urandom(8).hex()
        secure = "; Secure" if request.call.is_secure else ""
        return f"{self._name}={number}{self._seal(number)}; Max-Age={_LASTS}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def holder(self, request: Request) -> str:
        """Who has the ticket that comes with a request; empty without a genuine one."""
        cookies = b";".join(values_of(request.fields, b"cookie"))
        for found in islice(self._pattern.finditer(cookies), _MOST):
            number = found[1].decode()
            if hmac.compare_digest(found[2], self._seal(number).encode()):
                return f"ticket {number}"
        return ""

    def _seal(self, number: str) -> str:
        return hmac.digest(self._secret, number.encode(), "sha256").hex()
