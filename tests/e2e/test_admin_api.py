"""The admin API of real clients, and the commands that ask it."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.ports import free_port
from tests.support.programs import HOST, ROOT, Program, World, eventually, proxy, works


def command(world: World, client: Program, name: str, *flags: str) -> tuple[int, str]:
    """Exit code and output of `frpc NAME -c FILE`."""
    done = subprocess.run(
        [sys.executable, "-m", "frp_py", "client", name, "-c", str(client.config_path), *flags],
        capture_output=True,
        text=True,
        cwd=world.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def ask(port: int, method: str, path: str, body: object = None, user: str = "") -> tuple[int, Any]:
    """Status and answer: JSON, or text."""
    headers = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", data, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            content, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        with error:
            content, status = error.read(), error.code
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content.decode()


def test_status_reload_and_stop(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    web, first, second = free_port(), free_port(), free_port()
    common = f'webServer = {{ port = {web}, user = "me", password = "pw" }}\n'
    client = world.frpc(port, common, proxy("one", service.port, first))
    client.wait_for("[one] start proxy success")
    assert command(world, client, "status") == (
        0,
        "Proxy Status...\n\nTCP\n"
        + f"{'Name':<6}{'Status':<9}{'LocalAddr':<17}{'Plugin':<8}{'RemoteAddr':<17}Error  \n"
        + f"{'one':<6}{'running':<9}{f'{HOST}:{service.port}':<17}{'':<8}{f'{HOST}:{first}':<17}{'':<7}\n\n",
    )
    text = client.config_path.read_text()
    client.config_path.write_text(text + proxy("two", service.port, second))
    assert command(world, client, "reload") == (0, "reload success\n")
    client.wait_for("success reload conf")
    client.wait_for("[two] start proxy success")
    assert works(first)
    assert works(second)
    client.config_path.write_text("what = 1\n" + text)
    code, said = command(world, client, "reload")
    assert (code, said.splitlines()[0]) == (1, 'json: unknown field "what"')  # it reads the file itself, to find the client
    code, said = command(world, client, "reload", "--strict_config=false")
    assert (code, said) == (0, "reload success\n")
    client.config_path.write_text('auth.method = "no"\n' + text)
    code, said = command(world, client, "reload")
    assert (code, said.splitlines()[:2]) == (
        1,
        ["api status code [400]", "  invalid argument: invalid auth method, optional values are [token oidc]"],
    )
    client.config_path.write_text(text.replace('password = "pw"', 'password = "no"'))
    assert command(world, client, "status") == (1, "api status code [401]\n  Unauthorized\n")
    client.config_path.write_text(text)
    assert command(world, client, "stop") == (0, "stop success\n")
    assert client.wait() == 0
    assert client.output.rstrip().endswith(f"frpc service for config file [{client.config_path}] stopped")
    code, said = command(world, client, "status")
    assert (code, said) == (1, f'Get "http://{HOST}:{web}/api/status": dial tcp {HOST}:{web}: connect: connection refused\n')


def test_a_proxy_that_is_added_works_and_is_there_again_after_a_restart(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    web, remote = free_port(), free_port()
    client = world.frpc(port, f'webServer.port = {web}\nstore.path = "state/s.json"\n')
    client.wait_for("login to server success")
    definition = {"name": "dyn", "type": "tcp", "tcp": {"localPort": service.port, "remotePort": remote}}
    assert ask(web, "POST", "/api/store/proxies", definition)[0] == 200
    client.wait_for("[dyn] start proxy success")
    assert works(remote)
    client.kill()
    again = world.start("client", client.config_path.read_text())
    again.wait_for("[dyn] start proxy success")
    assert works(remote)
    assert ask(web, "DELETE", "/api/store/proxies/dyn") == (200, "")
    again.wait_for("proxy removed: [dyn]")
    eventually(lambda: not works(remote, 1), "it is closed")


def test_a_visitor_that_is_added_leads_to_the_proxy(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    web, bind = free_port(), free_port()
    client = world.frpc(port, f'webServer.port = {web}\nstore.path = "s.json"\n')
    client.wait_for("login to server success")
    secret = {"name": "s", "type": "stcp", "stcp": {"localPort": service.port, "secretKey": "k"}}
    visitor = {"name": "v", "type": "stcp", "stcp": {"serverName": "s", "secretKey": "k", "bindPort": bind}}
    assert ask(web, "POST", "/api/store/proxies", secret)[0] == 200
    assert ask(web, "POST", "/api/store/visitors", visitor)[0] == 200
    client.wait_for("[s] start proxy success")
    assert works(bind)
    assert ask(web, "DELETE", "/api/store/visitors/v")[0] == 200
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, bind), 1)


def test_the_file_is_edited_from_afar(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    web, remote = free_port(), free_port()
    client = world.frpc(port, f"webServer.port = {web}\n")
    client.wait_for("login to server success")
    status, text = ask(web, "GET", "/api/config")
    assert (status, text) == (200, client.config_path.read_text())
    text += proxy("new", service.port, remote)
    assert ask(web, "POST", "/api/x/config/check", text.encode()) == (
        200,
        {"ok": True, "error": "", "line": None, "column": None, "key": None},
    )
    assert ask(web, "PUT", "/api/config", text.encode()) == (200, "")
    assert ask(web, "GET", "/api/reload?strictConfig=true") == (200, "")
    client.wait_for("[new] start proxy success")
    assert works(remote)


def test_https(world: World) -> None:
    _, port = world.frps()
    authority = trustme.CA()
    pair = authority.issue_cert(HOST)
    certificate, key = world.directory / "c.pem", world.directory / "k.pem"
    pair.cert_chain_pems[0].write_to_path(str(certificate))
    pair.private_key_pem.write_to_path(str(key))
    web = free_port()
    client = world.frpc(port, f'webServer = {{ port = {web}, tls = {{ certFile = "c.pem", keyFile = "k.pem" }} }}\n')
    client.wait_for("login to server success")
    assert command(world, client, "status") == (0, "Proxy Status...\n\n")

    def shown() -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((HOST, web), 5) as sock, context.wrap_socket(sock) as connection:
            return connection.getpeercert(True) or b""

    before = shown()
    renewed = authority.issue_cert(HOST)
    renewed.cert_chain_pems[0].write_to_path(str(certificate))
    renewed.private_key_pem.write_to_path(str(key))
    assert shown() == before
    assert command(world, client, "reload") == (0, "reload success\n")
    assert shown() != before


def test_the_port_is_free_when_the_first_login_has_failed(world: World) -> None:
    web = free_port()
    client = world.frpc(free_port(), f"webServer.port = {web}\n")
    assert client.wait() == 1
    lines = client.output
    assert lines.index(f"admin server listen on {HOST}:{web}") < lines.index("try to connect to server...")
    assert "login to the server failed: " in lines
    socket.create_server((HOST, web)).close()


def test_a_port_that_is_taken(world: World) -> None:
    with socket.create_server((HOST, 0)) as taken:
        web = taken.getsockname()[1]
        client = world.frpc(free_port(), f"webServer.port = {web}\n")
        assert client.wait() == 1
    assert f"listen tcp {HOST}:{web}: bind: address already in use" in client.output
    assert "try to connect" not in client.output


def test_without_the_api_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys, trio; from frp_py import Client, client_from_dict\n"
        "tree = {'serverAddr': '127.0.0.1', 'serverPort': 1, 'proxies': [{'name': 'a', 'type': 'tcp'}]}\n"
        "c = Client(client_from_dict(tree, environ={}))\n"
        "try: trio.run(c.run)\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print(*(n for n in sys.modules if n.split('.')[0] in ('starlette', 'anyio', 'sqlite3') or '.web' in n or n.endswith('.store')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.stdout == "FrpError\n\n", done.stderr


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.parametrize("phase", ["fuzzing", "coverage"])
def test_schemathesis_finds_nothing(world: World, phase: str) -> None:
    service = world.service()
    _, port = world.frps()
    web, remote = free_port(), free_port()
    client = world.frpc(port, f'webServer.port = {web}\nstore.path = "s.json"\n', proxy("it", service.port, remote))
    client.wait_for("[it] start proxy success")
    (world.directory / "schemathesis.toml").write_text("[parameters]\nname = 'it'\n" if phase == "coverage" else "")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run"]
    command += [f"http://{HOST}:{web}/api/openapi.json", "--phases", phase, "--max-examples", "10", "--max-time", "5", "--seed", "1"]
    command += ["--checks", CHECKS, "--exclude-path", "/api/x/events", "--exclude-path", "/api/stop", "--suppress-health-check", "all"]
    command += ["--generation-database", "none", "--warnings", "off"]
    done = subprocess.run(command, cwd=world.directory, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert client.output.count("http response [") > 100, done.stdout[-3000:]
    assert works(remote)
