"""A client that was made from a file, and its admin API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from frp_py.client.app import Client
from frp_py.client.sources import ConfigFile
from frp_py.config import load_client
from tests.net.web.helpers import Answer, User
from tests.support.inside import HOST, TOKEN, Frps, merged
from tests.support.ports import free_port


class Filed:
    """A client and its file. `tree` is what the file said at the beginning."""

    def __init__(self, path: Path, tree: dict[str, Any], client: Client) -> None:
        self.path = path
        self.client = client
        self.stopped = trio.Event()
        self._tree = tree

    def write(self, **changes: Any) -> None:
        """Let the file say something else than at the beginning; keys may have dots."""
        self.path.write_text(json.dumps(merged(self._tree, changes)))

    async def reload(self, **changes: Any) -> Any:
        """Write, and read that."""
        self.write(**changes)
        return await self.client.reload()

    @property
    def port(self) -> int:
        return self.client.config.web_server.port

    async def ask(self, method: str, target: str, body: object = None, **fields: str) -> Answer:
        """Ask the API; a `body` that is no bytes goes as JSON."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        with trio.fail_after(10):
            async with await trio.open_tcp_stream(HOST, self.port) as stream:
                return await User(stream, f"{HOST}:{self.port}").ask(target, fields, method=method, body=data)

    async def get(self, target: str) -> Any:
        """The JSON that is there."""
        answer = await self.ask("GET", target)
        assert answer.status == 200, answer
        assert answer.fields["content-type"] == "application/json"
        return answer.json

    async def refusal(self, method: str, target: str, body: object = None) -> tuple[int, str]:
        """Status and text of an error."""
        answer = await self.ask(method, target, body)
        assert answer.json == {"Code": answer.status, "Msg": answer.json["Msg"]}
        return answer.status, answer.json["Msg"]


@asynccontextmanager
async def filed(
    server: Frps | int, directory: Path, changes: dict[str, Any] | None = None, *, web: bool = False, **more: Any
) -> AsyncIterator[Filed]:
    """A client of `server`, or of whoever listens on that port, with a file in `directory`; it may not have logged in yet."""
    port = server if isinstance(server, int) else server.port
    mux = isinstance(server, int) or server.mux
    base = {"serverAddr": HOST, "serverPort": port, "auth": {"token": TOKEN}, "transport": {"tls": {"enable": False}, "tcpMux": mux}}
    tree = merged({**base, "loginFailExit": False, **({"webServer": {"port": free_port()}} if web else {})}, {**(changes or {}), **more})
    path = directory / "frpc.json"
    path.write_text(json.dumps(tree))
    client = Client(load_client(str(path), store=True), ConfigFile(str(path)))
    made = Filed(path, tree, client)

    async def run() -> None:
        await client.run()
        made.stopped.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield made
        nursery.cancel_scope.cancel()
    assert client.users == set()
