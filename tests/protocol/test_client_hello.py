import ssl
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol.client_hello import MAX_SIZE, ClientHello, Reader
from tests.protocol.helpers import CUTS, pieces

HOSTS = st.from_regex(r"\A[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?(\.[a-zA-Z]{1,10}){0,4}\Z")


def parse(data: bytes | bytearray | memoryview) -> ClientHello | None:
    return Reader().receive_data(data)


def openssl_hello(name: str | None, alpn: Sequence[str] = (), version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What OpenSSL sends first as a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def openssl_server_name(hello: bytes) -> str | None:
    """The oracle: what OpenSSL, as a server, sees in a hello."""
    seen: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _tls, name, _context: seen.append(name)
    incoming = ssl.MemoryBIO()
    incoming.write(hello)
    with pytest.raises(ssl.SSLError):
        context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    return seen[0]


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def sni(*names: bytes) -> bytes:
    return extension(0, vector(2, b"".join(b"\x00" + vector(2, name) for name in names)))


def hello(extensions: bytes | None = None, suites: bytes = b"\x13\x01", compression: bytes = b"\x00") -> bytes:
    """A handshake message."""
    body = b"\x03\x03" + bytes(32) + vector(1, bytes(32)) + vector(2, suites) + vector(1, compression)
    return b"\x01" + vector(3, body + (b"" if extensions is None else vector(2, extensions)))


def records(message: bytes, size: int = 16384) -> bytes:
    return b"".join(b"\x16\x03\x01" + vector(2, message[at : at + size]) for at in range(0, len(message), size))


@given(HOSTS)
@settings(max_examples=30, deadline=None)
def test_the_name_is_the_one_that_openssl_sees(name: str) -> None:
    data = openssl_hello(name)
    seen = openssl_server_name(data)
    assert seen is not None
    assert parse(data) == ClientHello(seen.lower(), ())
    assert seen.lower() == name.lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_name_and_protocols(version: ssl.TLSVersion) -> None:
    data = openssl_hello(None, ["h2", "http/1.1"], version)
    assert openssl_server_name(data) is None
    assert parse(data) == ClientHello("", ("h2", "http/1.1"))


def test_any_beginning_is_not_enough_and_anything_may_follow() -> None:
    data = openssl_hello("Example.com", ["h2"])
    assert [parse(data[:size]) for size in range(len(data))] == [None] * len(data)
    for kind in (bytes, bytearray, memoryview):
        assert parse(kind(data + b"GET / HTTP/1.1\r\n")) == ClientHello("example.com", ("h2",))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 50, 300])
def test_a_hello_in_several_records(size: int) -> None:
    message = openssl_hello("example.com", ["h2"])[5:]
    data = records(message, size)
    assert openssl_server_name(data) == "example.com"
    assert [parse(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert parse(data + b"\x00") == ClientHello("example.com", ("h2",))


def test_hand_made_hellos() -> None:
    assert parse(records(hello())) == ClientHello("", ())
    assert parse(records(hello(b""))) == ClientHello("", ())
    assert parse(records(hello(sni(b"a.example")))) == ClientHello("a.example", ())


def test_lengths_and_types_take_two_bytes() -> None:
    protocols = [f"protocol-{number}" for number in range(40)]
    alpn = extension(16, vector(2, b"".join(vector(1, name.encode()) for name in protocols)))
    unknown = extension(0x0100, b"x") + extension(0x0010 << 8, b"x") + extension(0x0110, b"x")
    message = hello(unknown + alpn + sni(b"a" * 300), suites=bytes(400))
    assert parse(records(message)) == ClientHello("a" * 300, tuple(protocols))


def test_the_outer_name_of_an_encrypted_hello() -> None:
    """The extension of Encrypted Client Hello is opaque."""
    assert parse(records(hello(extension(0xFE0D, bytes(300)) + sni(b"public.example")))) == ClientHello("public.example", ())


def test_a_big_hello_is_taken_up_to_the_limit() -> None:
    padding = 60_000
    assert parse(records(hello(extension(21, bytes(padding)) + sni(b"a")))) == ClientHello("a", ())
    with pytest.raises(PeerError, match="is over 65536"):
        parse(b"\x16\x03\x01\x00\x04\x01\x00\xff\xfd")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"G", "not a handshake record"),
        (b"\x17", "not a handshake record"),
        (b"\x16\x02", "not TLS"),
        (b"\x16\x03\x01\x00\x00", "record of 0 bytes"),
        (b"\x16\x03\x01\x40\x01", "record of 16385 bytes"),
        (b"\x16\x03\x01\x00\x10\x02", "another handshake message"),
        (b"\x16\x03\x01\x00\x01\x01\x15", "not a handshake record"),
        (records(b"\x01\x00\x00\x00"), "cut short"),
        (records(hello()[:4] + bytes(73)), "no cipher suites"),
        (records(hello(suites=b"")), "no cipher suites"),
        (records(hello(suites=b"\x13\x01\x13")), "no cipher suites"),
        (records(hello(compression=b"")), "no compression"),
        (records(hello(b"\x00")), "cut short"),
        (records(hello(extension(10, b"") + b"\x00\x0b\x00\x09ab")), "cut short"),
        (b"\x16\x03\x01\x00\x04\x01\x01\x00\x00", "65540 bytes is over"),
        (records(hello(sni(b"a\x7f"))), "no host name"),
        (records(hello(sni(b"a") + sni(b"a"))), "extension twice"),
        (records(hello(extension(10, b"") * 2)), "extension twice"),
        (records(hello(sni(b"a", b"b"))), "malformed"),
        (records(hello(sni(b""))), "no host name"),
        (records(hello(sni())), "malformed"),
        (records(hello(extension(0, b""))), "malformed"),
        (records(hello(extension(0, b"\x00\x04\x00\x00\x01a\x00"))), "malformed"),
        (records(hello(extension(0, b"\x00\x05\x00\x00\x09a\x00"))), "malformed"),
        (records(hello(sni(b"a b"))), "no host name"),
        (records(hello(sni(b"a\r\nb"))), "no host name"),
        (records(hello(sni(b"a\x00"))), "no host name"),
        (records(hello(sni("é".encode()))), "no host name"),
        (records(hello(extension(16, b""))), "malformed"),
        (records(hello(extension(16, b"\x00\x00"))), "malformed"),
        (records(hello(extension(16, b"\x00\x01\x00"))), "malformed"),
        (records(hello(extension(16, b"\x00\x02\x05a"))), "malformed"),
        (records(hello(extension(16, b"\x00\x03\x01a"))), "malformed"),
    ],
)
def test_what_is_no_hello(data: bytes, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        parse(data)


def test_bytes_behind_the_extensions() -> None:
    message = hello(b"")
    with pytest.raises(PeerError, match="behind its end"):
        parse(records(b"\x01" + vector(3, message[4:] + b"x")))


def test_a_hello_without_an_end_is_refused() -> None:
    data = records(b"\x01\x00\xff\xf0" + bytes(MAX_SIZE), 1)
    assert parse(data[: MAX_SIZE - 1]) is None
    with pytest.raises(PeerError, match="not complete after 65536 bytes"):
        parse(data[:MAX_SIZE])


def test_every_cut_of_a_body_is_noticed() -> None:
    body = hello(sni(b"a.example") + extension(16, vector(2, vector(1, b"h2"))))[4:]
    bare = len(hello()) - 4  # the extensions may be left out
    for size in (size for size in range(len(body)) if size != bare):
        with pytest.raises(PeerError, match="TLS"):
            parse(records(b"\x01" + vector(3, body[:size])))


@given(CUTS, st.sampled_from([3, 100, 16384]))
@settings(max_examples=100)
def test_any_cut_gives_the_same_hello(cuts: list[int], size: int) -> None:
    data = records(openssl_hello("example.com", ["h2"])[5:], size)
    reader = Reader()
    got = next(hello for piece in pieces(data, [*cuts, 1]) if (hello := reader.receive_data(piece)))
    assert got == ClientHello("example.com", ("h2",))


@given(st.data())
@settings(max_examples=200)
def test_a_changed_hello_is_parsed_or_refused(data: st.DataObject) -> None:
    changed = bytearray(records(hello(sni(b"a.example") + extension(16, vector(2, vector(1, b"h2"))))))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse(changed)
    except PeerError:
        pass
