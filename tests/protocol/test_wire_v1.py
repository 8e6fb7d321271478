import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import FrpError, PeerError
from frp_py.protocol import messages
from frp_py.protocol.messages import CloseProxy, Message, Ping, Pong, ReqWorkConn, StartWorkConn, UDPAddress, UDPPacket
from frp_py.protocol.wire_v1 import MAX_BODY, Reader, pack, take_message
from tests.protocol.helpers import CUTS, VECTORS, pieces
from tests.protocol.test_messages import MESSAGES


@pytest.mark.parametrize("vector", VECTORS["v1_messages"], ids=lambda vector: f"{vector['name']}-{vector['case']}")
def test_vectors(vector: dict[str, str]) -> None:
    frame = bytes.fromhex(vector["wire_hex"])
    taken = take_message(frame)
    assert taken is not None
    message, used = taken
    assert type(message) is getattr(messages, vector["name"])
    assert used == len(frame)
    assert pack(message) == frame


def test_udp_vectors() -> None:
    packet = UDPPacket(b"hello", None, UDPAddress("192.0.2.7", 51000))
    assert pack(packet).hex() == VECTORS["udp_work_conn"]["plain_v1_hex"]
    assert pack(Ping()).hex() == VECTORS["udp_work_conn"]["ping_v1_hex"]


@given(st.lists(MESSAGES, max_size=6), CUTS)
@settings(max_examples=150)
def test_any_cut_gives_the_same_messages(sent: list[Message], cuts: list[int]) -> None:
    reader = Reader()
    got = [message for piece in pieces(b"".join(map(pack, sent)), cuts) for message in reader.receive_data(piece)]
    assert got == sent
    assert reader.unread() == b""


def test_byte_by_byte() -> None:
    sent = [ReqWorkConn(), Pong(error="x"), Ping()]
    reader = Reader()
    assert [message for byte in b"".join(map(pack, sent)) for message in reader.receive_data(bytes([byte]))] == sent


def test_payload_behind_the_first_message_is_left() -> None:
    frame = pack(StartWorkConn("ssh"))
    for behind in (b"", b"\xff\x00", b"SSH-2.0-x\r\n", frame):
        for kind in (bytes, bytearray, memoryview):
            assert take_message(kind(frame + behind)) == (StartWorkConn("ssh"), len(frame))
    assert take_message(b"123" + frame, 3) == (StartWorkConn("ssh"), 3 + len(frame))


def test_less_than_a_frame_gives_nothing() -> None:
    frame = pack(StartWorkConn("ssh"))
    for size in range(len(frame)):
        assert take_message(frame[:size]) is None


def test_a_body_may_have_exactly_the_limit() -> None:
    frame = pack(CloseProxy("x" * (MAX_BODY - len(b'{"proxy_name":""}'))))
    assert len(frame) == 9 + MAX_BODY
    assert take_message(frame) is not None
    with pytest.raises(FrpError, match="CloseProxy message of 10241 bytes is over the 10240 of wire v1"):
        pack(CloseProxy("x" * (MAX_BODY + 1 - len(b'{"proxy_name":""}'))))


@pytest.mark.parametrize("length", [-1, MAX_BODY + 1, 2**63 - 1, -(2**63)])
def test_a_length_out_of_bounds_is_refused_from_the_header(length: int) -> None:
    header = b"h" + length.to_bytes(8, "big", signed=True)
    assert Reader().receive_data(header[:8]) == []
    with pytest.raises(PeerError, match=f"Ping message length {length} is not within 0 to 10240"):
        Reader().receive_data(header)


@pytest.mark.parametrize("first", [byte for byte in range(256) if chr(byte) not in "o1p2cwrsv3h4uinm56"])
def test_an_unknown_type_is_refused_from_its_byte(first: int) -> None:
    with pytest.raises(PeerError, match=f"unknown message type byte 0x{first:02x}"):
        take_message(bytes([first]))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"{}{}", b'{"timestamp":1.0}', b"\xff" * 50])
def test_a_body_that_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(PeerError, match="Ping message is not valid"):
        Reader().receive_data(b"h" + len(body).to_bytes(8, "big") + body)


@given(st.binary(max_size=60), CUTS)
@settings(max_examples=200)
def test_garbage_is_refused_or_kept_within_the_bound(garbage: bytes, cuts: list[int]) -> None:
    reader = Reader()
    try:
        for piece in pieces(b"h\x00\x00\x00\x00\x00\x00" + garbage, cuts):
            reader.receive_data(piece)
    except PeerError:
        return
    assert len(reader.unread()) < 9 + MAX_BODY
