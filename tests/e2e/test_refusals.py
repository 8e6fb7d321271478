"""What is refused: the texts that other programs know, and the exit codes (config.md 4.6 to 4.8, wire.md 13)."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest

from tests.e2e.peers import FrpClient
from tests.support.ports import free_port
from tests.support.programs import HOST, ROOT, TOKEN, Program, World, eventually, exchange, proxy, works

NOT_AGAIN = ". With loginFailExit enabled, no additional retries will be attempted"


def last_words(program: Program) -> str:
    """The last line that is no log line."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", program.output).splitlines()
    return next(line for line in reversed(lines) if not line.startswith("20"))


@pytest.mark.parametrize("wire", ["v1", "v2"])
@pytest.mark.parametrize("common", ["", "transport.tcpMux = false\n"], ids=["mux", "nomux"])
def test_a_wrong_token(world: World, wire: str, common: str) -> None:
    frps, port = world.frps(common)
    frpc = world.start("client", f'serverPort = {port}\nauth.token = "not the token"\n{common}transport.wireProtocol = "{wire}"\n')
    assert frpc.wait() == 1
    reason = "token in login doesn't match token from configuration"
    assert last_words(frpc) == f"login to the server failed: {reason}{NOT_AGAIN}"
    frps.wait_for(reason, deadline=1)


def test_a_wrong_token_of_a_client_that_does_not_give_up(world: World) -> None:
    _, port = world.frps()
    frpc = world.start(
        "client", f'serverPort = {port}\nauth.token = "not the token"\nloginFailExit = false\nlog.disablePrintColor = true\n'
    )
    frpc.wait_for("connect to server error: token in login doesn't match token from configuration", count=2, deadline=5)
    assert frpc.runs


def test_a_server_that_does_not_tell_details(world: World) -> None:
    _, port = world.frps("detailedErrorsToClient = false\nallowPorts = [{ single = 1 }]\n")
    stranger = world.start("client", f'serverPort = {port}\nauth.token = "not the token"\n')
    assert stranger.wait() == 1
    assert last_words(stranger) == f"login to the server failed: register control error{NOT_AGAIN}"
    frpc = world.frpc(port, "", proxy("it", 1, free_port()))
    assert frpc.wait_for("start error").endswith("[it] start error: new proxy [it] error")


def test_no_server(world: World) -> None:
    port = free_port()
    frpc = world.frpc(port)
    assert frpc.wait() == 1
    assert last_words(frpc) == f"login to the server failed: dial tcp {HOST}:{port}: connect: connection refused{NOT_AGAIN}"


def test_a_port_that_is_not_allowed(world: World) -> None:
    allowed, other = free_port(), free_port()
    service = world.service()
    frps, port = world.frps(f"allowPorts = [{{ single = {allowed} }}]\n")
    frpc = world.frpc(port, 'user = "me"\n', proxy("out", service.port, other) + proxy("in", service.port, allowed))
    assert frpc.wait_for("[out] start error").endswith("[out] start error: port not allowed")
    frpc.wait_for("[in] start proxy success")
    assert exchange(allowed, b"hello") == b"hello"
    frps.wait_for("new proxy [me.out] type [tcp] error: port not allowed")


def test_a_port_that_another_program_has(world: World) -> None:
    with socket.create_server((HOST, free_port())) as taken:
        _, port = world.frps(f'proxyBindAddr = "{HOST}"\n')
        frpc = world.frpc(port, "", proxy("it", 1, taken.getsockname()[1]))
        assert frpc.wait_for("start error").endswith("[it] start error: port unavailable")


def test_a_port_that_another_proxy_has(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    frpc = world.frpc(tunnel.server_port, "", proxy("other", 1, tunnel.port))
    assert frpc.wait_for("start error").endswith("[other] start error: port already used")
    assert works(tunnel.port)


def test_a_name_that_another_client_has(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    frpc = world.frpc(tunnel.server_port, "", proxy("it", 1, free_port()))
    assert frpc.wait_for("start error").endswith("[it] start error: proxy [it] already exists")
    assert works(tunnel.port)


def test_more_ports_than_one_client_may_have(world: World) -> None:
    service = world.service()
    _, port = world.frps("maxPortsPerClient = 2\n")
    ports = [free_port() for _ in range(3)]
    frpc = world.frpc(port, "", "".join(proxy(f"p{i}", service.port, p) for i, p in enumerate(ports)))
    frpc.wait_for("start proxy success", count=2)
    assert frpc.wait_for("start error").endswith("start error: exceed the max_ports_per_client")
    assert sum(works(p) for p in ports) == 2


def test_any_port_and_the_same_one_when_the_proxy_comes_back(world: World) -> None:
    service = world.service()
    frps, port = world.frps()
    ports: list[int] = []
    for _ in range(2):
        frpc = world.frpc(port, "", proxy("it", service.port, 0))
        frpc.wait_for("[it] start proxy success")
        ports.append(int(frps.wait_for("tcp proxy listen port [", count=len(ports) + 1).rpartition("[")[2].rstrip("]")))
        assert works(ports[-1])
        frpc.kill()
        frps.wait_for("client exit success", count=len(ports))
    assert ports[0] == ports[1]


@pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
def test_a_second_login_with_the_same_run_id_replaces_the_first(world: World, mux: bool) -> None:
    frps, port = world.frps(f"transport.tcpMux = {str(mux).lower()}\n")
    with FrpClient(port, TOKEN, mux=mux) as first, FrpClient(port, TOKEN, mux=mux, run_id="a run id of mine") as second:
        first.run_id = "a run id of mine"
        assert first.log_in().run_id == "a run id of mine"
        remote = free_port()
        assert first.register("it", remote).error == ""
        assert second.log_in().error == ""
        frps.wait_for("replaced by client [a run id of mine] (control ID 2)")
        assert second.register("it", remote).error == ""  # name and port are free as soon as the login is answered
        assert first.control_ends()
        # the first one's link may no longer bring work connections for the new session
        second.serve_echo()
        assert exchange(remote, b"hello") == b"hello"


def test_a_client_id_that_is_online_under_another_run_id(world: World) -> None:
    _, port = world.frps()
    with FrpClient(port, TOKEN, client_id="me", user="u") as first, FrpClient(port, TOKEN, client_id="me", user="u") as second:
        assert first.log_in().error == ""
        assert second.log_in().error == "client_id [me] for user [u] is already online"
        with FrpClient(port, TOKEN, client_id="me", user="u", run_id=first.run_id) as again:
            assert again.log_in().error == ""


def test_work_connections_that_nobody_asked_for(world: World) -> None:
    _, port = world.frps()
    with FrpClient(port, TOKEN, pool_count=1) as client:
        client.log_in()
        stranger = client.work_connection(run_id="nobody")
        assert client.started(stranger).error == "no client control found for run id [nobody]"
        idle = [client.work_connection() for _ in range(11)]  # P + 10
        refused = client.work_connection()
        assert client.started(refused).error == "work connection pool is full, discarding"
        assert [work.has_ended for work in idle] == [False] * 11


@pytest.mark.parametrize("scope", ["HeartBeats", "NewWorkConns"])
def test_a_client_without_the_scope_that_the_server_wants(world: World, scope: str) -> None:
    frps, port = world.frps(f'auth.additionalScopes = ["{scope}"]\n')
    service, remote = world.service(), free_port()
    frpc = world.frpc(port, "transport.heartbeatInterval = 1\n", proxy("it", service.port, remote))
    if scope == "HeartBeats":
        text = "token in heartbeat doesn't match token from configuration"
        frpc.wait_for(f"pong message contains error: {text}")
        frpc.wait_for("login to server success", count=2)  # and again
    else:
        text = "token in NewWorkConn doesn't match token from configuration"
        frpc.wait_for("start proxy success")
        frpc.wait_for(f"StartWorkConn contains error: {text}")
    frps.wait_for(text)
    frpc.kill()
    same = world.frpc(port, f'transport.heartbeatInterval = 1\nauth.additionalScopes = ["{scope}"]\n', proxy("it", service.port, remote))
    same.wait_for("start proxy success")
    assert exchange(remote, b"hello") == b"hello"


# files


def run(world: World, program: str, *args: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "frp_py", program, *args],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=world.directory,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    return done.returncode, done.stdout, done.stderr


BAD_FILES = {
    "unknown key": ("serverPort = 1\nserverPorts = 2\n", ["serverPorts", "serverPort"]),
    "unknown key of a proxy": ('[[proxies]]\nname = "a"\ntype = "tcp"\nlocalPort = 1\nremotePrt = 2\n', ["remotePrt", "remotePort"]),
    "wrong type": ('serverPort = "seven"\n', ["serverPort"]),
    "wrong type of a proxy's key": ('[[proxies]]\nname = "a"\ntype = "tcp"\nlocalPort = "x"\n', ["localPort"]),
    "no TOML": ("serverPort = = 1\n", ["bad.toml"]),
    "duplicate names": (proxy("twice", 1, 2) + proxy("twice", 3, 4), ["twice"]),
}


@pytest.mark.parametrize("command", [["-c"], ["verify", "-c"]], ids=["start", "verify"])
@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_is_not_right(world: World, what: str, command: list[str]) -> None:
    content, words = BAD_FILES[what]
    (world.directory / "bad.toml").write_text(content)
    code, out, err = run(world, "client", *command, "bad.toml")
    assert (code, err) == (1, "")
    assert [word for word in words if word not in out] == []
    assert "syntax is ok" not in out
    if what == "duplicate names":
        assert out.splitlines()[0] == "proxy name [twice] is duplicated"


@pytest.mark.parametrize("program", ["client", "server"])
def test_a_file_that_is_not_there(world: World, program: str) -> None:
    assert run(world, program, "-c", "none.toml") == (1, "open none.toml: no such file or directory\n", "")


@pytest.mark.parametrize("program", ["client", "server"])
def test_a_good_file_is_verified(world: World, program: str) -> None:
    (world.directory / "good.toml").write_text('auth.token = "x"\n')
    name = {"client": "frpc", "server": "frps"}[program]
    assert run(world, program, "verify", "-c", "good.toml") == (0, f"{name}: the configuration file good.toml syntax is ok\n", "")


def test_a_token_file_that_is_not_there(world: World) -> None:
    for program in ("client", "server"):
        (world.directory / "token.toml").write_text('auth.tokenSource.type = "file"\nauth.tokenSource.file.path = "/no/such/file"\n')
        code, out, err = run(world, program, "-c", "token.toml")
        assert (code, err) == (1, "")
        text = "failed to resolve auth.tokenSource: failed to read file /no/such/file: open /no/such/file: no such file or directory"
        assert text in out


def test_the_server_s_port_is_in_use(world: World) -> None:
    with socket.create_server((HOST, free_port())) as taken:
        port = taken.getsockname()[1]
        frps = world.start("server", f'bindAddr = "{HOST}"\nbindPort = {port}\n')
        assert frps.wait() == 1
        assert last_words(frps) == f"create server listener error, listen tcp {HOST}:{port}: bind: address already in use"


@pytest.mark.parametrize("side", ["server", "client"])
def test_only_one_side_multiplexes(world: World, side: str) -> None:
    off = "transport.tcpMux = false\n"
    frps, port = world.frps(off if side == "server" else "")
    frpc = world.frpc(port, off if side == "client" else "")
    assert frpc.wait(15) == 1
    assert "tcpMux" in last_words(frpc)
    eventually(lambda: "tcpMux" in frps.output or "unknown message type" in frps.output, "the server says why")
