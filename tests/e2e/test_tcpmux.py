"""tcpmux through both programs: users say by CONNECT where they want to go."""

from __future__ import annotations

import getpass
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.ports import free_port
from tests.support.programs import HOST, Handler, World, connect, eventually, need, receive_all, receive_exactly

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LOG_IN = b'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm="Restricted"\r\n\r\n'


def tcpmux_proxy(name: str, port: int, domain: str, extra: str = "") -> str:
    return (
        f'\n[[proxies]]\nname = "{name}"\ntype = "tcpmux"\nmultiplexer = "httpconnect"\nlocalPort = {port}\n'
        f'customDomains = ["{domain}"]\n{extra}\n'
    )


def naming(name: bytes) -> Handler:
    def handle(connection: socket.socket) -> None:
        connection.sendall(name)
        while data := connection.recv(1 << 16):
            connection.sendall(data)

    return handle


def ask(port: int, request: bytes, *, more: int = 0) -> bytes:
    """The answer to `request`: all of it, or as much as the 200 and `more` bytes."""
    with connect(port) as sock:
        sock.sendall(request)
        if more:
            return receive_exactly(sock, len(OK) + more)
        try:
            return receive_all(sock)
        except ConnectionResetError:
            return b""


def login(text: str) -> bytes:
    return b"Proxy-Authorization: Basic " + b64encode(text.encode()) + b"\r\n"


def test_routes_credentials_and_answers(world: World) -> None:
    port = free_port()
    page = world.directory / "404.html"
    page.write_text("<html>nobody here</html>")
    frps, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\ncustom404Page = '{page}'\n")
    frps.wait_for(f"tcpmux httpconnect multiplexer listen on {HOST}:{port}, passthrough: false")
    names = {name: world.service(naming(name.encode())).port for name in ("open", "lock", "user", "wild")}
    frpc = world.frpc(
        server_port,
        "",
        tcpmux_proxy("open", names["open"], "open.example")
        + tcpmux_proxy("lock", names["lock"], "lock.example", 'httpUser = "me"\nhttpPassword = "se:cret"')
        + tcpmux_proxy("user", names["user"], "open.example", 'routeByHTTPUser = "bob"')
        + tcpmux_proxy("wild", names["wild"], "*.wild.example", "transport.useEncryption = true\ntransport.useCompression = true"),
    )
    for name in names:
        frpc.wait_for(f"[{name}] start proxy success")

    def goes_to(name: bytes, target: bytes, headers: bytes = b"", version: bytes = b"HTTP/1.1") -> bool:
        request = b"CONNECT " + target + b" " + version + b"\r\n" + headers + b"\r\nearly"
        return ask(port, request, more=len(name) + 5) == OK + name + b"early"

    assert goes_to(b"open", b"open.example:22")
    assert goes_to(b"open", b"OPEN.example.:1", b"Host: whatever\r\n")
    assert goes_to(b"open", b"open.example", version=b"HTTP/1.0")
    assert goes_to(b"open", b"open.example:22", login("alice:x"))
    assert goes_to(b"open", b"open.example:22", b"Proxy-Authorization: Basic !!!\r\n")
    assert goes_to(b"user", b"open.example:22", login("bob:"))
    assert goes_to(b"lock", b"lock.example:22", login("me:se:cret"))
    assert goes_to(b"wild", b"a.b.wild.example:1")
    for credentials in (b"", login("me:wrong"), login("me:"), login("you:se:cret"), b"Proxy-Authorization: Bearer me\r\n"):
        assert ask(port, b"CONNECT lock.example:22 HTTP/1.1\r\n" + credentials + b"\r\n") == LOG_IN
    head, _, body = ask(port, b"CONNECT nobody.example:22 HTTP/1.1\r\n\r\n" + b"x" * 100_000).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 404 Not Found"
    assert b"Content-Type: text/html" in lines
    assert b"Content-Length: 24" in lines
    assert any(line.startswith(b"Server: frp/") for line in lines)
    assert body == b"<html>nobody here</html>"
    page.unlink()
    assert b"The page you requested was not found" in ask(port, b"CONNECT nobody.example:22 HTTP/1.1\r\n\r\n")
    frps.wait_for("read custom 404 page error: ")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://open.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n",
        b"\x16\x03\x01",
        b"\r\nCONNECT open.example:1 HTTP/1.1\r\n\r\n",
        b"CONNECT open.example:1 HTTP/2.0\r\n\r\n",
        b"CONNECT open.example:1\r\n\r\n",
        b"CONNECT  open.example:1 HTTP/1.1\r\n\r\n",
        b"CONNECT /open.example HTTP/1.1\r\n\r\n",
        b"CONNECT open.example:123456 HTTP/1.1\r\n\r\n",
        b"CONNECT me@open.example:1 HTTP/1.1\r\n\r\n",
        b"CONNECT open.example:1 HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"CONNECT open.example:1 HTTP/1.1\r\nA : b\r\n\r\n",
        b"CONNECT open.example:1 HTTP/1.1\r\nA: b\x00\r\n\r\n",
        b"CONNECT open.example:1 HTTP/1.1\nA: b\r\n\r\n",
        b"CONNECT open.example:1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT open.example:1 HTTP/1.1\r\n" + login("a:b") + login("c:d") + b"\r\n",
        b"CONNECT open.example:1 HTTP/1.1\r\nA: " + b"x" * 70_000,
    ],
)
def test_what_is_no_connect_is_closed_without_an_answer(frps_with_tcpmux: tuple[World, int], request_: bytes) -> None:
    _, port = frps_with_tcpmux
    with connect(port) as sock:
        try:
            sock.sendall(request_)
            assert receive_all(sock) == b""
        except OSError:
            pass  # reset, with what it hadn't read


@pytest.fixture(scope="module")
def frps_with_tcpmux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, int]]:
    with programs.world(tmp_path_factory.mktemp("tcpmux")) as world:
        port = free_port()
        _, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\n")
        frpc = world.frpc(server_port, "", tcpmux_proxy("open", world.service().port, "open.example"))
        frpc.wait_for("[open] start proxy success")
        yield world, port
        assert ask(port, b"CONNECT open.example:1 HTTP/1.1\r\n\r\nabc", more=3) == OK + b"abc"


def test_passthrough(world: World) -> None:
    port = free_port()
    frps, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\ntcpmuxPassthrough = true\n")
    frps.wait_for("passthrough: true")
    service = world.service()
    frpc = world.frpc(server_port, "", tcpmux_proxy("it", service.port, "it.example", 'httpUser = "me"'))
    frpc.wait_for("[it] start proxy success")
    request = b"CONNECT it.example:22 HTTP/1.1\r\nX-Y:  z \r\n" + login("me:") + b"\r\nearly"
    with connect(port) as sock:
        for i in range(0, len(request), 10):
            sock.sendall(request[i : i + 10])
        assert receive_exactly(sock, len(request)) == request
    assert ask(port, b"CONNECT it.example:22 HTTP/1.1\r\n\r\n") == LOG_IN


def test_refused_registrations(world: World) -> None:
    _, server_port = world.frps()
    frpc = world.frpc(server_port, "", tcpmux_proxy("it", 1, "it.example"))
    frpc.wait_for("start error: tcpmux with multiplexer httpconnect not supported because this feature is not enabled in server")


def test_curl_through_it(world: World) -> None:
    curl = need("curl")

    def web(connection: socket.socket) -> None:
        if connection.recv(1 << 16):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")

    port = free_port()
    _, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\n")
    proxies = tcpmux_proxy("web", world.service(web).port, "web.example", 'httpUser = "me"\nhttpPassword = "pw"')
    world.frpc(server_port, "", proxies).wait_for("[web] start proxy success")
    command = [curl, "-sS", "--max-time", "10", "-p", "-x", f"http://{HOST}:{port}", "http://web.example/"]
    assert subprocess.run([*command, "-U", "me:pw"], capture_output=True, check=True).stdout == b"hello\n"
    assert b"407" in subprocess.run(command, capture_output=True, check=False).stderr


def test_ssh_with_a_proxy_command(world: World) -> None:
    sshd, ssh, keygen = need("sshd"), need("ssh"), need("ssh-keygen")
    helper = need("socat")
    directory = world.directory
    for key in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)], check=True)
    authorized = directory / "authorized"
    authorized.write_text((directory / "user.pub").read_text())
    authorized.chmod(0o600)
    ssh_port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"Port {ssh_port}\nListenAddress {HOST}\nHostKey {directory}/host\nAuthorizedKeysFile {authorized}\nStrictModes no\n"
        f"PidFile {directory}/sshd.pid\nUsePAM no\nPermitRootLogin yes\n"
    )
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        port = free_port()
        _, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\n")
        proxies = tcpmux_proxy("ssh", ssh_port, "host.example", 'httpUser = "me"\nhttpPassword = "pw"')
        world.frpc(server_port, "", proxies).wait_for("[ssh] start proxy success")
        eventually(lambda: socket.socket().connect_ex((HOST, ssh_port)) == 0, "sshd listens")
        done = subprocess.run(
            [
                ssh,
                *("-o", f"ProxyCommand={helper} - PROXY:{HOST}:%h:%p,proxyport={port},proxyauth=me:pw"),
                *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={directory}/known", "-o", "BatchMode=yes"),
                *("-F", "none", "-i", str(directory / "user"), f"{getpass.getuser()}@host.example"),
                "echo over tcpmux; head -c 300000 /dev/zero | wc -c",
            ],
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.stdout == b"over tcpmux\n300000\n", done.stderr
    finally:
        daemon.terminate()
        daemon.wait(5)


def test_nc_as_the_user(world: World) -> None:
    nc = need("nc")
    port = free_port()
    _, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\n")
    world.frpc(server_port, "", tcpmux_proxy("it", world.service().port, "it.example")).wait_for("[it] start proxy success")
    done = subprocess.run(
        [nc, "-N", "-X", "connect", "-x", f"{HOST}:{port}", "it.example", "7"],
        input=b"hello nc",
        capture_output=True,
        timeout=10,
        check=False,
    )
    if b"invalid option" in done.stderr or b"usage" in done.stderr:
        pytest.skip("another nc")
    assert done.stdout == b"hello nc"
