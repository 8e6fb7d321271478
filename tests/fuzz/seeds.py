"""Where fuzzing starts: inputs made of the wire vectors, of the examples of configuration files, and by our own side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from frp_py.protocol import snappy, websocket, yamux
from frp_py.protocol.messages import OF_TYPE_ID, NewProxy
from frp_py.protocol.wire_v2 import MAGIC
from tests.fuzz.corpus import FOUND, ROOT
from tests.protocol.helpers import VECTORS
from tests.protocol.test_client_hello import extension, hello, records, sni, vector
from tests.server.vhost.helpers import H2_GET

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


_EXAMPLES = sorted((ROOT / "tests" / "data" / "config_examples").iterdir())
_CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"
_TWO = b"PUT /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhiGET http://a.test/b?c=d HTTP/1.1\r\nHost: b.test\r\n\r\n"
_SETTINGS = bytes(3) + b"\x04" + bytes(5)
_POST_2 = b"\x00\x00\x0b\x01\x04\x00\x00\x00\x01\x83\x84\x86\x01\x06a.test" + b"\x00\x00\x02\x00\x01\x00\x00\x00\x01hi"
_JSON = [
    b'{"a": [1, -2.5e3, true, null, "\\u00e9\\n"], "b": {"c": {}, "d": [[], [{}]]}, "a": {"x": 1}}',
    b' [0, 1e999, 123456789012345678901234567890, "\\ud83d\\ude00", "\xc3\xa9", ""] ',
    b'{"<<": {"y": 1}, "1": "true", "k": "\\\\ \\" \\/ \\b\\f\\r\\t"}',
]
_YAML = [
    b"a: &x [1, 0o17, 0x1F, 1e3, .inf, ~, yes, '1', \"\\u00e9\"]\nb: *x\nc:\n  - <<: {d: 1}\n    e: |\n      text\n",
    b"%YAML 1.1\n---\n? [a]\n: b\n...\n---\nsecond\n",
    b"y: !!float 3\nn: !!binary aGk=\n1: {a: b, ? c, d: }\n# note\ne: >-\n  folded\n",
]
_TEMPLATES = [
    b'{{ .Envs.HOME }} {{- if eq .Envs.EMPTY "" }}a{{ else }}b{{ end -}} '
    b'{{ range $i, $p := parseNumberRange "6000-6002,7" }}{{ $i }}:{{ $p }} {{ end }}',
    b'{{ range parseNumberRangePair "1-3" "4-6" }}{{ .First }}-{{ .Second }}{{ end }}',
    b'{{ printf "%05d|%-6s|%x|%.2f|%*d|%q|%v" 42 "x" 255 3.14159 5 7 "q" true }}',
    b'{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" .Envs.PORTS }}'
    b'{{ with $x := "y" }}{{ $x = print $x $x }}{{ len $x }}{{ end }}{{/* c */}}',
    b'{{ $m := .Envs }}{{ index $m "HOME" }}{{ slice "abcdef" 1 3 }}{{ and 1 0 }}{{ not true }}{{ `raw` | html | urlquery }}{{ break }}',
    b"plain text",
]
_DEFINITIONS = [
    b'\x00{"name": "web", "type": "http", "http": {"localPort": 80, "customDomains": ["a.test"], "transport": {"bandwidthLimit": "1MB"}}}',
    b'\x00{"name": "s", "type": "tcp", "tcp": {"remotePort": 1,'
    b' "plugin": {"type": "static_file", "localPath": "/srv"}, "metadatas": {"a": "b"}}}',
    b'\x00{"Name": "m", "TYPE": "tcpmux", "tcpmux": {"multiplexer": "httpconnect", "subdomain": "x",'
    b' "healthCheck": {"type": "tcp"}, "enabled": false}}',
    b'\xff{"name": "v", "type": "stcp", "stcp": {"serverName": "s", "secretKey": "k", "bindPort": 9000, "serverUser": null}}',
]
_STORES = [
    b'{"proxies": [{"name": "a", "type": "udp", "localPort": 53, "remotePort": 6053},'
    b' {"name": "a", "type": "tcp", "unknown": 1}], "visitors": null}',
    b'{"Visitors": [{"name": "v", "type": "sudp", "serverName": "x", "bindPort": 1, "transport": {"useCompression": true}}]}',
]


_NEW_PROXY = bytes((list(OF_TYPE_ID.values()).index(NewProxy),))
_WISHES = [
    _NEW_PROXY + wish
    for wish in (
        b'{"proxy_name":"t","proxy_type":"tcp","use_encryption":true,"bandwidth_limit":"1MB","bandwidth_limit_mode":"server"}',
        b'{"proxy_name":"h","proxy_type":"http","subdomain":"x","locations":["/a","/"],"http_user":"u","headers":{"a":"b"},"group":"g"}',
        b'{"proxy_name":"s","proxy_type":"https","custom_domains":["*.a.test","b.test"]}',
        b'{"proxy_name":"m","proxy_type":"tcpmux","multiplexer":"httpconnect","custom_domains":["c.test"],"route_by_http_user":"u"}',
        b'{"proxy_name":"x","proxy_type":"stcp","sk":"key","allow_users":["*"]}',
        b'{"proxy_name":"y","proxy_type":"sudp","sk":"key"}',
        b'{"proxy_name":"u","proxy_type":"udp","remote_port":0,"group":"g","group_key":"k"}',
    )
]


def _said(kinds: Iterable[int]) -> bytes:
    """A line for each message of the vectors, in this order of kinds, on the control connection and on a stream of its own."""
    order = list(OF_TYPE_ID)
    examples = {case["type_id"]: bytes.fromhex(case["wire_hex"])[10:] for case in VECTORS["v2_messages"]}
    lines = [bytes((order.index(kind) | on_stream,)) + examples[kind] for kind in kinds if kind in examples for on_stream in (0, 0x80)]
    return b"\n".join(lines)


def _configurations() -> Iterator[bytes]:
    """Each example with the byte that chooses the program, and with the extension's name unknown."""
    for path in _EXAMPLES:
        if path.suffix != ".ini":
            yield bytes((path.name.startswith("frpc"),)) + path.read_bytes()
    yield (
        b'\x03[[proxies]]\nname = "a"\ntype = "http"\ncustomDomains = ["x"]\nlocalPort = 1.0\n'
        b'requestHeaders.set.x-a = "b"\n[[visitors]]\ntype = "stcp"\n'
    )
    yield b'\x02bindPort = "x"\nallowPorts = [{ single = 1 }, { start = 2, end = 9 }]\nunknown = 1979-05-27\n'
    yield b'\x07{"serverPort": 7000, "proxies": [{"type": "tcp", "name": "t", "transport": {"bandwidthLimit": "2KB"}}], "start": ["t"]}'


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
        "http_connect": [
            b"A.test:443 HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
            b"[::1]:80 HTTP/1.0\r\n\r\n",
        ],
        "http1_serving": [*_REQUESTS, _CHUNKED + _TWO, _TWO + _CHUNKED],
        "http2_serving": [_SETTINGS + _POST_2, H2_GET.partition(b"SM\r\n\r\n")[2]],
        "vhost_user": [request.replace(b"web.test", b"a.test") for request in _REQUESTS]
        + [_CHUNKED + _TWO, _TWO + _CHUNKED, H2_GET, H2_GET[:24] + _SETTINGS + _POST_2],
        "vhost_service": [bytes((asked,)) + response for asked in range(5) for response in _RESPONSES]
        + [b"\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"],
        "server_session": [_said(OF_TYPE_ID), b"\n".join(_WISHES)],
        "client_session": [_said(OF_TYPE_ID), _said(reversed(OF_TYPE_ID))],
        "upstream": [
            b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\0\1\2",
            b"HTTP/1.1  200 OK\r\n\r\n\0",
            b"HTTP/1.1 407 No\r\n\r\n",
            *(b"\5\0\5\0\0" + address + b"\0\x50rest" for address in (b"\1\x7f\0\0\1", b"\3\4name", b"\4" + bytes(16))),
            b"\5\2\1\0\5\0\0\1\x7f\0\0\1\0\x50rest",
            b"\5\0\5\5\0\1",
        ],
        "health": [
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 302 Found\r\nLocation: /b?c#d\r\n\r\n"
            b"HTTP/1.1 307 T\r\nLocation: https://other.test:8443/x\r\n\r\nHTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 301 M\r\nLocation: http://[::1]:99/\r\n\r\n"
            b"HTTP/1.1 308 P\r\nLocation: //127.0.0.1/../y\r\n\r\nHTTP/1.1 404 No\r\n\r\n",
        ],
        "paths": [b"a/b/f", b"in/f", b"./a//up", b"%2e%2e/f", b"out/f", b"o/f", b"etc/passwd", b"self", b"a%2Fb?c=d", b"%00", b"\xff%ff"],
        "config": list(_configurations()),
        "config_json": _JSON,
        "config_yaml": [*_YAML, *(path.read_bytes() for path in _EXAMPLES if path.suffix == ".yaml"), *_JSON],
        "config_ini": [path.read_bytes() for path in _EXAMPLES if path.suffix == ".ini"]
        + [
            b"[common]\na = %(b)s\nb = `x\ny`\n[range:t]\ntype = tcp\nlocal_port = 1-3,5\nremote_port = 6-8,9\n"
            b"[v.w]\nrole = visitor\ntype=stcp\n"
        ],
        "template": _TEMPLATES,
        "store": _STORES,
        "definition": _DEFINITIONS,
    }


def inputs(target: str) -> list[bytes]:
    """Seeds and found inputs, always in the same order."""
    return seeds()[target] + [path.read_bytes() for path in sorted((FOUND / target).glob("*"))]
