"""What local services are told of their users by the PROXY protocol."""

from __future__ import annotations

import socket
import struct
import subprocess
import time

import pytest

from tests.support.ports import free_port
from tests.support.programs import HOST, World, connect, eventually, need, proxy, receive_all, receive_exactly

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")


def version(number: str, extra: str = "") -> str:
    return f'transport.proxyProtocolVersion = "{number}"\n{extra}'


@pytest.mark.parametrize("extra", ["", "transport.useEncryption = true\ntransport.useCompression = true\n"], ids=["plain", "changed"])
def test_v1_comes_before_anything_else(world: World, extra: str) -> None:
    tunnel = world.tunnel(world.service().port, proxy_extra=version("v1", extra))
    with connect(tunnel.port) as user:
        line = f"PROXY TCP4 {HOST} {HOST} {user.getsockname()[1]} {tunnel.port}\r\n".encode()
        assert receive_exactly(user, len(line)) == line  # the service echoes it before the user has sent anything
        user.sendall(b"hello")
        assert receive_exactly(user, 5) == b"hello"


def test_v2(world: World) -> None:
    tunnel = world.tunnel(world.service().port, proxy_extra=version("v2"))
    with connect(tunnel.port) as user:
        user.sendall(b"hello")
        header = SIGNATURE + bytes.fromhex("21110000")[:2] + struct.pack(">H", 12)
        header += socket.inet_aton(HOST) * 2 + struct.pack(">HH", user.getsockname()[1], tunnel.port)
        assert receive_exactly(user, len(header) + 5) == header + b"hello"


def test_tcpmux_users_too(world: World) -> None:
    port = free_port()
    _, server_port = world.frps(f"tcpmuxHTTPConnectPort = {port}\n")
    frpc = world.frpc(
        server_port,
        "",
        f'[[proxies]]\nname = "it"\ntype = "tcpmux"\nmultiplexer = "httpconnect"\nlocalPort = {world.service().port}\n'
        f'customDomains = ["it.example"]\n{version("v1")}',
    )
    frpc.wait_for("[it] start proxy success")
    with connect(port) as user:
        user.sendall(b"CONNECT it.example:1 HTTP/1.1\r\n\r\nearly")
        user.shutdown(socket.SHUT_WR)
        answer = receive_all(user).partition(b"\r\n\r\n")[2]
        assert answer == f"PROXY TCP4 {HOST} {HOST} {user.getsockname()[1]} {port}\r\nearly".encode()


def test_an_ipv4_user_and_a_mapped_address(world: World) -> None:
    """frps listens on IPv6 and IPv4 with one socket: its users' addresses are mapped, and told as what they are."""
    port = free_port()
    _, server_port = world.frps('proxyBindAddr = "::"\n')
    frpc = world.frpc(server_port, "", proxy("it", world.service().port, port, version("v1")))
    frpc.wait_for("[it] start proxy success")
    with connect(port) as user:
        line = f"PROXY TCP4 {HOST} {HOST} {user.getsockname()[1]} {port}\r\n".encode()
        assert receive_exactly(user, len(line)) == line
    with socket.create_connection(("::1", port), 10) as user:
        line = f"PROXY TCP6 ::1 ::1 {user.getsockname()[1]} {port}\r\n".encode()
        assert receive_exactly(user, len(line)) == line


@pytest.mark.parametrize("number", ["v1", "v2"])
def test_nginx_understands_it(world: World, number: str) -> None:
    nginx = need("nginx")
    directory = world.directory
    web = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;\nevents {{}}\nhttp {{\n access_log off;\n"
        + "".join(f" {what}_temp_path {directory}/{what};\n" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + f" server {{ listen {HOST}:{web} proxy_protocol;\n"
        '  location / { return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port"; } }\n}\n'
    )
    with (directory / "nginx.out").open("wb") as output:
        process = subprocess.Popen([nginx, "-c", str(config), "-p", str(directory)], stdout=output, stderr=output)
    try:
        eventually(lambda: _listens(web), "nginx listens")
        tunnel = world.tunnel(web, proxy_extra=version(number))
        with connect(tunnel.port) as user:
            user.sendall(b"GET / HTTP/1.0\r\n\r\n")
            body = receive_all(user).partition(b"\r\n\r\n")[2].decode()
            assert body == f"{HOST} {user.getsockname()[1]} {tunnel.port}"
    finally:
        process.terminate()
        process.wait(5)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0


def test_a_service_that_resets_at_once(world: World) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    tunnel = world.tunnel(world.service(refuse).port, proxy_extra=version("v2"))
    for _ in range(20):
        with connect(tunnel.port) as user:
            try:
                assert user.recv(1) == b""
            except ConnectionResetError:
                pass
    time.sleep(0.1)
    assert tunnel.client.runs
