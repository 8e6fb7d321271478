"""Health checks through both programs: a proxy is there while its service is well."""

from __future__ import annotations

import socket

import pytest

from tests.support.ports import free_port
from tests.support.programs import HOST, Handler, World, connect, eventually, proxy, works

EVERY_SECOND = "healthCheck.intervalSeconds = 1\n"


def refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) != 0


def saying(text: bytes) -> Handler:
    return lambda connection: connection.sendall(text)


def wait_silently(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def test_tcp_up_down_up(world: World) -> None:
    local_port, port = free_port(), free_port()
    frps, server_port = world.frps()
    frpc = world.frpc(server_port, "", proxy("it", local_port, port, f'healthCheck.type = "tcp"\n{EVERY_SECOND}'))
    frpc.wait_for("[it] do one health check failed: ")
    assert "start proxy success" not in frpc.output
    assert refused(port)
    assert "new proxy" not in frps.output

    service = world.service(port=local_port)
    frpc.wait_for("[it] health check success")
    frpc.wait_for("[it] start proxy success")
    assert works(port)
    service.close()
    frpc.wait_for("[it] health check failed")
    frps.wait_for("close proxy [it] success")
    eventually(lambda: refused(port), "the port is free")

    service = world.service(port=local_port)
    frpc.wait_for("[it] health check success", count=2)
    frpc.wait_for("[it] start proxy success", count=2)
    assert works(port)
    lines = [line.partition("[it] ")[2] for line in frpc.output.splitlines() if "] health check" in line]
    change = "health check status change to "
    up, down = [change + "success", "health check success"], [change + "failed", "health check failed"]
    assert lines == up + down + up


def test_http_needs_a_2xx(world: World) -> None:
    status = [500]
    asked: list[str] = []

    def web(connection: socket.socket) -> None:
        head = connection.recv(1 << 16).decode()
        asked.append(head)
        if head.startswith("GET /moved"):
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /healthy?x=1\r\nContent-Length: 0\r\n\r\n")
        else:
            connection.sendall(f"HTTP/1.1 {status[0]} x\r\nContent-Length: 5\r\n\r\nhello".encode())

    port = free_port()
    _, server_port = world.frps()
    check = (
        f'healthCheck.type = "http"\nhealthCheck.path = "moved"\nhealthCheck.maxFailed = 2\n{EVERY_SECOND}'
        'healthCheck.httpHeaders = [{ name = "Host", value = "web.example" }, { name = "X-Key", value = "k" }]\n'
    )
    service = world.service(web)
    frpc = world.frpc(server_port, "", proxy("it", service.port, port, check))
    frpc.wait_for("[it] do one health check failed: do http health check, StatusCode is [500] not 2xx")
    status[0] = 204
    frpc.wait_for("[it] start proxy success")
    assert asked[0].startswith("GET /moved HTTP/1.1\r\n")
    assert asked[1].startswith("GET /healthy?x=1 HTTP/1.1\r\n")
    for head in asked:
        assert "Host: web.example\r\n" in head
        assert "X-Key: k\r\n" in head
    status[0] = 404
    failures = frpc.output.count("do one health check failed")
    frpc.wait_for("[it] health check failed")
    assert frpc.output.count("do one health check failed") == failures + 2
    eventually(lambda: refused(port), "the port is free")


def test_each_session_begins_with_a_check(world: World) -> None:
    local, port = world.service(), free_port()
    frps, server_port = world.frps()
    frpc = world.frpc(server_port, "", proxy("it", local.port, port, f'healthCheck.type = "tcp"\n{EVERY_SECOND}'))
    frpc.wait_for("[it] start proxy success")
    frps.stop()
    world.frps(port=server_port)
    frpc.wait_for("[it] health check success", count=2)
    frpc.wait_for("[it] start proxy success", count=2, deadline=20)
    assert works(port)


def test_a_group_loses_its_sick_member(world: World) -> None:
    frps, server_port = world.frps()
    port = free_port()
    services = [world.service(saying(b"%d" % n)) for n in range(2)]
    group = f'loadBalancer.group = "g"\nhealthCheck.type = "tcp"\n{EVERY_SECOND}'
    proxies = "".join(proxy(f"p{n}", service.port, port, group) for n, service in enumerate(services))
    frpc = world.frpc(server_port, "", proxies)
    for n in range(2):
        frpc.wait_for(f"[p{n}] start proxy success")

    def answer() -> bytes:
        with connect(port) as sock:
            return sock.recv(10)

    assert {answer() for _ in range(2)} == {b"0", b"1"}
    services[0].close()
    frps.wait_for("close proxy [p0] success")
    assert {answer() for _ in range(4)} == {b"1"}


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_a_service_that_says_nothing(world: World, kind: str) -> None:
    local = world.service(wait_silently)
    port = free_port()
    _, server_port = world.frps()
    check = f'healthCheck.type = "{kind}"\nhealthCheck.path = "/"\nhealthCheck.timeoutSeconds = 1\n'
    frpc = world.frpc(server_port, "", proxy("it", local.port, port, check))
    if kind == "tcp":
        frpc.wait_for("[it] start proxy success")
    else:
        frpc.wait_for("[it] do one health check failed: no answer within 1 s")
