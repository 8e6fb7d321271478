from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.net.http import rules
from frp_py.net.http.heads import Field, fields_of


def fields(text: str) -> list[Field]:
    return fields_of("".join(line.strip() + "\r\n" for line in text.strip().splitlines()).encode())


def test_hop_by_hop_fields_are_dropped_with_those_that_connection_lists() -> None:
    got = rules.end_to_end(
        fields(
            """Connection: keep-alive, X-Own
            connection: x-other
            Keep-Alive: timeout=5
            Proxy-Connection: x
            Proxy-Authorization: Basic eA==
            Proxy-Authenticate: Basic
            TE: gzip
            Trailer: A
            Transfer-Encoding: chunked
            Upgrade: h2c
            X-Own: 1
            X-Other: 2
            Accept: */*"""
        )
    )
    assert got == [(b"Accept", b"*/*")]


def test_te_trailers_and_upgrades_are_put_back() -> None:
    assert rules.end_to_end(fields("TE: gzip, Trailers;q=1")) == [(b"Te", b"trailers")]
    got = rules.end_to_end(fields("Connection: Upgrade, X\nUpgrade: websocket\nX: y\nA: b"))
    assert got == [(b"A", b"b"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    assert rules.upgrade_of(fields("Upgrade: websocket")) == b""
    assert rules.end_to_end(fields("Connection: Upgrade, HTTP2-Settings\nUpgrade: H2C\nHTTP2-Settings: A\nB: c")) == [(b"B", b"c")]
    assert rules.upgrade_of(fields("Connection: upgrade")) == b""


def test_what_a_message_may_not_go_over_to_is_not_put_back() -> None:
    assert rules.end_to_end(fields("Connection: Upgrade\nUpgrade: websocket\nA: b"), b"") == [(b"A", b"b")]


def test_forwarding() -> None:
    got = rules.forwarded(
        fields(
            """X-Forwarded-For: 1.1.1.1, 2.2.2.2
            x-forwarded-for: 3.3.3.3
            X-Forwarded-Host: evil
            X-Forwarded-Proto: https
            Forwarded: for=evil
            X-Real-IP: 9.9.9.9"""
        ),
        user_ip=b"4.4.4.4",
        host=b"a:81",
        proto=b"http",
    )
    assert got == [
        (b"X-Real-IP", b"9.9.9.9"),
        (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4"),
        (b"X-Forwarded-Host", b"a:81"),
        (b"X-Forwarded-Proto", b"http"),
    ]
    assert rules.forwarded([], user_ip=b"::1", host=b"", proto=b"http")[0] == (b"X-Forwarded-For", b"::1")


def test_set_overwrites_but_never_what_frames_the_message() -> None:
    wanted = rules.setting(
        {
            "x-a": "1",
            "X-Forwarded-Proto": "https",
            "Host": "h",
            "Content-Length": "5",
            "Transfer-Encoding": "chunked",
            "Connection": "close",
            "Bad Name": "x",
            "X-Injected": "a\r\nB: c",
        }
    )
    assert wanted == [(b"x-a", b"1"), (b"X-Forwarded-Proto", b"https")]
    got = rules.with_set(fields("X-A: 0\nX-a: 00\nB: c"), wanted)
    assert got == [(b"B", b"c"), *wanted]
    assert rules.with_set(fields("A: b"), []) == [(b"A", b"b")]


@pytest.mark.parametrize(
    ("target", "clean"),
    [
        (b"/", b"/"),
        (b"/?", b"/?"),
        (b"/a?b=c&a=%20x+y&&", b"/a?b=c&a=%20x+y&&"),
        (b"/a;b?c", b"/a;b?c"),
        (b"/?b=1;c=2&a=3", b"/?a=3"),
        (b"/?z=1&a=%zz&b=2%", b"/?z=1"),
        (b"/?b=2&a=1;&b=1&a=%41+b", b"/?a=A+b&b=2&b=1"),
        (b"/?x=%zz", b"/?"),
        (b"/?a;b", b"/?"),
        (b"/?k&%zz=1", b"/?k="),
        (b"/?a=%E4%b8&;", b"/?a=%E4%B8"),
        (b"/?q=a=b&;", b"/?q=a%3Db"),
    ],
)
def test_queries_that_services_read_differently_are_written_anew(target: bytes, clean: bytes) -> None:
    assert rules.clean_target(target) == clean


def cleaned_plainly(query: bytes) -> bytes:
    """What becomes of a query that is written anew, by the library's means."""
    parts = [part for part in query.split(b"&") if part and b";" not in part and not re.search(rb"%(?![0-9A-Fa-f]{2})", part)]
    pairs = [tuple(map(unquote_to_bytes, part.replace(b"+", b" ").partition(b"=")[::2])) for part in parts]
    return b"&".join(f"{quote_plus(key)}={quote_plus(value)}".encode() for key, value in sorted(pairs, key=lambda pair: pair[0]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*b"%%%%&&&===;;++4aA1gzG!~-_.*/?\xe4", *map(ord, "20fF")]), max_size=30).map(bytes))
def test_queries_are_written_anew_as_plainer_code_does_it(query: bytes) -> None:
    assert rules.clean_target(b"/?;&" + query) == b"/?" + cleaned_plainly(query)


def test_of_a_query_with_very_many_pairs_that_is_not_clean_nothing_is_left() -> None:
    query = b"&".join([b"a=1"] * 2000)
    assert rules.clean_target(b"/a?" + query + b"&%zz") == b"/a?"
    assert rules.clean_target(b"/a?" + query + b"&%20") == b"/a?" + query + b"&%20"
    assert rules.clean_target(b"/a?" + query[4:] + b"&%zz") == b"/a?" + query[4:]


def test_a_broken_escape_in_a_path_stays() -> None:
    assert rules.unescaped_path(b"/%4a%4%zz%") == "/J%4%zz%"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40).map(lambda raw: bytes(b for b in raw if 32 < b < 127 and b not in b"#")))
def test_a_clean_query_is_clean(query: bytes) -> None:
    once = rules.clean_target(b"/?" + query)
    assert rules.clean_target(once) == once
    if once != b"/?" + query:
        assert b";" not in once
        assert list(parse_qsl(once[2:], keep_blank_values=True)) == sorted(
            parse_qsl(once[2:], keep_blank_values=True), key=lambda kv: kv[0]
        )


@pytest.mark.parametrize(
    ("host", "routed"),
    [
        (b"Example.COM", "example.com"),
        (b"example.com:8080", "example.com"),
        (b"example.com.", "example.com"),
        (b"example.com.:80", "example.com"),
        (b"example.com..", "example.com."),
        (b"[::1]:80", "::1"),
        (b"[::1]", "::1"),
        (b"", ""),
        (b":80", ""),
    ],
)
def test_hosts_as_routes_compare_them(host: bytes, routed: str) -> None:
    assert rules.routing_host(host) == routed


def test_paths_as_routes_compare_them() -> None:
    assert rules.unescaped_path(b"/a%20b%2Fc?d=%41") == "/a b/c"
    assert rules.unescaped_path(b"/\xc3\xa4") == "/ä" == rules.unescaped_path(b"/%C3%a4")
    assert rules.unescaped_path(b"/%ff").startswith("/")
