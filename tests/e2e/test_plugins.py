"""Client plugins with real programs: curl, nginx, openssl, a websocket library."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect as connect_websocket
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from tests.support import programs
from tests.support.ports import free_port
from tests.support.programs import HOST, World, connect, eventually, need, receive_all, receive_exactly, reset

BIG = os.urandom(1 << 20) * 20
TEXT = b"all work and no play\n" * 2000

NAMES = (
    *("static", "guarded", "hproxy", "hopen", "socks", "sopen", "unix", "h1", "h1s", "hs", "hss", "hs1"),
    *("raw", "sse", "torn", "liar", "dead", "ws", "wss", "up", "ups", "nginx", "nginxs"),
)


def proxy(name: str, port: int, plugin: str, extra: str = "") -> str:
    return f'\n[[proxies]]\nname = "{name}"\ntype = "tcp"\nremotePort = {port}\n{extra}\n[proxies.plugin]\n{plugin}\n'


def mirror(connection: socket.socket) -> None:
    """Answers each request with the head it came with."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = connection.recv(1 << 16)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        head += b"\r\n\r\n"
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nX-Backend: mirror\r\nKeep-Alive: timeout=5\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head)
        )


def slow(connection: socket.socket) -> None:
    """An answer that comes in pieces, the last one never."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"data: tick\n\n")
            time.sleep(0.05)


def torn(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")


def liar(connection: socket.socket) -> None:
    """Keeps the connection open for another request, and closes it when that comes."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    connection.recv(1 << 16)


def uploads(connection: socket.socket) -> None:
    """Answers an upload with the hash of what came, and says whether it was asked to go on."""
    file = connection.makefile("rb")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = file.readline()
        if not line:
            return
        head += line
    digest = hashlib.sha256()
    if b"chunked" in head.lower():
        while size := int(file.readline() or b"0", 16):
            digest.update(file.read(size))
            file.readline()
        file.readline()
    else:
        length = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        digest.update(file.read(length))
    body = digest.hexdigest().encode() + (b" 100" if b"expect" in head.lower() else b"")
    connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def unix_echo(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(100)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            programs.echo(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener


def different_ports(n: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < n:
        ports.add(free_port())
    return list(ports)


class Plugins:
    """Both programs, with a proxy for each plugin, and what is behind them."""

    def __init__(self, world: World) -> None:
        self.world = world
        directory = world.directory
        self.www = directory / "www"
        (self.www / "sub dir").mkdir(parents=True)
        (self.www / "indexed").mkdir()
        (self.www / "indexed/index.html").write_text("<h1>index</h1>")
        (self.www / "big.bin").write_bytes(BIG)
        (self.www / "text.txt").write_bytes(TEXT)
        (self.www / "<odd> & name.html").write_text("odd")
        (directory / "secret").write_text("secret")
        (self.www / "out").symlink_to(directory / "secret")
        (self.www / "outdir").symlink_to(directory)
        (self.www / "in").symlink_to("text.txt")
        (self.www / "pipe.txt").unlink(missing_ok=True)
        os.mkfifo(self.www / "pipe.txt")
        authority = trustme.CA()
        certificate = authority.issue_cert("h.example", "other.example", HOST)
        self.crt, self.key, self.ca = directory / "crt.pem", directory / "key.pem", directory / "ca.pem"
        self.crt.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        self.key.write_bytes(certificate.private_key_pem.bytes())
        authority.cert_pem.write_to_path(str(self.ca))
        self.mirror, self.slow, self.torn = world.service(mirror), world.service(slow), world.service(torn)
        self.liar = world.service(liar)
        self.uploads, self.echo = world.service(uploads), world.service()
        ports = different_ports(len(NAMES) + 6)
        self.nginx, self.nginx_tls, self.websocket, self.dead, bad, worse = ports[len(NAMES) :]
        self.unix = unix_echo(directory / "app.sock")
        self.ports = dict(zip(NAMES, ports, strict=False))
        self.frps, server_port = world.frps()
        p, own = self.ports, f'crtPath = "{self.crt}"\nkeyPath = "{self.key}"'
        changed = "transport.useEncryption = true\ntransport.useCompression = true"
        headers = 'hostHeaderRewrite = "inside.example"\nrequestHeaders.set.X-Set = "yes"'

        def forward(kind: str, port: int, more: str = "") -> str:
            return f'type = "{kind}"\nlocalAddr = "{HOST}:{port}"\n{more}'

        self.frpc = world.frpc(
            server_port,
            "",
            proxy("static", p["static"], f'type = "static_file"\nlocalPath = "{self.www}"')
            + proxy(
                "guarded",
                p["guarded"],
                f'type = "static_file"\nlocalPath = "{self.www}"\nstripPrefix = "files"\nhttpUser = "u"\nhttpPassword = "p"',
                changed,
            )
            + proxy("hproxy", p["hproxy"], 'type = "http_proxy"\nhttpUser = "u"\nhttpPassword = "p"', changed)
            + proxy("hopen", p["hopen"], 'type = "http_proxy"')
            + proxy("socks", p["socks"], 'type = "socks5"\nusername = "u"\npassword = "p"', changed)
            + proxy("sopen", p["sopen"], 'type = "socks5"')
            + proxy(
                "unix",
                p["unix"],
                f'type = "unix_domain_socket"\nunixPath = "{directory}/app.sock"',
                'transport.proxyProtocolVersion = "v1"',
            )
            + proxy("h1", p["h1"], forward("http2http", self.mirror.port, headers))
            + proxy("h1s", p["h1s"], forward("http2https", self.nginx_tls))
            + proxy("hs", p["hs"], forward("https2http", self.mirror.port, own))
            + proxy("hss", p["hss"], forward("https2https", self.nginx_tls, own), changed)
            + proxy("hs1", p["hs1"], forward("https2http", self.mirror.port, "enableHTTP2 = false"))
            + proxy("raw", p["raw"], forward("tls2raw", self.echo.port), 'transport.proxyProtocolVersion = "v2"')
            + proxy("sse", p["sse"], forward("http2http", self.slow.port))
            + proxy("torn", p["torn"], forward("http2http", self.torn.port))
            + proxy("liar", p["liar"], forward("http2http", self.liar.port))
            + proxy("dead", p["dead"], forward("http2http", self.dead))
            + proxy("ws", p["ws"], forward("http2http", self.websocket))
            + proxy("wss", p["wss"], forward("https2http", self.websocket, own), changed)
            + proxy("up", p["up"], forward("http2http", self.uploads.port))
            + proxy("ups", p["ups"], forward("https2http", self.uploads.port, own))
            + proxy("nginx", p["nginx"], forward("http2http", self.nginx))
            + proxy("nginxs", p["nginxs"], forward("https2http", self.nginx, own))
            + proxy("bad", bad, f'type = "tls2raw"\nlocalAddr = "{HOST}:1"\ncrtPath = "/nowhere.crt"\nkeyPath = "/nowhere.key"')
            + proxy("worse", worse, 'type = "https2http"\nlocalAddr = "no-port:x"'),
        )
        for name in NAMES:
            self.frpc.wait_for(f"[{name}] start proxy success")

    def url(self, name: str, path: str = "/", *, scheme: str = "http", host: str = HOST) -> str:
        return f"{scheme}://{host}:{self.ports[name]}{path}"


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugins]:
    nginx, directory = need("nginx"), tmp_path_factory.mktemp("plugins")
    need("curl")
    with programs.world(directory) as world:
        it = Plugins(world)
        directory.chmod(0o755)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
        (directory / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;\n"
            f"events {{ worker_connections 500; }}\nhttp {{ access_log off; {paths} root {it.www};\n"
            f"server {{ listen {HOST}:{it.nginx}; listen {HOST}:{it.nginx_tls} ssl;\n"
            f"ssl_certificate {it.crt}; ssl_certificate_key {it.key};\n"
            'location = /saw { return 200 "$host|$http_x_forwarded_for|$http_x_forwarded_host|'
            '$http_x_forwarded_proto|$ssl_server_name"; }\n'
            "}}\n"
        )
        process = subprocess.Popen([nginx, "-c", directory / "nginx.conf", "-p", directory, "-e", directory / "nginx.err"])

        def chat(connection: ServerConnection) -> None:
            for message in connection:
                connection.send(message)

        server = serve_websocket(chat, HOST, it.websocket, max_size=None)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            eventually(lambda: answers(it.nginx), "nginx answers")
            yield it
        finally:
            server.shutdown()
            process.terminate()
            process.wait(10)
            it.unix.close()


def answers(port: int) -> bool:
    try:
        connect(port, 1).close()
    except OSError:
        return False
    return True


def curl(*arguments: object, code: int | tuple[int, ...] = 0) -> tuple[int, str, bytes]:
    """Status, head and body of the last response."""
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    command = ["curl", "-q", "-sS", "-i", "-m", "20", "--suppress-connect-headers", "--path-as-is", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode in ((code,) if isinstance(code, int) else code), done.stderr.decode()
    rest = done.stdout
    while True:
        head, _, rest = rest.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1]) if head else 0
        if status >= 200 or not head:
            return status, head.decode("latin-1").lower(), rest


def raw(port: int, data: bytes, *, until_end: bool = True) -> bytes:
    with connect(port) as sock:
        sock.sendall(data)
        return receive_all(sock) if until_end else sock.recv(1 << 16)


# bad options


def test_bad_options_are_start_errors(it: Plugins) -> None:
    assert "open /nowhere.crt: no such file or directory" in it.frpc.wait_for("[bad] start error:")
    assert "address no-port:x: invalid port" in it.frpc.wait_for("[worse] start error:")
    eventually(lambda: "close proxy [bad] success" in it.frps.output, "the server hears of it")


# static_file


def test_files_and_listings(it: Plugins) -> None:
    status, head, body = curl(it.url("static", "/text.txt"))
    assert (status, body) == (200, TEXT)
    assert "content-type: text/plain; charset=utf-8" in head
    assert "accept-ranges: bytes" in head
    status, head, body = curl(it.url("static", "/"))
    assert status == 200
    assert b'<a href="%3Codd%3E%20%26%20name.html">&lt;odd&gt; &amp; name.html</a>' in body
    assert b'<a href="sub%20dir/">sub dir/</a>' in body
    assert b">out<" not in body  # it leads out
    assert body.index(b"big.bin") < body.index(b"text.txt")
    assert curl(it.url("static", "/indexed/"))[2] == b"<h1>index</h1>"
    assert "location: sub%20dir/?a=b" in curl(it.url("static", "/sub%20dir?a=b"))[1]
    assert "location: ./" in curl(it.url("static", "/indexed/index.html"))[1]
    assert curl(it.url("static", "/in"))[2] == TEXT


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/sub%20dir/../../secret", "//../secret", "/out", "/outdir/secret", "/outdir/"),
        *("/%00", "/text.txt%00.html", "/pipe.txt", "/nothing", "/text.txt/", "/....//secret", "/%2fetc/passwd", "/./../secret"),
    ],
)
def test_nothing_leads_out_of_the_folder(it: Plugins, path: str) -> None:
    status, _, body = curl(it.url("static", path))
    assert status == 404
    assert b"secret" not in body.lower()


def test_only_get_below_the_prefix_with_the_password(it: Plugins) -> None:
    assert curl(it.url("guarded", "/text.txt"))[0] == 404
    assert curl(it.url("guarded", "/files"))[0] == 404
    began = time.monotonic()
    status, head, _ = curl(it.url("guarded", "/files/text.txt"))
    assert status == 401
    assert 'www-authenticate: basic realm="restricted"' in head
    assert time.monotonic() - began >= 0.2
    assert curl("-u", "u:x", it.url("guarded", "/files/text.txt"))[0] == 401
    assert curl("-u", "u:p", it.url("guarded", "/files/text.txt"))[2] == TEXT
    assert curl("-u", "u:p", "-d", "x", it.url("guarded", "/files/text.txt"))[0] == 405
    assert curl("-I", it.url("static", "/text.txt"))[0] == 405


def test_ranges_conditions_and_gzip(it: Plugins) -> None:
    url = it.url("static", "/big.bin")
    status, head, body = curl("-r", "100-199", url)
    assert (status, body) == (206, BIG[100:200])
    assert f"content-range: bytes 100-199/{len(BIG)}" in head
    assert curl("-r", "-10", url)[2] == BIG[-10:]
    status, head, body = curl("-r", "0-1,5-6", url)
    assert status == 206
    assert body.count(b"Content-Range: bytes") == 2
    assert BIG[5:7] in body
    status, head, _ = curl("-r", f"{len(BIG)}-", url)
    assert status == 416
    assert f"content-range: bytes */{len(BIG)}" in head
    _, head, _ = curl(it.url("static", "/text.txt"))
    tag = next(line.partition(": ")[2] for line in head.splitlines() if line.startswith("etag"))
    assert curl("-H", f"If-None-Match: {tag}", it.url("static", "/text.txt"))[0] == 304
    assert curl("-H", 'If-None-Match: "other"', it.url("static", "/text.txt"))[0] == 200
    assert curl("-H", "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT", it.url("static", "/text.txt"))[0] == 304
    status, head, body = curl("-H", "Accept-Encoding: gzip", it.url("static", "/text.txt"))
    assert "content-encoding: gzip" in head
    assert gzip.decompress(body) == TEXT


def test_a_big_file_arrives_whole_plain_packed_and_changed(it: Plugins) -> None:
    want = hashlib.sha256(BIG).digest()
    assert hashlib.sha256(curl(it.url("static", "/big.bin"))[2]).digest() == want
    assert hashlib.sha256(curl("-u", "u:p", it.url("guarded", "/files/big.bin"))[2]).digest() == want
    assert hashlib.sha256(curl("--compressed", it.url("static", "/big.bin"))[2]).digest() == want


# http_proxy


def test_a_forward_proxy(it: Plugins) -> None:
    target = f"http://{HOST}:{it.mirror.port}"
    via = f"http://u:p@{HOST}:{it.ports['hproxy']}"
    status, head, body = curl(
        "-x", via, "-H", "Upgrade: x", "-H", "TE: trailers", "-H", "Connection: X-Hop, Upgrade", "-H", "X-Hop: 1", target
    )
    assert status == 200
    assert "x-backend: mirror" in head
    assert "keep-alive" not in head
    assert body.startswith(b"GET / HTTP/1.1\r\nHost: ")
    for name in (b"proxy-", b"upgrade", b"te:", b"connection", b"x-hop"):
        assert name not in body.lower()
    assert curl("-x", via, "-p", target + "/tunnelled")[2].startswith(b"GET /tunnelled HTTP/1.1\r\n")
    status, head, body = curl("-x", f"http://u:x@{HOST}:{it.ports['hproxy']}", target)
    assert (status, body) == (407, b"")
    assert "proxy-authenticate: basic" in head
    status, head, body = curl("-x", f"http://{HOST}:{it.ports['hopen']}", f"http://{HOST}:{it.dead}")
    assert status == 500
    assert b"connection refused" in body
    assert curl("-x", f"http://{HOST}:{it.ports['hopen']}", f"http://{HOST}:{it.nginx}/big.bin")[2] == BIG
    assert curl("-x", f"http://{HOST}:{it.ports['hopen']}", "-p", f"http://{HOST}:{it.nginx}/big.bin")[2] == BIG


def test_connect_says_exactly_what_it_should(it: Plugins) -> None:
    target = b"%b:%d" % (HOST.encode(), it.echo.port)
    with connect(it.ports["hopen"]) as user:
        user.sendall(b"CONNECT " + target + b" HTTP/1.1\r\n\r\nearly")
        assert receive_exactly(user, 24) == b"HTTP/1.1 200 OK\r\n\r\nearly"
        user.sendall(b"late")
        assert receive_exactly(user, 4) == b"late"
    refused = b"HTTP/1.1 407 Not authorized\r\nConnection: close\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    assert raw(it.ports["hproxy"], b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n") == refused
    unreachable = b"CONNECT %b:%d HTTP/1.0\r\n\r\n" % (HOST.encode(), it.dead)
    assert raw(it.ports["hopen"], unreachable) == b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    # the scheme word is not checked
    with connect(it.ports["hproxy"]) as user:
        user.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nProxy-Authorization: Whatever dTpw\r\n\r\n")
        assert receive_exactly(user, 19) == b"HTTP/1.1 200 OK\r\n\r\n"


# socks5


def test_socks(it: Plugins) -> None:
    target = f"http://{HOST}:{it.nginx}/big.bin"
    assert curl("--socks5", f"u:p@{HOST}:{it.ports['socks']}", target)[2] == BIG
    assert curl("--socks5-hostname", f"u:p@{HOST}:{it.ports['socks']}", f"http://localhost:{it.nginx}/big.bin")[2] == BIG
    assert curl("--socks5", f"{HOST}:{it.ports['sopen']}", target)[2] == BIG
    curl("--socks5", f"u:wrong@{HOST}:{it.ports['socks']}", target, code=97)


@pytest.mark.parametrize(
    ("name", "sent", "answer"),
    [
        ("socks", b"\5\1\0", b"\5\xff"),
        ("socks", b"\5\1\2\1\1u\1x", b"\5\2\1\1"),
        ("sopen", b"\5\1\0\5\3\0\1\x7f\0\0\1\0\1", b"\5\0\5\7\0\1\0\0\0\0\0\0"),  # udp associate
        ("sopen", b"\5\1\0\5\2\0\1\x7f\0\0\1\0\1", b"\5\0\5\7\0\1\0\0\0\0\0\0"),  # bind
        ("sopen", b"\5\1\0\5\1\0\7\x7f\0\0\1\0\1", b"\5\0\5\x08\0\1\0\0\0\0\0\0"),
        ("sopen", b"\5\1\0\5\1\0\1\x7f\0\0\1\0\1", b"\5\0\5\5\0\1\0\0\0\0\0\0"),  # nobody listens there
        ("sopen", b"\5\1\0\5\1\0\3\x0dno.such.name.\0\1", b"\5\0\5\4\0\1\0\0\0\0\0\0"),
        ("sopen", b"\4\1\0\1\1\1\1\1\0", b""),
    ],
)
def test_socks_refusals(it: Plugins, name: str, sent: bytes, answer: bytes) -> None:
    assert raw(it.ports[name], sent) == answer


@pytest.mark.parametrize("name", ["socks", "sopen"])
def test_socks_in_single_bytes_then_much(it: Plugins, name: str) -> None:
    with connect(it.ports[name]) as user:
        user.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = b"\5\1\2\1\1u\1p" if name == "socks" else b"\5\1\0"
        for byte in hello + b"\5\1\0\1\x7f\0\0\1" + struct.pack(">H", it.echo.port):
            user.sendall(bytes([byte]))
            time.sleep(0.002)
        welcome = receive_exactly(user, 14 if name == "socks" else 12)
        assert welcome[-10:-6] == b"\5\0\0\1"
        threading.Thread(target=user.sendall, args=(BIG,), daemon=True).start()
        assert receive_exactly(user, len(BIG)) == BIG


# joined after something


def test_a_unix_socket_is_told_who_comes(it: Plugins) -> None:
    with connect(it.ports["unix"]) as user:
        user.sendall(b"hello")
        expected = f"PROXY TCP4 {HOST} {HOST} {user.getsockname()[1]} {it.ports['unix']}\r\nhello".encode()
        assert receive_exactly(user, len(expected)) == expected
        threading.Thread(target=user.sendall, args=(BIG,), daemon=True).start()
        assert receive_exactly(user, len(BIG)) == BIG


def tls(it: Plugins, name: str, host: str | None = "h.example") -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(it.ca))
    if name in ("raw", "hs1") or host is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connect(it.ports[name]), server_hostname=host)


def test_tls_ends_and_the_service_gets_plain_bytes(it: Plugins) -> None:
    with tls(it, "raw") as user:
        user.sendall(b"early")
        header = receive_exactly(user, 28)
        assert header[:14] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
        assert struct.unpack(">HH", header[24:]) == (user.getsockname()[1], it.ports["raw"])
        assert receive_exactly(user, 5) == b"early"
        for at in range(0, len(BIG), 1 << 18):  # in turns: an SSLSocket isn't for two threads
            user.sendall(BIG[at : at + (1 << 18)])
            assert receive_exactly(user, 1 << 18) == BIG[at : at + (1 << 18)]
    assert raw(it.ports["raw"], b"GET / HTTP/1.1\r\n\r\n")[:1] in (b"\x15", b"")  # an alert


def test_openssl_sees_the_protocols_and_the_certificate(it: Plugins) -> None:
    def s_client(name: str, *more: str) -> str:
        command = [
            need("openssl"),
            "s_client",
            "-connect",
            f"{HOST}:{it.ports[name]}",
            "-alpn",
            "h2,http/1.1",
            "-CAfile",
            str(it.ca),
            *more,
        ]
        return subprocess.run(command, input=b"", capture_output=True, timeout=10).stdout.decode()

    seen = s_client("hs", "-servername", "h.example")
    assert "ALPN protocol: h2" in seen
    assert "Verify return code: 0 (ok)" in seen
    assert "ALPN protocol: http/1.1" in s_client("hs1")
    assert "ALPN protocol: h2" in s_client("hs", "-tls1_2")


# reverse proxies


def test_http2http_hides_who_forwarded(it: Plugins) -> None:
    status, head, body = curl(
        *("-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Forwarded-Proto: https", "-H", "X-Forwarded-Host: a", "-H", "Forwarded: for=x"),
        *(
            "-H",
            "X-Set: user",
            "-H",
            "X-Real-IP: 9.9.9.9",
            "-H",
            "User-Agent:",
            "-H",
            "Expect: 100-continue",
            it.url("h1", "/p%20q?b=%zz&a=1;2&c=3"),
        ),
    )
    assert status == 200
    assert "x-backend: mirror" in head
    assert "date:" in head
    assert "keep-alive" not in head
    assert body.startswith(b"GET /p%20q?c=3 HTTP/1.1\r\nHost: inside.example\r\n")
    lines = body.lower()
    assert b"forwarded" not in lines
    assert b"user-agent" not in lines
    assert lines.count(b"x-set: ") == 1
    assert b"x-set: yes\r\n" in lines
    assert b"x-real-ip: 9.9.9.9\r\n" in lines


def test_http2https_passes_who_forwarded_on(it: Plugins) -> None:
    _, _, body = curl(
        "-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Forwarded-Proto: gopher", "-H", "Host: some.example", it.url("h1s", "/saw")
    )
    assert body == b"some.example|1.2.3.4||gopher|"
    assert curl(it.url("h1s", "/big.bin"))[2] == BIG


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_https_tells_who_comes(it: Plugins, version: str) -> None:
    base = [
        version,
        "--cacert",
        it.ca,
        "--resolve",
        f"h.example:{it.ports['hs']}:{HOST}",
        "--resolve",
        f"h.example:{it.ports['hss']}:{HOST}",
    ]
    status, head, body = curl(
        *base, "-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Forwarded-Proto: http", it.url("hs", "/x", scheme="https", host="h.example")
    )
    assert status == 200
    assert head.startswith("http/2" if version == "--http2" else "http/1.1")
    lines = body.decode().lower().splitlines()
    assert f"host: h.example:{it.ports['hs']}" in lines
    assert f"x-forwarded-for: 1.2.3.4, {HOST}" in lines
    assert f"x-forwarded-host: h.example:{it.ports['hs']}" in lines
    assert "x-forwarded-proto: https" in lines
    assert sum(line.startswith("x-forwarded-") for line in lines) == 3
    status, head, body = curl(*base, it.url("hss", "/big.bin", scheme="https", host="h.example"))
    assert hashlib.sha256(body).digest() == hashlib.sha256(BIG).digest()
    status, _, body = curl(*base, "-H", "Host: other.example", it.url("hs", "/x", scheme="https", host="h.example"))
    assert (status, body) == (421, b"")
    assert curl(*base, "-H", "Host: H.example.", it.url("hs", "/x", scheme="https", host="h.example"))[0] == 200


def test_without_http2_or_a_certificate(it: Plugins) -> None:
    status, head, _ = curl("--http2", "-k", it.url("hs1", "/", scheme="https"))
    assert status == 200
    assert head.startswith("http/1.1")


def test_many_requests_at_once_by_http2(it: Plugins) -> None:
    output = it.world.directory / "many"
    output.mkdir()
    base = ["curl", "-q", "-sS", "--http2", "-k", "-Z", "--parallel-max", "40", "-m", "20"]
    url = f"https://{HOST}:{it.ports['nginxs']}/text.txt?[1-200]"
    done = subprocess.run([*base, "-o", f"{output}/#1", "-w", "%{http_code} %{http_version}\n", url], capture_output=True)
    assert done.stdout.split(b"\n").count(b"200 2") == 200, done.stderr
    assert {file.read_bytes() for file in output.iterdir()} == {TEXT}


@pytest.mark.parametrize("more", [(), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue"), ("-H", "Expect:")])
@pytest.mark.parametrize(("name", "scheme"), [("up", "http"), ("ups", "https")])
def test_uploads(it: Plugins, name: str, scheme: str, more: tuple[str, ...]) -> None:
    arguments = ["-k", "-T", it.www / "big.bin", *more]
    if scheme == "https" and "Transfer-Encoding: chunked" not in more:
        arguments.append("--http2")
    status, _, body = curl(*arguments, it.url(name, "/up", scheme=scheme))
    assert (status, body) == (201, hashlib.sha256(BIG).hexdigest().encode())


@pytest.mark.parametrize(("name", "scheme"), [("ws", "ws"), ("wss", "wss")])
def test_websockets(it: Plugins, name: str, scheme: str) -> None:
    context = None
    if scheme == "wss":
        context = ssl.create_default_context(cafile=str(it.ca))
    uri = f"{scheme}://{HOST}:{it.ports[name]}/chat"
    with connect_websocket(uri, ssl=context, max_size=None, compression=None) as user:
        user.send("hello")
        assert user.recv(5) == "hello"
        user.send(BIG[: 5 << 20])
        assert user.recv(10) == BIG[: 5 << 20]
        for number in range(200):
            user.send(str(number))
        assert [user.recv(5) for _ in range(200)] == [str(number) for number in range(200)]


def test_a_connection_that_died_while_it_lay_idle_is_replaced_if_that_can_do_no_harm(it: Plugins) -> None:
    for _ in range(4):
        assert curl(it.url("liar"))[2] == b"ok"
    assert curl("-d", "x", it.url("liar"))[0] == 502  # it may have been done already
    assert curl("-d", "x", it.url("liar"))[2] == b"ok"


def test_backend_errors(it: Plugins) -> None:
    status, _, body = curl(it.url("dead"))
    assert (status, body) == (502, b"")
    curl(it.url("torn"), code=(18, 56))  # cut off, and seen to be


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01garbage\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ],
)
def test_what_is_not_clearly_http_is_refused(it: Plugins, sent: bytes, status: int) -> None:
    name = "up" if b"chunked" in sent else "h1"  # which doesn't answer before it has the body
    answer = raw(it.ports[name], sent, until_end=status != 405)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_requests_in_a_row_on_one_connection_use_one_to_the_service(it: Plugins) -> None:
    before = it.mirror.connections
    user = http.client.HTTPConnection(HOST, it.ports["h1"], timeout=10)
    for number in range(50):
        user.request("GET", f"/{number}")
        assert user.getresponse().read().startswith(b"GET /%d HTTP/1.1\r\n" % number)
    user.close()
    assert it.mirror.connections - before <= 1
    answer = raw(it.ports["h1"], b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.index(b"GET /a ") < answer.index(b"GET /b ")
    assert raw(it.ports["h1"], b"GET /old HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_user_who_leaves_a_stream_of_events_frees_the_service(it: Plugins) -> None:
    for leave in (socket.socket.close, reset):
        with connect(it.ports["sse"]) as user:
            user.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            seen = b""
            while seen.count(b"tick") < 2:
                seen += user.recv(1000)  # each comes as soon as it was sent
            leave(user)
        eventually(lambda: it.slow.open == 0, "the service is left")


def test_slow_readers_cost_no_memory(it: Plugins) -> None:
    before = it.frpc.figures.rss
    users = []
    for name, path in (("static", "/big.bin"), ("nginx", "/big.bin"), ("static", "/big.bin"), ("nginx", "/big.bin")) * 3:
        user = connect(it.ports[name])
        user.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        users.append(user)
    time.sleep(1)
    assert it.frpc.figures.rss - before < 60
    assert curl(it.url("static", "/text.txt"))[0] == 200
    assert len(receive_exactly(users[0], len(BIG))) == len(BIG)
    for user in users:
        reset(user)


def test_nothing_is_left_behind(it: Plugins) -> None:
    def trouble() -> None:
        request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for name in ("static", "h1", "nginx", "sse", "hopen"):
            for n in range(0, len(request), 3):
                with connect(it.ports[name]) as user:
                    user.sendall(request[:n])
                    if n % 2:
                        reset(user)
        for name in ("raw", "hs", "socks", "unix"):
            for _ in range(10):
                connect(it.ports[name]).close()
        with tls(it, "hs") as user:
            user.sendall(request)

    def descriptors() -> int:
        return it.frpc.figures.descriptors

    trouble()
    time.sleep(0.5)
    before = descriptors()
    for _ in range(3):
        trouble()
    eventually(lambda: descriptors() <= before + 2, f"descriptors given back: {descriptors()}, before: {before}", deadline=10)
    assert it.slow.open == 0
    it.frpc.check_output()


def test_plugins_come_back_with_the_server(world: World) -> None:
    (world.directory / "file").write_text("here")
    port, server_port = free_port(), free_port()
    frps, _ = world.frps(port=server_port)
    frpc = world.frpc(server_port, proxies=proxy("static", port, f'type = "static_file"\nlocalPath = "{world.directory}"'))
    frpc.wait_for("[static] start proxy success")
    with connect(port) as user:
        user.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
        assert user.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        frps.kill()
        with contextlib.suppress(ConnectionResetError):
            assert user.recv(1) == b""
    world.frps(port=server_port)
    frpc.wait_for("[static] start proxy success", count=2)
    assert curl(f"http://{HOST}:{port}/file")[2] == b"here"


def test_https_by_name_and_without_the_mux(world: World) -> None:
    service, https, port = world.service(mirror), free_port(), free_port()
    echo = world.service()
    _, server_port = world.frps(f"vhostHTTPSPort = {https}\ntransport.tcpMux = false")
    plugin = f'type = "https2http"\nlocalAddr = "{HOST}:{service.port}"'
    proxies = proxy("web", 0, plugin).replace('type = "tcp"\nremotePort = 0', 'type = "https"\ncustomDomains = ["h.example"]')
    proxies += proxy("socks", port, 'type = "socks5"')
    frpc = world.frpc(server_port, "transport.tcpMux = false", proxies)
    for name in ("web", "socks"):
        frpc.wait_for(f"[{name}] start proxy success")
    for version in ("--http2", "--http1.1"):
        status, _, body = curl(version, "-k", "--resolve", f"h.example:{https}:{HOST}", f"https://h.example:{https}/x")
        assert status == 200
        assert f"X-Forwarded-For: {HOST}".encode() in body
    with connect(port) as user:
        user.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1" + struct.pack(">H", echo.port) + BIG[:1000])
        assert receive_exactly(user, 12)[:4] == b"\5\0\5\0"
        assert receive_exactly(user, 1000) == BIG[:1000]
        threading.Thread(target=user.sendall, args=(BIG,), daemon=True).start()
        assert receive_exactly(user, len(BIG)) == BIG
