import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py.protocol.first_bytes import SIZE, Destination, TLSStart, destination, tls_start
from tests.protocol.helpers import VECTORS

WEBSOCKET, HTTP, HTTPS, LINK = Destination.WEBSOCKET, Destination.VHOST_HTTP, Destination.VHOST_HTTPS, Destination.LINK
CLASSES = {  # of the vectors: with both vhosts on the port, without
    "websocket listener (10 bytes GET /~!frp)": (WEBSOCKET, WEBSOCKET),
    "vhost HTTP if it shares the port, else frp link": (HTTP, LINK),
    "frp TLS with custom head byte (0x17 is dropped)": (LINK, LINK),
    "vhost HTTPS if it shares the port, else frp TLS (0x16 is kept)": (HTTPS, LINK),
    "frp link, yamux": (LINK, LINK),
    "frp link, wire v2 without tcpMux": (LINK, LINK),
    "frp link, wire v1 Login without tcpMux": (LINK, LINK),
}


@pytest.mark.parametrize("vector", VECTORS["sniff"], ids=lambda vector: vector["class"])
def test_vectors(vector: dict[str, str]) -> None:
    first = bytes.fromhex(vector["first_bytes_hex"])
    assert len(first) == SIZE
    shared = destination(first, http_shares=True, https_shares=True)
    assert (shared, destination(first, http_shares=False, https_shares=False)) == CLASSES[vector["class"]]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"])
def test_methods(method: str) -> None:
    first = f"{method} / HTTP/1.1".encode()[:SIZE]
    assert destination(first, http_shares=True, https_shares=False) is HTTP
    assert destination(first, http_shares=False, https_shares=True) is LINK


@pytest.mark.parametrize("first", [b"get / HTTP", b"PROPFIND /", b"SSH-2.0-x\r", b"ABC / HTTP"])
def test_what_is_no_http(first: bytes) -> None:
    assert destination(first, http_shares=True, https_shares=True) is LINK


def test_a_tls_client_is_taken_for_a_browser_only_where_https_shares() -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"
    assert destination(hello, http_shares=True, https_shares=False) is LINK
    assert destination(hello, http_shares=False, https_shares=True) is HTTPS


@given(st.binary(min_size=SIZE, max_size=SIZE), st.booleans(), st.booleans())
def test_a_vhost_gets_nothing_unless_it_shares(first: bytes, http: bool, https: bool) -> None:
    where = destination(first, http_shares=http, https_shares=https)
    assert http or where is not HTTP
    assert https or where is not HTTPS
    assert where in (HTTPS, LINK) or first[:1].isalpha()


def test_tls_start() -> None:
    starts = {first: tls_start(first) for first in range(256)}
    assert starts.pop(0x17) is TLSStart.AFTER_THIS_BYTE
    assert starts.pop(0x16) is TLSStart.WITH_THIS_BYTE
    assert set(starts.values()) == {TLSStart.NONE}
