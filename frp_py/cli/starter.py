"""`frps init` and `frpc init`: a file to start from, and the half that the other side needs."""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import tomli

from frp_py.config import client_from_dict, server_from_dict, to_toml
from frp_py.errors import FrpError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SERVER_ADDRESS = "frp.example.com"


class _Setting(NamedTuple):
    """A line of the file; one that isn't `on` is there as a comment until a flag sets it."""

    key: str
    value: Any
    comment: str
    on: bool = True


_SERVER = (
    _Setting("bindPort", 7000, "Port that clients connect to. The firewall must let it through."),
    _Setting("auth.token", "", "The secret that clients must know too. Whoever knows it can open ports here."),
    _Setting(
        "allowPorts", [{"start": 6000, "end": 6999}], "Ports that clients may open for their users. The firewall must let them through too."
    ),
    _Setting("transport.tls.force", True, "Let nobody in who doesn't use TLS. Clients use it unless they are told not to."),
    _Setting("vhostHTTPPort", 80, "Web sites: the ports that all http and all https proxies share.", on=False),
    _Setting("vhostHTTPSPort", 443, "", on=False),
    _Setting(
        "subDomainHost",
        _SERVER_ADDRESS,
        "Names for them: clients may have any below this one. In DNS, *.frp.example.com must lead to this server.",
        on=False,
    ),
    _Setting("maxPortsPerClient", 10, "How many ports one client may have.", on=False),
    _Setting("log.to", "/var/log/frps/frps.log", "A file for the log instead of the console.", on=False),
)
_CLIENT = (
    _Setting("serverAddr", _SERVER_ADDRESS, "Name or address of the machine that runs frps, and the port (its bindPort)."),
    _Setting("serverPort", 7000, ""),
    _Setting("auth.token", "", "The secret, the same as there."),
    _Setting("loginFailExit", False, "Keep trying when the server can't be reached at first, e.g. while this machine starts."),
    _Setting("user", "alice", "Goes before the names of the proxies, so that several clients can have proxies of the same name.", on=False),
    _Setting("log.to", "/var/log/frpc/frpc.log", "A file for the log instead of the console.", on=False),
)
_PROXIES = """\

# Services of this machine that users reach at the server. A table for each.

# ssh -p 6000 user@SERVER
[[proxies]]
name = "ssh"
type = "tcp"
localPort = 22
remotePort = 6000

# A web site at http://www.example.com. The server needs vhostHTTPPort, and the name must lead to it.
#[[proxies]]
#name = "web"
#type = "http"
#localPort = 8080
#customDomains = ["www.example.com"]

# A service for nobody but those who know secretKey; they run: frpc stcp visitor --help
#[[proxies]]
#name = "database"
#type = "stcp"
#localPort = 5432
#secretKey = "another-secret"
"""
_ONE_PROXY = """
[[proxies]]
name = "ssh"
type = "tcp"
localPort = 22
remotePort = 6000
"""
_WHAT = {"frps": "frps, the server that users and clients connect to", "frpc": "frpc, which runs beside the services"}


def _line(key: str, value: Any) -> str:
    """`key = value`, in one line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        inner = ", ".join(f"{{ {', '.join(f'{name} = {item}' for name, item in entry.items())} }}" for entry in value)
        return f"{key} = [{inner}]\n"
    return f"{key}{to_toml({'x': value}).removeprefix('x').rstrip()}\n"


def _text(program: str, settings: Sequence[_Setting], given: Mapping[str, Any]) -> str:
    name = f"{program}.toml"
    text = f"# The configuration of {_WHAT[program]}.\n"
    text += f"# Check it: {program} verify -c {name}    Find out what is wrong: {program} doctor -c {name}\n"
    left = dict(given)
    for setting in settings:
        is_on = setting.on or setting.key in left
        text += f"\n# {setting.comment}\n" if setting.comment else ""
        text += ("" if is_on else "#") + _line(setting.key, left.pop(setting.key, setting.value))
    if left:
        text += "\n# From the command line.\n" + "".join(_line(key, value) for key, value in left.items())
    return text


def server_file(given: Mapping[str, Any]) -> tuple[str, str]:
    """frps's file, in which the keys of `given` have these values, and a file for its clients."""
    values = {"auth.token": secrets.token_urlsafe(24), **given}
    half = _line("serverAddr", _SERVER_ADDRESS) + _line("serverPort", values.get("bindPort", 7000))
    return _text("frps", _SERVER, values), half + _line("auth.token", values["auth.token"]) + _ONE_PROXY


def client_file(given: Mapping[str, Any]) -> tuple[str, str]:
    """frpc's file, in which the keys of `given` have these values, and a file for its server."""
    values = {"auth.token": secrets.token_urlsafe(24), **given}
    half = _line("bindPort", values.get("serverPort", 7000)) + _line("auth.token", values["auth.token"])
    return _text("frpc", _CLIENT, values) + _PROXIES, half + _line("allowPorts", [{"start": 6000, "end": 6999}])


def write(path: str, text: str, *, force: bool) -> None:
    """Write a file that only its owner can read; one that is there stays unless `force`. Raises FrpError."""
    try:
        if force:
            descriptor, made = tempfile.mkstemp(dir=os.path.dirname(path) or ".")  # readable for nobody else from the beginning
        else:
            descriptor, made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), path
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(made, path)
    except FileExistsError:
        raise FrpError(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise FrpError(f"{path} can't be written: {(error.strerror or str(error)).lower()}") from None


def init(program: str, path: str, given: Mapping[str, Any], *, force: bool) -> str:
    """Write the file; returns what to tell. Raises FrpError."""
    text, half = (server_file if program == "frps" else client_file)(given)
    (server_from_dict if program == "frps" else client_from_dict)(tomli.loads(text))  # a flag may have a value that can't be
    write(path, text, force=force)
    other = "frpc" if program == "frps" else "frps"
    where = "each client, with the name or address of this machine as serverAddr" if program == "frps" else "the server"
    return f"""\
{path} is written; only you can read it. Start it: {program} -c {path}

The other half is a file {other}.toml on {where}. Start it: {other} -c {other}.toml

# {other}.toml
{half}"""
