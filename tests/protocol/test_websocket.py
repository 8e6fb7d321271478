import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol import websocket
from frp_py.protocol.websocket import (
    MAX_HEAD,
    Framing,
    accept_value,
    answer_upgrade,
    check_upgrade,
    head_size,
    mask,
    mask_plainly,
    upgrade_key,
    upgrade_request,
    upgrade_response,
)
from tests.protocol.helpers import CUTS, VECTORS, pieces

VECTOR = VECTORS["websocket"]
KEY: str = VECTOR["key"]
REQUEST = bytes.fromhex(VECTOR["request_hex"])
RESPONSE = bytes.fromhex(VECTOR["response_hex"])
MASK = bytes.fromhex(VECTOR["client_frame"]["mask_hex"])


def client() -> Framing:
    return Framing(lambda: MASK)


def server() -> Framing:
    return Framing(None)


def frame(first: int, payload: bytes = b"", masked: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes((first, (0x80 if masked else 0) | len(payload))) + (MASK + bytes(mask(payload, MASK)) if masked else payload)


def test_upgrade_vectors() -> None:
    assert upgrade_key(bytes(range(16))) == KEY
    assert accept_value(KEY) == VECTOR["accept"]
    assert upgrade_request("127.0.0.1:7000", KEY) == REQUEST
    assert upgrade_response(KEY) == RESPONSE
    assert answer_upgrade(REQUEST) == (RESPONSE, True)
    check_upgrade(RESPONSE, KEY)


def test_the_origin_is_in_lower_case() -> None:
    assert b"Host: Example.COM\r\n" in upgrade_request("Example.COM", KEY)
    assert b"Origin: http://example.com\r\n" in upgrade_request("Example.COM", KEY)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("/~!frp ", "/~!frpx ", "404 Not Found"),
        ("/~!frp ", "/~!frp/ ", "404 Not Found"),
        ("GET", "POST", "405 Method Not Allowed"),
        ("Upgrade: websocket", "Upgrade: h2c", "400 Bad Request"),
        ("Upgrade: websocket\r\n", "", "400 Bad Request"),
        ("Connection: Upgrade", "Connection: close", "400 Bad Request"),
        ("Connection: Upgrade\r\n", "", "400 Bad Request"),
        (f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Key:", "400 Bad Request"),
        ("Version: 13", "Version: 8", "400 Bad Request"),
        ("Sec-WebSocket-Version: 13\r\n", "", "400 Bad Request"),
        ("Origin: http://127.0.0.1:7000\r\n", "", "403 Forbidden"),
        ("Origin: http://127.0.0.1:7000", "Origin: ", "403 Forbidden"),
        ("Origin", "Sec-WebSocket-Protocol: a, b\r\nOrigin", "400 Bad Request"),
        ("Origin", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\nOrigin", "400 Bad Request"),
    ],
)
def test_requests_that_are_refused(old: str, new: str, status: str) -> None:
    assert old.encode() in REQUEST
    said, upgraded = answer_upgrade(REQUEST.replace(old.encode(), new.encode(), 1))
    assert not upgraded
    assert said.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert said.endswith(b"\r\n\r\n")
    assert (said.count(b"\r\n") == 2) == status.startswith("403")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Upgrade: websocket", "upgrade:WebSocket"),
        ("Connection: Upgrade", "CONNECTION: keep-alive, UPGRADE"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("/~!frp ", "/~!frp?x=1 "),
        ("Origin", "X-Forwarded-For: 192.0.2.7\r\nOrigin"),
    ],
)
def test_requests_as_proxies_change_them(old: str, new: str) -> None:
    assert old.encode() in REQUEST
    assert answer_upgrade(REQUEST.replace(old.encode(), new.encode(), 1)) == (RESPONSE, True)


def test_one_subprotocol_is_echoed() -> None:
    said, upgraded = answer_upgrade(REQUEST.replace(b"Origin", b"Sec-WebSocket-Protocol: a\r\nOrigin"))
    assert upgraded
    assert said == upgrade_response(KEY, "a")
    assert b"\r\nSec-WebSocket-Protocol: a\r\n\r\n" in said


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET /~!frp\r\n\r\n",
        b"GET /~!frp HTTP/2.0\r\n\r\n",
        REQUEST.replace(b"Host:", b"Host"),
        REQUEST.replace(b"Host: 127", b"Host: \n127"),
        REQUEST.replace(b"Origin: ", b"Origin: \x00"),
        REQUEST.replace(b"Host", b" Host"),
    ],
)
def test_what_is_no_request(head: bytes) -> None:
    with pytest.raises(PeerError, match="websocket upgrade"):
        answer_upgrade(head)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("101", "200", "answered with 'HTTP/1.1 200"),
        ("HTTP/1.1 101", "SSH-2.0", "answered with 'SSH-2.0"),
        ("Upgrade: websocket", "Upgrade: h2c", "without upgrade"),
        ("Connection: Upgrade", "Connection: Upgrade, close", "without upgrade"),
        (VECTOR["accept"], VECTOR["accept"].lower(), "another Sec-WebSocket-Accept"),
        (VECTOR["accept"], "\xff", "another Sec-WebSocket-Accept"),
        ("Upgrade: websocket", "Sec-WebSocket-Protocol: x\r\nUpgrade: websocket", "with Sec-WebSocket-Protocol"),
        ("Upgrade: websocket", "sec-websocket-extensions:\r\nUpgrade: websocket", "with Sec-WebSocket-Extensions"),
        ("Upgrade: websocket", "Upgrade", "malformed header"),
    ],
)
def test_answers_that_are_none(old: str, new: str, why: str) -> None:
    assert old.encode() in RESPONSE
    with pytest.raises(PeerError, match=why):
        check_upgrade(RESPONSE.replace(old.encode(), new.encode("latin-1"), 1), KEY)


def test_the_size_of_a_head() -> None:
    assert [head_size(REQUEST[:size]) for size in range(len(REQUEST))] == [0] * len(REQUEST)
    assert head_size(REQUEST + b"\x82\x00\r\n\r\n") == len(REQUEST)
    assert head_size(bytearray(MAX_HEAD - 1)) == 0
    with pytest.raises(PeerError, match="not complete after 16384 bytes"):
        head_size(bytes(MAX_HEAD))
    with pytest.raises(PeerError, match="not complete"):
        head_size(bytes(MAX_HEAD) + b"\r\n\r\n")


def test_frame_vectors() -> None:
    for side, peer, vector in ((client(), server(), VECTOR["client_frame"]), (server(), client(), VECTOR["server_frame"])):
        payload = bytes.fromhex(vector["payload_hex"])
        assert side.send(payload).hex() == vector["frame_hex"]
        assert peer.receive_data(bytes.fromhex(vector["frame_hex"])) == payload
    assert server().close().hex() == VECTOR["close_frame_from_server_hex"]
    assert client().close() == b"\x88\x82" + MASK + mask(b"\x03\xe8", MASK)


@pytest.mark.parametrize(
    ("size", "header"), [(1, "8201"), (125, "827d"), (126, "827e007e"), (65535, "827effff"), (65536, "827f0000000000010000")]
)
def test_the_shortest_form_of_the_length(size: int, header: str) -> None:
    assert server().send(bytes(size)) == bytes.fromhex(header) + bytes(size)
    assert len(client().send(bytes(size))) == len(header) // 2 + 4 + size


@given(st.lists(st.binary(max_size=300), max_size=5), CUTS, st.booleans())
@settings(max_examples=100)
def test_any_cut_gives_the_same_bytes(writes: list[bytes], cuts: list[int], from_client: bool) -> None:
    sender, receiver = (client(), server()) if from_client else (server(), client())
    wire = b"".join(map(sender.send, writes))
    assert b"".join(map(receiver.receive_data, pieces(wire, cuts))) == b"".join(writes)
    assert not receiver.ended
    assert receiver.data_to_send() == b""


@pytest.mark.parametrize("size", [65535, 65536, 200_001])
def test_big_frames_byte_counts(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    wire = client().send(memoryview(data))
    assert server().receive_data(bytearray(wire)) == data
    receiver = server()
    assert b"".join(map(receiver.receive_data, pieces(wire, [1, 3, 7, 50_001]))) == data


def test_text_and_fragments_are_a_byte_stream_too() -> None:
    wire = frame(0x01, b"\xffa") + frame(0x89, b"x") + frame(0x80, b"bc") + frame(0x82) + frame(0x02, b"d") + frame(0x00, b"e")
    receiver = server()
    assert b"".join(receiver.receive_data(wire[at : at + 1]) for at in range(len(wire))) == b"\xffabcde"
    assert server().receive_data(wire) == b"\xffabcde"


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(125)])
def test_ping_is_answered_and_pong_is_not(payload: bytes) -> None:
    receiver = server()
    assert receiver.receive_data(frame(0x8A, payload) + frame(0x82, b"a") + frame(0x89, payload) + frame(0x82, b"b")) == b"ab"
    assert receiver.data_to_send() == frame(0x8A, payload, masked=False)
    assert receiver.data_to_send() == b""
    asked = client()
    asked.receive_data(frame(0x89, payload, masked=False))
    assert asked.data_to_send() == frame(0x8A, payload)


def test_a_flood_of_pings_is_answered_once() -> None:
    receiver = server()
    receiver.receive_data(frame(0x89, b"first") * 1000 + frame(0x89, b"last"))
    assert receiver.data_to_send() == frame(0x8A, b"last", masked=False)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe9bye"])
def test_close_is_the_end_and_not_answered(payload: bytes) -> None:
    receiver = server()
    assert receiver.receive_data(frame(0x82, b"a") + frame(0x88, payload) + frame(0x82, b"b")) == b"a"
    assert receiver.ended
    assert receiver.data_to_send() == b""
    assert receiver.receive_data(frame(0x82, b"c")) == b""


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (frame(0x82, b"a", masked=False), "not masked"),
        (frame(0xC2, b"a"), "reserved bits"),
        (frame(0x83, b"a"), "unknown opcode 3"),
        (frame(0x8B), "unknown opcode 11"),
        (frame(0x09), "too long or fragmented"),
        (b"\x89\xfe", "too long or fragmented"),
        (b"\x82\xff\x80" + bytes(11), "over 63 bits"),
    ],
)
def test_broken_rules_are_answered_with_1002(wire: bytes, why: str) -> None:
    receiver = server()
    with pytest.raises(PeerError, match=why):
        receiver.receive_data(wire)
    assert receiver.ended
    assert receiver.data_to_send() == b"\x88\x02\x03\xea"


def test_a_server_must_not_mask() -> None:
    receiver = client()
    with pytest.raises(PeerError, match="server is masked"):
        receiver.receive_data(frame(0x82, b"a"))
    assert receiver.data_to_send() == frame(0x88, b"\x03\xea")


def test_a_giant_frame_is_not_kept() -> None:
    receiver = server()
    assert receiver.receive_data(b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4)) == b""
    for _ in range(5):
        assert receiver.receive_data(bytes(100_000)) == bytes(100_000)
    assert len(receiver._header) + len(receiver._control) == 0


@given(st.binary(max_size=60), CUTS)
@settings(max_examples=200)
def test_garbage_is_refused_or_passed_on(garbage: bytes, cuts: list[int]) -> None:
    receiver = server()
    try:
        for piece in pieces(b"\x82" + garbage, cuts):
            receiver.receive_data(piece)
    except PeerError:
        assert receiver.ended
    assert len(receiver._header) + len(receiver._control) < 14 + 126


@given(st.binary(max_size=70) | st.integers(500, 600).map(bytes), st.binary(min_size=4, max_size=4))
@settings(max_examples=150)
def test_mask(data: bytes, key: bytes) -> None:
    plainly = bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    assert mask_plainly(data, key) == plainly
    assert mask(memoryview(data), key) == plainly
    assert mask_plainly(mask_plainly(data, key), key) == data


@pytest.fixture
def _fresh_masker() -> None:
    websocket._masker.cache_clear()


@pytest.mark.usefixtures("_fresh_masker")
def test_the_masker_of_the_websockets_package_is_used_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    package, speedups = ModuleType("websockets"), ModuleType("websockets.speedups")
    speedups.apply_mask = lambda data, key: b"quick"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "websockets", package)
    monkeypatch.setitem(sys.modules, "websockets.speedups", speedups)
    assert mask(b"slow!", MASK) == b"quick"
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    websocket._masker.cache_clear()
    assert mask(b"\x00" * 4, MASK) == MASK
    websocket._masker.cache_clear()
