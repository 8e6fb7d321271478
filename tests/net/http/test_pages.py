from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time

import pytest

from frp_py.net.http import pages


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (pages.NOT_FOUND, b"text/html; charset=utf-8"),
        (b" \n<html>", b"text/html; charset=utf-8"),
        (b"<h1>x", b"text/html; charset=utf-8"),
        (b"not here", b"text/plain; charset=utf-8"),
        (b"", b"text/plain; charset=utf-8"),
        (b"<?xml version='1.0'?>", b"text/xml; charset=utf-8"),
        (b"\0\1\2", b"application/octet-stream"),
    ],
)
def test_the_kind_of_a_page_is_guessed(body: bytes, kind: bytes) -> None:
    assert pages.content_type(body) == kind


def test_the_default_page() -> None:
    assert b"<title>Not Found</title>" in pages.NOT_FOUND
    assert b"<h1>The page you requested was not found.</h1>" in pages.NOT_FOUND


def test_responses() -> None:
    assert pages.response(504) == b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"
    assert pages.response(404, [(b"A", b"b")], b"xy") == b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: 2\r\n\r\nxy"
    assert pages.response(404, [], b"xy", head_only=True).endswith(b"Content-Length: 2\r\n\r\n")


@pytest.mark.parametrize(
    ("proxy", "status", "field", "body"),
    [(False, 401, b"WWW-Authenticate", b"Unauthorized\n"), (True, 407, b"Proxy-Authenticate", b"Proxy Authentication Required\n")],
)
def test_the_demand_for_credentials(proxy: bool, status: int, field: bytes, body: bytes) -> None:
    got = pages.unauthorized(proxy=proxy)
    assert got == (
        status,
        [(field, b'Basic realm="Restricted"'), (b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")],
        body,
    )


def test_the_date() -> None:
    clock = pages.Clock()
    assert abs(parsedate_to_datetime(clock.date().decode()).timestamp() - time()) < 3
    assert clock.date() is clock.date()
