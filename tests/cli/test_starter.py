"""frps init and frpc init write files that work together, and never touch what is there."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path

import pytest

from frp_py.cli import frpc, frps
from frp_py.config import ClientConfig, ServerConfig, client_from_dict, load_client, load_server, not_yet_supported, server_from_dict


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("http_proxy", raising=False)


def half(text: str, program: str) -> str:
    """The file for the other side, as it is printed."""
    return text.partition(f"# {program}.toml\n")[2]


def server_and_client(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[ServerConfig, ClientConfig]:
    assert frps.main(["init", *args]) == 0
    client = client_from_dict(tomllib.loads(half(capsys.readouterr().out, "frpc")))
    return load_server("frps.toml"), client


def client_and_server(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[ClientConfig, ServerConfig]:
    assert frpc.main(["init", *args]) == 0
    server = server_from_dict(tomllib.loads(half(capsys.readouterr().out, "frps")))
    return load_client("frpc.toml"), server


def fits(client: ClientConfig, server: ServerConfig) -> bool:
    port = getattr(client.proxies[0], "remote_port", 0)
    assert not_yet_supported(client) == not_yet_supported(server) == []
    return (
        client.auth.token == server.auth.token
        and len(client.auth.token) >= 32
        and client.server_port == server.bind_port
        and any(ports.start <= port <= ports.end for ports in server.allow_ports)
    )


def test_both_halves_fit(capsys: pytest.CaptureFixture[str]) -> None:
    server, client = server_and_client(capsys)
    assert fits(client, server)
    assert server.transport.tls.force
    assert client.transport.tls.enable
    again, server = client_and_server(capsys)
    assert fits(again, server)
    assert again.auth.token != client.auth.token
    assert not again.login_fail_exit


def test_flags_set_keys(capsys: pytest.CaptureFixture[str]) -> None:
    server, client = server_and_client(
        capsys, "-p", "7100", "-t", 'se"cret', "--vhost_http_port", "80", "--allow_ports", "1-2,3", "--bind_addr", "::1"
    )
    assert (server.bind_port, server.auth.token, server.vhost_http_port, server.bind_addr) == (7100, 'se"cret', 80, "::1")
    assert [(p.start, p.end, p.single) for p in server.allow_ports] == [(1, 2, 0), (0, 0, 3)]
    assert (client.server_port, client.auth.token) == (7100, 'se"cret')
    again, there = client_and_server(capsys, "-s", "h.example", "-P", "7200", "-t", "x", "-u", "bob", "--tls_enable=false")
    assert (again.server_addr, again.server_port, again.user, again.transport.tls.enable) == ("h.example", 7200, "bob", False)
    assert (there.bind_port, there.auth.token) == (7200, "x")


@pytest.mark.parametrize("program", ["frps", "frpc"])
def test_what_is_switched_off_is_good_too(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"frps": frps, "frpc": frpc}[program].main(["init"]) == 0
    path = Path(f"{program}.toml")
    switched_on = re.sub(r"^#(?=[a-zA-Z\[])", "", path.read_text(), flags=re.MULTILINE)
    assert switched_on != path.read_text()
    path.write_text(switched_on)
    if program == "frps":
        assert load_server(str(path)).vhost_http_port == 80
    else:
        assert [proxy.type for proxy in load_client(str(path)).proxies] == ["tcp", "http", "stcp"]


@pytest.mark.parametrize("args", [["init"], ["init", "frps.toml"], ["init", "-c", "frps.toml"]])
def test_a_file_that_is_there_stays(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("frps.toml")
    path.write_text("bindPort = 1\n")
    path.chmod(0o644)
    assert frps.main(args) == 1
    assert capsys.readouterr() == ("frps.toml is there already; --force replaces it\n", "")
    assert path.read_text() == "bindPort = 1\n"
    assert frps.main([*args, "--force"]) == 0
    assert load_server("frps.toml").bind_port == 7000
    assert os.listdir() == ["frps.toml"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_its_owner_can_read_it() -> None:
    before = os.umask(0)
    try:
        assert frpc.main(["init", "mine.toml"]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("mine.toml").stat().st_mode) == 0o600


def test_a_flag_with_a_value_that_can_not_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert frps.main(["init", "--bind_port", "70000"]) == 1
    assert capsys.readouterr().out.startswith("bindPort: port number 70000 must be in the range 0..65535\n")
    assert os.listdir() == []


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_directory_that_is_not_there(force: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert frps.main(["init", "none/frps.toml", *force]) == 1
    assert capsys.readouterr() == ("none/frps.toml can't be written: no such file or directory\n", "")
