"""What is fuzzed: each parser that sees a peer's bytes, as a function that takes any bytes and raises when the parser is wrong.

A parser may refuse (PeerError) or answer; any other exception is a fault. Besides that each target says what must always hold: that it
makes no difference where the bytes are cut, that nothing beyond a bound is kept, that what was understood means the same when it is
written again.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, TypeAlias

import h11
import httptools
import msgspec

from frp_py.errors import PeerError
from frp_py.net.http import auth, conditions, heads, rules
from frp_py.net.http.chunks import Chunks
from frp_py.net.http.frames import Lengths
from frp_py.protocol import client_hello, first_bytes, go_json, messages, proxy_protocol, snappy, socks5, stun, websocket, wire_v1, wire_v2
from frp_py.protocol.aead import MAX_PLAIN, NONCE_SIZE, Opener, Sealer
from frp_py.protocol.cipher import Decryptor, Encryptor
from frp_py.protocol.datagrams import PacketReader
from frp_py.protocol.messages import OF_TYPE_ID, Message, UDPPacket
from frp_py.protocol.yamux import INITIAL_WINDOW, OWED_LIMIT, Budget, Buffers, Session, Stream
from frp_py.server.vhost.messages import RequestFields, Response
from frp_py.server.vhost.sites import Rules
from tests.protocol.helpers import pieces

Target: TypeAlias = Callable[[bytes], None]
Pieces: TypeAlias = Sequence[bytes]

REFUSED = object()
"""The outcome of a parser that has raised PeerError."""


def cuts_of(data: bytes) -> list[int]:
    """Lengths of pieces, told by the data itself, so that an input always means the same."""
    rng = random.Random(zlib.crc32(data))
    return [rng.randrange(1, rng.choice((2, 8, 64, 1024))) for _ in range(4)]


def same_for_all_cuts(parse: Callable[[Pieces], object], data: bytes) -> object:
    """The outcome for `data`, which must be the same whole and cut."""

    def outcome(parts: Pieces) -> object:
        try:
            return parse(parts)
        except PeerError:
            return REFUSED

    whole = outcome([data])
    cut = outcome([piece for piece in pieces(data, cuts_of(data)) if piece])
    assert cut == whole, f"cut: {cut!r}, whole: {whole!r}"
    return whole


# links


class _Written(Stream):
    """Writes down what it hears. Nothing is credited: what is credited when would depend on the cuts."""

    __slots__ = ("data", "ends")

    def __init__(self, session: Session, stream_id: int) -> None:
        super().__init__(session, stream_id)
        self.data = bytearray()
        self.ends: list[str] = []

    def received(self, data: memoryview) -> None:
        assert data
        assert not self.ends, "data behind the end"
        self.data += data
        assert len(self.data) <= INITIAL_WINDOW

    def finished(self) -> None:
        self.ends.append("finished")

    def broken(self, reason: str) -> None:
        assert "broken" not in self.ends
        self.ends.append("broken")


def yamux(data: bytes) -> None:
    """A peer who opens, sends, finishes and resets as it likes, on streams of its own and on three of ours."""

    def parse(parts: Pieces) -> object:
        budget, seen = Budget(), []

        def make(session: Session, stream_id: int) -> _Written | None:
            stream = _Written(session, stream_id)
            seen.append(stream)
            return stream if len(seen) % 5 else None

        session = Session(client=True, new_stream=make, buffers=Buffers(), budget=budget, max_streams=40)
        ours = [session.open(_Written) for _ in range(3)]
        ours[0].send(b"hello")
        ours[1].finish()
        refused = False
        try:
            for part in parts:
                session.receive_data(memoryview(part))
                assert len(session._head) < 12
        except PeerError:
            refused = True
        assert len(session.extra) <= OWED_LIMIT + 12
        assert len(session.streams) <= 43
        assert session.unacknowledged.keys() <= session.streams.keys()
        said = bytearray()
        while (out := session.data_to_send()) is not None:
            said += out
            session.sent(len(out))
        session.drained()
        streams = [stream for stream in (*ours, *seen) if isinstance(stream, _Written)]
        heard = [(stream.id, bytes(stream.data), tuple(stream.ends), stream.send_window) for stream in streams]
        session.broken("the end")
        assert all(stream.state & Stream.GONE for stream in streams if stream.ends)
        assert budget.left == Budget().left
        assert not session.streams
        return refused, heard, bytes(said)

    same_for_all_cuts(parse, data)


def _wire(version: str) -> Target:
    limit = (wire_v1.MAX_BODY if version == "v1" else wire_v2.MAX_PAYLOAD) + 9

    def target(data: bytes) -> None:
        def parse(parts: Pieces) -> object:
            reader = (wire_v1 if version == "v1" else wire_v2).Reader()
            found: list[Message] = []
            for part in parts:
                found += reader.receive_data(part)
                assert len(reader.unread()) < limit
            return found, reader.unread()

        outcome = same_for_all_cuts(parse, data)
        if outcome is not REFUSED:
            for message in outcome[0]:  # type: ignore[index]
                _same_again(message)

    return target


def _same_again(message: msgspec.Struct) -> None:
    """What was understood can be said, and is understood the same then."""
    assert go_json.decode(type(message), go_json.encode(message)) == message


_STRUCTS: list[type[msgspec.Struct]] = [*OF_TYPE_ID.values(), wire_v2.ClientHello, wire_v2.ServerHello]


def json(data: bytes) -> None:
    """The first byte chooses the message. The quick reader takes nothing that the lenient one reads otherwise."""
    if not data:
        return
    cls, text = _STRUCTS[data[0] % len(_STRUCTS)], data[1:]
    try:
        message = go_json.decode(cls, text)
    except PeerError:
        return
    assert message == go_json._decode_leniently(cls, text)
    _same_again(message)


def hello_v2(data: bytes) -> None:
    """A client's hello at the server, and a server's at the client."""
    ours = wire_v2.offer("tcp", tls=True, tcp_mux=True, client_random=bytes(range(32)))
    try:
        agreed = wire_v2.accept(ours, data)
    except PeerError:
        pass
    else:
        assert agreed.algorithm in NONCE_SIZE
    try:
        payload, agreed_or_error = wire_v2.answer(data, bytes(32))
    except PeerError:
        return
    assert len(payload) <= wire_v2.MAX_PAYLOAD
    if isinstance(agreed_or_error, wire_v2.Agreed):
        assert wire_v2.accept(data, payload) == agreed_or_error


_KEY = bytes(range(32))


def aead(data: bytes) -> None:
    """Records as they come, and records that were sealed properly and then changed at one place."""
    for algorithm, size in NONCE_SIZE.items():

        def parse(parts: Pieces, algorithm: str = algorithm) -> object:
            opener = Opener(algorithm, _KEY)
            plain = b"".join(opener.update(part) for part in parts)
            assert len(opener._buffer) < MAX_PLAIN + 64
            return plain, opener.at_boundary

        assert same_for_all_cuts(parse, data) in (REFUSED, (b"", True), (b"", False)), "somebody has guessed a tag"
        sealer = Sealer(algorithm, _KEY, bytes(size))
        sealed = sealer.update(data) + sealer.update(data[:1])
        if sealed:
            assert same_for_all_cuts(parse, sealed) == (data + data[:1], True)
            changed = bytearray(sealed)
            changed[zlib.crc32(data) % len(sealed)] ^= 1 + zlib.adler32(data) % 255
            outcome = same_for_all_cuts(parse, bytes(changed))
            assert outcome is REFUSED or not outcome[1] or outcome[0] == b"", "a change was not noticed"  # type: ignore[index]


def cipher(data: bytes) -> None:
    """Nothing is authenticated there; the stream must only stay in step."""

    def parse(parts: Pieces) -> object:
        decryptor, encryptor = Decryptor(_KEY[:16]), Encryptor(_KEY[:16], bytes(16))
        plain = [decryptor.update(part) for part in parts]
        again = Decryptor(_KEY[:16])
        assert b"".join(again.update(encryptor.update(piece)) for piece in plain) == b"".join(plain)
        return b"".join(plain)

    same_for_all_cuts(parse, data)


def decompression(data: bytes) -> None:
    """The first byte chooses whether the identifier is there already. Output stays within what the format can hold."""

    def parse(parts: Pieces) -> object:
        decompressor = snappy.Decompressor()
        plain = b"".join(decompressor.update(part) for part in parts)
        assert len(decompressor._buffer) <= snappy.MAX_CHUNK + 4
        return plain, bytes(decompressor._buffer), decompressor._skip

    wire = (snappy.STREAM_IDENTIFIER if data[:1] > b"\x7f" else b"") + data[1:]
    outcome = same_for_all_cuts(parse, wire)
    assert outcome is REFUSED or len(outcome[0]) <= 32 * len(wire) + 64  # type: ignore[index]


# the ways in


def tls_client_hello(data: bytes) -> None:
    """Names are lower-case host names, nothing else."""

    def parse(parts: Pieces) -> object:
        reader = client_hello.Reader()
        for part in parts:
            if (found := reader.receive_data(part)) is not None:
                return found
            assert len(reader._buffer) + len(reader._message) <= client_hello.MAX_SIZE + 16384
        return None

    found = same_for_all_cuts(parse, data)
    if isinstance(found, client_hello.ClientHello):
        assert found.server_name == found.server_name.lower()
        assert found.server_name.isascii()
        assert not any(byte <= " " for byte in found.server_name)
        assert all(found.alpn)


def first_ten_bytes(data: bytes) -> None:
    """Every beginning leads somewhere."""
    first = data[: first_bytes.SIZE].ljust(first_bytes.SIZE, b"\0")
    plain = first_bytes.destination(first, http_shares=False, https_shares=False)
    assert plain in (first_bytes.Destination.LINK, first_bytes.Destination.WEBSOCKET)
    assert first_bytes.destination(first, http_shares=True, https_shares=True) in first_bytes.Destination
    assert (first_bytes.tls_start(first[0]) is first_bytes.TLSStart.NONE) is (first[0] not in (0x16, 0x17))


def websocket_heads(data: bytes) -> None:
    """Requests at the server, answers at the client."""
    try:
        size = websocket.head_size(data)
    except PeerError:
        return
    if not size:
        assert len(data) < websocket.MAX_HEAD
        return
    head = data[:size]
    try:
        answer, upgraded = websocket.answer_upgrade(head)
    except PeerError:
        pass
    else:
        assert answer.startswith(b"HTTP/1.1 101 " if upgraded else b"HTTP/1.1 4")
        assert answer.count(b"\r\n\r\n") == 1
        assert answer.endswith(b"\r\n\r\n"), "a header of the request has split the answer"
    key = websocket.upgrade_key(bytes(16))
    try:
        websocket.check_upgrade(head, key)
    except PeerError:
        pass
    else:
        assert websocket.accept_value(key).encode() in head


def websocket_frames(data: bytes) -> None:
    """From clients, which mask, and from servers."""
    for masks in (None, lambda: b"mask"):

        def parse(parts: Pieces, masks: Callable[[], bytes] | None = masks) -> object:
            framing, plain = websocket.Framing(masks), bytearray()
            for part in parts:
                plain += framing.receive_data(part)
                assert len(framing._header) < 14
                assert len(framing._control) <= 125
                assert len(framing.data_to_send()) <= 131
            return bytes(plain), framing.ended

        same_for_all_cuts(parse, data)
        there, back = websocket.Framing(masks), websocket.Framing(None if masks else lambda: b"mask")
        assert there.receive_data(back.send(data)) == data


def socks(data: bytes) -> None:
    """With and without a password, which must be there before a request is heard."""
    for credentials in ((), ("name", "word")):

        def parse(parts: Pieces, credentials: tuple[str, ...] = credentials) -> object:
            server, said = socks5.Server(*credentials), b""
            for at, part in enumerate(parts):
                request = server.receive_data(part)
                said += server.data_to_send()
                if request is not None:
                    return request, said, server.unread() + b"".join(parts[at + 1 :])
                assert len(server.unread()) <= 600
            return None, said, server.unread()

        outcome = same_for_all_cuts(parse, data)
        if outcome is not REFUSED and outcome[0] is not None:  # type: ignore[index]
            host = outcome[0].host  # type: ignore[index]
            assert host
            assert host.isprintable()
            assert not credentials or b"\x04name\x04word" in data


def proxy_header(data: bytes) -> None:
    """The addresses that a server tells its client of a user: a header is one line, or has the length it says."""
    text, _, rest = data.decode("latin-1").partition("\n")
    source, destination = (text, len(data) * 257 % 65536), (rest, len(data))
    for version in ("v1", "v2"):
        for ends in ((source, destination), (source, ("10.0.0.1", 80)), (source, ("2001:db8::1", 80)), (("10.0.0.1", 80), source)):
            for udp in (False, True):
                try:
                    header = proxy_protocol.header(version, *ends, udp=udp)
                except proxy_protocol.NoHeaderError:
                    continue
                if version == "v1":
                    assert header.index(b"\r\n") == len(header) - 2
                    assert len(header) <= 107
                else:
                    assert int.from_bytes(header[14:16], "big") == len(header) - 16


# datagrams


def _packets(version: str) -> Target:
    known = {b'","r":{"IP":"1.2.3.4","Port":5,"Zone":""}}': "1.2.3.4"}

    def target(data: bytes) -> None:
        """The quick reader finds what the plain one finds."""

        def parse(parts: Pieces) -> object:
            others: list[Message] = []
            reader = PacketReader(version, dict(known), lambda user, tail: user.ip, others.append)
            packets = [packet for part in parts for packet in reader.receive_data(part)]
            assert len(reader._rest) < wire_v2.MAX_PAYLOAD + 9
            return packets, others

        def plainly(parts: Pieces) -> object:
            packets: list[tuple[Any, bytes]] = []
            others: list[Message] = []
            for message in (wire_v1 if version == "v1" else wire_v2).Reader().receive_data(b"".join(parts)):
                if not isinstance(message, UDPPacket):
                    others.append(message)
                elif message.user_address is not None:
                    packets.append((message.user_address.ip, message.content))
            return packets, others

        try:
            expected = plainly([data])
        except PeerError:
            expected = REFUSED
        assert same_for_all_cuts(parse, data) == expected

    return target


def stun_answers(data: bytes) -> None:
    """Datagrams at the client, as they come and behind the right header."""
    transaction = bytes(range(stun.TRANSACTION_SIZE))
    header = b"\x01\x01" + len(data).to_bytes(4, "big")[2:] + stun.binding_request(transaction)[4:]
    for datagram in (data, header + data):
        try:
            answer = stun.read_answer(datagram, transaction)
        except PeerError:
            continue
        if answer is None:
            assert datagram is data
            continue
        for name in ("mapped", "other"):
            try:
                address = getattr(answer, name)
            except PeerError:
                continue
            if address is not None:
                ip_address(address[0])
                assert 0 <= address[1] <= 65535


# HTTP


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


TARGETS: dict[str, Target] = {
    "yamux": yamux,
    "wire_v1": _wire("v1"),
    "wire_v2": _wire("v2"),
    "json": json,
    "hello_v2": hello_v2,
    "aead": aead,
    "cipher": cipher,
    "snappy": decompression,
    "client_hello": tls_client_hello,
    "first_bytes": first_ten_bytes,
    "websocket_heads": websocket_heads,
    "websocket_frames": websocket_frames,
    "socks5": socks,
    "proxy_protocol": proxy_header,
    "packets_v1": _packets("v1"),
    "packets_v2": _packets("v2"),
    "stun": stun_answers,
    "http_request": http_request,
    "http_response": http_response,
    "http_chunks": http_chunks,
    "http2_lengths": http2_lengths,
    "http_values": http_values,
}
