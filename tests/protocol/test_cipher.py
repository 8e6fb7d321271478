import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.protocol import cfb
from frp_py.protocol.cfb import Cfb
from frp_py.protocol.cipher import Decryptor, Encryptor, derive_key
from tests.protocol.helpers import CUTS, VECTORS, pieces

KEY = derive_key("12345678")
IV = bytes(range(16))


@pytest.mark.parametrize("vector", VECTORS["v1_cipher"]["derived_keys"])
def test_key_vectors(vector: dict[str, str]) -> None:
    token = bytes.fromhex(vector["token_utf8_hex"])
    assert derive_key(token).hex() == derive_key(token.decode()).hex() == vector["key_hex"]


@pytest.mark.parametrize("vector", VECTORS["v1_cipher"]["streams"], ids=lambda vector: vector["name"])
def test_stream_vectors(vector: dict[str, str]) -> None:
    key = derive_key(bytes.fromhex(vector["token_utf8_hex"]))
    iv = bytes.fromhex(vector["iv_hex"])
    encryptor = Encryptor(key, iv)
    written = [encryptor.update(bytes.fromhex(write)) for write in vector["plaintext_writes_hex"]]
    wire = [bytes.fromhex(write) for write in vector["ciphertext_writes_hex"]]
    assert written == [iv + wire[0], *wire[1:]]
    assert Decryptor(key).update(bytes.fromhex(vector["wire_hex"])) == b"".join(map(bytes.fromhex, vector["plaintext_writes_hex"]))


@pytest.mark.parametrize("side", ["client", "server"])
def test_control_session_vectors(side: str) -> None:
    session = VECTORS["v1_control_session"]
    encryptor = Encryptor(KEY, bytes.fromhex(session[f"{side}_iv_hex"]))
    for write in session["client_to_server" if side == "client" else "server_to_client"]:
        if "plaintext_hex" in write:
            assert encryptor.update(bytes.fromhex(write["plaintext_hex"])).hex() == write["wire_hex"]


def test_nathole_vector() -> None:
    vector = VECTORS["nathole_datagram"]
    key = derive_key(bytes.fromhex(vector["secret_key_utf8_hex"]))
    assert Encryptor(key, bytes.fromhex(vector["iv_hex"])).update(bytes.fromhex(vector["plaintext_hex"])).hex() == vector["datagram_hex"]


def test_the_iv_goes_out_once_with_the_first_byte() -> None:
    encryptor = Encryptor(KEY, IV)
    assert encryptor.update(b"") == b""
    assert encryptor.update(b"a")[:16] == IV
    assert len(encryptor.update(b"bc")) == 2


@given(st.binary(max_size=600), CUTS, CUTS)
@settings(max_examples=100)
def test_any_cut_gives_the_same_bytes(plain: bytes, writes: list[int], reads: list[int]) -> None:
    encryptor, decryptor = Encryptor(KEY, IV), Decryptor(KEY)
    wire = b"".join(map(encryptor.update, pieces(plain, writes)))
    assert wire == Encryptor(KEY, IV).update(plain)
    assert b"".join(map(decryptor.update, pieces(wire, reads))) == plain


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer(kind: type[bytes]) -> None:
    wire = Encryptor(KEY, IV).update(kind(b"hello"))
    assert Decryptor(KEY).update(kind(wire)) == b"hello"


@pytest.fixture
def _without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not imported it yet."""
    monkeypatch.delitem(sys.modules, "cryptography", raising=False)


@pytest.mark.usefixtures("_without_cryptography")
@pytest.mark.parametrize("available", [True, False])
def test_a_light_stream_is_the_same_stream(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Cfb] = []
    works = available and cfb.available()

    def make(key: bytes, iv: bytes, *, encrypt: bool) -> Cfb:
        made.append(Cfb(key, iv, encrypt=encrypt))
        return made[-1]

    monkeypatch.setattr(cfb, "available", lambda: works)
    monkeypatch.setattr(cfb, "Cfb", make)
    wire = Encryptor(KEY, IV, light=True).update(b"hello")
    decryptor = Decryptor(KEY, light=True)
    assert wire == Encryptor(KEY, IV).update(b"hello")
    assert b"".join(map(decryptor.update, pieces(wire, [1, 16]))) == b"hello"
    assert len(made) == (2 if works else 0)


@pytest.mark.usefixtures("_without_cryptography")
def test_a_refusal_of_openssl_leaves_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: bytes, encrypt: bool) -> None:
        raise RuntimeError("FIPS")

    monkeypatch.setattr(cfb, "available", lambda: True)
    monkeypatch.setattr(cfb, "Cfb", refuse)
    assert Encryptor(KEY, IV, light=True).update(b"hello") == Encryptor(KEY, IV).update(b"hello")


def test_a_process_with_light_streams_only_does_without_cryptography() -> None:
    if not cfb.available():
        pytest.skip("the OpenSSL of ssl can't be reached here")
    code = (
        "import sys; from frp_py.protocol.cipher import *; wire = Encryptor(bytes(16), bytes(16), light=True).update(b'x'); "
        "sys.exit(Decryptor(bytes(16), light=True).update(wire) != b'x' or 'cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_costs_no_cryptography() -> None:
    code = "import sys, frp_py.protocol.cipher; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
