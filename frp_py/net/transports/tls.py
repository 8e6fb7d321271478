"""TLS of links (wire.md 1.2): contexts for both sides, and handshakes in trio's time."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import trio

from frp_py.errors import FrpError
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.net.transports import made_certificate

if TYPE_CHECKING:
    from frp_py.config.common import TlsFiles

_LINGER = 1.0  # s
_LINGER_BYTES = 1 << 20


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For the client port: the configured certificate or one made now; with a trusted CA, client certificates are demanded.

    Raises FrpError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if files.cert_file and files.key_file:
        _load_certificate(context, files)
    else:
        _use_generated_certificate(context)
    if files.trusted_ca_file:
        _trust(context, files.trusted_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return _common(context)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Towards the server, which is verified only with a trusted CA. Raises FrpError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files.cert_file and files.key_file:
        _load_certificate(context, files)
    if files.trusted_ca_file:
        _trust(context, files.trusted_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = True
    return _common(context)


def _common(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A connection that was cut without close_notify reads as finished; whether it was torn is seen below TLS, by RST or keep-alive.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _load_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    for path in (files.cert_file, files.key_file):
        _readable(path)
    try:
        context.load_cert_chain(files.cert_file, files.key_file, password=_no_password(files.key_file))
    except ssl.SSLError as error:
        raise FrpError(f"certificate {files.cert_file} with key {files.key_file} can't be used: {reason(error)}") from None


def _no_password(path: str) -> Callable[[], str]:
    def ask() -> str:
        raise FrpError(f"key {path} is encrypted; a key without a password is needed")

    return ask


def _trust(context: ssl.SSLContext, path: str) -> None:
    _readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        pass
    if not context.cert_store_stats()["x509"]:
        raise FrpError(f'failed to parse CA certificate from file "{path}": no valid PEM certificates found')


def _readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise FrpError(f"open {path}: {(error.strerror or str(error)).lower()}") from None


def digest(files: TlsFiles | None) -> str:
    """Changes when what these files contain does; empty when there are none."""
    paths = [] if files is None else [path for path in (files.cert_file, files.key_file, files.trusted_ca_file) if path]
    contents = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                contents.append(hashlib.sha256(file.read()).hexdigest())
        except OSError as error:
            contents.append(str(error))
    return " ".join(contents)


def _use_generated_certificate(context: ssl.SSLContext) -> None:
    """A self-signed certificate that lives as long as the process."""
    with _secret_file(made_certificate.take()) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def _secret_file(content: bytes) -> Iterator[str]:
    """OpenSSL takes a certificate from a file only; this one is ours alone, and in memory where the system can."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("certificate")
        try:
            os.write(fd, content)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
    else:
        from tempfile import NamedTemporaryFile

        with NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def wrap_server(context: ssl.SSLContext, sock: socket.socket) -> TlsSocket:
    """The TLS side of an accepted socket, before its handshake."""
    return TlsSocket(context, sock, server_side=True)


def wrap_client(context: ssl.SSLContext, sock: socket.socket, name: str) -> TlsSocket:
    """The TLS side of a connected socket, before its handshake; `name` is sent as SNI unless it is an address.

    Raises ValueError when it can't be a name; the socket is untouched then.
    """
    return TlsSocket(context, sock, server_side=False, server_hostname=_sni(name, context.check_hostname))


def _sni(name: str, verified: bool) -> str | None:
    if verified:
        return name
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name or None
    return None


async def handshake(sock: TlsSocket) -> None:
    """Do the handshake. Raises OSError (ssl.SSLError among them)."""
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        else:
            return


async def linger(sock: TlsSocket) -> None:
    """After a handshake that failed: wait a moment for the peer to end, so that it reads our alert instead of a reset."""
    with trio.move_on_after(_LINGER), contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        left = _LINGER_BYTES
        while left > 0:
            await trio.lowlevel.wait_readable(sock)
            received = len(socket.socket.recv(sock, 65536))
            if not received:
                return
            left -= received


def reason(error: OSError) -> str:
    """Why TLS failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"failed to verify certificate: {error.verify_message}"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "connection closed by the other side"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return (error.strerror or str(error) or type(error).__name__).lower()
