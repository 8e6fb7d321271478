from __future__ import annotations

import base64

import pytest

from frp_py.net.http.auth import allows, basic_credentials


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        (basic("a:b"), ("a", "b")),
        (basic("a:b:c"), ("a", "b:c")),
        (basic(":"), ("", "")),
        (basic("ä:ö"), ("ä", "ö")),
        (b"bAsIc " + base64.b64encode(b"a:b"), ("a", "b")),
        (None, None),
        (b"", None),
        (b"Basic", None),
        (b"Basic !!!", None),
        (b"Basic YTpi=", None),
        (basic("no colon"), None),
        (b"Bearer YTpi", None),
    ],
)
def test_basic_credentials(value: bytes | None, credentials: tuple[str, str] | None) -> None:
    assert basic_credentials(value) == credentials


@pytest.mark.parametrize(
    ("credentials", "user", "password", "allowed"),
    [
        (None, "", "", True),
        (("x", "y"), "", "", True),
        (None, "a", "", False),
        (("a", "b"), "a", "b", True),
        (("a", "c"), "a", "b", False),
        (("c", "b"), "a", "b", False),
        (("", "b"), "", "b", True),
        (("a", ""), "a", "", True),
        (("a", "x"), "a", "", False),
    ],
)
def test_who_is_let_in(credentials: tuple[str, str] | None, user: str, password: str, allowed: bool) -> None:
    assert allows(credentials, user, password) is allowed
