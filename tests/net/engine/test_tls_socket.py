"""A socket under TLS: what it makes of records in any number and in any pieces."""

from __future__ import annotations

import errno
import random
import socket
import ssl
from collections.abc import Iterator

import pytest

from frp_py.net.engine.tls_socket import EMPTY, RECORD, TlsSocket
from tests.support.net import contexts, tcp_pair, tls_pair
from tests.support.openssl import KeyChanger

CHANGE = 27  # bytes on the wire


class Beside:
    """A server's TlsSocket, and a client of which we have every byte in hand."""

    def __init__(self) -> None:
        self.raw, below = tcp_pair()
        self.raw.setblocking(True)
        self.server = TlsSocket(contexts()[1], below, server_side=True)
        self.client = KeyChanger()
        done, said = self.client.shake_hands(b"")
        while True:
            self.raw.sendall(said)
            try:
                self.server.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                break
            if not done:
                done, said = self.client.shake_hands(self.raw.recv(1 << 16))

    def close(self) -> None:
        self.client.close()
        self.raw.close()
        self.server.close()


@pytest.fixture
def beside() -> Iterator[Beside]:
    both = Beside()
    yield both
    both.close()


@pytest.fixture
def pair() -> Iterator[tuple[TlsSocket, TlsSocket]]:
    client, server = tls_pair()
    yield client, server
    client.close()
    server.close()


def received(sock: TlsSocket, size: int = 1 << 18) -> bytes:
    """What one call gives."""
    room = memoryview(bytearray(size))
    return bytes(room[: sock.recv_into(room)])


def test_records_that_carry_nothing_are_undone_a_record_s_worth_at_a_time(beside: Beside) -> None:
    """OpenSSL on a socket would go on for as long as they come."""
    beside.raw.sendall(beside.client.changes(2000) + beside.client.data(b"at last"))
    calls = 0
    while True:
        try:
            assert received(beside.server) == b"at last"
        except BlockingIOError:
            calls += 1
        else:
            break
    assert calls == 2000 * CHANGE // (RECORD + 22)
    beside.raw.sendall(beside.client.changes(2000) + beside.client.data(b"again"))  # what carried something was in between
    for _ in range(calls):
        with pytest.raises(BlockingIOError):
            received(beside.server)
    assert received(beside.server) == b"again"


def test_who_sends_nothing_but_such_records_is_given_up(beside: Beside) -> None:
    sent = 0
    with pytest.raises(OSError, match="TLS records that carry nothing") as caught:  # noqa: PT012
        while sent < 2 * EMPTY:
            said = beside.client.changes(500)
            beside.raw.sendall(said)
            sent += len(said)
            with pytest.raises(BlockingIOError):
                received(beside.server)
    assert caught.value.errno == errno.EPROTO
    assert EMPTY - 500 * CHANGE < sent <= EMPTY + 500 * CHANGE
    assert beside.server.buffered
    with pytest.raises(OSError, match="TLS records that carry nothing"):
        received(beside.server)


def test_a_handshake_without_end_is_given_up() -> None:
    raw, below = tcp_pair()
    server = TlsSocket(contexts()[1], below, server_side=True)
    # dummy records, as TLS 1.3 allows them for the sake of old boxes on the way
    with pytest.raises(OSError, match=r".") as caught:  # noqa: PT012
        for _ in range(1000):
            raw.send((b"\x14\x03\x03\x00\x01\x01") * 1000)
            with pytest.raises(ssl.SSLWantReadError):
                server.do_handshake()
    assert not isinstance(caught.value, ssl.SSLWantReadError)
    raw.close()
    server.close()


def test_all_whole_records_that_have_come_are_received_at_once(pair: tuple[TlsSocket, TlsSocket]) -> None:
    client, server = pair
    for piece in (b"one", b"two", b"three"):
        assert client.send(piece) == len(piece)
    assert received(server) == b"onetwothree"
    assert not server.buffered
    with pytest.raises(BlockingIOError):
        received(server)


def test_what_found_no_room_is_still_there(pair: tuple[TlsSocket, TlsSocket]) -> None:
    client, server = pair
    client.send(b"abcdef")
    assert received(server, 4) == b"abcd"
    assert server.buffered
    assert server.recv(10) == b"ef"
    assert not server.buffered


def test_the_end_is_told_behind_what_came_before_it(pair: tuple[TlsSocket, TlsSocket]) -> None:
    client, server = pair
    client.send(b"last")
    client.shutdown(socket.SHUT_WR)
    assert received(server) == b"last"
    assert received(server) == b""
    assert received(server) == b""


def test_the_end_in_the_same_packet_is_told_too() -> None:
    """close_notify, after which no FIN comes: epoll says nothing of it."""
    raw, below = tcp_pair()
    raw.setblocking(True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts()[0].wrap_bio(incoming, outgoing)
    server = TlsSocket(contexts()[1], below, server_side=True)
    for _ in range(2):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        raw.sendall(outgoing.read())
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            incoming.write(raw.recv(1 << 16))
    client.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()
    raw.sendall(outgoing.read())
    assert received(server) == b"last"
    assert server.buffered
    assert received(server) == b""
    assert not server.buffered
    raw.close()
    server.close()


def test_a_bad_record_is_told_behind_what_came_before_it(beside: Beside) -> None:
    beside.raw.sendall(beside.client.data(b"good") + b"\x17\x03\x03\x00\x20" + bytes(32))
    assert received(beside.server) == b"good"
    assert beside.server.buffered
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            received(beside.server)
    alert = beside.raw.recv(1 << 16)
    assert len(alert) > 5


def test_a_reset_is_a_reset(pair: tuple[TlsSocket, TlsSocket]) -> None:
    client, server = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    with pytest.raises(ConnectionResetError):
        received(server)


def test_records_come_in_any_pieces(beside: Beside) -> None:
    random.seed(1)
    data = random.randbytes(100_000)
    wire = b"".join(beside.client.data(data[at : at + 7000]) for at in range(0, len(data), 7000))
    got = b""
    while wire:
        n = random.choice((1, 5, 1000, 20_000))
        beside.raw.sendall(wire[:n])
        wire = wire[n:]
        while True:
            try:
                got += received(beside.server, random.choice((1, 3000, 1 << 18)))
            except BlockingIOError:
                break
    assert got == data


def test_what_a_full_socket_does_not_take_goes_with_the_next_call() -> None:
    client, server = tls_pair(buffer=4096)
    random.seed(2)
    data, sent, got, blocked = memoryview(random.randbytes(3_000_000)), 0, b"", 0
    while sent < len(data):
        try:
            n = client.send(data[sent : sent + random.choice((1, 1000, 300_000))] if not blocked % 2 else data[sent:])
            assert n > 0
            sent += n
        except BlockingIOError:
            blocked += 1
            while True:  # come again with the same bytes, or more
                try:
                    got += received(server)
                except BlockingIOError:
                    try:
                        sent += client.send(data[sent:])
                        break
                    except BlockingIOError:
                        continue
    while len(got) < len(data):
        got += received(server)
    assert got == data
    assert blocked > 10
    client.close()
    server.close()


def test_a_name_that_is_none_leaves_the_socket() -> None:
    raw, below = tcp_pair()
    with pytest.raises(ValueError, match="label"):
        TlsSocket(contexts()[0], below, server_side=False, server_hostname="a" * 70 + ".test")
    below.send(b"x")
    assert raw.recv(1) == b"x"
    raw.close()
    below.close()
