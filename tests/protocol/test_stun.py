from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol.stun import binding_request, read_answer
from tests.support.stun import CHANGED, ERROR_CODE, MAPPED, OTHER, XOR_MAPPED, Address, address, attribute, masked, message

TRANSACTION = bytes(range(12))
HERE: Address = ("203.0.113.66", 49152)
HERE_6: Address = ("2001:db8::1", 7)
THERE: Address = ("198.51.100.10", 3479)
BROKEN = b"\x00\x01\x00"

# RFC 5769 2.2 (its attributes without FINGERPRINT and MESSAGE-INTEGRITY, which nobody here asks for, come first) and 2.3
RFC_TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
RFC_IPV4 = (
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
RFC_IPV6 = (
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)


def test_the_request_is_the_bare_header() -> None:
    assert binding_request(TRANSACTION) == bytes.fromhex("000100002112a442") + TRANSACTION


def test_vectors_of_the_rfc() -> None:
    for text, expected in ((RFC_IPV4, ("192.0.2.1", 32853)), (RFC_IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))):
        answer = read_answer(bytes.fromhex(text), RFC_TRANSACTION)
        assert answer is not None
        assert (answer.mapped, answer.other) == (expected, None)


def read(*attributes: bytes) -> tuple[Address | None, Address | None]:
    answer = read_answer(message(TRANSACTION, attributes), TRANSACTION)
    assert answer is not None
    return answer.mapped, answer.other


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ([], (None, None)),
        ([attribute(MAPPED, address(HERE))], (HERE, None)),
        ([attribute(MAPPED, address(HERE_6)), attribute(CHANGED, address(THERE))], (HERE_6, THERE)),
        ([attribute(MAPPED, address(THERE)), attribute(XOR_MAPPED, masked(HERE, TRANSACTION))], (HERE, None)),
        ([attribute(CHANGED, address(HERE)), attribute(OTHER, address(THERE))], (None, THERE)),
        ([attribute(MAPPED, BROKEN), attribute(XOR_MAPPED, masked(HERE_6, TRANSACTION))], (HERE_6, None)),
        ([attribute(CHANGED, BROKEN), attribute(OTHER, address(THERE))], (None, THERE)),
        ([attribute(MAPPED, address(HERE)), attribute(MAPPED, BROKEN)], (HERE, None)),  # the first counts
        ([attribute(0x7FFF, b"must be understood"), attribute(MAPPED, address(HERE))], (HERE, None)),
        ([attribute(MAPPED, b"\xff" + address(HERE)[1:])], (HERE, None)),  # a reserved byte
    ],
)
def test_answers(attributes: list[bytes], expected: tuple[Address | None, Address | None]) -> None:
    assert read(*attributes) == expected


@pytest.mark.parametrize(
    "attributes",
    [
        [attribute(XOR_MAPPED, BROKEN), attribute(MAPPED, address(HERE))],  # the preferred one decides alone
        [attribute(MAPPED, b"")],
        [attribute(MAPPED, address(HERE)[:-1])],
        [attribute(MAPPED, address(HERE) + b"\0")],
        [attribute(MAPPED, b"\0\3" + address(HERE)[2:])],
        [attribute(MAPPED, b"\0\2" + address(HERE)[2:])],
        [attribute(OTHER, BROKEN), attribute(CHANGED, address(THERE))],
    ],
)
def test_malformed_addresses(attributes: list[bytes]) -> None:
    with pytest.raises(PeerError, match="an address is invalid"):
        read(*attributes)


def test_what_belongs_to_nobody_is_skipped() -> None:
    good = message(TRANSACTION, [attribute(MAPPED, address(HERE))])
    assert read_answer(good, TRANSACTION) is not None
    foreign = [b"", good[:19], b"\0\1" + good[2:], b"\1\2" + good[2:], good[:4] + b"\x21\x12\xa4\x43" + good[8:]]
    assert [read_answer(datagram, TRANSACTION) for datagram in foreign] == [None] * len(foreign)
    assert read_answer(good, bytes(12)) is None


@pytest.mark.parametrize(
    "datagram",
    [
        message(TRANSACTION, [attribute(MAPPED, address(HERE))])[:-4],
        message(TRANSACTION, [attribute(MAPPED, address(HERE))]) + b"more",
        message(TRANSACTION, [b"\0\1"]),
        message(TRANSACTION, [b"\0\1\0\4"]),
        message(TRANSACTION, [b"\0\1\xff\xff" + bytes(16)]),
    ],
)
def test_malformed_messages(datagram: bytes) -> None:
    with pytest.raises(PeerError, match="malformed STUN message"):
        read_answer(datagram, TRANSACTION)


def failure(value: bytes | None) -> str:
    attributes = [] if value is None else [attribute(ERROR_CODE, value)]
    with pytest.raises(PeerError) as caught:
        read_answer(message(TRANSACTION, attributes, 0x0111), TRANSACTION)
    return str(caught.value)


def test_error_answers() -> None:
    assert failure(b"\0\0\4\x14Unknown") == "STUN binding error 420: Unknown"
    assert failure(b"\0\0\6\x63") == "STUN binding error 699: "
    assert failure(b"\xff\xff\xfb\x00" + "\N{SNOWMAN}".encode() * 127).endswith("error 300: " + "\N{SNOWMAN}" * 127)
    malformed = "malformed STUN message: the error code is invalid"
    for value in (
        None,
        b"\0\0\4",
        b"\0\0\2\0",
        b"\0\0\7\0",
        b"\0\0\4\x64",
        b"\0\0\4\0\xff",
        b"\0\0\4\0" + b"x" * 128,
        b"\0\0\4\0" + b"x" * 800,
    ):
        assert failure(value) == malformed


@settings(max_examples=60)
@given(st.ip_addresses().map(str), st.integers(0, 65535), st.binary(min_size=12, max_size=12), st.binary(max_size=50))
def test_every_address_comes_back(host: str, port: int, transaction: bytes, other: bytes) -> None:
    there = (host, port)
    datagram = message(
        transaction, [attribute(0x8022, other), attribute(XOR_MAPPED, masked(there, transaction)), attribute(OTHER, address(there))]
    )
    answer = read_answer(datagram, transaction)
    assert answer is not None
    assert (answer.mapped, answer.other) == (there, there)


@settings(max_examples=150)
@given(st.sampled_from((0x0101, 0x0111)), st.binary(max_size=80), st.booleans())
def test_hostile_answers_do_no_harm(kind: int, body: bytes, fits: bool) -> None:
    datagram = message(TRANSACTION, [body[: len(body) // 4 * 4] if fits else body], kind)
    try:
        answer = read_answer(datagram, TRANSACTION)
        assert answer is not None
        _ = answer.mapped, answer.other
    except PeerError:
        pass
