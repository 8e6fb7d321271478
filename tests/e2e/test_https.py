"""https through both programs: users told apart by SNI, their bytes untouched."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import subprocess
import time

import pytest
import trustme

from tests.support.ports import free_port
from tests.support.programs import HOST, Program, Service, World, connect, eventually, need, receive_all

UNRECOGNIZED_NAME = bytes.fromhex("15 0303 0002 02 70")


def tls_service(world: World, name: str) -> Service:
    """Echoes under TLS, with a certificate of its own for `name`, after it has said its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(name).configure_cert(context)

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(f"this is {name}\n".encode())
            while data := tls.recv(1 << 16):
                tls.sendall(data)

    return world.service(handle)


def https_proxy(name: str, port: int, domains: str, extra: str = "") -> str:
    return f'\n[[proxies]]\nname = "{name}"\ntype = "https"\nlocalPort = {port}\ncustomDomains = [{domains}]\n{extra}\n'


def hello_of(server_name: str | None, size: int = 0) -> bytes:
    """What a TLS client sends first; `size` bytes of ALPN make it longer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if size:
        context.set_alpn_protocols([f"{i:04}" + "x" * 246 for i in range(size // 251)])
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name).do_handshake()
    return out.read()


def greeting(port: int, server_name: str | None) -> str:
    """What the service behind `server_name` says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connect(port) as sock, context.wrap_socket(sock, server_hostname=server_name) as tls:
        line = tls.recv(100).decode()
        tls.sendall(b"ping")
        assert tls.recv(100) == b"ping"
        return line.strip()


def answer_to(port: int, *pieces: bytes) -> bytes:
    with connect(port) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.001)
        return sock.recv(1 << 16)


def start(world: World, server: str = "", client: str = "") -> tuple[Program, Program, int]:
    port = free_port()
    frps, server_port = world.frps(f"vhostHTTPSPort = {port}\nsubDomainHost = 'sub.example'\n{server}")
    one, wild, rest = (tls_service(world, name) for name in ("one.example", "wild.example", "rest.example"))
    frpc = world.frpc(
        server_port,
        client,
        https_proxy("one", one.port, '"one.example", "also.example"', 'subdomain = "deep"')
        + https_proxy("wild", wild.port, '"*.wild.example"', "transport.useEncryption = true\ntransport.useCompression = true")
        + https_proxy("rest", rest.port, '"*"'),
    )
    for name in ("one", "wild", "rest"):
        frpc.wait_for(f"[{name}] start proxy success")
    return frps, frpc, port


def test_users_get_where_their_sni_leads(world: World) -> None:
    frps, _, port = start(world)
    frps.wait_for(f"https service listen on {HOST}:{port}")
    frps.wait_for("https proxy listen for host [one.example] group []")
    for name, service in (
        ("one.example", "one"),
        ("ONE.Example", "one"),
        ("also.example", "one"),
        ("deep.sub.example", "one"),
        ("a.b.wild.example", "wild"),
        ("wild.example", "rest"),
        ("unknown", "rest"),
        (None, "rest"),
    ):
        assert greeting(port, name) == f"this is {service}.example", name
    frps.wait_for("[wild] get a user connection [127.0.0.1:")


def test_openssl_as_the_user(world: World) -> None:
    _, _, port = start(world)
    openssl = need("openssl")
    for options, expected in ((["-servername", "one.example"], "one.example"), (["-noservername"], "rest.example")):
        command = [openssl, "s_client", "-connect", f"{HOST}:{port}", "-quiet", *options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as user:
            assert user.stdin is not None
            assert user.stdout is not None
            assert user.stdout.readline() == f"this is {expected}\n".encode()
            user.stdin.write(b"hello\n")
            user.stdin.flush()
            assert user.stdout.readline() == b"hello\n"
            user.kill()


def test_a_hello_in_pieces_and_in_records_of_its_own(world: World) -> None:
    _, _, port = start(world)
    hello = hello_of("one.example")
    whole = answer_to(port, hello)
    assert whole[:1] == b"\x16"
    assert answer_to(port, *[hello[i : i + 7] for i in range(0, len(hello), 7)])[:1] == b"\x16"
    body = hello[5:]
    records = [b"\x16\x03\x01" + len(body[i : i + 60]).to_bytes(2, "big") + body[i : i + 60] for i in range(0, len(body), 60)]
    assert answer_to(port, *records)[:1] == b"\x16"
    assert answer_to(port, b"".join(records))[:1] == b"\x16"
    long = hello_of("one.example", 12_000)
    assert len(long) > 12_000
    assert answer_to(port, *[long[i : i + 1000] for i in range(0, len(long), 1000)])[:1] == b"\x16"


def test_unknown_names_get_an_alert_and_nonsense_gets_nothing(world: World) -> None:
    port = free_port()
    frps, server_port = world.frps(f"vhostHTTPSPort = {port}\n")
    service = tls_service(world, "one.example")
    frpc = world.frpc(server_port, "", https_proxy("one", service.port, '"one.example"'))
    frpc.wait_for("[one] start proxy success")
    for name in ("two.example", "one.example.com", None):
        with connect(port) as sock:
            sock.sendall(hello_of(name) + b"more that nobody reads" * 1000)
            assert receive_all(sock) == UNRECOGNIZED_NAME
    context = ssl.create_default_context()
    with connect(port) as sock, pytest.raises(ssl.SSLError, match=r"(?i)unrecognized[ _]name"):
        context.wrap_socket(sock, server_hostname="two.example")
    for nonsense in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        os.urandom(100) or b"",
        b"\x16" * 70_000,
    ):
        with connect(port) as sock:
            try:
                sock.sendall(nonsense)
                sock.shutdown(socket.SHUT_WR)
                assert receive_all(sock) == b""
            except OSError:
                pass  # reset, with what it hadn't read
    assert greeting(port, "one.example") == "this is one.example"
    assert service.connections == 1
    assert frps.runs


def test_registrations_that_are_refused(world: World) -> None:
    frps, server_port = world.frps(f"vhostHTTPSPort = {free_port()}\nsubDomainHost = 'sub.example'\n")
    frpc = world.frpc(server_port, "", https_proxy("a", 1, '"one.example"') + https_proxy("b", 1, '"two.example", "ONE.example"'))
    frpc.wait_for("[b] start error: router config conflict")
    more = world.frpc(
        server_port,
        "",
        https_proxy("c", 1, '"two.example"')  # b has given it back
        + https_proxy("d", 1, '"x.sub.example"')
        + https_proxy("e", 1, "", 'subdomain = "a.b"'),
    )
    more.wait_for("[c] start proxy success")
    more.wait_for("[d] start error: custom domain [x.sub.example] should not belong to subdomain host [sub.example]")
    more.wait_for("[e] start error: '.' and '*' are not supported in subdomain")
    other, other_port = world.frps()
    lone = world.frpc(other_port, "", https_proxy("f", 1, '"two.example"') + https_proxy("g", 1, "", 'subdomain = "s"'))
    lone.wait_for("[f] start error: type [https] not supported when vhost https port is not set")
    assert frps.runs
    assert other.runs


def test_the_port_of_clients_shared(world: World) -> None:
    port = free_port()
    frps, _ = world.frps(f"vhostHTTPSPort = {port}\n", port=port)
    service = tls_service(world, "one.example")
    frpc = world.frpc(port, "transport.tls.disableCustomTLSFirstByte = false\n", https_proxy("one", service.port, '"one.example"'))
    frpc.wait_for("[one] start proxy success")
    assert "https service listen" not in frps.output
    assert greeting(port, "one.example") == "this is one.example"
    hello = hello_of("one.example")
    assert answer_to(port, *[hello[i : i + 50] for i in range(0, len(hello), 50)])[:1] == b"\x16"
    assert answer_to(port, hello_of("two.example")) == UNRECOGNIZED_NAME
    frpc.stop()
    frps.wait_for("client exit success")
    assert answer_to(port, hello) == UNRECOGNIZED_NAME


def test_a_flood_of_nonsense_leaves_it_serving(world: World) -> None:
    """Hellos with bytes changed, cut short and run together, on both shared ports."""
    port, mux = free_port(), free_port()
    frps, server_port = world.frps(f"vhostHTTPSPort = {port}\ntcpmuxHTTPConnectPort = {mux}\n")
    service = tls_service(world, "one.example")
    frpc = world.frpc(
        server_port,
        "",
        https_proxy("one", service.port, '"one.example"')
        + '[[proxies]]\nname = "mux"\ntype = "tcpmux"\nmultiplexer = "httpconnect"\n'
        + f'localPort = {service.port}\ncustomDomains = ["one.example"]\n',
    )
    frpc.wait_for("[one] start proxy success")
    frpc.wait_for("[mux] start proxy success")
    rng = random.Random(3)
    seeds = {
        port: hello_of("one.example"),
        mux: b"CONNECT one.example:1 HTTP/1.1\r\nHost: one.example\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
    }
    before = frps.figures.descriptors
    until = time.monotonic() + 3
    open_ones: list[socket.socket] = []
    while time.monotonic() < until:
        for target, seed in seeds.items():
            data = bytearray(seed)
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if rng.random() < 0.3:
                data = data[: rng.randrange(len(data))]
            if rng.random() < 0.2:
                data += rng.randbytes(rng.randrange(3000))
            sock = connect(target)
            with contextlib.suppress(OSError):
                sock.sendall(data)
            open_ones.append(sock)
        if len(open_ones) > 50:
            for sock in open_ones:
                sock.close()
            open_ones.clear()
    for sock in open_ones:
        sock.close()
    assert greeting(port, "one.example") == "this is one.example"
    eventually(lambda: frps.figures.descriptors <= before, "nothing is left of them")
    frps.check_output()
    frpc.check_output()
