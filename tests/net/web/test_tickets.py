from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from frp_py.net.web.request import Request
from frp_py.net.web.tickets import Tickets


def request(*cookies: bytes) -> Request:
    call = SimpleNamespace(is_secure=False)
    return cast(Request, cast(Any, SimpleNamespace(fields=[(b"Cookie", cookie) for cookie in cookies], call=call)))


def test_a_ticket_is_found_among_other_cookies() -> None:
    tickets = Tickets(7500)
    cookie = tickets.new(request()).partition(";")[0].encode()
    number = cookie.partition(b"=")[2][:16].decode()
    for genuine in (cookie, b"a=b;" + cookie, b"a=b; " + cookie + b" ; c=d", b";;" + cookie + b";" + cookie):
        assert tickets.holder(request(genuine)) == f"ticket {number}"
    assert tickets.holder(request(b"a=b", cookie)) == f"ticket {number}"
    for other in (b"x" + cookie, cookie + b"0", cookie[:-1], cookie.replace(b"7500", b"7501"), cookie.upper(), b"a=" + cookie, b""):
        assert tickets.holder(request(other)) == ""
    assert Tickets(7500).holder(request(cookie)) == "", "each program has its own"


def test_few_are_looked_at() -> None:
    """Each takes 2 us, and a head has room for 700."""
    tickets = Tickets(7500)
    cookie = tickets.new(request()).partition(";")[0].encode()
    forged = cookie[:-1] + (b"1" if cookie[-1:] == b"0" else b"0") + b"; "
    assert tickets.holder(request(7 * forged + cookie))
    assert not tickets.holder(request(8 * forged + cookie))
