from __future__ import annotations

import pytest

from frp_py.errors import FrpError
from frp_py.net.addresses import host_and_port, host_port


@pytest.mark.parametrize(
    ("address", "default", "result"),
    [
        ("host:80", None, ("host", 80)),
        ("127.0.0.1:0", None, ("127.0.0.1", 0)),
        ("[::1]:8080", None, ("::1", 8080)),
        (":8080", None, ("127.0.0.1", 8080)),
        ("host", 80, ("host", 80)),
        ("[::1]", 443, ("::1", 443)),
        ("::1", 443, ("::1", 443)),
    ],
)
def test_addresses(address: str, default: int | None, result: tuple[str, int]) -> None:
    assert host_and_port(address, default) == result


@pytest.mark.parametrize("address", ["host", "host:x", "host:65536", "host:-1", "host:", "::1", "[::1]", "", "host:\u0661"])
def test_no_addresses(address: str) -> None:
    with pytest.raises(FrpError, match="address"):
        host_and_port(address)


def test_the_host_that_stands_for_none() -> None:
    assert host_and_port(":1", default_host="0.0.0.0") == ("0.0.0.0", 1)


def test_as_text() -> None:
    assert (host_port(("10.0.0.1", 1)), host_port(("::1", 80))) == ("10.0.0.1:1", "[::1]:80")
