import random
import subprocess
import sys
from types import SimpleNamespace

import cramjam
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frp_py.errors import PeerError
from frp_py.protocol import snappy
from frp_py.protocol.cipher import Encryptor, derive_key
from frp_py.protocol.snappy import MAX_CHUNK, MAX_PLAIN, STREAM_IDENTIFIER, Compressor, Decompressor
from tests.protocol.helpers import CUTS, VECTORS, pieces

HELLO = bytes.fromhex("01090000bb1f1c1968656c6c6f")
EMPTY_PLAIN = bytes.fromhex("01040000d8ea82a2")
EMPTY_COMPRESSED = bytes.fromhex("00050000d8ea82a200")


def chunk(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "little") + body


def compressed(data: bytes) -> bytes:
    """One chunk of type 0 whatever it saves; the checksum is taken from cramjam's own chunk."""
    assert 0 < len(data) <= MAX_PLAIN
    checksum = bytes(cramjam.snappy.compress(data))[14:18]
    return chunk(0, checksum + bytes(cramjam.snappy.compress_raw(data)))


@pytest.mark.parametrize("kind", ["uncompressed", "compressed"])
def test_stream_vectors(kind: str) -> None:
    wire = bytes.fromhex(VECTORS["snappy"][f"{kind}_stream_hex"])
    plain = bytes.fromhex(VECTORS["snappy"][f"{kind}_stream_plaintext_hex"])
    assert Decompressor().update(wire) == plain
    assert Decompressor().update(Compressor().update(plain)) == plain
    if kind == "uncompressed":
        assert Compressor().update(plain) == wire


@pytest.mark.parametrize("vector", VECTORS["snappy"]["masked_crc32c"])
def test_checksum_vectors(vector: dict[str, str]) -> None:
    data = bytes.fromhex(vector["data_hex"])
    wire = STREAM_IDENTIFIER + chunk(1, bytes.fromhex(vector["masked_crc_le_hex"]) + data)
    assert Decompressor().update(wire) == data


def test_compressed_then_encrypted_vector() -> None:
    vector = VECTORS["work_conn_layering"]
    squeezed = Compressor().update(bytes.fromhex(vector["application_hex"]))
    assert squeezed.hex() == vector["after_snappy_hex"]
    assert Encryptor(derive_key("12345678"), bytes.fromhex(vector["iv_hex"])).update(squeezed).hex() == vector["wire_hex"]


def test_the_identifier_goes_out_once_and_every_write_is_whole() -> None:
    compressor, decompressor = Compressor(), Decompressor()
    assert compressor.update(b"") == b""
    for write in (b"hello", b"x" * 5, b"hello"):
        wire = compressor.update(write)
        assert wire.startswith(STREAM_IDENTIFIER) == (write == b"hello" and not decompressor._started)
        assert decompressor.update(wire) == write


PLAIN = st.one_of(
    st.binary(max_size=300),
    st.builds(bytes, st.integers(0, 200_000)),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.integers(0, 200_000)),
)


@given(st.lists(PLAIN, max_size=4), CUTS)
@example([bytes(MAX_PLAIN), random.Random(1).randbytes(MAX_PLAIN + 1)], [65537])
@example([random.Random(2).randbytes(100_000)], [1, 399, 70_000])
@settings(max_examples=60, deadline=None)
def test_any_cut_gives_the_same_bytes(writes: list[bytes], cuts: list[int]) -> None:
    compressor, decompressor = Compressor(), Decompressor()
    wire = b"".join(map(compressor.update, writes))
    if len(wire) > 5000:
        cuts = [cut * 50 for cut in cuts]
    assert b"".join(map(decompressor.update, pieces(wire, cuts))) == b"".join(writes)
    assert not decompressor._buffer


def test_what_a_reader_must_take() -> None:
    """Any order of chunks, empty ones, skippable ones, the identifier again; byte by byte and at once."""
    parts = [EMPTY_PLAIN, HELLO, EMPTY_COMPRESSED, chunk(0xFE, b"pad"), HELLO, STREAM_IDENTIFIER, chunk(0x80, b""), HELLO]
    parts += [chunk(0xFD, bytes(100_000)), compressed(b"a" * 64), EMPTY_PLAIN, HELLO, EMPTY_COMPRESSED]
    wire = STREAM_IDENTIFIER + b"".join(parts)
    plain = b"hello" * 3 + b"a" * 64 + b"hello"
    assert Decompressor().update(wire) == plain
    whole, byte_by_byte = bytearray(), Decompressor()
    for at in range(len(wire)):
        whole += byte_by_byte.update(wire[at : at + 1])
    assert whole == plain


def test_a_skipped_chunk_is_not_kept() -> None:
    decompressor = Decompressor()
    decompressor.update(STREAM_IDENTIFIER + b"\xfe\xff\xff\xff")
    for _ in range(256):
        assert decompressor.update(bytes(65535)) == b""
        assert not decompressor._buffer
    assert decompressor.update(bytes(255) + HELLO) == b"hello"


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (HELLO, "does not begin"),
        (chunk(0xFE, b""), "does not begin"),
        (b"GET / HTTP/1.1", "does not begin"),
        (chunk(0xFF, b"sNaPpX"), "identifier is wrong"),
        (b"\xff\x07\x00\x00", "identifier is wrong"),
        (STREAM_IDENTIFIER + b"\xff\x05\x00\x00", "identifier is wrong"),
        *((STREAM_IDENTIFIER + chunk(kind, b""), "is not known") for kind in (0x02, 0x7F)),
        (STREAM_IDENTIFIER + b"\x00\x03\x00\x00", "out of bounds"),
        (STREAM_IDENTIFIER + b"\x01\x00\x00\x00", "out of bounds"),
        (STREAM_IDENTIFIER + b"\x00" + (MAX_CHUNK + 1).to_bytes(3, "little"), "out of bounds"),
        (STREAM_IDENTIFIER + b"\x01" + (MAX_PLAIN + 5).to_bytes(3, "little"), "out of bounds"),
        (STREAM_IDENTIFIER + chunk(0, b"crc4"), "no length"),
        (STREAM_IDENTIFIER + chunk(0, b"crc4\x81\x80\x04a"), "more than 65536"),
        (STREAM_IDENTIFIER + chunk(0, b"crc4\xff\xff\xff\xff\x0f"), "more than 65536"),
        (STREAM_IDENTIFIER + chunk(1, b"crc4hello"), "damaged"),
        (STREAM_IDENTIFIER + HELLO[:-1] + b"p", "damaged"),
        (STREAM_IDENTIFIER + chunk(0, b"crc4\x80\x80\x04\x00a"), "damaged"),
        (STREAM_IDENTIFIER + chunk(0, b"crc4\x05\x00a\x05\x09"), "damaged"),
        (STREAM_IDENTIFIER + chunk(0, HELLO[4:8] + b"\x06\x10hello"), "damaged"),
    ],
)
def test_hostile_streams_are_refused(wire: bytes, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        Decompressor().update(wire)
    slowly = Decompressor()
    with pytest.raises(PeerError, match=why):
        b"".join(slowly.update(wire[at : at + 1]) for at in range(len(wire)))


@given(st.binary(max_size=60), st.integers(0, 1), CUTS)
@settings(max_examples=200)
def test_garbage_is_refused_or_kept_within_the_bound(garbage: bytes, kind: int, cuts: list[int]) -> None:
    decompressor = Decompressor()
    try:
        for piece in pieces(STREAM_IDENTIFIER + HELLO + bytes([kind]) + garbage, cuts):
            decompressor.update(piece)
    except PeerError:
        return
    assert len(decompressor._buffer) < 4 + MAX_CHUNK


def test_a_codec_that_loses_bytes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snappy, "_codec", lambda: SimpleNamespace(decompress=lambda _data: b"hell"))
    with pytest.raises(PeerError, match="shorter than it says"):
        Decompressor().update(STREAM_IDENTIFIER + HELLO)


def test_output_is_bounded_by_input() -> None:
    wire = Compressor().update(bytes(10 * MAX_PLAIN))
    assert len(Decompressor().update(wire)) < 22 * len(wire)


def test_importing_costs_no_codec() -> None:
    code = "import sys, frp_py.protocol.snappy; sys.exit('cramjam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
