"""AES-128-CFB from the OpenSSL that Python's own `ssl` module is linked to, through ctypes: slow, and small.

Every process needs this cipher, for the control connection; the `cryptography` package brings an OpenSSL of its own for
it, which costs 10 MB of memory in each of the two programs. Where `ssl`'s OpenSSL can't be reached (it is linked statically,
or the system isn't a Unix) `available` is False and `cryptography` is used.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_SIZE = 16  # of key and IV


@cache
def _library() -> Any:
    """The functions, with their types set; None when they can't be had."""
    try:
        import _ssl

        # a handle on the extension module also finds what the libraries that it needs define
        library = ctypes.CDLL(_ssl.__file__)
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        library.EVP_aes_128_cfb128.restype = pointer
        library.EVP_CIPHER_CTX_new.restype = pointer
        library.EVP_CIPHER_CTX_free.argtypes = (pointer,)
        library.EVP_CIPHER_CTX_free.restype = None
        library.EVP_CipherInit_ex.argtypes = (pointer, pointer, pointer, ctypes.c_char_p, ctypes.c_char_p, integer)
        library.EVP_CipherUpdate.argtypes = (pointer, pointer, ctypes.POINTER(integer), pointer, integer)
        cipher = library.EVP_aes_128_cfb128()
    except (ImportError, AttributeError, OSError):
        return None
    return library if cipher else None


def available() -> bool:
    """Whether `Cfb` works here."""
    return _library() is not None


class Cfb:
    """One direction of a stream; the cipher's state runs on over all calls of `update`."""

    __slots__ = ("_context", "_free", "_update", "_written")

    def __init__(self, key: bytes, iv: bytes, *, encrypt: bool) -> None:
        """`key` and `iv` are 16 bytes each. Raises ValueError for other sizes, RuntimeError when OpenSSL refuses (as its FIPS mode may)."""
        if len(key) != _SIZE or len(iv) != _SIZE:
            raise ValueError("key and IV of AES-128 are 16 bytes each")
        library = _library()
        self._free = library.EVP_CIPHER_CTX_free
        self._update = library.EVP_CipherUpdate
        self._written = ctypes.c_int()
        self._context = library.EVP_CIPHER_CTX_new()
        if not self._context or not library.EVP_CipherInit_ex(self._context, library.EVP_aes_128_cfb128(), None, key, iv, int(encrypt)):
            raise RuntimeError("OpenSSL does not provide AES-128-CFB")

    def update(self, data: bytes | bytearray | memoryview) -> bytes:
        """As many bytes as `data` has."""
        n = len(data)
        if not n:
            return b""
        source: Any
        if isinstance(data, bytes):
            source = data
        elif isinstance(data, memoryview) and (data.readonly or not data.c_contiguous or data.itemsize != 1):
            source = bytes(data)
        else:
            source = ctypes.byref(ctypes.c_char.from_buffer(data))
        result = bytearray(n)
        if not self._update(self._context, ctypes.byref(ctypes.c_char.from_buffer(result)), ctypes.byref(self._written), source, n):
            raise RuntimeError("OpenSSL failed to encrypt")
        return bytes(result)

    def __del__(self) -> None:
        context = getattr(self, "_context", None)
        if context:
            self._free(context)
