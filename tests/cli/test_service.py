"""What is written for the supervisors, and what they are told."""

from __future__ import annotations

import os
import plistlib
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from frp_py.cli import frpc, frps, service
from frp_py.cli.service import Service, launchd_plist, manager_here, plan, systemd_unit, windows_task
from frp_py.errors import FrpError

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def unit(made: str) -> dict[str, list[str]]:
    """The settings of a unit by name."""
    found: dict[str, list[str]] = {}
    for line in made.splitlines():
        if line and line[0] not in "[#":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def a_service(**changes: Any) -> Service:
    return Service("frps", "frps", ("/opt/frp/bin/frps",), "/etc/frp/frps.toml")._replace(**changes)


def test_a_unit_of_the_system() -> None:
    made = unit(systemd_unit(a_service()))
    assert made["ExecStart"] == ["/opt/frp/bin/frps -c /etc/frp/frps.toml"]
    for name, value in {
        "ExecReload": "/bin/kill -HUP $MAINPID",
        "Restart": "always",
        "LimitNOFILE": "1048576",
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "UMask": "0077",
        "WantedBy": "multi-user.target",
        "LogsDirectory": "frps",
        "WorkingDirectory": "/var/lib/frps",
    }.items():
        assert made[name] == [value]
    assert "LoadCredential" not in made
    assert "User" not in made


def test_a_unit_has_what_the_examples_have() -> None:
    for program in ("frps", "frpc"):
        example = unit((Path(__file__).parents[2] / "conf" / "systemd" / f"{program}.service").read_text())
        made = unit(systemd_unit(Service(program, program, (f"/usr/local/bin/{program}",), f"/etc/frp/{program}.toml")))
        assert {name: value for name, value in made.items() if name != "ExecReload"} == {
            name: value for name, value in example.items() if name != "ExecReload"
        }


def test_a_file_for_root_alone_is_handed_over() -> None:
    made = unit(systemd_unit(a_service(config="/root/50%/frps.toml", hand_over=True)))
    assert made["LoadCredential"] == ["frps.toml:/root/50%%/frps.toml"]
    assert made["ExecStart"] == ["/opt/frp/bin/frps -c ${CREDENTIALS_DIRECTORY}/frps.toml"]
    assert made["ProtectHome"] == ["yes"]


def test_a_unit_for_a_user_of_the_system() -> None:
    made = unit(systemd_unit(a_service(run_as="alice")))
    assert made["User"] == ["alice"]
    assert "DynamicUser" not in made


def test_a_service_sees_home_directories_only_when_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_files_of", lambda command: ("/opt/frp/bin/frps",))
    for config, protection in (("/home/alice/frps.toml", "read-only"), ("/etc/frp/frps.toml", "yes")):
        made = plan("frps", config, manager="systemd", run_as="alice")
        assert unit(made.text)["ProtectHome"] == [protection]


def test_a_unit_of_a_user() -> None:
    made = unit(systemd_unit(a_service(user=True)))
    assert (made["WantedBy"], made["NoNewPrivileges"], made["Restart"]) == (["default.target"], ["yes"], ["always"])
    assert not {"DynamicUser", "ProtectSystem", "AmbientCapabilities", "After"} & set(made)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/a/b-c.toml", "/a/b-c.toml"),
        ("/a b", '"/a b"'),
        ("/50%", "/50%%"),
        ("/$HOME", "/$$HOME"),
        ('/"q\\', '"/\\"q\\\\"'),
        ("/;x", '"/;x"'),
    ],
)
def test_words_of_a_unit_are_quoted(path: str, word: str) -> None:
    assert unit(systemd_unit(a_service(config=path)))["ExecStart"] == [f"/opt/frp/bin/frps -c {word}"]


def test_a_job_of_launchd() -> None:
    job = plistlib.loads(launchd_plist(a_service(run_as="alice")).encode())
    assert job["Label"] == "frp-py.frps"
    assert job["ProgramArguments"] == ["/opt/frp/bin/frps", "-c", "/etc/frp/frps.toml"]
    assert (job["RunAtLoad"], job["KeepAlive"], job["UserName"], job["Umask"]) == (True, True, "alice", 0o077)
    assert job["StandardOutPath"] == "/var/log/frps.log"


def test_a_task_of_windows() -> None:
    made = windows_task(a_service(command=(r"C:\frp & co\python.exe", "-m", "frp_py", "frps"), config=r"C:\my files\frps.toml"))
    task = ET.fromstring(made.encode("utf-16"))
    assert task.findtext(f".//{TASK}Command") == r"C:\frp & co\python.exe"
    assert task.findtext(f".//{TASK}Arguments") == r'-m frp_py frps -c "C:\my files\frps.toml"'
    assert task.findtext(f".//{TASK}UserId") == "S-1-5-19"
    assert task.find(f".//{TASK}BootTrigger") is not None
    assert task.findtext(f".//{TASK}ExecutionTimeLimit") == "PT0S"
    assert task.findtext(f".//{TASK}RestartOnFailure/{TASK}Interval") == "PT1M"
    task = ET.fromstring(windows_task(a_service(user=True)).encode("utf-16"))
    assert task.find(f".//{TASK}LogonTrigger") is not None
    assert task.find(f".//{TASK}UserId") is None


@pytest.mark.parametrize("manager", service.MANAGERS)
def test_every_supervisor_is_told_where_the_file_is(manager: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROGRAMDATA", "/data")
    made = plan("frpc", "/etc/frp/frpc.toml", manager=manager, name="home")
    assert "home" in os.path.basename(made.path)
    assert made.text.encode(made.encoding)
    words = [word for command in (*made.install, *made.uninstall, made.status) for word in command]
    assert any(made.path in word or "home" in word for word in words)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"manager": "openrc"}, "no such supervisor: openrc; there are systemd, launchd, windows"),
        ({"name": "../x"}, "'../x' can't be the name of a service"),
        ({"name": "a\nb"}, "'a\\nb' can't be the name of a service"),
        ({"run_as": "a\nExecStart=x"}, "'a\\nExecStart=x' can't be the name of a user"),
        ({"user": True, "run_as": "x"}, "--user and --run_as exclude each other"),
        ({"config": "a\nb"}, "the name of the configuration file has more than one line"),
    ],
)
def test_what_makes_no_sense(keys: dict[str, object], reason: str) -> None:
    with pytest.raises(FrpError) as error:
        plan("frps", **{"config": "/x", "manager": "systemd", **keys})  # type: ignore[arg-type]
    assert str(error.value) == reason


@pytest.mark.parametrize(
    ("platform", "manager"),
    [("darwin", "launchd"), ("win32", "windows")],
)
def test_the_supervisor_of_this_machine(platform: str, manager: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert manager_here() == manager


def test_linux_without_systemd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert frps.main(["service", "status"]) == 1
    assert capsys.readouterr().out.startswith("this machine doesn't run systemd; ")
    assert frps.main(["service", "install", "--print"]) == 0
    assert capsys.readouterr().out.startswith("# /etc/systemd/system/frps.service\n# Made by `frps service install`.\n[Unit]\n")


def test_a_program_that_only_its_owner_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "frps.toml"
    config.touch()
    monkeypatch.setattr(service, "_command", lambda program: (str(tmp_path / "bin" / "frps"),))
    with pytest.raises(FrpError, match="can't be read by the user that the service would have; install frp_py for everybody"):
        plan("frps", str(config), manager="systemd", must_work=True)
    plan("frps", str(config), manager="systemd", must_work=True, run_as="me")
    plan("frps", str(config), manager="systemd", must_work=True, user=True)
    with pytest.raises(FrpError, match=r"there is no .*none; frps init writes one"):
        plan("frps", str(tmp_path / "none"), manager="systemd", must_work=True, user=True)


def test_who_may_read_a_file_decides_whether_it_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "frps.toml"
    config.touch()
    for visible in (True, False):
        monkeypatch.setattr(service, "_is_visible", lambda path, visible=visible: visible)
        assert ("LoadCredential" in plan("frps", str(config), manager="systemd").text) is not visible
    odd = tmp_path / "a b.toml"
    odd.touch()
    with pytest.raises(FrpError, match="rename it"):
        plan("frps", str(odd), manager="systemd")


def test_who_may_read_a_file(tmp_path: Path) -> None:
    assert service._is_visible("/etc/passwd")
    path = tmp_path / "x"
    assert not service._is_visible(str(path))
    path.touch(0o600)
    assert not service._is_visible(str(path))
    path.chmod(0o644)
    tmp_path.chmod(0o700)
    assert not service._is_visible(str(path))


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is asked, and fails where a file says so."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n[ ! -e {tmp_path}/fail ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_service_comes_and_goes(systemctl: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = systemctl / "frpc.toml"
    config.touch()
    flags = ["--user", "--manager", "systemd", "-c", str(config)]
    path = systemctl / ".config" / "systemd" / "user" / "frpc.service"
    assert frpc.main(["service", "install", *flags]) == 0
    assert f"{path} is written, and frpc runs\njournalctl --user -u frpc -f shows its log\n" in capfd.readouterr().out
    assert unit(path.read_text())["ExecStart"][0].endswith(f" -c {config}")
    asked = systemctl / "asked"
    assert asked.read_text().splitlines() == ["--user daemon-reload", "--user enable frpc", "--user restart frpc"]
    asked.unlink()

    assert frpc.main(["service", "status", *flags]) == 0
    assert asked.read_text() == "--user status --no-pager frpc\n"
    (systemctl / "fail").touch()
    assert frpc.main(["service", "status", *flags]) == 1
    assert frpc.main(["service", "install", *flags]) == 1
    assert "systemctl --user daemon-reload failed with 1\n" in capfd.readouterr().out
    (systemctl / "fail").unlink()
    asked.unlink()

    assert frpc.main(["service", "uninstall", *flags]) == 0
    assert asked.read_text().splitlines() == ["--user disable --now frpc", "--user daemon-reload"]
    assert not path.exists()
    assert config.exists()
    capfd.readouterr()
    assert frpc.main(["service", "uninstall", *flags]) == 1
    assert capfd.readouterr().out == f"there is no {path}\n"


def test_without_a_name_the_usual_file_is_meant(systemctl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frpc.main(["service", "install", "--user", "--manager", "systemd"]) == 1
    expected = systemctl / ".config" / "frp" / "frpc.toml"
    assert capsys.readouterr().out == f"there is no {expected}; frpc init writes one to start from, -c names another\n"
    assert frpc.main(["service", "install", "--print", "--manager", "systemd"]) == 0
    assert unit(capsys.readouterr().out)["ExecStart"][0].endswith(" -c /etc/frp/frpc.toml")


def test_a_supervisor_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert frpc.main(["service", "status", "--manager", "launchd"]) == 1
    assert capsys.readouterr().out == "launchctl is not there\n"
