"""TLS between the programs: who is verified, and what both sides say when that fails (wire.md 1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.support.ports import free_port
from tests.support.programs import Program, World, exchange, proxy

FAILED = "login to the server failed: "
ALARM = "checkAndEnableTLSServerConnWithTimeout error: "


@dataclass
class Files:
    directory: Path

    def __post_init__(self) -> None:
        ca, other = trustme.CA(), trustme.CA()
        for name, authority in (("ca", ca), ("other-ca", other)):
            authority.cert_pem.write_to_path(str(self.directory / f"{name}.pem"))
        for name, certificate in (
            ("server", ca.issue_cert("frps.test", "127.0.0.1")),
            ("client", ca.issue_cert("client@frpc.test")),
            ("stranger", other.issue_cert("client@frpc.test")),
        ):
            certificate.private_key_pem.write_to_path(str(self.directory / f"{name}.key"))
            certificate.cert_chain_pems[0].write_to_path(str(self.directory / f"{name}.pem"))

    def own(self, name: str) -> str:
        return f'transport.tls.certFile = "{self.directory}/{name}.pem"\ntransport.tls.keyFile = "{self.directory}/{name}.key"\n'

    def trust(self, name: str = "ca") -> str:
        return f'transport.tls.trustedCaFile = "{self.directory}/{name}.pem"\n'


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def check_it_works(world: World, server: str, client: str) -> None:
    tunnel = world.tunnel(world.service().port, server=server, client=client)
    assert exchange(tunnel.port, b"hello") == b"hello"


def reasons(world: World, server: str, client: str) -> tuple[str, str]:
    """What the client ends with, and what the server logs."""
    frps, port = world.frps(server)
    frpc = world.frpc(port, client)
    assert frpc.wait(15) == 1
    return failure(frpc), frps.wait_for("error: ", deadline=3)


def failure(frpc: Program) -> str:
    """What a client says last that could not log in."""
    last = next(line for line in frpc.output.splitlines() if FAILED in line)
    assert last.startswith(FAILED)
    return last.removeprefix(FAILED)


FIRST_BYTE = "transport.tls.disableCustomTLSFirstByte = false\n"
PLAIN = "transport.tls.enable = false\n"
NO_MUX = "transport.tcpMux = false\n"


@pytest.mark.parametrize("client", ["", FIRST_BYTE, PLAIN], ids=["tls", "first byte", "plain"])
@pytest.mark.parametrize("mux", ["", NO_MUX], ids=["mux", "nomux"])
def test_whatever_the_client_chooses(world: World, client: str, mux: str) -> None:
    check_it_works(world, mux, mux + client)


@pytest.mark.parametrize("client", ["", FIRST_BYTE], ids=["tls", "first byte"])
def test_a_server_that_insists_on_tls(world: World, client: str) -> None:
    check_it_works(world, "transport.tls.force = true\n", client)


@pytest.mark.parametrize("mux", ["", NO_MUX], ids=["mux", "nomux"])
def test_a_client_without_tls_at_a_server_that_insists_on_it(world: World, mux: str) -> None:
    client, server = reasons(world, "transport.tls.force = true\n" + mux, PLAIN + mux)
    assert "closed the connection" in client or "connection closed by the other side" in client or "reset" in client
    assert ALARM + "non-TLS connection received on a TlsOnly server" in server


def test_the_server_is_verified(world: World, files: Files) -> None:
    check_it_works(world, files.own("server"), files.trust() + 'transport.tls.serverName = "frps.test"\n')


def test_the_server_is_verified_by_its_address(world: World, files: Files) -> None:
    check_it_works(world, files.own("server"), files.trust())


def test_the_server_s_certificate_is_of_another_authority(world: World, files: Files) -> None:
    client, server = reasons(world, files.own("server"), files.trust("other-ca"))
    assert client.startswith("tls: failed to verify certificate: ")
    assert "unknown ca" in server or "bad certificate" in server


def test_the_server_has_the_certificate_it_made_itself(world: World, files: Files) -> None:
    client, server = reasons(world, "", files.trust())
    assert client.startswith("tls: failed to verify certificate: self-signed certificate")
    assert "unknown ca" in server


def test_the_server_has_another_name(world: World, files: Files) -> None:
    client, server = reasons(world, files.own("server"), files.trust() + 'transport.tls.serverName = "other.test"\n')
    assert client.startswith("tls: failed to verify certificate: ")
    assert "other.test" in client
    assert "bad certificate" in server


@pytest.mark.parametrize("mux", ["", NO_MUX], ids=["mux", "nomux"])
def test_both_are_verified(world: World, files: Files, mux: str) -> None:
    check_it_works(world, files.own("server") + files.trust() + mux, files.own("client") + files.trust() + mux)


@pytest.mark.parametrize("mux", ["", NO_MUX], ids=["mux", "nomux"])
def test_a_client_without_the_certificate_that_the_server_wants(world: World, files: Files, mux: str) -> None:
    client, server = reasons(world, files.own("server") + files.trust() + mux, files.trust() + mux)
    assert "certificate required" in client
    assert "peer did not return a certificate" in server


def test_a_client_with_a_certificate_of_another_authority(world: World, files: Files) -> None:
    client, server = reasons(world, files.own("server") + files.trust(), files.own("stranger") + files.trust())
    assert "unknown ca" in client
    assert "failed to verify certificate" in server


def test_a_client_without_tls_where_certificates_are_wanted(world: World, files: Files) -> None:
    _, server = reasons(world, files.own("server") + files.trust(), PLAIN)
    assert "TlsOnly server" in server


def test_a_ca_file_without_a_certificate(world: World, files: Files) -> None:
    empty = world.directory / "empty.pem"
    empty.write_text("nothing\n")
    text = f'failed to parse CA certificate from file "{empty}": no valid PEM certificates found'
    option = f'transport.tls.trustedCaFile = "{empty}"\n'
    frps = world.start("server", f"bindPort = {free_port()}\nlog.disablePrintColor = true\n{option}")
    assert frps.wait() == 1
    assert frps.output.splitlines()[-1] == text
    _, port = world.frps()
    frpc = world.frpc(port, option)
    assert frpc.wait() == 1
    assert failure(frpc).startswith(text)


def test_files_that_are_not_there(world: World) -> None:
    option = 'transport.tls.certFile = "/no/cert.pem"\ntransport.tls.keyFile = "/no/key.pem"\n'
    frps = world.start("server", f"bindPort = {free_port()}\nlog.disablePrintColor = true\n{option}")
    assert frps.wait() == 1
    assert frps.output.splitlines()[-1] == "open /no/cert.pem: no such file or directory"


def test_a_renewed_certificate_is_used_by_the_next_login(world: World, files: Files) -> None:
    """The client reads its files for each login; so a client that waits can be mended without a restart."""
    frps, port = world.frps(files.own("server") + files.trust())
    remote = free_port()
    client = files.own("mine") + files.trust() + "loginFailExit = false\n"
    for kind in ("pem", "key"):
        (files.directory / f"mine.{kind}").write_bytes((files.directory / f"stranger.{kind}").read_bytes())
    frpc = world.frpc(port, client, proxy("it", world.service().port, remote))
    frpc.wait_for("connect to server error: ")
    for kind in ("pem", "key"):
        (files.directory / f"mine.{kind}").write_bytes((files.directory / f"client.{kind}").read_bytes())
    frpc.wait_for("start proxy success", deadline=5)
    assert exchange(remote, b"hello") == b"hello"
    assert frps.runs
