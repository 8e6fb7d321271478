"""A real sshd behind the tunnel."""

from __future__ import annotations

import hashlib
import os
import pwd
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.ports import free_port
from tests.support.programs import HOST, World, connect, eventually, need, receive_exactly, wait_until_free

CROWD = 500


class SshServer:
    """sshd as the user who runs the tests, with keys made for them."""

    def __init__(self, directory: Path) -> None:
        sshd, keygen = need("sshd"), need("ssh-keygen")
        self.directory = directory
        self.port = free_port()
        for key in ("host", "user"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
        shutil.copy(directory / "user.pub", directory / "authorized")
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)  # where sshd, started by root, puts those who haven't logged in
        config = directory / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress {HOST}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n"
            f"PidFile {directory}/sshd.pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nUseDNS no\n"
            f"MaxStartups {2 * CROWD}:100:{2 * CROWD}\nMaxSessions 100\nLoginGraceTime 120\nSubsystem sftp internal-sftp\n"
        )
        self.process = subprocess.Popen([sshd, "-D", "-e", "-f", config], stderr=(directory / "sshd.log").open("wb"))
        eventually(self._answers, "sshd answers")
        self.host_key = Ed25519PublicKey.from_public_bytes(self.host_blob[-32:])

    @property
    def host_blob(self) -> bytes:
        """The host's public key, as it goes over the wire."""
        from base64 import b64decode

        return b64decode((self.directory / "host.pub").read_text().split()[1])

    def _answers(self) -> bool:
        try:
            with connect(self.port, 1) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return False

    def options(self, port: int, flag: str) -> list[str]:
        user = self.directory / "user"
        options = ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR", "BatchMode=yes", "IdentitiesOnly=yes")
        return ["-F", "/dev/null", flag, str(port), "-i", str(user), *(part for option in options for part in ("-o", option))]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


USER = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    server = SshServer(tmp_path)
    yield server
    server.close()


def ssh(sshd: SshServer, port: int, command: str, data: bytes = b"") -> bytes:
    done = subprocess.run(
        [need("ssh"), *sshd.options(port, "-p"), f"{USER}@{HOST}", command], input=data, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(
    ("common", "extra"),
    [("", ""), ("transport.tcpMux = false\n", ""), ("", "transport.useEncryption = true\ntransport.useCompression = true\n")],
    ids=["mux", "nomux", "changed"],
)
def test_commands(world: World, sshd: SshServer, common: str, extra: str) -> None:
    tunnel = world.tunnel(sshd.port, server=common, client=common, proxy_extra=extra)
    assert ssh(sshd, tunnel.port, "echo hello from here") == b"hello from here\n"
    data = random.Random(3).randbytes(3_000_000)
    assert ssh(sshd, tunnel.port, "cat", data) == data


@pytest.mark.slow
def test_scp_of_a_gigabyte(world: World, sshd: SshServer) -> None:
    tunnel = world.tunnel(sshd.port)
    source, copy = world.directory / "source", world.directory / "copy"
    block = bytearray(random.Random(4).randbytes(1 << 20))
    digest = hashlib.sha256()
    with source.open("wb") as file:
        for number in range(1024):
            block[:8] = struct.pack(">Q", number)
            digest.update(block)
            file.write(block)
    try:
        began = time.monotonic()
        fast = ("-o", "Ciphers=aes128-gcm@openssh.com")
        command = [need("scp"), *sshd.options(tunnel.port, "-P"), *fast, str(source), f"{USER}@{HOST}:{copy}"]
        subprocess.run(command, check=True, timeout=120)
        took = time.monotonic() - began
        with copy.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
        figures = tunnel.server.figures, tunnel.client.figures
        print(f"scp of 1 GiB: {took:.1f} s; frps {figures[0].rss:.0f} MB, frpc {figures[1].rss:.0f} MB")
        assert max(figure.rss for figure in figures) < 150
    finally:
        source.unlink()
        copy.unlink(missing_ok=True)


def text(data: bytes) -> bytes:
    """A string of the ssh protocol (RFC 4251 5)."""
    return struct.pack(">I", len(data)) + data


class Handshake:
    """Version exchange, key exchange and the host's proof of who it is (RFC 4253 4.2 and 7, RFC 8731), as a client."""

    OURS = b"SSH-2.0-handshake"

    def __init__(self, port: int) -> None:
        self.sock = connect(port, 60)
        self._secret = X25519PrivateKey.generate()
        self._public = self._secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        lists = (b"curve25519-sha256", b"ssh-ed25519", *(b"aes128-ctr",) * 2, *(b"hmac-sha2-256",) * 2, *(b"none",) * 2, b"", b"")
        self._offer = b"\x14" + os.urandom(16) + b"".join(map(text, lists)) + bytes(5)

    def begin(self) -> None:
        self.sock.sendall(self.OURS + b"\r\n" + self._packet(self._offer) + self._packet(b"\x1e" + text(self._public)))

    def finish(self, host_key: Ed25519PublicKey, host_blob: bytes) -> None:
        theirs = bytearray()
        while not theirs.endswith(b"\r\n"):
            theirs += receive_exactly(self.sock, 1)
        offer = self._receive()
        reply = self._receive()
        assert (offer[0], reply[0]) == (20, 31)
        parts, at = [], 1
        for _ in range(3):
            (size,) = struct.unpack_from(">I", reply, at)
            parts.append(reply[at + 4 : at + 4 + size])
            at += 4 + size
        blob, public, signature = parts
        assert blob == host_blob
        shared = int.from_bytes(self._secret.exchange(X25519PublicKey.from_public_bytes(public)), "big")
        number = text(shared.to_bytes(shared.bit_length() // 8 + 1, "big"))
        hashed = (self.OURS, bytes(theirs[:-2]), self._offer, offer, blob, self._public, public)
        host_key.verify(signature[-64:], hashlib.sha256(b"".join(map(text, hashed)) + number).digest())

    def _packet(self, payload: bytes) -> bytes:
        padding = 8 - (len(payload) + 5) % 8
        padding += 8 if padding < 4 else 0
        return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)

    def _receive(self) -> bytes:
        size, padding = struct.unpack(">IB", receive_exactly(self.sock, 5))
        return receive_exactly(self.sock, size - 1)[: size - 1 - padding]


@pytest.mark.slow
def test_five_hundred_handshakes_at_the_same_time(world: World, sshd: SshServer) -> None:
    """All connections are open before the first one goes on, and stay open until the last one has seen the host's proof."""
    tunnel = world.tunnel(sshd.port)
    before = tunnel.server.figures.descriptors, tunnel.client.figures.descriptors
    began = time.monotonic()
    crowd = [Handshake(tunnel.port) for _ in range(CROWD)]
    for each in crowd:
        each.begin()
    for each in crowd:
        each.finish(sshd.host_key, sshd.host_blob)
    took = time.monotonic() - began
    assert tunnel.server.figures.descriptors >= before[0] + CROWD
    for each in crowd:
        each.sock.close()
    print(f"{CROWD} ssh handshakes: {took:.1f} s")
    for program, level in zip((tunnel.server, tunnel.client), before, strict=True):
        eventually(lambda program=program, level=level: program.figures.descriptors <= level + 2, "descriptors are closed")  # type: ignore[misc]


@pytest.mark.slow
def test_many_whole_sessions_side_by_side(world: World, sshd: SshServer) -> None:
    tunnel = world.tunnel(sshd.port)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: ssh(sshd, tunnel.port, f"echo {number}"), range(60)))
    assert answers == [f"{number}\n".encode() for number in range(60)]


def test_the_service_is_cut_off_with_its_user(world: World, sshd: SshServer) -> None:
    tunnel = world.tunnel(sshd.port)
    session = subprocess.Popen(
        [need("ssh"), *sshd.options(tunnel.port, "-p"), f"{USER}@{HOST}", "echo here; exec sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert session.stdout is not None
    assert session.stdout.readline() == b"here\n"
    tunnel.client.kill()
    assert session.wait(5) == 255
    session.stdout.close()
    wait_until_free(tunnel.port)
