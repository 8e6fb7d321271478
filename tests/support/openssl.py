"""A TLS client that does what Python's `ssl` can't: change its keys, as often as it likes."""

from __future__ import annotations

import _ssl
import ctypes
from typing import Any


class KeyChanger:
    """The client's side of a TLS 1.3 connection in memory, with the OpenSSL that `ssl` is linked to."""

    def __init__(self) -> None:
        pointer, integer, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        self._library: Any = ctypes.CDLL(_ssl.__file__)
        functions: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "TLS_client_method": (pointer, ()),
            "SSL_CTX_new": (pointer, (pointer,)),
            "SSL_CTX_free": (None, (pointer,)),
            "SSL_new": (pointer, (pointer,)),
            "SSL_free": (None, (pointer,)),
            "SSL_set_connect_state": (None, (pointer,)),
            "SSL_set_bio": (None, (pointer, pointer, pointer)),
            "SSL_do_handshake": (integer, (pointer,)),
            "SSL_key_update": (integer, (pointer, integer)),
            "SSL_write": (integer, (pointer, size, integer)),
            "BIO_new": (pointer, (pointer,)),
            "BIO_s_mem": (pointer, ()),
            "BIO_write": (integer, (pointer, size, integer)),
            "BIO_read": (integer, (pointer, pointer, integer)),
        }
        for name, (result, arguments) in functions.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        library = self._library
        self._context = library.SSL_CTX_new(library.TLS_client_method())
        self._ssl = library.SSL_new(self._context)
        self._incoming, self._outgoing = (library.BIO_new(library.BIO_s_mem()) for _ in range(2))
        library.SSL_set_bio(self._ssl, self._incoming, self._outgoing)
        library.SSL_set_connect_state(self._ssl)

    def close(self) -> None:
        """Free what OpenSSL holds."""
        self._library.SSL_free(self._ssl)
        self._library.SSL_CTX_free(self._context)

    def shake_hands(self, said: bytes) -> tuple[bool, bytes]:
        """Go on with the handshake, after what the server said: whether it is done, and what to say."""
        if said:
            self._library.BIO_write(self._incoming, said, len(said))
        done = self._library.SSL_do_handshake(self._ssl) == 1
        return done, self._said()

    def changes(self, count: int) -> bytes:
        """So many changes of keys."""
        for _ in range(count):
            assert self._library.SSL_key_update(self._ssl, 0) == 1
            assert self._library.SSL_do_handshake(self._ssl) == 1
        return self._said()

    def data(self, data: bytes) -> bytes:
        """A record with data."""
        assert self._library.SSL_write(self._ssl, data, len(data)) == len(data)
        return self._said()

    def _said(self) -> bytes:
        buffer = ctypes.create_string_buffer(1 << 16)
        said = b""
        while (n := self._library.BIO_read(self._outgoing, buffer, len(buffer))) > 0:
            said += buffer.raw[:n]
        return said
