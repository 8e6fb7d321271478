"""TLS of links: what is verified on which side, and what is said when it fails."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest
import trio
import trustme

from frp_py.config.common import TlsFiles
from frp_py.errors import FrpError
from frp_py.net.engine.tls_socket import TlsSocket
from frp_py.net.transports import tls
from tests.support.net import descriptors, tcp_pair


class Authority:
    """A certificate authority with its files."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.ca = trustme.CA()
        self.trusted = str(path / f"{name}-ca.pem")
        self.ca.cert_pem.write_to_path(self.trusted)

    def files(self, host: str, *, trusts: Authority | None = None) -> TlsFiles:
        cert = self.ca.issue_cert(host)
        key_file, cert_file = (str(self.path / f"{self.name}-{host}.{kind}") for kind in ("key", "crt"))
        cert.private_key_pem.write_to_path(key_file)
        cert.cert_chain_pems[0].write_to_path(cert_file)
        return TlsFiles(cert_file=cert_file, key_file=key_file, trusted_ca_file=trusts.trusted if trusts else "")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "other")


async def meet(client: TlsFiles, server: TlsFiles, name: str = "frps.test") -> tuple[TlsSocket | str, TlsSocket | str]:
    """Handshake; for each side its socket, or why it failed."""
    a, b = tcp_pair()
    outcome: dict[str, TlsSocket | str] = {}

    async def side(who: str, sock: TlsSocket) -> None:
        try:
            await tls.handshake(sock)
            if who == "client":  # a client's certificate is looked at after its handshake
                try:
                    while not sock.recv(1):
                        break
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(sock)
                    try:
                        sock.recv(1)
                    except BlockingIOError:
                        pass
            outcome[who] = sock
        except OSError as error:
            outcome[who] = tls.reason(error)
            sock.close()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side, "client", tls.wrap_client(tls.client_context(client), a, name))
            nursery.start_soon(side, "server", tls.wrap_server(tls.server_context(server), b))
    return outcome["client"], outcome["server"]


def done(*outcome: TlsSocket | str) -> None:
    for each in outcome:
        assert isinstance(each, TlsSocket), each
        assert each.version() in ("TLSv1.2", "TLSv1.3")
        each.close()


async def test_without_files_a_certificate_is_made_and_nobody_verifies() -> None:
    done(*await meet(TlsFiles(), TlsFiles()))
    done(*await meet(TlsFiles(), TlsFiles(), name="127.0.0.1"))
    done(*await meet(TlsFiles(), TlsFiles(), name=""))


async def test_a_client_that_trusts_an_authority_verifies_certificate_and_name(ours: Authority, other: Authority) -> None:
    trusting = TlsFiles(trusted_ca_file=ours.trusted)
    done(*await meet(trusting, ours.files("frps.test")))
    done(*await meet(trusting, ours.files("127.0.0.1"), name="127.0.0.1"))
    client, _ = await meet(trusting, other.files("frps.test"))
    assert client == "failed to verify certificate: unable to get local issuer certificate"
    client, _ = await meet(trusting, ours.files("frps.test"), name="elsewhere.test")
    assert isinstance(client, str)
    assert client.startswith("failed to verify certificate: hostname mismatch") or "Hostname mismatch" in client
    client, _ = await meet(trusting, TlsFiles())
    assert isinstance(client, str)
    assert client.startswith("failed to verify certificate")


async def test_a_server_that_trusts_an_authority_demands_a_certificate(ours: Authority, other: Authority) -> None:
    server = ours.files("frps.test", trusts=ours)
    done(*await meet(ours.files("frpc.test", trusts=ours), server))
    _, refused = await meet(TlsFiles(trusted_ca_file=ours.trusted), server)
    assert refused == "peer did not return a certificate"
    _, refused = await meet(other.files("frpc.test"), server)
    assert isinstance(refused, str)
    assert refused.startswith("failed to verify certificate")


async def test_old_versions_are_refused() -> None:
    a, b = tcp_pair()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    client = old.wrap_socket(a, do_handshake_on_connect=False)
    server = tls.wrap_server(tls.server_context(TlsFiles()), b)
    with pytest.raises(OSError):  # noqa: PT012
        client.do_handshake()
        await tls.handshake(server)
    client.close()
    server.close()


def test_files_that_cannot_be_used_are_named(ours: Authority, tmp_path: Path) -> None:
    files = ours.files("frps.test")
    missing = str(tmp_path / "missing.pem")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    foreign = ours.files("frpc.test")
    for cert, key, text in (
        (missing, files.key_file, f"open {missing}: no such file or directory"),
        (files.cert_file, missing, f"open {missing}: no such file or directory"),
        (str(garbage), files.key_file, "can't be used"),
        (files.cert_file, foreign.key_file, "key values mismatch"),
    ):
        for context in (tls.server_context, tls.client_context):
            with pytest.raises(FrpError) as caught:
                context(TlsFiles(cert_file=cert, key_file=key))
            assert text in str(caught.value)
    with pytest.raises(FrpError, match="failed to parse CA certificate from file"):
        tls.client_context(TlsFiles(trusted_ca_file=str(garbage)))
    with pytest.raises(FrpError, match="no such file"):
        tls.server_context(TlsFiles(trusted_ca_file=missing))


def test_a_digest_changes_with_what_is_in_the_files(tmp_path: Path) -> None:
    cert, key = tmp_path / "crt", tmp_path / "key"
    files = TlsFiles(cert_file=str(cert), key_file=str(key))
    assert tls.digest(None) == tls.digest(TlsFiles(server_name="x")) == ""
    seen = [tls.digest(files)]
    for path, text in ((cert, "a"), (key, "b"), (cert, "c"), (key, "d")):
        path.write_text(text)
        seen.append(tls.digest(files))
        assert tls.digest(files) == seen[-1]
    assert len(set(seen)) == 5


def test_a_key_with_a_password_is_refused_without_asking(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    cert = trustme.CA().issue_cert("frps.test")
    key = load_pem_private_key(cert.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    (tmp_path / "key").write_bytes(locked)
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "crt"))
    with pytest.raises(FrpError, match="is encrypted"):
        tls.server_context(TlsFiles(cert_file=str(tmp_path / "crt"), key_file=str(tmp_path / "key")))


def test_a_certificate_that_is_made_leaves_no_file_open() -> None:
    tls.server_context(TlsFiles())
    before = descriptors()
    tls.server_context(TlsFiles())
    assert descriptors() == before


def test_where_there_are_no_files_in_memory_the_key_is_the_users_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with tls._secret_file(b"secret") as path:
        assert Path(path).read_bytes() == b"secret"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not os.path.exists(path)


def test_reasons_are_for_people() -> None:
    assert tls.reason(ConnectionResetError(104, "Connection reset by peer")) == "connection reset by peer"
    assert tls.reason(OSError()) == "oserror"
    for gone in (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        assert tls.reason(gone(8, "EOF occurred in violation of protocol (_ssl.c:1)")) == "connection closed by the other side"
