"""The shortest ways: `frpc http 8080` instead of names, flags and a file.

A word that is a port or `host:port` takes the place of --local_ip and --local_port; what is then still missing is made up.
frp takes such words and ignores them, so they mean something only where neither of those flags is given.
"""

from __future__ import annotations

import re
import secrets
import shlex
from typing import TYPE_CHECKING, Any

import trio

from frp_py.cli.flags import UsageError
from frp_py.client.advice import advice_for
from frp_py.client.phase import Phase
from frp_py.log import printable

if TYPE_CHECKING:
    from frp_py.cli.flags import Values
    from frp_py.client.app import Client
    from frp_py.client.proxies.base import LocalSide

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_UNTIL_TOLD, _AFTERWARDS = 0.1, 2.0  # s between looks


def address(word: str) -> tuple[str, int] | None:
    """The host, which may be empty, and the port of `[host:]port`; None when it isn't that."""
    match = re.fullmatch(r"(?:(\[[0-9A-Fa-f:.%]+\]|[^:\s/]*):)?([0-9]{1,5})", word)
    if match is None or not 0 < int(match[2]) < 65536:
        return None
    return (match[1] or "").strip("[]"), int(match[2])


def complete(kind: str, values: Values, entry: dict[str, Any]) -> bool:
    """Complete a proxy that was asked for in the shortest way; False when it wasn't. Raises UsageError."""
    if not values.words or values.given & {"local-port", "local-ip"}:
        return False
    found = address(values.words[0])
    if found is None:
        if "proxy-name" in values.given:  # frp's own way, with a word too many
            return False
        raise UsageError(f'"{values.words[0]}" is no port and no host:port')
    host, entry["localPort"] = found
    if host:
        entry["localIP"] = host
    made_up = f"{kind}-{secrets.token_hex(4)}"
    name = entry.setdefault("name", made_up)
    if kind in ("http", "https", "tcpmux") and not entry.get("customDomains") and not entry.get("subdomain"):
        entry["subdomain"] = name if re.fullmatch(_LABEL, name) else made_up
    if kind == "tcpmux":
        entry.setdefault("multiplexer", "httpconnect")
    if kind in ("stcp", "sudp", "xtcp"):
        entry.setdefault("secretKey", secrets.token_urlsafe(16))
    return True


def described(side: LocalSide, server: str, port: int) -> str:
    """How users reach a proxy that runs; `server` and `port` are the client's own way there."""
    config = side.config
    local = f"[{config.local_ip}]" if ":" in config.local_ip else config.local_ip
    if secret := getattr(config, "secret_key", ""):
        user = f" --server-user {shlex.quote(side.session.config.user)}" if side.session.config.user else ""
        there = f"-s {shlex.quote(server)} -P {port} -t TOKEN --server_name {shlex.quote(config.name)}{user} --sk {shlex.quote(secret)}"
        command = f"frpc {config.type} visitor {there} -n me --bind_port {config.local_port}"
        return f"to reach {local}:{config.local_port} from another machine, run there:\n  {command}"
    scheme = f"{config.type}://" if config.type in ("http", "https") else ""
    host = f"[{server}]" if ":" in server else server
    places = [f"{scheme}{place if place[:1] != ':' else host + place}" for place in side.remote_address.split(",")]
    how = " (by HTTP CONNECT)" if config.type == "tcpmux" else "/udp" if config.type == "udp" else ""
    return f"{', '.join(places)}{how} leads to {local}:{config.local_port}"


class Announced:
    """A client with one proxy that tells on standard output where users find it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the client."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell)
            await self._client.run(task_status=task_status)
            nursery.cancel_scope.cancel()

    async def reload(self) -> object:
        """There is no file to read again. Raises ConfigError."""
        return await self._client.reload()

    async def _tell(self) -> None:
        told = ""
        while True:
            text = ""
            for side in self._client.session.proxies.values() if self._client.session else ():
                if side.phase is Phase.RUNNING:
                    config = self._client.config
                    text = described(side, config.server_addr, config.server_port)
                elif side.phase is Phase.START_ERROR:
                    advice = advice_for(side.error)
                    text = f"the server refuses: {side.error}" + (f"\n  -> {advice}" if advice else "")
            if text and text != told:
                print("\n".join(map(printable, text.split("\n"))), flush=True)
                told = text
            await trio.sleep(_AFTERWARDS if told else _UNTIL_TOLD)
