"""The web API of a server that runs as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import HOST, World, connect, eventually, exchange, proxy

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def web(port: int, more: str = "") -> str:
    return f"webServer.port = {port}\nenablePrometheus = true\n{more}"


def test_what_flows_is_seen(world: World) -> None:
    port = free_port()
    tunnel = world.tunnel(world.service().port, server=web(port))
    tunnel.server.wait_for(f"dashboard listen on {HOST}:{port}")
    assert exchange(tunnel.port, bytes(100_000)) == bytes(100_000)

    def stats() -> Any:
        return get(port, "/api/proxies/it")

    eventually(lambda: stats()["todayTrafficIn"] == stats()["todayTrafficOut"] == 100_000, "it is counted")
    with connect(tunnel.port) as user:
        user.sendall(b"12345")
        eventually(lambda: get(port, "/api/x/overview")["data"]["trafficOut"] == 100_005, "what flows is counted")
        (shown,) = get(port, "/api/x/proxies/it/connections")["data"]["items"]
        assert shown["user"] == f"{HOST}:{user.getsockname()[1]}"
        assert stats()["curConns"] == 1
        assert stats()["todayTrafficIn"] == 100_000
    eventually(lambda: stats()["todayTrafficIn"] == 100_005, "it is counted")
    tunnel.server.wait_for("http response [/api/proxies/it]: code [200]")
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        assert b'frp_server_traffic_in{name="it",type="tcp"} 100005\n' in answer.read()


def test_a_client_is_kicked_and_comes_back(world: World) -> None:
    port = free_port()
    tunnel = world.tunnel(world.service().port, server=web(port), client='user = "u"\nclientID = "c"')
    began = get(port, "/api/clients/u.c")["firstConnectedAt"]
    urllib.request.urlopen(urllib.request.Request(f"http://{HOST}:{port}/api/x/clients/u.c/kick", method="POST"), timeout=10).close()
    tunnel.server.wait_for("kicked by an operator")
    tunnel.client.wait_for("start proxy success", count=2)
    client = get(port, "/api/clients/u.c")
    assert (client["online"], client["firstConnectedAt"]) == (True, began)
    assert exchange(tunnel.port, b"again") == b"again"


def test_statistics_survive_a_kill(world: World, tmp_path: Path) -> None:
    port, server_port, user_port = free_port(), free_port(), free_port()
    server, _ = world.frps(web(port, 'statistics.path = "kept/statistics.db"'), port=server_port)
    client = world.frpc(server_port, "", proxy("it", world.service().port, user_port))
    client.wait_for("start proxy success")
    exchange(user_port, bytes(1000))
    history = "/api/x/proxies/it/traffic?granularity=day&count=1"
    eventually(lambda: get(port, history)["data"]["history"][0]["trafficIn"] == 1000, "it is written, since somebody looks")
    assert (tmp_path / "kept" / "statistics.db").exists()
    server.kill()
    again, _ = world.frps(web(port, 'statistics.path = "kept/statistics.db"'), port=server_port)
    client.wait_for("start proxy success", count=2, deadline=30)
    exchange(user_port, bytes(11))
    eventually(lambda: get(port, "/api/proxies/it")["todayTrafficIn"] == 1011, "it goes on")
    assert get(port, "/api/traffic/it")["trafficOut"][0] == 1011
    assert get(port, "/api/serverinfo")["totalTrafficIn"] == 1011
    again.stop()
    third, _ = world.frps(web(port, 'statistics.path = "kept/statistics.db"'), port=server_port)
    eventually(lambda: get(port, history)["data"]["history"][0]["trafficOut"] == 1011, "nothing is lost at a regular end")
    assert "error" not in third.output.lower().replace("connect to server error", "")


def test_a_port_that_is_taken_is_fatal(world: World) -> None:
    port = world.service().port
    server = world.start("server", f'bindAddr = "{HOST}"\nbindPort = {free_port()}\nauth.token = "t"\n{web(port)}')
    assert server.wait() == 1
    assert f"listen tcp {HOST}:{port}: bind: address already in use" in server.output.splitlines()[-1]
    assert "frps started successfully" not in server.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "parameters"), [("fuzzing", ""), ("coverage", "[parameters]\nname = 'u.ab'\nkey = 'u.c'\ntype = 'stcp'\n")]
)
def test_schemathesis_finds_nothing(world: World, tmp_path: Path, phase: str, parameters: str) -> None:
    port = free_port()
    server, server_port = world.frps(web(port))
    client = world.frpc(
        server_port, 'user = "u"\nclientID = "c"', "[[proxies]]\nname = 'ab'\ntype = 'stcp'\nsecretKey = 'k'\nlocalPort = 1\n"
    )
    client.wait_for("start proxy success")
    (tmp_path / "schemathesis.toml").write_text(parameters)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]
    command += [f"http://{HOST}:{port}/api/openapi.json", "--phases", phase, "--max-examples", "10", "--max-time", "10", "--seed", "1"]
    command += ["--checks", CHECKS, "--exclude-path", "/api/x/events", "--suppress-health-check", "all"]
    command += ["--generation-database", "none", "--warnings", "off"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert server.output.count("http response [") > 10, done.stdout[-3000:]
    if parameters:
        client.wait_for("start proxy success", count=2)  # it was kicked

    def online() -> bool:
        try:
            return get(port, "/api/v2/proxies/u.ab")["data"]["status"]["phase"] == "online"  # type: ignore[no-any-return]
        except urllib.error.HTTPError:
            return False  # forgotten, as proxies that are offline may be

    # without parameters too it may have been kicked: newer releases take what they send from earlier answers
    eventually(online, "the client is back with its proxy", deadline=30)


def test_hostile_requests_leave_it_alone(world: World) -> None:
    port = free_port()
    world.frps(web(port))
    for request in (
        b"GET /api/v2/proxies/" + b"%2e" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /api/v2/proxies?" + b"page=1&" * 5000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /api/x/system/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /api/clients/\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\0" * 1000,
    ):
        with connect(port) as sock:
            sock.sendall(request)
            sock.settimeout(0.3)
            try:
                sock.recv(100)
            except OSError:
                pass
    assert get(port, "/api/serverinfo")["version"]
