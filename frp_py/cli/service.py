"""`frps service` and `frpc service`: running by themselves, under the system's own supervisor.

systemd on Linux, launchd on macOS, the task scheduler on Windows, which needs no program between it and Python. What is installed is
a text, and a few commands of the supervisor; both can be shown without doing anything.
"""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from frp_py.errors import FrpError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from frp_py.cli.flags import Values

_SUMMARY = {
    "frps": "frp server: makes services of machines behind NAT reachable",
    "frpc": "frp client: makes services of this machine reachable at a frp server",
}
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}"
_HOMES = ("/home", "/root", "/run/user")
"""What a service doesn't see with ProtectHome."""

_HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
"""


class Service(NamedTuple):
    """What is to run: `command` without the configuration file; `run_as` is a user of the system, empty for one made by systemd."""

    program: str
    name: str
    command: tuple[str, ...]
    config: str
    user: bool = False
    run_as: str = ""
    hand_over: bool = False
    """The file is readable for its owner alone; systemd hands the service a copy."""
    sees_homes: bool = False
    """The program or its file is in somebody's home directory."""


class Plan(NamedTuple):
    """A file, and what is run before and after it is there. `notes` are for whoever installs."""

    path: str
    text: str
    encoding: str
    install: tuple[tuple[str, ...], ...]
    uninstall: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    notes: str


# systemd


def systemd_unit(service: Service) -> str:
    """The unit: a hardened one of the system, or a plain one of a user."""
    config = service.config
    if service.hand_over:
        config = f"${{CREDENTIALS_DIRECTORY}}/{os.path.basename(service.config)}"
    command = " ".join(map(_systemd_word, service.command))
    lines = f"""\
# Made by `{service.program} service install`.
[Unit]
Description={_SUMMARY[service.program]}
"""
    if not service.user:
        lines += "Wants=network-online.target\nAfter=network-online.target\n"
    lines += f"""\

[Service]
ExecStart={command} -c {config if service.hand_over else _systemd_word(config)}
"""
    if service.hand_over:
        source = service.config.replace("%", "%%")
        lines += f"# {source} is readable for its owner alone: a copy is handed over at each start, so changes need a restart.\n"
        lines += f"LoadCredential={os.path.basename(service.config)}:{source}\n"
    lines += """\
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2
TimeoutStopSec=5
LimitNOFILE=1048576
"""
    if service.user:
        return f"{lines}NoNewPrivileges=yes\nUMask=0077\n\n[Install]\nWantedBy=default.target\n"
    who = f"User={service.run_as}" if service.run_as else "# A user that exists only while it runs.\nDynamicUser=yes"
    lines += f"""\

{who}
# Where log.to may point: /var/log/{service.name}/
LogsDirectory={service.name}
StateDirectory={service.name}
WorkingDirectory=/var/lib/{service.name}
# Ports below 1024
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE

{_HARDENED.format(home="read-only" if service.sees_homes else "yes")}
[Install]
WantedBy=multi-user.target
"""
    return lines


def _systemd_word(word: str) -> str:
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./:@%$+,=-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _systemd(service: Service) -> Plan:
    control = ("systemctl", "--user") if service.user else ("systemctl",)
    directory = os.path.join(_home(), ".config", "systemd", "user") if service.user else "/etc/systemd/system"
    notes = f"journalctl {'--user ' if service.user else ''}-u {service.name} -f shows its log"
    if service.user:
        notes += "\nloginctl enable-linger keeps it running while you are logged out"
    elif not service.run_as:
        notes += f"\nother files that {service.config} names must be readable for everybody, their paths absolute"
    return Plan(
        os.path.join(directory, f"{service.name}.service"),
        systemd_unit(service),
        "utf-8",
        ((*control, "daemon-reload"), (*control, "enable", service.name), (*control, "restart", service.name)),
        ((*control, "disable", "--now", service.name),),
        (*control, "status", "--no-pager", service.name),
        notes,
    )


# launchd


def launchd_plist(service: Service) -> str:
    """The job for launchd."""
    logs = os.path.join(_home(), "Library", "Logs") if service.user else "/var/log"
    job = {
        "Label": _label(service),
        "ProgramArguments": [*service.command, "-c", service.config],
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": 5,
        "ProcessType": "Background",
        "Umask": 0o077,
        "StandardOutPath": f"{logs}/{service.name}.log",
        "StandardErrorPath": f"{logs}/{service.name}.log",
        "SoftResourceLimits": {"NumberOfFiles": 65536},
        "HardResourceLimits": {"NumberOfFiles": 65536},
    }
    if service.run_as:
        job["UserName"] = service.run_as
    return plistlib.dumps(job, sort_keys=False).decode()


def _label(service: Service) -> str:
    return f"frp-py.{service.name}"


def _launchd(service: Service) -> Plan:
    domain = f"gui/{os.getuid()}" if service.user else "system"
    directory = os.path.join(_home(), "Library", "LaunchAgents") if service.user else "/Library/LaunchDaemons"
    path = os.path.join(directory, f"{_label(service)}.plist")
    job = f"{domain}/{_label(service)}"
    return Plan(
        path,
        launchd_plist(service),
        "utf-8",
        (("launchctl", "bootstrap", domain, path),),
        (("launchctl", "bootout", job),),
        ("launchctl", "print", job),
        f"its log is {'~/Library/Logs' if service.user else '/var/log'}/{service.name}.log",
    )


# Windows


def windows_task(service: Service) -> str:
    """The task for the scheduler: from the start of the machine (or the login of a user) on, started again when it ends."""
    from xml.sax.saxutils import escape

    account = service.run_as or "S-1-5-19"  # LOCAL SERVICE
    if service.user:
        who = "<LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel>"
    else:
        logon = "<LogonType>S4U</LogonType>" if service.run_as else ""
        who = f"<UserId>{escape(account)}</UserId>{logon}<RunLevel>LeastPrivilege</RunLevel>"
    program, arguments = service.command[0], (*service.command[1:], "-c", service.config)
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>{escape(_SUMMARY[service.program])}</Description></RegistrationInfo>
  <Triggers>{"<LogonTrigger/>" if service.user else "<BootTrigger/>"}</Triggers>
  <Principals><Principal id="Author">{who}</Principal></Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(program)}</Command>
      <Arguments>{escape(subprocess.list2cmdline(arguments))}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def _windows(service: Service) -> Plan:
    directory = os.path.join(os.environ.get("PROGRAMDATA", r"C:\ProgramData"), "frp")
    path = os.path.join(directory, f"{service.name}.xml")
    return Plan(
        path,
        windows_task(service),
        "utf-16",
        (("schtasks", "/Create", "/F", "/TN", service.name, "/XML", path), ("schtasks", "/Run", "/TN", service.name)),
        (("schtasks", "/End", "/TN", service.name), ("schtasks", "/Delete", "/F", "/TN", service.name)),
        ("schtasks", "/Query", "/V", "/FO", "LIST", "/TN", service.name),
        "it has no console: set log.to to a file",
    )


MANAGERS: dict[str, Callable[[Service], Plan]] = {"systemd": _systemd, "launchd": _launchd, "windows": _windows}


# What is the same everywhere


def manager_here(default: str = "") -> str:
    """The supervisor of this machine, or else the default. Raises FrpError when there is neither."""
    if sys.platform == "darwin":
        return "launchd"
    if sys.platform == "win32":
        return "windows"
    if os.path.isdir("/run/systemd/system"):
        return "systemd"
    if default:
        return default
    raise FrpError("this machine doesn't run systemd; --print shows the unit, --manager chooses another supervisor")


def _home() -> str:
    return os.path.expanduser("~")


def default_config(program: str, *, user: bool) -> str:
    """The file that is taken when none is named."""
    return os.path.join(_home(), ".config", "frp", f"{program}.toml") if user else f"/etc/frp/{program}.toml"


def plan(program: str, config: str, *, manager: str, name: str = "", user: bool = False, run_as: str = "", must_work: bool = False) -> Plan:
    """What has to be done to run the program with a file. Raises FrpError when that makes no sense.

    With `must_work` it also raises when the file isn't there, or the user that the service would have can't read the program.
    """
    if manager not in MANAGERS:
        raise FrpError(f"no such supervisor: {manager}; there are {', '.join(MANAGERS)}")
    name = name or program
    if not re.fullmatch(_NAME, name):
        raise FrpError(f"{name!r} can't be the name of a service")
    if run_as and not re.fullmatch(r"[A-Za-z0-9_.\\ $@-]+", run_as):
        raise FrpError(f"{run_as!r} can't be the name of a user")
    if user and run_as:
        raise FrpError("--user and --run_as exclude each other")
    if "\n" in config:
        raise FrpError("the name of the configuration file has more than one line")
    path = os.path.abspath(config) if config else default_config(program, user=user)
    exists = os.path.isfile(path)
    if must_work and not exists:
        raise FrpError(f"there is no {path}; {program} init writes one to start from, -c names another")
    command = _command(program)
    hand_over = False
    if manager == "systemd" and not user and not run_as:
        if must_work:
            _check_visible(command)
        hand_over = exists and not _is_visible(path)
        if hand_over and not re.fullmatch(r"[A-Za-z0-9_.-]+", os.path.basename(path)):
            raise FrpError(f"{path} is readable for its owner only, and systemd can't hand it over under that name; rename it")
    needed = [*_files_of(command), *([] if hand_over else [path])]
    sees_homes = any(file.startswith(f"{home}/") for file in needed for home in _HOMES)
    return MANAGERS[manager](Service(program, name, command, path, user, run_as, hand_over, sees_homes))


def _command(program: str) -> tuple[str, ...]:
    """What starts the program: the script that was installed beside this Python, or this Python itself."""
    suffix = ".exe" if sys.platform == "win32" else ""
    script = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), program + suffix)
    if os.path.exists(script):
        return (script,)
    return (os.path.abspath(sys.executable), "-m", "frp_py", program)


def _files_of(command: Sequence[str]) -> tuple[str, ...]:
    """Where the program is: its script, its Python, its modules."""
    return command[0], os.path.realpath(sys.executable), os.path.dirname(os.path.abspath(__file__))


def _check_visible(command: Sequence[str]) -> None:
    for path in _files_of(command):
        if not _is_visible(path):
            raise FrpError(
                f"{path} can't be read by the user that the service would have; install frp_py for everybody "
                "(python3 -m venv /opt/frp, then /opt/frp/bin/pip install), or use --user, or --run_as and your name"
            )


def _is_visible(path: str) -> bool:
    """Whether any user may read it."""
    path = os.path.realpath(path)
    try:
        if not os.stat(path).st_mode & stat.S_IROTH:
            return False
        while (parent := os.path.dirname(path)) != path:
            path = parent
            if not os.stat(path).st_mode & stat.S_IXOTH:
                return False
    except OSError:
        return False
    return True


def command(act: str, program: str, values: Values) -> int:
    """`PROGRAM service install|uninstall|status` with these flags; returns the exit code. Raises FrpError."""
    only_shown = values["print"]
    manager = values["manager"] or manager_here(default="systemd" if only_shown else "")
    found = plan(
        program,
        values["config"] if "config" in values.given else "",
        manager=manager,
        name=values["name"],
        user=values["user"],
        run_as=values["run-as"],
        must_work=act == "install" and not only_shown,
    )
    if only_shown:
        sys.stdout.write(f"# {found.path}\n{found.text}" if manager == "systemd" else found.text)
        return 0
    if act == "status":
        return status(found)
    if act == "uninstall":
        uninstall(found)
        print(f"{found.path} is removed")
        return 0
    install(found)
    print(f"{found.path} is written, and {values['name']} runs\n{found.notes}")
    return 0


def install(plan: Plan) -> None:
    """Write the file, and make the supervisor run it. Raises FrpError."""
    try:
        os.makedirs(os.path.dirname(plan.path), exist_ok=True)
        with open(plan.path, "w", encoding=plan.encoding) as file:
            file.write(plan.text)
    except OSError as error:
        raise _not_allowed(plan.path, error) from None
    for command in plan.install:
        _run(command)


def uninstall(plan: Plan) -> None:
    """Stop it, and remove the file; what isn't there is no fault. Raises FrpError."""
    if not os.path.exists(plan.path):
        raise FrpError(f"there is no {plan.path}")
    for command in plan.uninstall:
        _run(command, may_fail=True)
    try:
        os.unlink(plan.path)
    except OSError as error:
        raise _not_allowed(plan.path, error) from None
    for command in plan.install:
        if command[-1] == "daemon-reload":
            _run(command)


def status(plan: Plan) -> int:
    """Show what the supervisor says; 0 when it says that the service runs. Raises FrpError."""
    return 1 if _run(plan.status, may_fail=True) else 0


def _run(command: Sequence[str], *, may_fail: bool = False) -> int:
    if shutil.which(command[0]) is None:
        raise FrpError(f"{command[0]} is not there")
    sys.stdout.flush()
    code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    if code and not may_fail:
        raise FrpError(f"{' '.join(command)} failed with {code}")
    return code


def _not_allowed(path: str, error: OSError) -> FrpError:
    hint = "; run it as root, or with --user" if isinstance(error, PermissionError) else ""
    return FrpError(f"{path}: {(error.strerror or str(error)).lower()}{hint}")
