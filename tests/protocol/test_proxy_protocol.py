import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.protocol.proxy_protocol import Address, NoHeaderError, header

FOUR, SIX, MAPPED = ("192.0.2.7", 51000), ("2001:db8::1", 51000), ("::ffff:192.0.2.7", 51000)
TO_FOUR, TO_SIX = ("198.51.100.1", 443), ("fe80::1%eth0", 443)
SIGNATURE = "0d0a0d0a000d0a515549540a21"
PORTS = "c73801bb"


@pytest.mark.parametrize(
    ("source", "destination", "text"),
    [
        (FOUR, TO_FOUR, b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"),
        (MAPPED, TO_FOUR, b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"),
        (FOUR, ("::ffff:198.51.100.1", 443), b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"),
        (SIX, TO_SIX, b"PROXY TCP6 2001:db8::1 fe80::1 51000 443\r\n"),
        (SIX, TO_FOUR, b"PROXY TCP6 2001:db8::1 ::ffff:198.51.100.1 51000 443\r\n"),
        (FOUR, ("127.0.0.1", 0), b"PROXY TCP4 192.0.2.7 127.0.0.1 51000 0\r\n"),
    ],
)
def test_version_1(source: Address, destination: Address, text: bytes) -> None:
    assert header("v1", source, destination) == text
    assert header("v1", source, destination, udp=True) == b"PROXY UNKNOWN\r\n"


@pytest.mark.parametrize(
    ("source", "destination", "family", "rest"),
    [
        (FOUR, TO_FOUR, 0x11, "000cc0000207c6336401" + PORTS),
        (MAPPED, TO_FOUR, 0x11, "000cc0000207c6336401" + PORTS),
        (SIX, TO_SIX, 0x21, "002420010db8000000000000000000000001fe800000000000000000000000000001" + PORTS),
        (SIX, TO_FOUR, 0x21, "002420010db800000000000000000000000100000000000000000000ffffc6336401" + PORTS),
    ],
)
def test_version_2(source: Address, destination: Address, family: int, rest: str) -> None:
    assert header("v2", source, destination).hex() == f"{SIGNATURE}{family:02x}{rest}"
    assert header("v2", source, destination, udp=True).hex() == f"{SIGNATURE}{family + 1:02x}{rest}"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("source", "destination", "why"),
    [
        (FOUR, TO_SIX, "from IPv4 192.0.2.7 to IPv6 fe80::1"),
        (MAPPED, SIX, "from IPv4 192.0.2.7 to IPv6 2001:db8::1"),
        (("example.com", 1), TO_FOUR, "'example.com': not an IP address"),
        (("", 1), TO_FOUR, "'': not an IP address"),
        (FOUR, ("198.51.100.1\r\nx", 1), "not an IP address"),
        (("192.0.2.7", 65536), TO_FOUR, "port 65536"),
        (FOUR, ("192.0.2.7", -1), "port -1"),
    ],
)
def test_what_can_not_be_expressed(version: str, source: Address, destination: Address, why: str) -> None:
    with pytest.raises(NoHeaderError, match=why):
        header(version, source, destination)


def test_another_version_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="v3"):
        header("v3", FOUR, TO_FOUR)


PORT = st.integers(0, 65535)


@given(st.ip_addresses(v=6).map(str), PORT, st.ip_addresses(v=6).map(str), PORT)
@settings(max_examples=60)
def test_version_1_and_2_say_the_same(from_host: str, from_port: int, to_host: str, to_port: int) -> None:
    try:
        text = header("v1", (from_host, from_port), (to_host, to_port)).decode("ascii")
        packed = header("v2", (from_host, from_port), (to_host, to_port))
    except NoHeaderError:
        return
    _, family, *fields = text.removesuffix("\r\n").split(" ")
    kind, size = (socket.AF_INET, 4) if family == "TCP4" else (socket.AF_INET6, 16)
    assert packed[16 : 16 + size] == socket.inet_pton(kind, fields[0])
    assert packed[16 + size : 16 + 2 * size] == socket.inet_pton(kind, fields[1])
    assert packed[16 + 2 * size :] == int(fields[2]).to_bytes(2, "big") + int(fields[3]).to_bytes(2, "big")
    assert len(text) <= 107
