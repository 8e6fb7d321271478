import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol.socks5 import CONNECTION_REFUSED, SUCCEEDED, Connect, Server, reply
from tests.protocol.helpers import CUTS, pieces

GREETING = b"\x05\x02\x00\x02"
PASSWORD = b"\x01\x04user\x04pass"
TO_NAME = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"


@pytest.mark.parametrize(
    ("request_", "connect"),
    [
        (TO_NAME, Connect("example.com", 443)),
        (b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x16", Connect("192.0.2.7", 22)),
        (b"\x05\x01\x00\x04" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x50", Connect("2001:db8::1", 80)),
        (b"\x05\x01\x00\x03\x07\xc3\xa9.test\x00\x50", Connect("é.test", 80)),
    ],
)
@given(cuts=CUTS)
@settings(max_examples=15)
def test_any_cut_gives_the_same_request(request_: bytes, connect: Connect, cuts: list[int]) -> None:
    server = Server()
    got = [server.receive_data(piece) for piece in pieces(GREETING + request_, cuts)]
    assert [found for found in got if found] == [connect]
    assert server.data_to_send() == b"\x05\x00"
    assert server.data_to_send() == b""


def test_byte_by_byte_with_password() -> None:
    server = Server("user", "pass")
    sent = b""
    for byte in GREETING + PASSWORD:
        assert server.receive_data(bytes([byte])) is None
        sent += server.data_to_send()
    assert sent == b"\x05\x02\x01\x00"
    assert [server.receive_data(bytes([byte])) for byte in TO_NAME][-1] == Connect("example.com", 443)
    assert server.unread() == b""


def test_what_is_sent_early_is_kept() -> None:
    server = Server("user", "pass")
    assert server.receive_data(GREETING + PASSWORD + TO_NAME + b"GET /") == Connect("example.com", 443)
    assert server.data_to_send() == b"\x05\x02\x01\x00"
    assert server.unread() == b"GET /"


@pytest.mark.parametrize(
    ("credentials", "data", "last_words", "why"),
    [
        (("", ""), b"\x04", b"", "version 4"),
        (("", ""), b"GET /", b"", "version 71"),
        (("", ""), b"\x05\x01\x02", b"\x05\xff", "no authentication method"),
        (("", ""), b"\x05\x00", b"\x05\xff", "no authentication method"),
        (("u", ""), b"\x05\x01\x00", b"\x05\xff", "no authentication method"),
        (("", "p"), b"\x05\x01\x00", b"\x05\xff", "no authentication method"),
        (("u", "p"), b"\x05\x01\x02\x05", b"\x05\x02", "password version 5"),
        (("u", "p"), b"\x05\x01\x02\x01\x01u\x01q", b"\x05\x02\x01\x01", "password is wrong"),
        (("u", "p"), b"\x05\x01\x02\x01\x01v\x01p", b"\x05\x02\x01\x01", "password is wrong"),
        (("u", "p"), b"\x05\x01\x02\x01\x00\x00", b"\x05\x02\x01\x01", "password is wrong"),
        (("u", ""), b"\x05\x01\x02\x01\x01u\x01p", b"\x05\x02\x01\x01", "password is wrong"),
        (("é", "p"), b"\x05\x01\x02\x01\x01\xe9\x01p", b"\x05\x02\x01\x01", "password is wrong"),
        (("", ""), GREETING + b"\x04", b"\x05\x00", "version 4"),
        (("", ""), GREETING + b"\x05\x02\x00\x01" + bytes(6), b"\x05\x00" + reply(7), "command 2"),
        (("", ""), GREETING + b"\x05\x03\x00\x03\x01a" + bytes(2), b"\x05\x00" + reply(7), "command 3"),
        (("", ""), GREETING + b"\x05\x01\x00\x02\x00", b"\x05\x00" + reply(8), "address type 2"),
        (("", ""), GREETING + b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00" + reply(4), "domain name"),
        (("", ""), GREETING + b"\x05\x01\x00\x03\x02a\x00\x00\x50", b"\x05\x00" + reply(4), "domain name"),
        (("", ""), GREETING + b"\x05\x01\x00\x03\x02\xff\xfe\x00\x50", b"\x05\x00" + reply(4), "domain name"),
    ],
)
def test_who_is_refused_hears_why(credentials: tuple[str, str], data: bytes, last_words: bytes, why: str) -> None:
    server = Server(*credentials)
    with pytest.raises(PeerError, match=why):
        server.receive_data(data)
    assert server.data_to_send() == last_words


def test_no_request_without_the_password() -> None:
    server = Server("user", "pass")
    with pytest.raises(PeerError, match="password version 5"):
        server.receive_data(GREETING + TO_NAME)


def test_replies() -> None:
    assert reply(CONNECTION_REFUSED).hex() == "05050001000000000000"
    assert reply(SUCCEEDED, ("192.0.2.7", 8080)).hex() == "05000001c00002071f90"
    assert reply(SUCCEEDED, ("fe80::1%eth0", 80)).hex() == "05000004fe800000000000000000000000000001" + "0050"


@given(st.binary(max_size=40), CUTS, st.booleans())
@settings(max_examples=200)
def test_garbage_is_refused_or_waited_on(garbage: bytes, cuts: list[int], password: bool) -> None:
    server = Server("user", "pass") if password else Server()
    try:
        for piece in pieces(GREETING + b"\x05\x01" + garbage, cuts):
            if server.receive_data(piece):
                return
    except PeerError:
        return
    assert len(server.unread()) < 3 + 2 * 256
