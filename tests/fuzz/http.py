"""Heads, bodies and values of HTTP. Whole connections are in `serving`."""

from __future__ import annotations

import h11
import httptools

from frp_py.net.http import auth, conditions, heads, rules
from frp_py.net.http.chunks import Chunks
from frp_py.net.http.frames import Lengths
from frp_py.protocol import messages
from frp_py.server.vhost import tcpmux
from frp_py.server.vhost.messages import RequestFields, Response
from frp_py.server.vhost.sites import Rules
from tests.fuzz.cuts import REFUSED, Pieces, same_for_all_cuts


class _Llhttp:
    """What llhttp finds in a request: what the service behind us might be."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.requests = 0

    def on_message_begin(self) -> None:
        self.requests += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.body += body


_SITE = Rules(messages.NewProxy("web", "http", headers={"x-set": "1"}))


def http_request(data: bytes) -> None:
    """The head of a user's request: what goes on to the service is one request in the eyes of other parsers too."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return
    line, _, block = data[: end + 2].partition(b"\r\n")
    try:
        method, target, is_1_1 = heads.request_line(line)
        _, path = heads.split_target(method, target)
        fields = RequestFields(heads.fields_of(block), is_1_1=is_1_1)
    except heads.BadHead:
        return
    assert len(fields.fields) <= heads.MAX_FIELDS
    framing = [name.lower() for name, _ in fields.fields if name.lower() in (b"content-length", b"transfer-encoding", b"host")]
    assert len(set(framing)) == len(framing), "told twice where the request goes or ends"
    assert not {b"content-length", b"transfer-encoding"} <= set(framing), "two ways to tell where the body ends"
    rules.routing_host(fields.host or b"")
    for condition in (conditions.judge(fields.fields, conditions.Version(1000, 1_700_000_000, b'"tag"')),):
        assert condition.status in (200, 206, 304, 412, 416)
        assert all(0 <= begin < end <= 1000 for begin, end in condition.ranges)
    conditions.accepts_gzip(fields.fields)
    if method == b"CONNECT" or fields.upgrade:
        return  # llhttp stops where the protocol may change
    plain = fields.block_for(Rules(messages.NewProxy("web", "http")), b"1.2.3.4", fields.host or b"")
    changed = fields.block_for(_SITE, b"1.2.3.4", fields.host or b"")
    for written in (plain, changed):
        assert written.index(b"\r\n\r\n") == len(written) - 4
        again = RequestFields(heads.fields_of(written[:-2]), is_1_1=True)
        assert (again.length, again.host) == (fields.length, fields.host or b"")
        assert {name.lower() for name, _ in heads.fields_of(written[:-2])}.isdisjoint((b"proxy-authorization", b"keep-alive"))
        request = method + b" " + (rules.clean_target(path) or b"/") + b" HTTP/1.1\r\n" + written
        _is_one_request(request, fields.length)


def _is_one_request(head: bytes, length: int) -> None:
    body = b"0\r\n\r\n" if length == heads.CHUNKED else b"x" * min(length, 1000)
    found = _Llhttp()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head + body)
    except httptools.HttpParserError:
        return  # who refuses isn't misled
    assert found.requests == 1
    assert found.body == (b"" if length == heads.CHUNKED else body)
    hosts = [value for name, value in found.fields if name.lower() == b"host"]
    assert len(hosts) == 1


def http_response(data: bytes) -> None:
    """The head of a service's response: the user gets one head."""
    end = heads.head_end(data)
    if end < 0:
        return
    try:
        response = Response(data[:end])
    except heads.BadHead:
        lenient = heads.lenient(data[:end])
        try:
            response = Response(lenient)
        except heads.BadHead:
            return
    assert 100 <= response.status <= 999
    for site in (Rules(messages.NewProxy("web", "http")), Rules(messages.NewProxy("web", "http", response_headers={"x-set": "1"}))):
        for is_1_1 in (False, True):
            lines = response.lines_for(site, with_body=not response.is_bare, is_1_1=is_1_1)
            assert b"\r\n\r\n" not in lines
            status, _, block = lines.partition(b"\r\n")
            assert heads.status_line(status)[0] == response.status
            heads.response_length(heads.fields_of(block))


def http_chunks(data: bytes) -> None:
    """A chunked body; what is taken whole, h11 takes too, and finds the same in it."""

    def parse(parts: Pieces) -> object:
        chunks, payload, used = Chunks(), bytearray(), 0
        for part in parts:
            pieces_, n = chunks.receive(memoryview(part))
            payload += b"".join(pieces_)
            used += n
            assert n == len(part) or chunks.done
            assert len(chunks._line) <= 16 * 1024
            if chunks.done:
                break
        return bytes(payload), used, chunks.done, tuple(chunks.trailers)

    outcome = same_for_all_cuts(parse, data)
    if outcome is REFUSED or not outcome[2]:  # type: ignore[index]
        return
    payload, used = outcome[0], outcome[1]  # type: ignore[index]
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + data[:used])
    found = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, "h11 waits for more"
            if isinstance(event, h11.Data):
                found += event.data
    except h11.RemoteProtocolError:
        return
    assert found == payload
    assert connection.trailing_data[0] == b""


def http2_lengths(data: bytes) -> None:
    """The guard before the HTTP/2 library."""

    def parse(parts: Pieces) -> object:
        lengths = Lengths()
        for part in parts:
            if not lengths.allow(part):
                return False
            assert len(lengths._header) < 9
        return True

    same_for_all_cuts(parse, data)


def http_values(data: bytes) -> None:
    """Values that are taken apart further."""
    credentials = auth.basic_credentials(data)
    assert credentials is None or ":" not in credentials[0]
    assert not auth.allows(credentials, "a user whom nobody guesses", "a password")
    found = conditions.ranges_of(data, 100)
    assert found is None or all(0 <= begin < end <= 100 for begin, end in found)
    cleaned = rules.clean_target(b"/" + data)
    assert rules.clean_target(cleaned) == cleaned
    assert cleaned.partition(b"?")[0] == (b"/" + data).partition(b"?")[0]
    rules.unescaped_path(b"/" + data)
    rules.routing_host(data)
    if heads.is_authority(data):
        assert not any(byte <= 0x20 for byte in data)


def http_connect(data: bytes) -> None:
    """The head of a CONNECT: where it leads is a name or an address, whatever else is said."""
    line, _, block = (b"CONNECT " + data).partition(b"\r\n")  # others are refused before
    head = b"%b\r\n%b" % (line, block.partition(b"\r\n\r\n")[0] + b"\r\n")
    try:
        host, credentials = tcpmux._wish(head)
    except heads.BadHead:
        return
    assert host == host.lower()
    assert host.encode() in line.lower()
    assert not any(char in host for char in " /@\r\n\t\0")
    assert credentials is None or ":" not in credentials[0]
