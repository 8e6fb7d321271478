from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.errors import FrpError, PeerError
from frp_py.protocol.aead import MAX_PLAIN, NONCE_SIZE, TAG_SIZE, Opener, Sealer, derive_keys, hchacha20
from tests.protocol.helpers import CUTS, VECTORS, pieces

TOKEN = bytes.fromhex(VECTORS["v2"]["token_utf8_hex"])
HANDSHAKES: list[dict[str, Any]] = VECTORS["v2"]["handshakes"]
KEY = bytes(range(32))
BOTH = pytest.mark.parametrize("algorithm", NONCE_SIZE)


def pair(algorithm: str, nonce: bytes | None = None) -> tuple[Sealer, Opener]:
    return Sealer(algorithm, KEY, nonce if nonce is not None else bytes(NONCE_SIZE[algorithm])), Opener(algorithm, KEY)


def test_hchacha20_vector() -> None:
    vector = VECTORS["hchacha20"]
    assert hchacha20(bytes.fromhex(vector["key_hex"]), bytes.fromhex(vector["nonce16_hex"])).hex() == vector["subkey_hex"]


@pytest.mark.parametrize("handshake", HANDSHAKES, ids=lambda handshake: handshake["algorithm"])
def test_key_vectors(handshake: dict[str, Any]) -> None:
    transcript = bytes.fromhex(handshake["transcript_hash_hex"])
    for keys in handshake["keys"]:
        to_server, to_client = derive_keys(bytes.fromhex(keys["token_utf8_hex"]), transcript, handshake["algorithm"])
        assert (to_server.hex(), to_client.hex()) == (keys["client_to_server_hex"], keys["server_to_client_hex"])


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("handshake", HANDSHAKES, ids=lambda handshake: handshake["algorithm"])
def test_record_vectors(handshake: dict[str, Any], side: int) -> None:
    algorithm = handshake["algorithm"]
    key = derive_keys(TOKEN, bytes.fromhex(handshake["transcript_hash_hex"]), algorithm)[side]
    records = handshake["server_records" if side else "client_records"]
    sealer = Sealer(algorithm, key, bytes.fromhex(records["stream_nonce_hex"]))
    assert [sealer.update(bytes.fromhex(plain)).hex() for plain in records["plaintexts_hex"]] == records["writes_hex"]
    opener = Opener(algorithm, key)
    assert opener.update(bytes.fromhex(records["wire_hex"])).hex() == "".join(records["plaintexts_hex"])
    assert opener.at_boundary


@BOTH
@given(writes=st.lists(st.binary(max_size=100), max_size=5), cuts=CUTS)
@settings(max_examples=60)
def test_any_cut_gives_the_same_bytes(algorithm: str, writes: list[bytes], cuts: list[int]) -> None:
    sealer, opener = pair(algorithm)
    wire = b"".join(map(sealer.update, writes))
    assert b"".join(map(opener.update, pieces(wire, cuts))) == b"".join(writes)
    assert opener.at_boundary


@BOTH
def test_nothing_is_sent_for_nothing_and_the_nonce_goes_first(algorithm: str) -> None:
    sealer, opener = pair(algorithm)
    assert sealer.update(b"") == b""
    first = sealer.update(b"a")
    assert first[: NONCE_SIZE[algorithm] + 4] == bytes(NONCE_SIZE[algorithm]) + b"\x00\x00\x00\x11"
    assert len(sealer.update(b"b")) == 4 + 1 + TAG_SIZE
    assert opener.update(first[:-1]) == b""
    assert not opener.at_boundary


@BOTH
def test_long_data_is_split(algorithm: str) -> None:
    sealer, opener = pair(algorithm)
    data = bytes(range(256)) * 600
    wire = sealer.update(memoryview(data))
    assert len(wire) == NONCE_SIZE[algorithm] + len(data) + 3 * (4 + TAG_SIZE)
    assert wire[NONCE_SIZE[algorithm] :][:4] == (65536 + 16).to_bytes(4, "big")
    assert opener.update(bytearray(wire)) == data


@BOTH
def test_an_empty_record_is_skipped(algorithm: str) -> None:
    sealer, opener = pair(algorithm)
    cipher, nonce = sealer._next()
    wire = sealer._first + b"\x00\x00\x00\x10" + cipher.encrypt(nonce, b"", sealer._first + b"\x00\x00\x00\x10")
    assert opener.update(wire) == b""
    assert opener.at_boundary
    sealer._sent = True
    assert opener.update(sealer.update(b"x")) == b"x"


@BOTH
@pytest.mark.parametrize("last", ["ff", "ffffffffffffffff"])
def test_the_counter_carries_over_the_whole_nonce(algorithm: str, last: str) -> None:
    nonce = bytes.fromhex(last).rjust(NONCE_SIZE[algorithm], b"\x01")
    sealer, opener = pair(algorithm, nonce)
    assert b"".join(opener.update(sealer.update(data)) for data in (b"a", b"b", b"c")) == b"abc"


@BOTH
def test_nonces_do_not_come_round(algorithm: str) -> None:
    sealer, opener = pair(algorithm, b"\xff" * NONCE_SIZE[algorithm])
    assert opener.update(sealer.update(b"a")) == b"a"
    with pytest.raises(FrpError, match="used up"):
        sealer.update(b"b")
    with pytest.raises(PeerError, match="used up"):
        opener.update(b"\x00\x00\x00\x11" + bytes(17))


def test_gcm_has_a_limit_of_records() -> None:
    sealer, opener = pair("aes-256-gcm")
    opener.update(sealer.update(b"a"))
    sealer._records = opener._records = 2**32 - 1
    assert opener.update(sealer.update(b"b")) == b"b"
    with pytest.raises(FrpError, match="used up"):
        sealer.update(b"c")


@BOTH
@given(where=st.integers(0, 60), change=st.integers(1, 255))
@settings(max_examples=60)
def test_every_changed_byte_is_noticed(algorithm: str, where: int, change: int) -> None:
    sealer, opener = pair(algorithm)
    wire = bytearray(sealer.update(bytes(40)) + sealer.update(bytes(40)))
    wire[where] ^= change
    plain = b""
    with pytest.raises(PeerError):
        plain = opener.update(wire) + opener.update(bytes(MAX_PLAIN + 100))
    assert plain == b""


@BOTH
def test_records_in_another_order_are_refused(algorithm: str) -> None:
    sealer, opener = pair(algorithm)
    first, second, third = (sealer.update(data) for data in (b"a", b"b", b"c"))
    opener.update(first)
    with pytest.raises(PeerError, match="fails authentication"):
        opener.update(third + second)


@BOTH
@pytest.mark.parametrize("length", [0, 15, MAX_PLAIN + TAG_SIZE + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_from_the_header(algorithm: str, length: int) -> None:
    with pytest.raises(PeerError, match=f"record of {length} bytes"):
        pair(algorithm)[1].update(bytes(NONCE_SIZE[algorithm]) + length.to_bytes(4, "big"))


def test_a_nonce_of_another_size_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="24 bytes, not 12"):
        Sealer("xchacha20-poly1305", KEY, bytes(12))
