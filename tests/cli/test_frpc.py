"""The command frpc: what it starts, prints and returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from frp_py.cli.frpc import COMMON, PROXIES, VISITOR, main
from frp_py.config import client_from_dict
from frp_py.errors import FrpError

if TYPE_CHECKING:
    from tests.cli.conftest import Made

TCP = '\n[[proxies]]\nname = "{}"\ntype = "tcp"\nlocalPort = 22\nremotePort = 6000\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "frpc.toml"
    path.write_text('serverAddr = "frp.example.com"\nlog.disablePrintColor = true\n' + TCP.format("b") + TCP.format("a"))
    return path


def test_a_file_is_run(file: Path, made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(file)]) == 0
    (config,) = made.configs
    assert (config.server_addr, [p.name for p in config.proxies]) == ("frp.example.com", ["a", "b"])
    out, err = capfd.readouterr()
    assert [line.split("] ", 2)[2] for line in out.splitlines()] == [
        f"start frpc service for config file [{file}] with aggregated configuration",
        f"frpc service for config file [{file}] stopped",
    ]
    assert err == ""


def test_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for args in ([], ["verify"]):
        assert main(args) == 1
        assert capsys.readouterr().out.startswith("open ./frpc.ini: no such file or directory\n")
    (tmp_path / "frpc.ini").write_text('user = "x"\n')
    assert main(["verify"]) == 0
    assert capsys.readouterr().out == "frpc: the configuration file ./frpc.ini syntax is ok\n"
    assert main(["verify", "-c", ""]) == 0
    assert capsys.readouterr().out == "frpc: the configuration file is not specified\n"


def test_warnings_are_one_block(file: Path, made: type[Made], capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('log.level = "error"\ntransport.tls = {enable=false, certFile="c", keyFile="k"}\n')
    warning = (
        "WARNING: transport.tls.certFile is invalid when transport.tls.enable is false\n"
        "transport.tls.keyFile is invalid when transport.tls.enable is false\n"
    )
    assert main(["verify", "-c", str(file)]) == 0
    assert capsys.readouterr().out == f"{warning}frpc: the configuration file {file} syntax is ok\n"
    assert main(["-c", str(file)]) == 0
    assert capsys.readouterr().out == warning


def test_a_failed_login_is_printed(file: Path, made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    made.failure = FrpError("login to the server failed: x. With loginFailExit enabled, no additional retries will be attempted")
    assert main(["-c", str(file)]) == 1
    assert str(made.failure) in capfd.readouterr().out.splitlines()


def test_one_proxy_without_a_file(made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    args = "tcp -s 192.0.2.1 -P 7001 -t x -n ssh -l 22 -r 6000 --ue --metadatas a=1 -u me --tls_enable=false --disable_log_color"
    assert main(args.split()) == 0
    assert made.configs == [
        client_from_dict(
            {
                "serverAddr": "192.0.2.1",
                "serverPort": 7001,
                "auth": {"token": "x"},
                "user": "me",
                "transport": {"tls": {"enable": False}},
                "log": {"disablePrintColor": True},
                "proxies": [
                    {
                        "name": "ssh",
                        "type": "tcp",
                        "localPort": 22,
                        "remotePort": 6000,
                        "metadatas": {"a": "1"},
                        "transport": {"useEncryption": True},
                    }
                ],
            },
            environ={},
        )
    ]
    assert capfd.readouterr() == ("", "")


def test_flags_alone_mean_the_server_on_this_machine(made: type[Made]) -> None:
    assert main(["tcp", "-n", "x"]) == 0
    assert made.configs[0].server_addr == "127.0.0.1"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["tcp"], "name should not be empty"),
        (["http", "-n", "x"], "subdomain and custom domains should not be both empty"),
        (["tcpmux", "-n", "x", "--sd", "y"], "not support multiplexer: "),
        (["tcp", "-n", "x", "-l", "70000"], "localPort: localPort: port number 70000 must be in the range 0..65535"),
        (["stcp", "visitor", "-n", "x", "--server_name", "y"], "bind port is required"),
        (["tcp", "-n", "x", "-p", "y"], "invalid transport.protocol, optional values are [tcp kcp quic websocket wss]"),
    ],
)
def test_errors_of_one_proxy_do_not_name_it(args: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{text}\n")
    assert err == ""


def test_one_proxy_of_a_kind_that_is_not_built_is_refused(
    made: type[Made], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("frp_py.config.supported.not_yet_supported", lambda config: ["it is not supported yet"])
    monkeypatch.delattr("frp_py.config.not_yet_supported", raising=False)
    assert main(["udp", "-n", "x"]) == 1
    assert capsys.readouterr().out == "it is not supported yet\n"
    assert made.configs == []


def test_every_flag_stands_for_a_key_that_exists() -> None:
    keys: dict[str, set[str]] = {}
    for key in json.loads((Path(__file__).parents[1] / "data" / "config_keys.json").read_text()):
        keys.setdefault(key["scope"], set()).add(key["key"])
    assert {f.key for f in COMMON} <= keys["frpc"]
    assert {f.key for f in VISITOR} <= keys["visitor.base"]
    for kind, flags in PROXIES.items():
        assert {f.key for f in flags} <= keys["proxy.base"] | keys[f"proxy.{kind}"], kind


def test_a_directory_of_files(tmp_path: Path, made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    good = [tmp_path / "a.toml", tmp_path / "sub" / "b"]
    for path in good:
        path.write_text(f'log.disablePrintColor = true\nuser = "{path.name}"\n')
    bad = tmp_path / "c.toml"
    bad.write_text("nope = 1\n")
    assert main(["--config_dir", str(tmp_path), "-c", "ignored"]) == 0
    assert sorted(c.user for c in made.configs) == ["a.toml", "b"]
    out = capfd.readouterr().out
    assert f'json: unknown field "nope"\n  in {bad}' in out
    assert f"frpc service error for config file [{bad}]\n" in out
    for path in good:
        assert f"start frpc service for config file [{path}] with aggregated configuration\n" in out
        assert f"frpc service for config file [{path}] stopped\n" in out


def test_a_client_of_a_directory_that_fails_does_not_concern_the_others(
    tmp_path: Path, made: type[Made], capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text('log.level = "error"\n')
    made.failure = FrpError("login to the server failed: x")
    assert main(["--config_dir", str(tmp_path)]) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == [
        f"frpc service error for config file [{tmp_path / name}]: login to the server failed: x" for name in ("a", "b")
    ]


def test_a_directory_that_is_not_there(tmp_path: Path, made: type[Made]) -> None:
    assert main(["--config_dir", str(tmp_path / "none")]) == 0
    assert made.configs == []
