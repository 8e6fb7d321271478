"""What is said first on a connection, by whoever comes, and by the proxies on our own way to the server."""

from __future__ import annotations

from collections.abc import Callable

from frp_py.errors import PeerError
from frp_py.protocol import client_hello, first_bytes, proxy_protocol, socks5, websocket
from tests.fuzz.cuts import REFUSED, Pieces, same_for_all_cuts


def tls_client_hello(data: bytes) -> None:
    """Names are lower-case host names, nothing else."""

    def parse(parts: Pieces) -> object:
        reader = client_hello.Reader()
        for part in parts:
            if (found := reader.receive_data(part)) is not None:
                return found
            assert len(reader._buffer) + len(reader._message) <= client_hello.MAX_SIZE + 16384
        return None

    found = same_for_all_cuts(parse, data)
    if isinstance(found, client_hello.ClientHello):
        assert found.server_name == found.server_name.lower()
        assert found.server_name.isascii()
        assert not any(byte <= " " for byte in found.server_name)
        assert all(found.alpn)


def first_ten_bytes(data: bytes) -> None:
    """Every beginning leads somewhere."""
    first = data[: first_bytes.SIZE].ljust(first_bytes.SIZE, b"\0")
    plain = first_bytes.destination(first, http_shares=False, https_shares=False)
    assert plain in (first_bytes.Destination.LINK, first_bytes.Destination.WEBSOCKET)
    assert first_bytes.destination(first, http_shares=True, https_shares=True) in first_bytes.Destination
    assert (first_bytes.tls_start(first[0]) is first_bytes.TLSStart.NONE) is (first[0] not in (0x16, 0x17))


def websocket_heads(data: bytes) -> None:
    """Requests at the server, answers at the client."""
    try:
        size = websocket.head_size(data)
    except PeerError:
        return
    if not size:
        assert len(data) < websocket.MAX_HEAD
        return
    head = data[:size]
    try:
        answer, upgraded = websocket.answer_upgrade(head)
    except PeerError:
        pass
    else:
        assert answer.startswith(b"HTTP/1.1 101 " if upgraded else b"HTTP/1.1 4")
        assert answer.count(b"\r\n\r\n") == 1
        assert answer.endswith(b"\r\n\r\n"), "a header of the request has split the answer"
    key = websocket.upgrade_key(bytes(16))
    try:
        websocket.check_upgrade(head, key)
    except PeerError:
        pass
    else:
        assert websocket.accept_value(key).encode() in head


def websocket_frames(data: bytes) -> None:
    """From clients, which mask, and from servers."""
    for masks in (None, lambda: b"mask"):

        def parse(parts: Pieces, masks: Callable[[], bytes] | None = masks) -> object:
            framing, plain = websocket.Framing(masks), bytearray()
            for part in parts:
                plain += framing.receive_data(part)
                assert len(framing._header) < 14
                assert len(framing._control) <= 125
                assert len(framing.data_to_send()) <= 131
            return bytes(plain), framing.ended

        same_for_all_cuts(parse, data)
        there, back = websocket.Framing(masks), websocket.Framing(None if masks else lambda: b"mask")
        assert there.receive_data(back.send(data)) == data


def socks(data: bytes) -> None:
    """With and without a password, which must be there before a request is heard."""
    for credentials in ((), ("name", "word")):

        def parse(parts: Pieces, credentials: tuple[str, ...] = credentials) -> object:
            server, said = socks5.Server(*credentials), b""
            for at, part in enumerate(parts):
                request = server.receive_data(part)
                said += server.data_to_send()
                if request is not None:
                    return request, said, server.unread() + b"".join(parts[at + 1 :])
                assert len(server.unread()) <= 600
            return None, said, server.unread()

        outcome = same_for_all_cuts(parse, data)
        if outcome is not REFUSED and outcome[0] is not None:  # type: ignore[index]
            host = outcome[0].host  # type: ignore[index]
            assert host
            assert host.isprintable()
            assert not credentials or b"\x04name\x04word" in data


def proxy_header(data: bytes) -> None:
    """The addresses that a server tells its client of a user: a header is one line, or has the length it says."""
    text, _, rest = data.decode("latin-1").partition("\n")
    source, destination = (text, len(data) * 257 % 65536), (rest, len(data))
    for version in ("v1", "v2"):
        for ends in ((source, destination), (source, ("10.0.0.1", 80)), (source, ("2001:db8::1", 80)), (("10.0.0.1", 80), source)):
            for udp in (False, True):
                try:
                    header = proxy_protocol.header(version, *ends, udp=udp)
                except proxy_protocol.NoHeaderError:
                    continue
                if version == "v1":
                    assert header.index(b"\r\n") == len(header) - 2
                    assert len(header) <= 107
                else:
                    assert int.from_bytes(header[14:16], "big") == len(header) - 16
