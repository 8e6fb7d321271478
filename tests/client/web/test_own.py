"""What the dashboard asks for beyond frp's API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from frp_py import log
from frp_py.protocol.messages import NewProxy, NewProxyResp
from tests.client.helpers import Filed, filed
from tests.client.web.test_routes import STORE, TCP, admin
from tests.net.web.helpers import User
from tests.support.inside import HOST, frps, logged, proxy


class Listener:
    """Reads events."""

    def __init__(self, user: User) -> None:
        self._user = user

    async def next(self, name: str) -> Any:
        """The data of the next event of this name; others are skipped."""
        with trio.fail_after(5):
            while True:
                piece = (await self._user.until(b"\n\n")).decode()
                lines = dict(line.split(": ", 1) for line in piece.strip().split("\n") if ": " in line)
                if lines.get("event") == name:
                    return json.loads(lines["data"])


class Unchunked(User):
    """Reads a body in chunks."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        super().__init__(stream, host)
        self._raw = bytearray()

    async def _more(self) -> None:
        if not self._raw.startswith(b"HTTP") and b"\r\n" in self._raw:
            size, _, rest = bytes(self._raw).partition(b"\r\n")
            n = int(size, 16)
            if len(rest) >= n + 2:
                self.data += rest[:n]
                self._raw[:] = rest[n + 2 :]
                return
        data = await self.stream.receive_some(65536)
        assert data
        self._raw += data
        if self._raw.startswith(b"HTTP") and b"\r\n\r\n" in self._raw:
            head, _, rest = bytes(self._raw).partition(b"\r\n\r\n")
            assert b"200 OK" in head
            assert b"text/event-stream" in head
            self._raw[:] = rest


@asynccontextmanager
async def listening(it: Filed, query: str = "", **fields: str) -> AsyncIterator[Listener]:
    async with await trio.open_tcp_stream(HOST, it.port) as stream:
        user = Unchunked(stream, f"{HOST}:{it.port}")
        await user.send(f"/api/x/events{query}", fields)
        yield Listener(user)


async def test_status(tmp_path: Path) -> None:
    proxies = [proxy("run", 22, plugin={"type": "socks5"}), proxy("bad", 1), proxy("late", 2)]
    visitors = [{"name": "v", "type": "stcp", "serverName": "s", "bindPort": -1}]
    store = {"proxies": [{"name": "off", "type": "tcp", "enabled": False}, {"name": "kept", "type": "tcp", "localPort": 3}]}
    (tmp_path / "s.json").write_text(json.dumps(store))
    names = ["run", "bad", "late", "v"]
    async with admin(tmp_path, {"store.path": "s.json", "start": names, "proxies": proxies, "visitors": visitors}) as (it, session, lines):
        for _ in range(3):
            name = (await session.control.expect(NewProxy)).proxy_name
            if name != "late":
                await session.control.send(NewProxyResp(name, ":6000", "port not allowed" if name == "bad" else ""))
        await lines.wait_for("start error: port not allowed")
        found = await it.get("/api/x/status")
        assert found["proxies"][0].pop("advice").startswith("choose a remotePort")
        assert found["proxies"][1].pop("advice").startswith("the key `start`")
        common = {"type": "tcp", "err": "", "localAddr": "", "plugin": "", "remoteAddr": "", "source": "config", "enabled": True}
        assert found.pop("proxies") == [
            {**common, "name": "bad", "status": "start error", "err": "port not allowed", "localAddr": f"{HOST}:1"},
            {**common, "name": "kept", "status": "closed", "localAddr": f"{HOST}:3", "source": "store"},
            {**common, "name": "late", "status": "wait start", "localAddr": f"{HOST}:2", "remoteAddr": HOST, "advice": ""},
            {**common, "name": "off", "status": "closed", "source": "store", "enabled": False, "advice": ""},
            {
                **common,
                "name": "run",
                "status": "running",
                "localAddr": f"{HOST}:22",
                "plugin": "socks5",
                "remoteAddr": f"{HOST}:6000",
                "advice": "",
            },
        ]
        assert found.pop("visitors") == [
            {"name": "v", "type": "stcp", "status": "running", "err": "", "advice": "", "bindAddr": "", "source": "config", "enabled": True}
        ]
        assert found.pop("since") > 1e9
        assert found == {
            "connected": True,
            "phase": "connected",
            "runID": "r",
            "serverAddr": f"{HOST}:{it.client.config.server_port}",
            "lastError": "",
            "advice": "",
            "nextTry": 0,
            "configFile": str(it.path),
            "storePath": str(tmp_path / "s.json"),
        }


async def test_status_while_there_is_no_connection(tmp_path: Path) -> None:
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, web=True, proxies=[proxy("a", 1)]) as it:
            await server.session(error="token in login doesn't match token from configuration")
            await lines.wait_for("connect to server error")
            found = await it.get("/api/x/status")
            assert (found["connected"], found["phase"], found["runID"]) == (False, "waiting", "")
            assert found["lastError"].startswith("token in login")
            assert found["advice"] == "auth.token must be the same here and on the server"
            assert 0 < found["nextTry"] - found["since"] < 5
            assert [each["status"] for each in found["proxies"]] == ["closed"]


async def test_a_health_check_that_fails_is_explained(tmp_path: Path) -> None:
    async with admin(tmp_path, proxies=[proxy("it", 1, healthCheck={"type": "tcp"})]) as (it, _, lines):
        await lines.wait_for("do one health check failed")
        (found,) = (await it.get("/api/x/status"))["proxies"]
        assert found["status"] == "new"
    with logged() as lines:
        service = await trio.open_tcp_listeners(0, host=HOST)
        port = service[0].socket.getsockname()[1]
        check = {"type": "tcp", "intervalSeconds": 1}
        async with frps() as server, filed(server, tmp_path, web=True, proxies=[proxy("it", port, healthCheck=check)]) as it:
            await (await server.session()).accept("it")
            await service[0].aclose()
            await lines.wait_for("health check failed")
            (found,) = (await it.get("/api/x/status"))["proxies"]
            assert (found["status"], found["advice"]) == (
                "check failed",
                f"the health check of {HOST}:{port} fails: is the service running?",
            )


async def test_events(tmp_path: Path) -> None:
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, web=True, proxies=[proxy("a", 1)]) as it:
            session = await server.session()
            await lines.wait_for("proxy added: [a]")
            async with listening(it) as listener:
                first = await listener.next("status")
                assert [each["status"] for each in first["proxies"]] == ["wait start"]
                await session.accept("a")
                line = await listener.next("log")
                while line["text"].startswith("http"):
                    line = await listener.next("log")
                assert (line["level"], line["text"]) == ("info", "[r] [a] start proxy success")
                assert isinstance(line["time"], float)
                async with listening(it, f"?after={line['id'] - 1}") as other:
                    assert (await other.next("log"))["id"] == line["id"]
                session.cut()
                second = await listener.next("status")
                while second["connected"]:
                    second = await listener.next("status")
            assert (await it.refusal("GET", "/api/x/events?after=x"))[0] == 400


async def test_the_run_id_is_not_told_to_who_may_only_look(tmp_path: Path) -> None:
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, {"webServer.addr": "0.0.0.0"}, web=True) as it:
            run_id = "5eed0123456789ab"
            await server.session(run_id=run_id)
            await lines.wait_for(f"login to server success, get run id [{run_id}]")
            others = {"X-Forwarded-For": "192.0.2.1"}
            for target, shown in (("/api/x/status", '"runID":""'), ("/api/x/log?after=0", "get run id [***]")):
                assert run_id in (await it.ask("GET", target)).body.decode()
                answer = (await it.ask("GET", target, **others)).body.decode()
                assert run_id not in answer
                assert shown in answer
            for fields, told in ((others, ""), ({}, run_id)):
                async with listening(it, "?after=0", **fields) as listener:
                    assert (await listener.next("status"))["runID"] == told
                    while "login to server" not in (line := (await listener.next("log"))["text"]):
                        pass
                    assert (run_id in line) == bool(told)


async def test_the_log(tmp_path: Path) -> None:
    async with admin(tmp_path, {"transport.heartbeatInterval": 100}) as (it, _, lines):
        await lines.wait_for("send heartbeat")
        found = (await it.get("/api/x/log"))["lines"]
        assert found[0]["text"].startswith("admin server listen on ")
        assert [each["id"] for each in found] == list(range(1, len(found) + 1))
        assert {each["level"] for each in found} == {"info", "debug"}
        assert {each["level"] for each in (await it.get("/api/x/log?level=info"))["lines"]} == {"info"}
        later = (await it.get(f"/api/x/log?after={found[-1]['id']}&level=info"))["lines"]
        assert all(each["id"] > found[-1]["id"] for each in later)
        for query in ("level=loud", "after=-1", "after=1e3", "after=" + "9" * 20):
            assert (await it.refusal("GET", f"/api/x/log?{query}"))[0] == 400


async def test_nothing_is_remembered_when_it_is_over(tmp_path: Path) -> None:
    handlers = list(log._stdlib.handlers)
    async with admin(tmp_path):
        assert len(log._stdlib.handlers) == len(handlers) + 2  # the test's own
    assert log._stdlib.handlers == handlers


async def test_check(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, _, _lines):
        assert (await it.ask("POST", "/api/x/config/check", b"{}")).json["ok"] is True
        found = (await it.ask("POST", "/api/x/config/check", b'{"serverPort": "x"}')).json
        assert found.pop("error").startswith('field "ClientCommonConfig.serverPort"')
        assert found == {"ok": False, "line": None, "column": None, "key": "serverPort"}


async def test_reload(tmp_path: Path) -> None:
    visitor = {"name": "v", "type": "stcp", "serverName": "s", "bindPort": -1}
    async with admin(tmp_path, STORE, proxies=[proxy("a", 1), proxy("b", 1)]) as (it, _, _lines):
        it.write(proxies=[proxy("b", 2), proxy("c", 1)], visitors=[visitor], metadatas={"a": "b"}, user="u")
        answer = await it.ask("POST", "/api/x/reload")
        assert answer.json == {
            "proxies": {"added": ["c"], "changed": ["b"], "removed": ["a"]},
            "visitors": {"added": ["v"], "changed": [], "removed": []},
            "applied": ["metadatas"],
            "restart": ["user"],
        }
        it.write(what=1)
        assert (await it.refusal("POST", "/api/x/reload?strictConfig=true"))[0] == 400
        assert (await it.ask("POST", "/api/x/reload?strictConfig=false")).status == 200


# who may


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/reload"),
        ("POST", "/api/stop"),
        ("PUT", "/api/config"),
        ("POST", "/api/store/proxies"),
        ("PUT", "/api/store/proxies/a"),
        ("DELETE", "/api/store/proxies/a"),
        ("POST", "/api/store/visitors"),
        ("PUT", "/api/store/visitors/a"),
        ("DELETE", "/api/store/visitors/a"),
        ("POST", "/api/x/config/check"),
        ("POST", "/api/x/reload"),
    ],
)
async def test_what_changes_something_is_not_for_pages_of_others(method: str, path: str, tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, _lines):
        answer = await it.ask(method, path, TCP, Origin="http://evil.test", **{"Sec-Fetch-Site": "cross-site"})
        assert answer.status == 403
        assert not it.client._stopping


def test_what_changes_something_says_so(tmp_path: Path) -> None:
    """So that other machines are refused while there is no password."""
    from frp_py.client.app import Client
    from frp_py.client.web import own, routes
    from frp_py.config import client_from_dict

    client = Client(client_from_dict({"store": {"path": str(tmp_path / "s")}}, environ={}))
    operations = [*routes.operations(client), *own.operations(client, log.Recent())]
    reading = {(operation.method, operation.path) for operation in operations if not operation.changes and operation.path != "/api/reload"}
    assert {method for method, _ in reading} == {"GET"}
    assert [operation.path for operation in operations if operation.method == "GET" and operation.changes] == ["/api/reload"]


async def test_a_new_password_counts_from_the_reload_on(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, _, _lines):
        assert (await it.ask("GET", "/api/status")).status == 200
        done = await it.reload(**{"webServer.user": "u", "webServer.password": "p"})
        assert done.applied == ["webServer.user", "webServer.password"]
        assert (await it.ask("GET", "/api/status")).status == 401
        assert (await it.ask("GET", "/api/status", Authorization="Basic dTpw")).status == 200
