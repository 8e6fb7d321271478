"""Responses that a proxy makes itself (behaviour.md 3.3, 3.8)."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from frp_py.net.http.heads import Field, block_of

NOT_FOUND = b"""<!DOCTYPE html>
<html>
<head>
<title>Not Found</title>
<style>
    body { max-width: 36em; margin: 3em auto; padding: 0 1em; font-family: sans-serif; }
</style>
</head>
<body>
<h1>The page you requested was not found.</h1>
<p>There is nothing here at the moment. Please try again later.</p>
<p>This address is served through <a href="https://github.com/fatedier/frp">frp</a>.</p>
</body>
</html>
"""
"""The page where nobody configured another one."""

TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
CLOSE = (b"Connection", b"close")

_HTML = re.compile(
    rb"\s*(?:<!--|<(?:!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P)[ >])", re.IGNORECASE
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def content_type(body: bytes) -> bytes:
    """What a page is, guessed from its first bytes."""
    start = body[:512]
    if _HTML.match(start):
        return b"text/html; charset=utf-8"
    if start.lstrip().startswith(b"<?xml"):
        return b"text/xml; charset=utf-8"
    return b"application/octet-stream" if _BINARY.search(start) else b"text/plain; charset=utf-8"


def reason_of(status: int) -> bytes:
    """The usual reason phrase."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"status code %d" % status


def response(status: int, fields: Sequence[Field] = (), body: bytes = b"", *, head_only: bool = False) -> bytes:
    """A complete response with Content-Length; `head_only` for answers to HEAD."""
    head = b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\n\r\n" % (status, reason_of(status), block_of(fields), len(body))
    return head if head_only else head + body


def unauthorized(*, proxy: bool) -> tuple[int, list[Field], bytes]:
    """Status, fields and body of the demand for credentials (behaviour.md 3.3)."""
    status, name = (407, b"Proxy-Authenticate") if proxy else (401, b"WWW-Authenticate")
    fields = [(name, b'Basic realm="Restricted"'), TEXT, (b"X-Content-Type-Options", b"nosniff")]
    return status, fields, reason_of(status) + b"\n"


class Clock:
    """The Date field, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def date(self) -> bytes:
        """The value for now."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = formatdate(second, usegmt=True).encode()
        return self._line
