"""Where fuzzing starts: inputs made of the wire vectors and by our own side, and the files that coverage-guided runs have found.

A file in tests/data/corpus/TARGET/ is one input; its name is its CRC. There are only such as reach code that no other input reaches, or
that have once shown a fault.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from pathlib import Path

from frp_py.protocol import snappy, websocket, yamux
from frp_py.protocol.messages import OF_TYPE_ID
from frp_py.protocol.wire_v2 import MAGIC
from tests.protocol.helpers import VECTORS
from tests.protocol.test_client_hello import extension, hello, records, sni, vector

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "tests" / "data" / "corpus"
FAULTS = ROOT / "build" / "fuzz" / "faults"
WORK = ROOT / "build" / "fuzz" / "work"
LONGEST = 4096
"""Bytes of an input."""

_V1 = [bytes.fromhex(case["wire_hex"]) for case in VECTORS["v1_messages"]]
_V2 = [bytes.fromhex(case["wire_hex"]) for case in VECTORS["v2_messages"]]
_UDP = {name: bytes.fromhex(value) for name, value in VECTORS["udp_work_conn"].items()}
_REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n",
    b"POST /a%20b?c=d;e&f=%zz HTTP/1.1\r\nHost: web.test:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\nhello",
    b"PUT http://web.test?x HTTP/1.1\r\nHost: other\r\nTransfer-Encoding: chunked\r\nConnection: x-hop, close\r\nX-Hop: 1\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: [::1]:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: a=b\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n",
    b"GET / HTTP/1.0\r\nAuthorization: Basic dXNlcjpwYXNz\r\nProxy-Authorization: Basic eA==\r\nAccept-Encoding: gzip;q=0, br\r\n\r\n",
    b'GET /f HTTP/1.1\r\nHost: x\r\nRange: bytes=0-4,-3,7-\r\nIf-Range: "tag"\r\nIf-None-Match: W/"tag", *\r\nKeep-Alive: 5\r\n\r\n',
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
    b"CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
]
_RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\nhello",
    b"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\r\n",
    b"HTTP/1.0 304 Not Modified\nContent-Length: 3\nX-Long: a\r\n b\n\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
]


def _frame(word: int, stream: int, length: int, body: bytes = b"") -> bytes:
    return yamux.HEADER.pack(word, stream, length) + body


def _yamux() -> Iterator[bytes]:
    for case in VECTORS["yamux"]["frames"]:
        yield bytes.fromhex(case["hex"])
    yield bytes.fromhex(VECTORS["yamux_v1_login"]["hex"])
    syn, ack, fin, rst = yamux.WINDOW_UPDATE | yamux.SYN, yamux.WINDOW_UPDATE | yamux.ACK, yamux.FIN, yamux.RST
    opened = b"".join(_frame(syn, 2 * n, 0) for n in range(1, 8))
    yield opened + _frame(0, 2, 5, b"hello") + _frame(fin, 2, 2, b"!!") + _frame(fin, 4, 0) + _frame(rst, 6, 0) + _frame(0, 8, 9, b"cut")
    yield _frame(ack, 1, 1000) + _frame(fin, 3, 0) + _frame(rst, 5, 3, b"xyz") + _frame(0, 1, 3, b"abc") + _frame(fin | rst, 1, 0)
    yield _frame(yamux.PING | yamux.SYN, 0, 7) * 3 + _frame(yamux.GO_AWAY, 0, 0) + opened
    yield opened + _frame(0, 2, 0x40000) + _frame(yamux.WINDOW_UPDATE, 4, 0xFFFFFFFF)


def _websocket_heads() -> list[bytes]:
    request, answer = (bytes.fromhex(VECTORS["websocket"][name]) for name in ("request_hex", "response_hex"))
    return [
        request,
        request.replace(b"Origin", b"Sec-WebSocket-Protocol: frp\r\nOrigin"),
        answer,
        websocket.upgrade_response("AAAAAAAAAAAAAAAAAAAAAA=="),
    ]


def seeds() -> dict[str, list[bytes]]:
    """By target."""
    connect = b"\x05\x01\x00\x03\x08web.test\x00\x50"
    ws = VECTORS["websocket"]
    plain_snappy, packed_snappy = (bytes.fromhex(VECTORS["snappy"][f"{kind}_stream_hex"]) for kind in ("uncompressed", "compressed"))
    identifier = len(snappy.STREAM_IDENTIFIER)
    handshake = VECTORS["v2"]["handshakes"][0]
    return {
        "yamux": list(_yamux()),
        "wire_v1": [*_V1, b"".join(_V1[:4])],
        "wire_v2": [*_V2, b"".join(_V2[:4])],
        "json": [bytes([list(OF_TYPE_ID).index(case["type_id"])]) + bytes.fromhex(case["wire_hex"])[10:] for case in VECTORS["v2_messages"]]
        + [
            b'\x00{"VERSION":"x","ru\xc5\xbf_id":null,"metas":{"a":null,"b":"\\ud800"},"client_spec":null,"pool_count":-1,"x":[{}]}',
            b'\x0c{"c":"aGVsbG8=","l":null,"r":{"IP":"::1","Port":65535,"Zone":"eth0"}}',
            b'\x02{"custom_domains":[null,"a"],"remote_port":9223372036854775807,"use_encryption":true,"headers":{"\xff":"\xe2\x80\xa8<>&"}}',
        ],
        "hello_v2": [handshake["client_hello_json"].encode(), handshake["server_hello_json"].encode()],
        "aead": [b"", b"x", b"hello" * 20, bytes.fromhex(handshake["client_records"]["wire_hex"])],
        "cipher": [b"", bytes(16), bytes(40)],
        "snappy": [
            b"\0" + plain_snappy,
            b"\0" + packed_snappy,
            b"\xff" + packed_snappy[identifier:],
            b"\xff\xfe\x03\0\0pad" + plain_snappy[identifier:],
        ],
        "client_hello": [
            records(hello(sni(b"Web.Test") + extension(16, vector(2, b"\x02h2\x08http/1.1")))),
            records(hello(extension(0x0A0A, b"grease") + sni(b"a.test"), suites=b"\x13\x01\x00\xff"), 20),
            records(hello()),
        ],
        "first_bytes": [bytes.fromhex(case["first_bytes_hex"]) for case in VECTORS["sniff"]] + [MAGIC],
        "websocket_heads": _websocket_heads(),
        "websocket_frames": [bytes.fromhex(ws[kind]["frame_hex"]) for kind in ("client_frame", "server_frame")]
        + [bytes.fromhex(ws["close_frame_from_server_hex"]), b"\x89\x02hi\x02\x7e\x00\x80" + bytes(128), b"\x82\x7f" + bytes(7) + b"\x01x"]
        + [b"\x89\x82mask\x05\x08" + b"\x01\xfe\x00\x80mask" + bytes(128) + b"\x88\x80mask"],
        "socks5": [
            b"\x05\x01\x00" + connect + b"early",
            b"\x05\x02\x00\x02\x01\x04name\x04word" + connect,
            b"\x05\x01\x02\x01\x04name\x04word\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
            b"\x05\x01\x00\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50",
            b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6),
        ],
        "proxy_protocol": [b"1.2.3.4\n5.6.7.8", b"2001:db8::1\n::ffff:1.2.3.4", b"fe80::1%eth0\nweb.test", b"::ffff:1.2.3.4\n"],
        "packets_v1": [_UDP["plain_v1_hex"] * 2, _UDP["ping_v1_hex"] + _UDP["plain_v1_hex"], *(v for v in _V1 if v[:1] == b"u")],
        "packets_v2": [_UDP["plain_v2_hex"] * 2, _UDP["ping_v2_hex"] + _UDP["plain_v2_hex"], *(v for v in _V2 if v[8:10] == b"\0\x0d")],
        "stun": [
            b"\x00\x20\x00\x08\x00\x01\x12\x34\x01\x02\x03\x04",
            b"\x00\x01\x00\x14\x00\x02\x12\x34" + bytes(16) + b"\x80\x2c\x00\x08\x00\x01\x12\x34\x01\x02\x03\x04",
            b"\x00\x09\x00\x07\x00\x00\x04\x14bad\x00\x00\x05\x00\x08\x00\x01\x00\x50\x7f\x00\x00\x01",
        ],
        "http_request": _REQUESTS,
        "http_response": _RESPONSES,
        "http_chunks": [
            b"5\r\nhello\r\n0\r\n\r\n",
            b"a;x=y\r\n0123456789\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\nGET /",
            b"0\r\nHost: x\r\n\r\n",
            b"fffffffffffffff\r\n",
        ],
        "http2_lengths": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5) + b"\x00\x00\x02\x00\x01\x00\x00\x00\x01hi"],
        "http_values": [b"Basic dXNlcjpwYXNz", b"bytes=0-4, -3,7-", b"p?a=b&c;d&e=%20+%zz&%41=~", b"[::1%25eth0]:80", b"Web.Test.:8080"],
    }


def inputs(target: str) -> list[bytes]:
    """Seeds and found inputs, always in the same order."""
    return seeds()[target] + [path.read_bytes() for path in sorted((FOUND / target).glob("*"))]


def mutated(rng: random.Random, inputs: list[bytes]) -> bytes:
    """An input with some of the changes that parsers stumble over."""
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
        at, n = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 16))
        match rng.randrange(8):
            case 0:
                data[at : at + n] = rng.randbytes(n)
            case 1:
                del data[at : at + n]
            case 2:
                data[at:at] = rng.randbytes(n)
            case 3:
                data[at : at + n] = (
                    rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\r\n", b"\n", b" ", b"\t", b'"', b"%", b"0", b"9" * 20)) * n
                )
            case 4:
                data[at:at] = data[at : at + 64]
            case 5:
                del data[at:]
            case 6:
                other = rng.choice(inputs)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case _ if at < len(data):
                data[at] = data[at] + rng.choice((1, 255, 128, 32)) & 255
    return bytes(data)


def write(directory: Path, data: bytes) -> Path:
    """Make a file of an input."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{zlib.crc32(data):08x}"
    path.write_bytes(data)
    return path
