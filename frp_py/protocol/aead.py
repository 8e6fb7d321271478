"""The encrypted record streams of a v2 control connection (wire.md 11.5 and 11.6).

The plaintext of a stream is a byte stream of its own: record and frame boundaries have nothing to do with each other.
"""

import hmac
from functools import cache
from struct import Struct
from typing import Any

from frp_py.errors import FrpError, PeerError
from frp_py.protocol.auth import as_bytes

AES_256_GCM = "aes-256-gcm"
XCHACHA20_POLY1305 = "xchacha20-poly1305"
NONCE_SIZE: dict[str, int] = {AES_256_GCM: 12, XCHACHA20_POLY1305: 24}
"""The algorithms, and the bytes of the nonce that each stream starts with."""

MAX_PLAIN = 65536
"""Bytes in one record."""
TAG_SIZE = 16
MAX_GCM_RECORDS = 2**32

_LENGTH = Struct(">I")


def derive_keys(token: str | bytes, transcript: bytes, algorithm: str) -> tuple[bytes, bytes]:
    """The 32-byte keys of the two streams, client to server and server to client (wire.md 11.5)."""
    extracted = hmac.digest(transcript, as_bytes(token), "sha256")
    info = f"frp wire v2 control aead {algorithm} ".encode()
    # one HMAC gives all 32 bytes of an expansion
    to_server, to_client = (hmac.digest(extracted, info + way + b"\x01", "sha256") for way in (b"client-to-server", b"server-to-client"))
    return to_server, to_client


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """The 32-byte sub-key for a key and the first 16 bytes of an extended nonce.

    A ChaCha20 block is this function's state with the initial state added; taking it away again leaves what we want, in
    the eight words whose initial state isn't the key.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

    block = Cipher(ChaCha20(key, nonce), None).encryptor().update(bytes(64))
    words = _words(block[:16] + block[48:])
    return b"".join(
        ((word - start) & 0xFFFFFFFF).to_bytes(4, "little") for word, start in zip(words, _words(b"expand 32-byte k" + nonce), strict=True)
    )


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


@cache
def _aead() -> tuple[Any, Any, type[Exception]]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    return AESGCM, ChaCha20Poly1305, InvalidTag


class _Stream:
    """The nonces of one direction."""

    __slots__ = ("_algorithm", "_cipher", "_first", "_key", "_nonce", "_prefix", "_records", "_size")

    def __init__(self, algorithm: str, key: bytes) -> None:
        self._algorithm = algorithm
        self._key = key
        self._size = NONCE_SIZE[algorithm]
        self._first = b""  # the stream's nonce once it is known; part of what every record authenticates
        self._nonce = 0
        self._prefix = b""  # the nonce bytes that self._cipher's sub-key was made of
        self._cipher: Any = _aead()[0](key) if algorithm == AES_256_GCM else None
        self._records = 0

    def _start(self, nonce: bytes) -> None:
        self._first = nonce
        self._nonce = int.from_bytes(nonce, "big")

    def _next(self) -> tuple[Any, bytes]:
        """The cipher for the next record and its nonce. Raises FrpError when there is none left."""
        if self._records and self._nonce == 0:
            raise FrpError("the nonces of the control connection are used up")
        if self._algorithm == AES_256_GCM and self._records >= MAX_GCM_RECORDS:
            raise FrpError("the records of the control connection are used up")
        nonce = self._nonce.to_bytes(self._size, "big")
        self._nonce = (self._nonce + 1) % (1 << 8 * self._size)
        self._records += 1
        if self._algorithm == AES_256_GCM:
            return self._cipher, nonce
        if nonce[:16] != self._prefix:
            self._prefix = nonce[:16]
            self._cipher = _aead()[1](hchacha20(self._key, self._prefix))
        return self._cipher, bytes(4) + nonce[16:]


class Sealer(_Stream):
    """What one side writes."""

    __slots__ = ("_sent",)

    def __init__(self, algorithm: str, key: bytes, nonce: bytes) -> None:
        """`nonce`: NONCE_SIZE[algorithm] random bytes, never used twice."""
        super().__init__(algorithm, key)
        if len(nonce) != self._size:
            raise RuntimeError(f"{algorithm} wants a nonce of {self._size} bytes, not {len(nonce)}")
        self._start(nonce)
        self._sent = False

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """The records with all of `data`, the nonce in front the first time. Raises FrpError when the nonces are used up."""
        parts: list[bytes] = []
        for at in range(0, len(data), MAX_PLAIN):
            plain = data[at : at + MAX_PLAIN]
            length = _LENGTH.pack(len(plain) + TAG_SIZE)
            cipher, nonce = self._next()
            parts += length, cipher.encrypt(nonce, plain, self._first + length)
        if parts and not self._sent:
            self._sent = True
            parts.insert(0, self._first)
        return b"".join(parts)


class Opener(_Stream):
    """What one side reads."""

    __slots__ = ("_buffer",)

    def __init__(self, algorithm: str, key: bytes) -> None:
        super().__init__(algorithm, key)
        self._buffer = bytearray()

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """The plain bytes of the records that `data` completes; `data` may be cut anywhere. Raises PeerError."""
        buffer = self._buffer
        buffer += data
        at = 0
        if not self._first:
            if len(buffer) < self._size:
                return b""
            at = self._size
            self._start(bytes(buffer[:at]))
        plain: list[bytes] = []
        while len(buffer) - at >= 4:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if not TAG_SIZE <= length <= MAX_PLAIN + TAG_SIZE:
                raise PeerError(f"record of {length} bytes is not within {TAG_SIZE} to {MAX_PLAIN + TAG_SIZE}")
            end = at + 4 + length
            if len(buffer) < end:
                break
            plain.append(self._open(bytes(buffer[at : at + 4]), bytes(buffer[at + 4 : end])))
            at = end
        del buffer[:at]
        return b"".join(plain)

    @property
    def at_boundary(self) -> bool:
        """Whether the stream may end here: no record is half read (wire.md 11.6)."""
        return not self._buffer

    def _open(self, length: bytes, sealed: bytes) -> bytes:
        try:
            cipher, nonce = self._next()
            plain: bytes = cipher.decrypt(nonce, sealed, self._first + length)
        except FrpError as error:
            raise PeerError(str(error)) from None
        except _aead()[2]:
            raise PeerError("record fails authentication: the tokens differ, or it was changed on the way") from None
        return plain
