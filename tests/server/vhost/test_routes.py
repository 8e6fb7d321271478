from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import Refused
from frp_py.server.vhost.routes import Routes, candidates


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.b.example.com", ["a.b.example.com", "*.b.example.com", "*.example.com", "*"]),
        ("a.example.com", ["a.example.com", "*.example.com", "*"]),
        ("example.com", ["example.com", "*"]),
        ("localhost", ["localhost", "*"]),
        ("", ["", "*"]),
        ("..", ["..", "*..", "*"]),
        ("a." * 40_000, ["a." * 40_000, "*"]),
    ],
)
def test_the_domains_for_a_host(host: str, expected: list[str]) -> None:
    assert list(candidates(host)) == expected


TABLE = [
    ("example.com", "", ""),
    ("Example.com", "/foo", ""),
    ("example.com", "/foo/bar", ""),
    ("example.com", "/only", "alice"),
    ("*.example.com", "", "alice"),
    ("*.example.com", "/w", ""),
    ("*.deep.example.com", "/d", ""),
    ("*.com", "", ""),
    ("*", "/all", ""),
    ("*", "", "root"),
]


@pytest.mark.parametrize(
    ("host", "path", "user", "expected"),
    [
        ("example.com", "/", "", 0),
        ("example.com", "", "", 0),
        ("example.com", "/foobar", "", 1),
        ("example.com", "/Foo", "", 0),
        ("example.com", "/foo/bar", "", 2),
        ("example.com", "/foo/ba", "", 1),
        ("example.com", "/only/this", "alice", 3),
        ("example.com", "/only/this", "bob", 0),
        ("example.com", "/foo", "alice", 1),  # hers has no such location, the one for everybody has
        ("a.example.com", "/x", "alice", 4),
        ("a.example.com", "/w", "alice", 4),
        ("a.example.com", "/w", "bob", 5),
        ("a.example.com", "/x", "bob", None),
        ("a.deep.example.com", "/d", "bob", 6),
        ("a.deep.example.com", "/w", "bob", 5),  # the next candidate
        ("a.deep.example.com", "/all/x", "bob", 8),
        ("other.com", "/all", "", 8),
        ("other.com", "/", "", None),
        ("other.com", "/", "root", 9),
    ],
)
def test_finding(host: str, path: str, user: str, expected: int | None) -> None:
    routes: Routes[int] = Routes()
    for number, key in enumerate(TABLE):
        routes.add(*key, number)
    assert routes.find(host, path, user) == expected


def test_conflicts_and_what_removing_leaves() -> None:
    routes: Routes[int] = Routes()
    routes.add("a.example", "/x", "u", 1)
    with pytest.raises(Refused, match="router config conflict"):
        routes.add("A.EXAMPLE", "/x", "u", 2)
    assert routes.find("a.example", "/x", "u") == 1
    routes.add("a.example", "/x", "", 3)
    routes.add("a.example", "/X", "u", 4)
    assert len(routes) == 3
    routes.remove("a.example", "/x", "u")
    routes.remove("a.example", "/never", "u")
    assert routes.find("a.example", "/x", "u") == 3
    for key in (("/x", ""), ("/X", "u")):
        routes.remove("a.example", *key)
    assert routes.__dict__ == Routes().__dict__


@given(
    st.lists(
        st.tuples(st.sampled_from(["a.b.c", "*.b.c", "*", "b.c"]), st.sampled_from(["", "/", "/a", "/ab"]), st.sampled_from(["", "u"])),
        unique=True,
    ),
    st.sampled_from(["a.b.c", "x.b.c", "b.c", "y"]),
    st.sampled_from(["", "/", "/a", "/abc", "b"]),
    st.sampled_from(["", "u", "v"]),
)
@settings(max_examples=300)
def test_as_the_specification_words_it(keys: list[tuple[str, str, str]], host: str, path: str, user: str) -> None:
    routes: Routes[tuple[str, str, str]] = Routes()
    for key in keys:
        routes.add(*key, key)
    expected = None
    for domain in candidates(host):
        for name in (user, ""):
            fitting = [key for key in keys if key[0] == domain and key[2] == name and path.startswith(key[1])]
            expected = expected or max(fitting, key=lambda key: len(key[1]), default=None)
    assert routes.find(host, path, user) == expected


def test_locations_of_a_domain_have_a_limit() -> None:
    """A request is compared with all of them."""
    routes: Routes[int] = Routes()
    for n in range(1000):
        routes.add("a.test", f"/{n}", "", n)
    with pytest.raises(Refused, match="1000 locations already"):
        routes.add("A.test", "/more", "", 0)
    routes.add("a.test", "/more", "alice", 1)
    routes.remove("a.test", "/7", "")
    assert routes.find("a.test", "/77") == 77
    routes.add("a.test", "/7", "", 7)
    assert routes.find("a.test", "/7x") == 7
    assert len(routes) == 1001


def test_adding_one_does_not_look_at_the_others() -> None:
    """Twenty thousand took seconds each time a client added a thousand, and all others waited."""

    class Counted(str):
        looks = 0
        __slots__ = ()

        def __len__(self) -> int:
            Counted.looks += 1
            return super().__len__()

    routes: Routes[int] = Routes()
    for n in range(500):
        routes.add("a.test", Counted(f"/{n}"), "", n)
    assert Counted.looks == 0
    assert routes.find("a.test", "/499/x") == 499
    assert Counted.looks == 500
