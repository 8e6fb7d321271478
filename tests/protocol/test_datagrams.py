"""UDPPacket streams: the fast reader and the fast writer against the general codec."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.datagrams import PACK, PING, PacketReader, tail_of
from frp_py.protocol.messages import Message, NewProxy, Ping, UDPAddress, UDPPacket
from frp_py.protocol.wire import WIRES
from tests.protocol.helpers import CUTS, VECTORS, pieces

BOTH = pytest.mark.parametrize("wire", ["v1", "v2"])
USER = UDPAddress("192.0.2.7", 51000)

users = st.builds(
    UDPAddress,
    st.one_of(st.ip_addresses().map(str), st.text(max_size=12)),
    st.integers(0, 65535),
    st.sampled_from(["", "eth0", '<"&\\>']),
)
packets = st.lists(st.tuples(st.one_of(st.binary(max_size=100), st.just(bytes(3000))), users), max_size=6)


class Reading:
    """A reader that knows everybody it has met, or nobody."""

    def __init__(self, wire: str, *, forgets: bool = False) -> None:
        self.known: dict[bytes, UDPAddress] = {}
        self.met: list[UDPAddress] = []
        self.other: list[Message] = []
        self._forgets = forgets
        self._reader = PacketReader(wire, self.known, self._meet, self.other.append)

    def _meet(self, user: UDPAddress, tail: bytes) -> UDPAddress:
        self.met.append(user)
        if not self._forgets:
            self.known[tail] = user
        return user

    def feed(self, data: bytes) -> list[tuple[UDPAddress, bytes]]:
        return self._reader.receive_data(data)


def slowly(wire: str, data: bytes) -> list[Message]:
    return WIRES[wire].Reader().receive_data(data)


@BOTH
def test_the_vector(wire: str) -> None:
    frame = bytes.fromhex(VECTORS["udp_work_conn"][f"plain_{wire}_hex"])
    assert PACK[wire](b"hello", tail_of(USER)) == frame
    assert Reading(wire).feed(frame) == [(USER, b"hello")]
    assert PING[wire] == bytes.fromhex(VECTORS["udp_work_conn"][f"ping_{wire}_hex"])


@settings(max_examples=100)
@given(packets, st.sampled_from(["v1", "v2"]))
def test_frames_are_those_of_the_general_codec(sent: list[tuple[bytes, UDPAddress]], wire: str) -> None:
    for content, user in sent:
        assert PACK[wire](content, tail_of(user)) == WIRES[wire].pack(UDPPacket(content, user_address=user))


@settings(max_examples=150)
@given(packets, st.sampled_from(["v1", "v2"]), CUTS, st.booleans())
def test_what_is_sent_is_read_however_it_is_cut(sent: list[tuple[bytes, UDPAddress]], wire: str, cuts: list[int], forgets: bool) -> None:
    reading = Reading(wire, forgets=forgets)
    frames = [PACK[wire](content, tail_of(user)) for content, user in sent for _ in range(2)] + [PING[wire]]
    got = [packet for piece in pieces(b"".join(frames), cuts) for packet in reading.feed(piece)]
    assert got == [(user, content) for content, user in sent for _ in range(2)]
    assert reading.other == [Ping()]
    if not forgets:
        assert len(reading.met) == len({user for _, user in sent})


def frame(wire: str, body: bytes) -> bytes:
    """A UDPPacket with any body."""
    if wire == "v1":
        return b"u" + len(body).to_bytes(8, "big") + body
    return bytes((0, 16, 0, 0)) + (2 + len(body)).to_bytes(4, "big") + bytes((0, 13)) + body


ADDRESS = '{"IP":"192.0.2.7","Port":51000,"Zone":""}'
BODIES = [
    '{"c":"aGk=","r":%s}',
    '{"c":"aGk","r":%s}',  # no padding
    '{"c":"aGk==","r":%s}',
    '{"c":"aGl=","r":%s}',  # bits that mean nothing
    '{"c":"a=k=","r":%s}',
    '{"c":"=aGk","r":%s}',
    '{"c":"aG k","r":%s}',
    '{"c":"aG-_","r":%s}',
    '{"c":"aG\\u0051k","r":%s}',
    '{"c":"a\\"k=","r":%s}',
    '{"c":"","r":%s}',
    '{"c":null,"r":%s}',
    '{"c":1,"r":%s}',
    '{"r":%s}',
    '{"r":%s,"c":"aGk="}',
    '{"C":"aGk=","R":%s}',
    '{ "c":"aGk=","r":%s}',
    '{"c":"aGk=","r":%s} ',
    '{"c":"aGk=","r":%s}}',
    '{"c":"aGk=","l":null,"r":%s}',
    '{"c":"aGk=","c":"aG8=","r":%s}',
    '{"c":"aGk=","r":%s,"c":"aG8="}',
    '{"c":"aGk=","r":null}',
    '{"c":"aGk="}',
    '{"c":"aGk="',
    '{"c":"aGk=',
    '{"c":"',
    "{}",
    "[]",
    "",
]


def outcome(do: Any) -> Any:
    try:
        return do()
    except PeerError:
        return "refused"


@BOTH
@pytest.mark.parametrize("body", BODIES)
def test_a_body_means_the_same_whether_its_user_is_known_or_not(wire: str, body: str) -> None:
    data = frame(wire, body.replace("%s", ADDRESS).encode())
    reading = Reading(wire)
    reading.feed(PACK[wire](b"!", tail_of(USER)))

    def plainly() -> list[tuple[UDPAddress, bytes]]:
        found = [message for message in slowly(wire, data) if isinstance(message, UDPPacket)]
        return [(each.user_address, each.content) for each in found if each.user_address is not None]

    assert outcome(lambda: reading.feed(data)) == outcome(plainly)


@settings(max_examples=200)
@given(st.binary(max_size=30).map(b64encode), st.integers(0, 60), st.binary(max_size=3), st.sampled_from(["v1", "v2"]))
def test_a_damaged_body_too(text: bytes, at: int, damage: bytes, wire: str) -> None:
    body = bytearray(b'{"c":"%b","r":%b}' % (text, ADDRESS.encode()))
    body[at : at + len(damage)] = damage
    data = frame(wire, bytes(body))
    reading = Reading(wire)
    reading.feed(PACK[wire](b"!", tail_of(USER)))

    def plainly() -> list[tuple[UDPAddress, bytes]]:
        found = [message for message in slowly(wire, data) if isinstance(message, UDPPacket)]
        return [(each.user_address, each.content) for each in found if each.user_address is not None]

    assert outcome(lambda: reading.feed(data)) == outcome(plainly)


@settings(max_examples=200)
@given(st.binary(max_size=80), st.sampled_from(["v1", "v2"]), CUTS)
def test_anything_may_come(data: bytes, wire: str, cuts: list[int]) -> None:
    reading = Reading(wire)
    try:
        for piece in pieces(PACK[wire](b"!", tail_of(USER)) + data, cuts):
            reading.feed(piece)
    except PeerError:
        pass


def test_a_tail_that_says_more_than_its_user_is_not_remembered() -> None:
    reading = Reading("v1")
    sly = frame("v1", b'{"c":"aGk=","r":%b,"c":"aG8="}' % ADDRESS.encode())
    assert reading.feed(sly + sly) == [(USER, b"ho"), (USER, b"ho")]
    assert list(reading.known) == [tail_of(USER)]


@BOTH
def test_a_frame_that_is_too_long_is_refused_before_it_is_there(wire: str) -> None:
    too_long = frame(wire, b'{"c":"' + b"A" * 70000)
    reading = Reading(wire)
    reading.feed(PACK[wire](b"!", tail_of(USER)))
    with pytest.raises(PeerError, match=r"is not within|is over"):
        reading.feed(too_long[:40])


def test_a_known_user_does_not_make_a_frame_longer_than_allowed() -> None:
    tail = tail_of(USER)
    reading = Reading("v1")
    reading.feed(PACK["v1"](b"!", tail))
    with pytest.raises(PeerError, match="not within"):
        reading.feed(frame("v1", b'{"c":"' + b"A" * wire_v1.MAX_BODY + tail))


@pytest.mark.parametrize(("wire", "most"), [("v1", wire_v1.MAX_BODY), ("v2", wire_v2.MAX_PAYLOAD - 2)])
def test_the_longest_datagram(wire: str, most: int) -> None:
    tail = tail_of(USER)
    fits = (most - 6 - len(tail)) // 4 * 3
    content = bytes(fits)
    assert Reading(wire).feed(PACK[wire](content, tail)) == [(USER, content)]
    assert PACK[wire](bytes(fits + 1), tail) == b""


@BOTH
def test_other_messages_are_told(wire: str) -> None:
    reading = Reading(wire)
    wish = NewProxy("p", "udp", metas={"a": json.dumps("b")})
    assert reading.feed(WIRES[wire].pack(wish) + PACK[wire](b"x", tail_of(USER))) == [(USER, b"x")]
    assert reading.other == [wish]


def test_a_user_whom_nobody_can_reach_is_dropped() -> None:
    reader: PacketReader[str] = PacketReader("v1", {}, lambda user, tail: None)
    assert reader.receive_data(PACK["v1"](b"x", tail_of(USER)) * 2) == []


@BOTH
def test_a_frame_in_small_pieces_is_not_read_again_with_each(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    take = WIRES[wire].take_message

    def counting(buffer: bytes, start: int = 0) -> Any:
        nonlocal looked
        looked += 1
        return take(buffer, start)

    reading = Reading(wire)
    monkeypatch.setattr(reading._reader, "_take", counting)
    content = bytes(7000)
    data = (PING[wire] + PACK[wire](content, tail_of(USER))) * 3
    got = []
    for i in range(len(data)):
        got += reading.feed(data[i : i + 1])
    assert got == [(USER, content)] * 3
    assert reading.other == [Ping()] * 3
    assert looked < 120


def test_a_frame_of_the_greatest_length() -> None:
    reading = Reading("v2")
    packet = UDPPacket(content=bytes(48900), user_address=USER)
    body = wire_v2.pack(packet)
    filled = body[:-1] + b" " * (8 + wire_v2.MAX_PAYLOAD - len(body)) + b"}"
    frame = filled[:4] + wire_v2.MAX_PAYLOAD.to_bytes(4, "big") + filled[8:]
    assert reading.feed(frame[:50000]) == []
    assert reading.feed(frame[50000:65541]) == []
    assert reading.feed(frame[65541:] + PACK["v2"](b"x", tail_of(USER))) == [(USER, packet.content), (USER, b"x")]
