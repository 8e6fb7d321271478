"""The command frps: what it starts, prints and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from frp_py.cli.frps import CONFIG_FLAGS, main
from frp_py.config import server_from_dict
from frp_py.errors import ConfigError, FrpError

if TYPE_CHECKING:
    from tests.cli.conftest import Made


ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "frps.toml"
    path.write_text('bindPort = 7001\nlog.disablePrintColor = true\nauth.token = "x"\n')
    return path


@pytest.mark.parametrize("args", [["-v"], ["--version"], ["-c", "nothing", "-v"], ["--version=true", "-p", "1"]])
def test_version(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    assert capsys.readouterr() == ("0.70.1\n", "")


def test_a_file_is_run(file: Path, made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(file), "--bind_port", "1"]) == 0
    (config,) = made.configs
    assert (config.bind_port, config.auth.token, config.web_server.addr) == (7001, "x", "127.0.0.1")
    (source,) = made.sources
    assert source.path == str(file)
    assert source.load() == config
    file.write_text("bindPort = 7002\nquicBindPort = 7003\nkcpBindPort = 7003\n")
    with pytest.raises(ConfigError, match="kcpBindPort is not supported yet\nquicBindPort is not supported yet"):
        source.load()
    out, err = capfd.readouterr()
    assert out.endswith(f"] frps uses config file: {file}\n")
    assert out.count("\n") == 1
    assert err == ""


def test_flags_alone_are_a_configuration(made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    args = "-p 7002 --bind_addr 192.0.2.1 -t secret --allow_ports 1-2,3 --tls_only --log_level warn --disable_log_color"
    assert main(args.split()) == 0
    assert made.configs == [
        server_from_dict(
            {
                "bindAddr": "192.0.2.1",
                "bindPort": 7002,
                "proxyBindAddr": "0.0.0.0",
                "auth": {"token": "secret"},
                "allowPorts": [{"start": 1, "end": 2}, {"single": 3}],
                "transport": {"tls": {"force": True}},
                "log": {"level": "warn", "disablePrintColor": True},
                "webServer": {"addr": "0.0.0.0", "user": "admin", "password": "admin"},
            }
        )
    ]
    assert capfd.readouterr() == ("", "")


def test_flags_alone_are_logged(made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--disable_log_color"]) == 0
    assert capfd.readouterr().out.endswith("] frps uses command line arguments for config\n")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], None),
        (["--dashboard_tls_mode"], ""),
        (["--dashboard_tls_mode", "true", "--dashboard_tls_cert_file", "c"], "c"),
        (["--dashboard_tls_cert_file", "c"], "c"),
        (["--dashboard_tls_cert_file", "c", "--dashboard_tls_mode=false"], None),
    ],
)
def test_https_of_the_dashboard(args: list[str], expected: str | None, made: type[Made], capsys: pytest.CaptureFixture[str]) -> None:
    if expected is not None:
        args = [*args, "--dashboard_tls_key_file", "k"]
    code = main(args)
    if expected == "":
        assert code == 1
        assert capsys.readouterr().out.startswith("tls.certFile must be specified when tls is enabled\n")
        return
    assert code == 0
    tls = made.configs[0].web_server.tls
    assert (tls and tls.cert_file) == expected


def test_every_flag_stands_for_a_key_that_exists() -> None:
    keys = {k["key"] for k in json.loads((ROOT / "tests" / "data" / "config_keys.json").read_text()) if k["scope"] == "frps"}
    assert {f.key for f in CONFIG_FLAGS} - keys == {""}
    assert [f.name for f in CONFIG_FLAGS if not f.key] == ["dashboard-tls-mode"]
    assert len(CONFIG_FLAGS) == 25


def test_an_invalid_file_is_told_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "frps.toml"
    path.write_text("bindPort = 70000\n")
    assert main(["-c", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("bindPort: port number 70000 must be in the range 0..65535\n")
    assert err == ""
    assert main(["-c", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().out.startswith(f"open {tmp_path / 'none'}: no such file or directory\n")


def test_the_name_of_a_file_need_not_be_text() -> None:
    done = subprocess.run([sys.executable, "-m", "frp_py", "server", "-c", b"\xff.toml"], capture_output=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout == b"open \\udcff.toml: no such file or directory\n"


def test_strict_and_lenient(file: Path, made: type[Made], capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('nope = 1\nlog.level = "error"')
    assert main(["-c", str(file)]) == 1
    assert capsys.readouterr().out.startswith('json: unknown field "nope"\n')
    assert main(["-c", str(file), "--strict_config=false"]) == 0


def test_unsafe_features_must_be_allowed(file: Path, made: type[Made], capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text('log.level = "error"\nauth.tokenSource.type="exec"\nauth.tokenSource.exec.command="x"')
    assert main(["-c", str(file)]) == 1
    assert capsys.readouterr().out.startswith('unsafe feature "TokenSourceExec" is not enabled')
    assert main(["-c", str(file), "--allow-unsafe", "TokenSourceExec"]) == 0


def test_a_key_that_is_not_supported_is_refused_by_name(
    file: Path, made: type[Made], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frp_py.config.supported.not_yet_supported", lambda config: ["a is not supported yet", "b is not supported yet"])
    monkeypatch.delattr("frp_py.config.not_yet_supported", raising=False)
    assert main(["-c", str(file)]) == 1
    assert capsys.readouterr() == ("a is not supported yet\nb is not supported yet\n", "")
    assert made.configs == []


@pytest.mark.parametrize("when_made", [True, False])
def test_a_failed_start_is_printed(when_made: bool, file: Path, made: type[Made], capfd: pytest.CaptureFixture[str]) -> None:
    made.failure = FrpError("create server listener error, listen tcp 0.0.0.0:7001: bind: address already in use")
    made.fails_when_made = when_made
    assert main(["-c", str(file)]) == 1
    assert capfd.readouterr().out.splitlines()[1:] == [str(made.failure)]


def test_verify(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-c", str(file), "-v"]) == 0
    assert capsys.readouterr() == (f"frps: the configuration file {file} syntax is ok\n", "")
    file.write_text("bindPort = 70000")
    assert main(["-c", str(file), "verify"]) == 1
    out, err = capsys.readouterr()
    assert "syntax is ok" not in out
    assert err == ""
    assert main(["verify"]) == 0
    assert capsys.readouterr() == ("frps: the configuration file is not specified\n", "")


def test_verify_does_not_warn_of_the_old_format(tmp_path: Path, made: type[Made], capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "frps.ini"
    path.write_text("[common]\nbind_port = 7000\nlog_level = error\n")
    assert main(["verify", "-c", str(path)]) == 0
    assert capsys.readouterr().out == f"frps: the configuration file {path} syntax is ok\n"
    assert main(["-c", str(path)]) == 0
    assert capsys.readouterr().out == (
        "WARNING: ini format is deprecated and the support will be removed in the future, please use yaml/json/toml format instead!\n"
    )


@pytest.mark.parametrize(
    ("args", "first"),
    [
        (["nope"], 'Error: unknown command "nope" for "frps"\n'),
        (["--nope"], "Error: unknown flag: --nope\n"),
        (["-p", "abc"], 'Error: invalid argument "abc" for "-p, --bind-port" flag: strconv.ParseInt: parsing "abc": invalid syntax\n'),
        (["--strict_config", "false"], 'Error: unknown command "false" for "frps"\n'),
    ],
)
def test_misuse_is_told_on_standard_error(args: list[str], first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(first)
