from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.net.http import heads, rules
from frp_py.protocol.messages import NewProxy
from frp_py.server.vhost.messages import Cache, RequestFields, Response, requests_1_0, requests_1_1, responses
from frp_py.server.vhost.sites import Rules

PLAIN = Rules(NewProxy("a", "http"))
BUSY = Rules(NewProxy("b", "http", host_header_rewrite="in.test", headers={"X-A": "1"}, response_headers={"X-B": "2"}))

names = st.sampled_from(
    [b"Accept", b"Connection", b"X-A", b"x-forwarded-for", b"TE", b"Upgrade", b"Cookie", b"Expect", b"Trailer", b"Forwarded", b"Keep-Alive"]
)
values = st.sampled_from([b"a", b"close", b"keep-alive", b"upgrade", b"X-A, Content-Length", b"trailers", b"100-continue", b"1.2.3.4", b""])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(names, values), max_size=6),
    st.sampled_from([b"", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n"]),
    st.data(),
)
def test_what_the_service_gets(fields: list[tuple[bytes, bytes]], framing: bytes, data: st.DataObject) -> None:
    """Kept or made anew, the block has one host, one framing, nothing for one hop only, and what was set."""
    block = b"Host: web.test\r\n" + framing + heads.block_of(fields)
    site = data.draw(st.sampled_from([PLAIN, BUSY]))
    kept = requests_1_1.get(block).block_for(site, b"9.9.9.9", b"web.test")
    made = RequestFields(heads.fields_of(block), is_1_1=True)
    assert kept == made.block_for(site, b"9.9.9.9", b"web.test")
    assert sorted(heads.fields_of(kept[:-2])) == sorted(heads.fields_of(made.block_by_rules(site, b"9.9.9.9", b"web.test")[:-2]))
    assert kept.endswith(b"\r\n\r\n")
    got = heads.fields_of(kept[:-2])
    assert heads.host_of(got, required=True) == (b"in.test" if site is BUSY else b"web.test")
    assert heads.request_length(got) == heads.request_length(heads.fields_of(block))
    left = {name.lower() for name, _ in got} & rules.HOP_BY_HOP
    assert left <= {b"te", b"trailer", b"transfer-encoding", b"connection", b"upgrade"}
    assert heads.values_of(got, b"connection") in ([], [b"Upgrade"])
    assert heads.values_of(got, b"x-forwarded-for")[0].endswith(b"9.9.9.9")
    if site is BUSY:
        assert heads.values_of(got, b"x-a") == [b"1"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(names | st.just(b"Host"), values), max_size=6), st.sampled_from([b"", b"Content-Length: 7\r\n"]), st.booleans())
def test_what_the_user_gets_of_any_response(fields: list[tuple[bytes, bytes]], framing: bytes, with_body: bool) -> None:
    response = Response(b"HTTP/1.1 200 OK\r\n" + framing + heads.block_of(fields) + b"\r\n")
    lines = response.lines_for(PLAIN, with_body=with_body, is_1_1=True)
    got = heads.fields_of(lines.partition(b"\r\n")[2])
    framed = (b"content-length", b"transfer-encoding", b"trailer")
    assert rules.without(got, framed) == rules.without(response.fields_for(PLAIN), framed)
    assert heads.values_of(got, b"content-length") == ([b"7"] if framing else [])


def test_a_kept_block_is_made_anew_for_others() -> None:
    fields = requests_1_1.get(b"Host: web.test\r\n")
    first = fields.block_for(PLAIN, b"1.1.1.1", b"web.test")
    assert fields.block_for(PLAIN, b"1.1.1.1", b"web.test") is first
    assert b"2.2.2.2" in fields.block_for(PLAIN, b"2.2.2.2", b"web.test")
    assert b"in.test" in fields.block_for(BUSY, b"2.2.2.2", b"web.test")
    assert b"X-Forwarded-Host: b.test" in fields.block_for(BUSY, b"2.2.2.2", b"b.test")


def test_how_long_connections_are_kept() -> None:
    for block, is_1_1, keep in [
        (b"", True, True),
        (b"Connection: close\r\n", True, False),
        (b"Connection: x\r\nConnection: Close\r\n", True, False),
        (b"", False, False),
        (b"Connection: Keep-Alive\r\n", False, True),
        (b"Connection: keep-alive, close\r\n", False, False),
    ]:
        cache = requests_1_1 if is_1_1 else requests_1_0
        assert cache.get(b"Host: a\r\n" + block).keep_alive is keep
        assert responses.get(b"HTTP/1.%d 200 OK\r\n" % is_1_1 + block + b"\r\n").keep_alive is keep


def test_what_the_user_gets() -> None:
    response = Response(b"HTTP/1.1 200 Fine\r\nA: b\r\nConnection: C\r\nC: d\r\nContent-Length: 3\r\nX-B: 0\r\n\r\n")
    expected = b"HTTP/1.1 200 Fine\r\nA: b\r\n%bContent-Length: 3\r\n"
    for _ in range(2):
        assert response.lines_for(PLAIN, with_body=True, is_1_1=True) == expected % b"X-B: 0\r\n"
        assert response.lines_for(BUSY, with_body=True, is_1_1=True) == expected % b"X-B: 2\r\n"
        assert response.lines_for(PLAIN, with_body=False, is_1_1=False) == expected % b"X-B: 0\r\n"
    endless = Response(b"HTTP/1.0 200 OK\r\n\r\n")
    assert endless.lines_for(PLAIN, with_body=True, is_1_1=True) == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    assert endless.lines_for(PLAIN, with_body=True, is_1_1=False) == b"HTTP/1.1 200 OK\r\n"
    assert endless.lines_for(PLAIN, with_body=False, is_1_1=True) == b"HTTP/1.1 200 OK\r\n"
    no_content = Response(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert no_content.lines_for(PLAIN, with_body=False, is_1_1=True) == b"HTTP/1.1 204 No Content\r\n"


def test_fields_that_list_others_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or 250 of them with 100 tokens each would take seconds."""
    looks: list[bytes] = []
    tokens_of = heads.tokens_of

    def counted(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
        looks.append(name)
        return tokens_of(fields, name)

    monkeypatch.setattr(heads, "tokens_of", counted)
    request = RequestFields([(b"Host", b"a"), (b"Connection", b"x, close"), *[(b"Connection", b"a, b")] * 250], is_1_1=True)
    assert not request.keep_alive
    assert len(looks) < 5


def test_a_cache_is_bounded() -> None:
    made = []

    def make(key: bytes) -> bytes:
        made.append(key)
        return key

    cache = Cache(make)
    for _ in range(2):
        cache.get(b"x")
        cache.get(b"y" * 5000)
    assert made == [b"x", b"y" * 5000, b"y" * 5000]
    for i in range(600):
        cache.get(b"%d" % i)
    made.clear()
    cache.get(b"x")
    assert made == [b"x"]


def test_http_1_0_has_no_upgrade() -> None:
    fields = [(b"Host", b"a.example"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    site = Rules(NewProxy("web", "http"))
    for is_1_1 in (True, False):
        sent = RequestFields(fields, is_1_1=is_1_1).block_for(site, b"192.0.2.1", b"a.example")
        assert (b"Upgrade: websocket\r\n" in sent) == is_1_1
        assert (b"Connection: Upgrade\r\n" in sent) == is_1_1


def test_after_a_coding_of_http_1_0_nothing_is_to_be_relied_on() -> None:
    block = b"Connection: keep-alive\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = responses.get(b"HTTP/1.0 200 OK\r\n" + block)
    assert (response.length, response.keep_alive) == (3, False)
    response = responses.get(b"HTTP/1.1 200 OK\r\n" + block)
    assert (response.length, response.keep_alive) == (heads.CHUNKED, True)
