import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import FrpError, PeerError
from frp_py.protocol import messages, wire_v2
from frp_py.protocol.messages import (
    CloseProxy,
    Login,
    LoginResp,
    Message,
    NewVisitorConn,
    NewWorkConn,
    Ping,
    StartWorkConn,
    UDPAddress,
    UDPPacket,
)
from frp_py.protocol.wire_v2 import (
    CLIENT_HELLO,
    MAGIC,
    MAX_PAYLOAD,
    MESSAGE,
    SERVER_HELLO,
    Agreed,
    Reader,
    accept,
    answer,
    decode_message,
    offer,
    pack,
    pack_frame,
    take_frame,
    take_message,
)
from tests.protocol.helpers import CUTS, VECTORS, pieces
from tests.protocol.test_messages import MESSAGES

V2: dict[str, Any] = VECTORS["v2"]
CLIENT_RANDOM = bytes.fromhex(V2["client_random_hex"])
SERVER_RANDOM = bytes.fromhex(V2["server_random_hex"])
HANDSHAKES = pytest.mark.parametrize("handshake", V2["handshakes"], ids=lambda handshake: handshake["algorithm"])


@pytest.mark.parametrize("vector", VECTORS["v2_messages"], ids=lambda vector: f"{vector['name']}-{vector['case']}")
def test_message_vectors(vector: dict[str, str]) -> None:
    frame = bytes.fromhex(vector["wire_hex"])
    taken = take_message(frame)
    assert taken is not None
    assert type(taken[0]) is getattr(messages, vector["name"])
    assert taken[1] == len(frame)
    assert pack(taken[0]) == frame


def test_udp_vectors() -> None:
    packet = UDPPacket(b"hello", None, UDPAddress("192.0.2.7", 51000))
    assert pack(packet).hex() == VECTORS["udp_work_conn"]["plain_v2_hex"]
    assert pack(Ping()).hex() == VECTORS["udp_work_conn"]["ping_v2_hex"]


@HANDSHAKES
def test_hello_vectors(handshake: dict[str, Any]) -> None:
    algorithms = tuple(json.loads(handshake["client_hello_json"])["capabilities"]["crypto"]["algorithms"])
    ours = offer("tcp", tls=True, tcp_mux=True, client_random=CLIENT_RANDOM, algorithms=algorithms)
    assert ours.decode() == handshake["client_hello_json"]
    assert pack_frame(CLIENT_HELLO, ours).hex() == handshake["client_hello_frame_hex"]
    theirs, agreed = answer(ours, SERVER_RANDOM)
    assert theirs.decode() == handshake["server_hello_json"]
    assert pack_frame(SERVER_HELLO, theirs).hex() == handshake["server_hello_frame_hex"]
    assert agreed == accept(ours, theirs) == Agreed(handshake["algorithm"], bytes.fromhex(handshake["transcript_hash_hex"]))
    for keys in handshake["keys"]:
        derived = accept(ours, theirs).keys(bytes.fromhex(keys["token_utf8_hex"]))
        assert [key.hex() for key in derived] == [keys["client_to_server_hex"], keys["server_to_client_hex"]]


def frames(flight: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while taken := take_frame(flight, at):
        kind, payload, at = taken
        found.append((kind, payload))
    assert at == len(flight)
    return found


def test_opening_vectors() -> None:
    flight = bytes.fromhex(V2["login_flight_hex"])
    assert MAGIC.hex() == V2["magic_hex"]
    assert flight.startswith(MAGIC)
    (hello, client_hello), (message, login) = frames(flight[len(MAGIC) :])
    assert (hello, message) == (CLIENT_HELLO, MESSAGE)
    assert isinstance(decode_message(login), Login)
    (hello, server_hello), (message, resp) = frames(bytes.fromhex(V2["server_login_flight_hex"]))
    assert (hello, message) == (SERVER_HELLO, MESSAGE)
    assert answer(client_hello, SERVER_RANDOM)[0] == server_hello
    assert isinstance(decode_message(resp), LoginResp)
    for key, cls in (("work", NewWorkConn), ("visitor", NewVisitorConn)):
        first = bytes.fromhex(V2[f"{key}_conn_first_bytes_hex"])
        taken = take_message(first, len(MAGIC))
        assert first.startswith(MAGIC)
        assert taken is not None
        assert isinstance(taken[0], cls)
        assert taken[1] == len(first)


def hello_of(codecs: tuple[str, ...] = ("json",), algorithms: tuple[str, ...] = ("aes-256-gcm",), size: int = 32) -> bytes:
    crypto = {"algorithms": algorithms, "clientRandom": b64encode(bytes(size)).decode()}
    return json.dumps({"capabilities": {"message": {"codecs": codecs}, "crypto": crypto}}).encode()


def test_error_hello_vector() -> None:
    payload, error = answer(hello_of(algorithms=("des",)), SERVER_RANDOM)
    assert payload.decode() == V2["server_hello_error_json"]
    assert pack_frame(SERVER_HELLO, payload).hex() == V2["server_hello_error_frame_hex"]
    assert error == "no supported crypto algorithm"


@pytest.mark.parametrize(
    ("hello", "error"),
    [
        (hello_of(codecs=(), size=1, algorithms=()), "unsupported message codec"),
        (hello_of(codecs=("cbor",)), "unsupported message codec"),
        (hello_of(size=31, algorithms=()), "invalid crypto client random length 31, want 32"),
        (hello_of(size=0), "invalid crypto client random length 0, want 32"),
        (hello_of(algorithms=()), "no supported crypto algorithm"),
        (b"{}", "unsupported message codec"),
    ],
)
def test_the_server_refuses_in_order(hello: bytes, error: str) -> None:
    payload, reason = answer(hello, SERVER_RANDOM)
    assert reason == error
    assert json.loads(payload) == {"selected": {"message": {"codec": "json"}, "crypto": {}}, "error": error}
    with pytest.raises(PeerError, match=f"refuses wire v2: {error}"):
        accept(hello, payload)


def test_the_server_takes_the_first_it_knows() -> None:
    _, agreed = answer(hello_of(codecs=("x", "json"), algorithms=("new", "xchacha20-poly1305", "aes-256-gcm")), SERVER_RANDOM)
    assert isinstance(agreed, Agreed)
    assert agreed.algorithm == "xchacha20-poly1305"


@pytest.mark.parametrize("hello", [b"", b"[]", b"{", b'{"capabilities":1}', b'{"capabilities":{"crypto":{"clientRandom":"x"}}}'])
def test_a_hello_that_is_none_is_not_answered(hello: bytes) -> None:
    with pytest.raises(PeerError, match="ClientHello message is not valid"):
        answer(hello, SERVER_RANDOM)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("json", "xml"), "codec 'xml'"),
        (("aes-256-gcm", "xchacha20-poly1305"), "algorithm 'xchacha20-poly1305', which was not offered"),
        (("aes-256-gcm", "rot13"), "algorithm 'rot13'"),
        (('"aes-256-gcm"', "null"), "algorithm ''"),
        (("Pj8=", "Pg=="), "server random length 31"),
        (("{", "["), "not valid"),
    ],
)
def test_the_client_checks_the_answer(change: tuple[str, str], why: str) -> None:
    ours = offer("quic", tls=True, tcp_mux=False, client_random=CLIENT_RANDOM, algorithms=("aes-256-gcm", "rot13"))
    theirs = answer(ours, SERVER_RANDOM)[0].decode()
    assert accept(ours, theirs.encode()).algorithm == "aes-256-gcm"
    assert change[0] in theirs
    with pytest.raises(PeerError, match=why):
        accept(ours, theirs.replace(*change).encode())


@given(st.lists(MESSAGES, max_size=6), CUTS)
@settings(max_examples=100)
def test_any_cut_gives_the_same_messages(sent: list[Message], cuts: list[int]) -> None:
    reader = Reader()
    got = [message for piece in pieces(b"".join(map(pack, sent)), cuts) for message in reader.receive_data(piece)]
    assert got == sent
    assert reader.unread() == b""


def test_payload_behind_the_first_message_is_left() -> None:
    frame = pack(StartWorkConn("ssh"))
    assert take_message(frame + b"\xff\x00") == (StartWorkConn("ssh"), len(frame))
    assert take_message(memoryview(MAGIC + frame), len(MAGIC)) == (StartWorkConn("ssh"), len(MAGIC + frame))
    assert [take_message(frame[:size]) for size in range(len(frame))] == [None] * len(frame)


def test_the_limit_of_a_frame() -> None:
    room = MAX_PAYLOAD - 2 - len(b'{"proxy_name":""}')
    frame = pack(CloseProxy("x" * room))
    assert len(frame) == 8 + MAX_PAYLOAD
    assert take_message(frame) is not None
    with pytest.raises(FrpError, match="CloseProxy message of 65537 bytes is over the 65536 of wire v2"):
        pack(CloseProxy("x" * (room + 1)))
    assert len(pack_frame(CLIENT_HELLO, bytes(MAX_PAYLOAD))) == 8 + MAX_PAYLOAD
    with pytest.raises(FrpError, match="65537 bytes"):
        pack_frame(CLIENT_HELLO, bytes(MAX_PAYLOAD + 1))


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("0000000000000000", "frame type 0"),
        ("0003000000000000", "frame type 3"),
        ("0010000100000002", "flags 0x0001"),
        ("0010800000000002", "flags 0x8000"),
        ("0010000000010001", "65537 bytes"),
        ("00100000ffffffff", "4294967295 bytes"),
        ("0010000000000000", "no message type"),
        ("001000000000000100", "no message type"),
        ("00100000000000020000", "unknown message type 0"),
        ("00100000000000020013", "unknown message type 19"),
        ("0010000000000002000b", "Ping message is not valid"),
    ],
)
def test_wrong_frames_are_refused_as_soon_as_seen(head: str, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        Reader().receive_data(bytes.fromhex(head))


@pytest.mark.parametrize("kind", [CLIENT_HELLO, SERVER_HELLO])
def test_a_hello_is_no_message(kind: int) -> None:
    with pytest.raises(PeerError, match=f"frame type {kind} where a message was expected"):
        take_message(pack_frame(kind, b"{}")[:2])


def test_nothing_but_the_three_frame_types_is_taken() -> None:
    for kind in (*range(40), 256, 4096, 65535):
        if kind not in (CLIENT_HELLO, SERVER_HELLO, MESSAGE):
            with pytest.raises(PeerError, match=f"unknown frame type {kind}$"):
                take_frame(wire_v2._HEADER.pack(kind, 0, 0))


@given(st.binary(max_size=60), CUTS)
@settings(max_examples=150)
def test_garbage_is_refused_or_kept_within_the_bound(garbage: bytes, cuts: list[int]) -> None:
    reader = Reader()
    try:
        for piece in pieces(b"\x00\x10\x00\x00\x00" + garbage, cuts):
            reader.receive_data(piece)
    except PeerError:
        return
    assert len(reader.unread()) < 8 + MAX_PAYLOAD
