from __future__ import annotations

import time

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.net.http import heads
from frp_py.net.http.heads import BadHead, HeadTooLarge, VersionUnknown


class Llhttp:
    """What llhttp finds in a request's head: the oracle for ours."""

    def __init__(self, head: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.target = b""
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def ours(head: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    line, _, block = head.partition(b"\r\n")
    assert block.endswith(b"\r\n")
    method, target, _ = heads.request_line(line)
    fields = heads.fields_of(block[:-2])
    heads.request_length(fields)
    return method, target, fields


token = st.text("abcdefgXYZ0123456789-_!#$%&'*+.^`|~", min_size=1, max_size=12).map(str.encode)
value = st.binary(max_size=30).map(lambda raw: bytes(b for b in raw if b >= 32 and b != 127).strip())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(token.map(lambda t: b"X-" + t), value), max_size=8), st.sampled_from([b"", b" ", b"\t ", b"  "]))
def test_fields_are_read_as_llhttp_reads_them(fields: list[tuple[bytes, bytes]], blanks: bytes) -> None:
    head = b"GET /x HTTP/1.1\r\n" + b"".join(n + b":" + blanks + v + blanks + b"\r\n" for n, v in fields) + b"\r\n"
    oracle = Llhttp(head)
    assert ours(head) == (b"GET", b"/x", fields)
    assert [(n, v.strip(b" \t")) for n, v in oracle.fields] == fields


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_ours_takes_llhttp_takes_too(data: st.DataObject) -> None:
    """A mutated head is refused, or both see the same fields."""
    head = bytearray(b"POST /a?b HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\nX-Y: z, q\r\n\r\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(head) - 5))
        piece = data.draw(
            st.sampled_from([b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\r\n ", b"\r\n", b"\x7f", b"\xff", b",", b"a", b"\x0b"])
        )
        head[at : at + data.draw(st.integers(0, 1))] = piece
    try:
        method, target, fields = ours(bytes(head))
    except BadHead:
        return
    if any(byte >= 0x80 for byte in target) or not target.startswith(b"/"):
        return  # targets are checked by split_target, which takes raw UTF-8 where llhttp doesn't
    try:
        oracle = Llhttp(bytes(head))
    except httptools.HttpParserError:
        known = {b"GET", b"POST"}
        assert method not in known or b"\x0b" in head or b"\t" in head
        return
    assert [(n, v.strip(b" \t")) for n, v in oracle.fields] == fields


@pytest.mark.parametrize(
    "block",
    [
        b"A: b\n",
        b"A: b\rC: d\r\n",
        b"A: b\r\n c\r\n",
        b"A: b\r\n\tc\r\n",
        b" A: b\r\n",
        b"A : b\r\n",
        b": b\r\n",
        b"A\r\n",
        b"A: \0\r\n",
        b"A: \x1b\r\n",
        b"A: \x7f\r\n",
        b"A b: c\r\n",
        b"A\xff: c\r\n",
        b"A: b\r\n\r\nC: d\r\n",
        b"A: b",
        b"A: b\r\n\r",
        b"(A): b\r\n",
    ],
)
def test_malformed_fields(block: bytes) -> None:
    with pytest.raises(BadHead):
        heads.fields_of(block)


def test_blanks_around_values_are_no_part_of_them() -> None:
    assert heads.fields_of(b"A:b\r\nC: \t d e \t\r\nE:\r\nF: \xe4\r\n") == [(b"A", b"b"), (b"C", b"d e"), (b"E", b""), (b"F", b"\xe4")]
    assert heads.fields_of(b"") == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"GET / HTTP/2.0", VersionUnknown),
        (b"GET / HTTP/1.2", VersionUnknown),
        (b"GET / HTTP/0.9", VersionUnknown),
        *[
            (line, BadHead)
            for line in (
                b"",
                b"GET /",
                b"GET  / HTTP/1.1",
                b"GET / HTTP/1.1 ",
                b" GET / HTTP/1.1",
                b"G\tT / HTTP/1.1",
                b"GET /a b HTTP/1.1",
            )
        ],
        *[
            (line, BadHead)
            for line in (
                b"GET /\x7f HTTP/1.1",
                b"GET /#x HTTP/1.1",
                b"GET / http/1.1",
                b"GET / HTTP/11",
                b"G" * 33 + b" / HTTP/1.1",
                b"GET\0 / HTTP/1.1",
            )
        ],
    ],
)
def test_malformed_request_lines(line: bytes, error: type[BadHead]) -> None:
    with pytest.raises(BadHead) as raised:
        heads.request_line(line)
    assert type(raised.value) is error


def test_request_lines() -> None:
    assert heads.request_line(b"GET / HTTP/1.1") == (b"GET", b"/", True)
    assert heads.request_line(b"M-SEARCH * HTTP/1.0") == (b"M-SEARCH", b"*", False)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"/a?b", (None, b"/a?b")),
        (b"GET", b"//a", (None, b"//a")),
        (b"GET", b"http://h:80/a?b", (b"h:80", b"/a?b")),
        (b"GET", b"HTTP://h", (b"h", b"/")),
        (b"GET", b"https://h?x", (b"h", b"/?x")),
        (b"GET", b"http://[::1]:8080/", (b"[::1]:8080", b"/")),
        (b"CONNECT", b"h:443", (b"h:443", b"")),
        (b"OPTIONS", b"*", (None, b"*")),
        (b"GET", b"/\xc3\xa4", (None, b"/\xc3\xa4")),
        (b"GET", b"/?%zz", (None, b"/?%zz")),
    ],
)
def test_targets(method: bytes, target: bytes, expected: tuple[bytes | None, bytes]) -> None:
    assert heads.split_target(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *[
            (b"GET", t)
            for t in (b"*", b"a", b"h:443", b"http://", b"http:///a", b"ftp://h/", b"http://u@h/", b"/%zz", b"/%4", b"http://h:x/")
        ],
        *[(b"CONNECT", t) for t in (b"", b"/", b"http://h/", b"h:443/")],
    ],
)
def test_malformed_targets(method: bytes, target: bytes) -> None:
    with pytest.raises(BadHead):
        heads.split_target(method, target)


@pytest.mark.parametrize(
    ("block", "length"),
    [
        (b"", 0),
        (b"Content-Length: 12\r\n", 12),
        (b"Transfer-Encoding: chunked\r\n", heads.CHUNKED),
        (b"transfer-encoding: Chunked\r\n", heads.CHUNKED),
    ],
)
def test_request_length(block: bytes, length: int) -> None:
    assert heads.request_length(heads.fields_of(block)) == length


@pytest.mark.parametrize(
    "block",
    [
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x1\r\n",
        b"Content-Length: 1 2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length: 9999999999999999999\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\r\n",
        b'Transfer-Encoding: "chunked"\r\n',
    ],
)
def test_a_request_with_a_doubtful_length(block: bytes) -> None:
    with pytest.raises(BadHead):
        heads.request_length(heads.fields_of(block))


def test_http_1_0_has_no_chunks() -> None:
    with pytest.raises(BadHead):
        heads.request_length([(b"Transfer-Encoding", b"chunked")], is_1_1=False)
    assert heads.response_length([(b"Transfer-Encoding", b"chunked")], is_1_1=False) == heads.UNTIL_CLOSE


def test_response_length() -> None:
    assert heads.response_length([]) == heads.UNTIL_CLOSE
    assert heads.response_length([(b"Content-Length", b"3"), (b"content-length", b"3")]) == 3
    assert heads.response_length([(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")]) == heads.CHUNKED
    for bad in ([(b"Content-Length", b"3"), (b"Content-Length", b"4")], [(b"Transfer-Encoding", b"br")], [(b"Content-Length", b"x")]):
        with pytest.raises(BadHead):
            heads.response_length(bad)


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a@b", b"a,b c", b"[::1", b"a:b", b"a:123456", b'a"', b"a\xe4"])
def test_malformed_hosts(host: bytes) -> None:
    with pytest.raises(BadHead):
        heads.host_of([(b"Host", host)], required=True)


def test_there_is_one_host() -> None:
    assert heads.host_of([(b"HOST", b"a:80")], required=True) == b"a:80"
    assert heads.host_of([(b"Host", b"")], required=True) == b""
    assert heads.host_of([], required=False) is None
    for fields in ([], [(b"Host", b"a"), (b"host", b"a")]):
        with pytest.raises(BadHead):
            heads.host_of(fields, required=True)


def test_status_lines() -> None:
    assert heads.status_line(b"HTTP/1.1 200 OK") == (200, b"OK", True)
    assert heads.status_line(b"HTTP/1.0 404") == (404, b"", False)
    assert heads.status_line(b"HTTP/1.1 200 ") == (200, b"", True)
    for bad in (
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 099 X",
        b"200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 200 a\0",
    ):
        with pytest.raises(BadHead):
            heads.status_line(bad)


def test_a_status_line_of_blanks_takes_no_longer_than_its_length() -> None:
    started = time.process_time()
    with pytest.raises(BadHead):
        heads.status_line(b"HTTP/1.1 200 " + b" " * 60_000 + b"\x01")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", -1),
        (b"HTTP/1.1 200 OK\r\n", -1),
        (b"a\r\n\r\nb", 5),
        (b"a\n\nb\r\n\r\n", 3),
        (b"a\r\n\nb", 4),
        (b"a\r\nb: c\n\r\n\n", 10),
        (b"a\r\n\r", -1),
    ],
)
def test_the_end_of_a_response_head(data: bytes, end: int) -> None:
    assert heads.head_end(data) == end


def test_what_simple_services_write_is_made_strict() -> None:
    head = heads.lenient(b"HTTP/1.1 200 OK\nA: b\n c\r\nD: e\n\n")
    assert head == b"HTTP/1.1 200 OK\r\nA: b c\r\nD: e\r\n\r\n"


@pytest.mark.parametrize("block", [b"Connection: " + b"a," * 257 + b"\r\n", b"TE: a,\r\nconnection: a,\r\n" * 127 + b"Expect: ,,,\r\n"])
def test_lists_that_are_looked_at_are_short(block: bytes) -> None:
    with pytest.raises(HeadTooLarge, match="too many elements"):
        heads.fields_of(block)
    assert heads.fields_of(block.replace(b",", b"", 1)), "one less is allowed"
    other = block.lower().replace(b"connection", b"x").replace(b"te", b"y").replace(b"expect", b"z")
    assert heads.fields_of(other), "elements of others are nobody's business"


def test_fields_are_few() -> None:
    assert len(heads.fields_of(b"a:\r\n" * 256)) == 256
    with pytest.raises(HeadTooLarge, match="too many headers"):
        heads.fields_of(b"a:\r\n" * 257)
