"""The AES-128-CFB streams of the control connection and of `useEncryption` (wire.md 5.1).

Each direction is an IV followed by the ciphertext. The IV goes out with the first data, so a side that never writes sends none.
"""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

from frp_py.protocol import cfb
from frp_py.protocol.auth import as_bytes

IV_SIZE = 16


@lru_cache(256)
def derive_key(token: str | bytes) -> bytes:
    """The 16-byte key of a token or secret; an empty one is a token like any other."""
    return hashlib.pbkdf2_hmac("sha1", as_bytes(token), b"frp", 64, 16)


@cache
def _cipher() -> Callable[[bytes, bytes], Any]:
    """Makes a Cipher of key and IV. Imported when first used: it costs 7 ms, which `frpc --version` needn't pay."""
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES

    try:
        from cryptography.hazmat.decrepit.ciphers.modes import CFB
    except ImportError:  # older releases have it here only
        from cryptography.hazmat.primitives.ciphers.modes import CFB

    def cipher(key: bytes, iv: bytes) -> Cipher[CFB]:
        return Cipher(AES(key), CFB(iv))

    return cipher


def _update(key: bytes, iv: bytes, *, encrypt: bool, light: bool) -> Callable[[bytes | bytearray | memoryview], bytes]:
    """The function that changes the next bytes of a stream.

    `cryptography` is up to twenty times as fast with much data; where there is little it isn't worth its 10 MB of memory.
    """
    if light and "cryptography" not in sys.modules and cfb.available():
        with suppress(RuntimeError):
            return cfb.Cfb(key, iv, encrypt=encrypt).update
    cipher = _cipher()(key, iv)
    change: Callable[[bytes | bytearray | memoryview], bytes] = (cipher.encryptor() if encrypt else cipher.decryptor()).update
    return change


class Encryptor:
    """What one side writes. The cipher is made with the first data: many a connection never has any."""

    __slots__ = ("_iv", "_key", "_light", "_update")

    def __init__(self, key: bytes, iv: bytes, *, light: bool = False) -> None:
        """`key` from derive_key; `iv` 16 random bytes, never used twice; `light`: there will be little data."""
        self._key = key
        self._iv = iv
        self._light = light
        self._update: Callable[[bytes | bytearray | memoryview], bytes] | None = None

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """What goes out for `data`: as many bytes, and the IV in front the first time."""
        if self._update is not None:
            return self._update(data)
        if not data:
            return b""
        self._update = _update(self._key, self._iv, encrypt=True, light=self._light)
        return self._iv + self._update(data)


class Decryptor:
    """What one side reads."""

    __slots__ = ("_iv", "_key", "_light", "_update")

    def __init__(self, key: bytes, *, light: bool = False) -> None:
        """`key` from derive_key; `light`: there will be little data."""
        self._key = key
        self._light = light
        self._iv = b""
        self._update: Callable[[bytes | bytearray | memoryview], bytes] | None = None

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """The plain bytes in `data`, which may be cut anywhere."""
        if self._update is not None:
            return self._update(data)
        missing = IV_SIZE - len(self._iv)
        self._iv += data[:missing]
        if len(self._iv) < IV_SIZE:
            return b""
        self._update = _update(self._key, self._iv, encrypt=False, light=self._light)
        return self._update(data[missing:])
