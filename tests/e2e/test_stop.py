"""Programs that are told to end, and what they write while they run."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import stat
import subprocess

import pytest

from tests.support.ports import free_port
from tests.support.programs import HOST, World, connect, eventually, exchange, proxy, receive_all, receive_exactly, works

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: str(number.name))
LINKS = pytest.mark.parametrize("common", ["", "transport.tcpMux = false\n"], ids=["mux", "nomux"])


def ends(sock: socket.socket) -> bool:
    """Whether the other side is gone, by its end or by a reset."""
    try:
        receive_all(sock)
    except ConnectionResetError:
        pass
    return True


@SIGNALS
@LINKS
def test_the_server_ends_within_a_second_and_tells_its_users(world: World, number: signal.Signals, common: str) -> None:
    service = world.service()
    tunnel = world.tunnel(service.port, server=common, client=common)
    users = [connect(tunnel.port) for _ in range(20)]
    for user in users:
        user.sendall(b"hello")
        assert receive_exactly(user, 5) == b"hello"
    assert tunnel.server.stop(number) < 1
    for user in users:
        user.settimeout(0.5)
        assert ends(user)
        user.close()
    for port in (tunnel.port, tunnel.server_port):
        socket.create_server((HOST, port)).close()
    eventually(lambda: service.open == 0, "the local service sees its connections end", 2)


@SIGNALS
@LINKS
def test_the_client_ends_within_a_second_and_its_port_is_free(world: World, number: signal.Signals, common: str) -> None:
    service = world.service()
    tunnel = world.tunnel(service.port, server=common, client=common)
    users = [connect(tunnel.port) for _ in range(20)]
    for user in users:
        user.sendall(b"hello")
        assert receive_exactly(user, 5) == b"hello"
    assert tunnel.client.stop(number) < 1
    for user in users:
        user.settimeout(1)
        assert ends(user)
        user.close()
    tunnel.server.wait_for("client exit success", deadline=1)
    socket.create_server((HOST, tunnel.port)).close()
    assert "stopped" in tunnel.client.output.splitlines()[-1]


def test_a_client_that_tries_to_connect_ends_at_once(world: World) -> None:
    frpc = world.frpc(free_port(), "loginFailExit = false")
    frpc.wait_for("connect to server error: dial tcp 127.0.0.1:")
    assert frpc.stop() < 1


def test_a_server_whose_users_do_not_read_ends_all_the_same(world: World) -> None:
    service = world.service(lambda connection: connection.sendall(bytes(50_000_000)))
    tunnel = world.tunnel(service.port)
    users = [connect(tunnel.port) for _ in range(5)]
    eventually(lambda: service.connections == 5, "they are served")
    assert tunnel.server.stop() < 1
    assert tunnel.client.stop() < 1
    for user in users:
        user.close()


def test_every_user_is_in_the_log_with_his_address(world: World) -> None:
    service = world.service()
    tunnel = world.tunnel(service.port)
    for _ in range(3):
        with connect(tunnel.port) as user:
            host, port = user.getsockname()
            user.sendall(b"x")
            assert receive_exactly(user, 1) == b"x"
            tunnel.server.wait_for(f"[it] get a user connection [{host}:{port}]", deadline=1)


def test_lines_have_the_form_that_other_programs_match_on(world: World) -> None:
    service = world.service()
    tunnel = world.tunnel(service.port)
    head = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[[TDIWE]\] \[[\w.-]+/[\w.-]+:\d+\] "
    for program in (tunnel.server, tunnel.client):
        assert [line for line in program.output.splitlines() if not re.match(head, line)] == []
    run_id = re.search(r"login to server success, get run id \[([0-9a-f]{16})\]", tunnel.client.output)
    assert run_id is not None
    assert f"[{run_id[1]}] [it] start proxy success" in tunnel.client.output
    assert tunnel.client.output.count("login to server success") == tunnel.client.output.count("start proxy success") == 1
    server = tunnel.server.output
    assert f"frps tcp listen on {HOST}:{tunnel.server_port}" in server
    assert re.search(r"client login info: ip \[127\.0\.0\.1:\d+\] version \[[\d.]+\] hostname \[\S+\] os \[linux\] arch \[\w+\]", server)
    assert f"[{run_id[1]}] [it] tcp proxy listen port [{tunnel.port}]" in server
    assert f"[{run_id[1]}] new proxy [it] type [tcp] success" in server


def test_the_log_goes_to_a_file_of_its_own(world: World) -> None:
    service = world.service()
    files = world.directory / "logs" / "frps.log", world.directory / "logs" / "frpc.log"
    frps, server_port = free_port(), free_port()
    common = f'bindAddr = "{HOST}"\nbindPort = {server_port}\nlog.level = "debug"\n'
    server = world.start("server", common + f'log.to = "{files[0]}"\n')
    eventually(lambda: files[0].exists() and "started successfully" in files[0].read_text(), "the server has started")
    client = world.start(
        "client",
        f'serverPort = {server_port}\nlog.to = "{files[1]}"\nlog.maxDays = 2\n' + proxy("it", service.port, frps),
    )
    eventually(lambda: files[1].exists() and "start proxy success" in files[1].read_text(), "the client has started")
    assert exchange(frps, b"hello") == b"hello"
    eventually(lambda: "get a user connection [127.0.0.1:" in files[0].read_text(), "the user is in the log")
    client.stop()
    server.stop()
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert [program.output for program in (server, client)] == ["", ""]
    assert "\x1b" not in files[0].read_text()


def test_a_program_may_be_told_to_end_before_it_has_started(world: World) -> None:
    """Whenever the signal comes, nothing is printed about it; before Python has come to us, the signal itself ends the process."""
    for delay in (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.2):
        program = world.start("server", f'bindAddr = "{HOST}"\nbindPort = {free_port()}\n')
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(delay)
        program.process.send_signal(signal.SIGTERM)
        assert program.wait(2) in (0, -signal.SIGTERM)
        program.check_output()


def test_a_client_whose_server_says_goodbye_comes_back(world: World) -> None:
    service = world.service()
    tunnel = world.tunnel(service.port)
    tunnel.server.stop()
    tunnel.client.wait_for("connect to server error", deadline=2)
    world.frps(port=tunnel.server_port)
    took = eventually(lambda: works(tunnel.port, 1), "the client is back", 6)
    assert took < 5
