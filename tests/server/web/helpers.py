"""A server with its web server, clients made by hand, and somebody who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from frp_py.server.app import Server
from frp_py.server.statistics import Record
from tests.net.web.helpers import Answer, User
from tests.support.inside import HOST, Peer, Peers, peers_of, running_server
from tests.support.net import until
from tests.support.ports import free_port


class Site:
    """`server`, its clients by `peers`, and its API."""

    def __init__(self, server: Server, peers: Peers) -> None:
        self.server = server
        self.peers = peers
        self.port = server.config.web_server.port

    @asynccontextmanager
    async def user(self) -> AsyncIterator[User]:
        async with await trio.open_tcp_stream(HOST, self.port) as stream:
            yield User(stream, f"{HOST}:{self.port}")

    async def ask(self, target: str, method: str = "GET", fields: Mapping[str, str] | None = None) -> Answer:
        async with self.user() as user:
            with trio.fail_after(5):
                return await user.ask(target, fields, method=method)

    async def get(self, target: str) -> Any:
        """What is answered with 200."""
        answer = await self.ask(target)
        assert (answer.status, answer.fields["content-type"]) == (200, "application/json"), answer
        assert answer.body.endswith(b"\n")
        return answer.json

    async def data(self, target: str, method: str = "GET") -> Any:
        """What is in the envelope of version 2."""
        answer = await self.ask(target, method)
        assert answer.status == 200, answer
        envelope = answer.json
        assert (set(envelope), envelope["code"], envelope["msg"]) == ({"code", "msg", "data"}, 200, "success")
        return envelope["data"]

    async def refused(self, target: str, method: str = "GET") -> tuple[int, str]:
        """The status and what is said."""
        answer = await self.ask(target, method)
        said = answer.json
        if "/api/v2/" in target or "/api/x/" in target:
            assert said == {"code": answer.status, "msg": said["msg"], "data": None}
            return answer.status, said["msg"]
        assert said == {"Code": answer.status, "Msg": said["Msg"]}
        return answer.status, said["Msg"]

    async def client(self, user: str = "u", client_id: str = "c", **login: Any) -> Peer:
        return await self.peers.logged_in(user=user, client_id=client_id, **login)

    def count(self, name: str, n: int, m: int) -> Record:
        """As a connection would when it ends."""
        record = self.server.statistics.records[name]
        record.traffic_in += n
        record.traffic_out += m
        self.server.statistics.dirty.add(record)
        return record

    async def leaves(self, peer: Peer) -> None:
        """Return when the server has noticed."""
        before = self.server.statistics.clients
        peer.close()
        await until(lambda: self.server.statistics.clients == before - 1)


@asynccontextmanager
async def running_site(**changes: Any) -> AsyncIterator[Site]:
    """Keys of the configuration have __ for dots."""
    settings = {"webServer.port": free_port(), **{key.replace("__", "."): value for key, value in changes.items()}}
    async with running_server(settings) as server, peers_of(server) as peers:
        yield Site(server, peers)
