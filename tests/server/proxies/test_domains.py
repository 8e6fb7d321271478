from __future__ import annotations

import pytest

from frp_py.errors import Refused
from frp_py.protocol.messages import NewProxy
from frp_py.server.proxies.domains import domains, remote_address


@pytest.mark.parametrize(
    ("custom", "subdomain", "host", "expected"),
    [
        (("a.example", "", "B.example"), "", "", ["a.example", "B.example"]),
        (("a.example",), "s", "sub.example", ["a.example", "s.sub.example"]),
        ((), "s", "sub.example", ["s.sub.example"]),
        (("sub.example",), "", "sub.example", ["sub.example"]),
        (("notsub.example", "x.example"), "", "sub.example", ["notsub.example", "x.example"]),
        (("",), "", "", []),
    ],
)
def test_names(custom: tuple[str, ...], subdomain: str, host: str, expected: list[str]) -> None:
    assert domains(NewProxy("p", custom_domains=custom, subdomain=subdomain), host) == expected


@pytest.mark.parametrize(
    ("custom", "subdomain", "host", "text"),
    [
        (("x.Sub.example",), "", "sub.example", "custom domain [x.Sub.example] should not belong to subdomain host [sub.example]"),
        ((), "s", "", "subdomain is not supported because this feature is not enabled in server"),
        ((), "s.t", "sub.example", "'.' and '*' are not supported in subdomain"),
        ((), "*", "sub.example", "'.' and '*' are not supported in subdomain"),
    ],
)
def test_refusals(custom: tuple[str, ...], subdomain: str, host: str, text: str) -> None:
    with pytest.raises(Refused) as caught:
        domains(NewProxy("p", custom_domains=custom, subdomain=subdomain), host)
    assert str(caught.value) == text


def test_the_remote_address() -> None:
    assert remote_address(["a", "b"], 8443) == "a:8443,b:8443"
    assert remote_address(["a", "b"], 443) == remote_address(["a", "b"], 80) == "a,b"
    assert remote_address([], 80) == ""


def test_the_routes_of_a_proxy_are_bounded() -> None:
    names = tuple(f"{n}.example" for n in range(100))
    assert len(domains(NewProxy("p", custom_domains=names, locations=("/",) * 10), "")) == 100
    with pytest.raises(Refused, match="1100 routes are more than the 1000"):
        domains(NewProxy("p", custom_domains=names, locations=("/",) * 11), "")
    with pytest.raises(Refused, match="1001 routes"):
        domains(NewProxy("p", custom_domains=("a",) * 1000, subdomain="s"), "sub.example")
