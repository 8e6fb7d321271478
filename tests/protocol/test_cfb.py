import gc
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.protocol import cfb
from frp_py.protocol.cfb import Cfb
from frp_py.protocol.cipher import Decryptor, Encryptor, derive_key
from tests.protocol.helpers import CUTS, VECTORS, pieces

KEY = derive_key("12345678")
IV = bytes(range(16))

pytestmark = pytest.mark.skipif(not cfb.available(), reason="the OpenSSL of ssl can't be reached here")


@pytest.mark.parametrize("vector", VECTORS["v1_cipher"]["streams"], ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, str]) -> None:
    key, iv = derive_key(bytes.fromhex(vector["token_utf8_hex"])), bytes.fromhex(vector["iv_hex"])
    encrypting, decrypting = Cfb(key, iv, encrypt=True), Cfb(key, iv, encrypt=False)
    for plain, changed in zip(vector["plaintext_writes_hex"], vector["ciphertext_writes_hex"], strict=True):
        assert encrypting.update(bytes.fromhex(plain)).hex() == changed
        assert decrypting.update(bytes.fromhex(changed)).hex() == plain


@given(st.binary(max_size=600), CUTS)
@settings(max_examples=100)
def test_it_does_what_the_cryptography_package_does(plain: bytes, cuts: list[int]) -> None:
    wire = Encryptor(KEY, IV).update(plain)[16:]
    encrypting, decrypting = Cfb(KEY, IV, encrypt=True), Cfb(KEY, IV, encrypt=False)
    assert b"".join(map(encrypting.update, pieces(plain, cuts))) == wire
    assert b"".join(map(decrypting.update, pieces(wire, cuts))) == plain


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        bytearray(b"hello"),
        memoryview(b"hello"),
        memoryview(bytearray(b"hello")),
        memoryview(b"xhello")[1:],
        memoryview(b"h.e.l.l.o")[::2],
    ],
)
def test_every_kind_of_buffer(data: bytes | bytearray | memoryview) -> None:
    assert Decryptor(KEY).update(IV + Cfb(KEY, IV, encrypt=True).update(data)) == b"hello"


def test_a_buffer_is_neither_changed_nor_held() -> None:
    data = bytearray(b"hello")
    Cfb(KEY, IV, encrypt=True).update(data)
    assert data == b"hello"
    data += b"!"  # raises BufferError while anybody holds it


@pytest.mark.parametrize(("key", "iv"), [(b"", IV), (KEY[:15], IV), (KEY * 2, IV), (KEY, b""), (KEY, IV[:15])])
def test_other_sizes_are_refused(key: bytes, iv: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes each"):
        Cfb(key, iv, encrypt=True)


def test_the_context_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    library = cfb._library()

    def free(context: int) -> None:
        freed.append(context)
        library.EVP_CIPHER_CTX_free(context)

    counting = SimpleNamespace(
        EVP_CIPHER_CTX_new=library.EVP_CIPHER_CTX_new,
        EVP_CIPHER_CTX_free=free,
        EVP_CipherInit_ex=library.EVP_CipherInit_ex,
        EVP_CipherUpdate=library.EVP_CipherUpdate,
        EVP_aes_128_cfb128=library.EVP_aes_128_cfb128,
    )
    monkeypatch.setattr(cfb, "_library", lambda: counting)
    stream = Cfb(KEY, IV, encrypt=True)
    stream.update(b"x")
    assert freed == []
    del stream
    gc.collect()
    assert len(freed) == 1


def test_a_refusal_of_openssl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library = cfb._library()
    refusing = SimpleNamespace(
        EVP_CIPHER_CTX_new=library.EVP_CIPHER_CTX_new,
        EVP_CIPHER_CTX_free=library.EVP_CIPHER_CTX_free,
        EVP_CipherInit_ex=lambda *_arguments: 0,
        EVP_CipherUpdate=lambda *_arguments: 0,
        EVP_aes_128_cfb128=library.EVP_aes_128_cfb128,
    )
    monkeypatch.setattr(cfb, "_library", lambda: refusing)
    with pytest.raises(RuntimeError, match="does not provide AES-128-CFB"):
        Cfb(KEY, IV, encrypt=True)
    refusing.EVP_CipherInit_ex = library.EVP_CipherInit_ex
    with pytest.raises(RuntimeError, match="failed to encrypt"):
        Cfb(KEY, IV, encrypt=True).update(b"x")
