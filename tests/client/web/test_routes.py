"""The operations of frp's clients: shapes, statuses and texts of behaviour.md 11.4."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from frp_py.client.web import routes
from frp_py.protocol.messages import CloseProxy, NewProxy, NewProxyResp
from tests.client.helpers import Filed, filed
from tests.support.inside import HOST, Lines, ServerSide, frps, logged, proxy
from tests.support.net import until

STORE = {"store.path": "state/store.json"}
TCP = {"name": "dyn", "type": "tcp", "tcp": {"localPort": 10080, "remotePort": 7000}}
TABLES = {"transport": {"bandwidthLimit": ""}, "loadBalancer": {"group": ""}, "healthCheck": {"type": "", "intervalSeconds": 0}}
STORED = {
    "name": "dyn",
    "type": "tcp",
    "tcp": {"name": "dyn", "type": "tcp", **TABLES, "localPort": 10080, "plugin": None, "remotePort": 7000},
}


@asynccontextmanager
async def admin(directory: Path, changes: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[tuple[Filed, ServerSide, Lines]]:
    """A client that has logged in, and its server."""
    with logged() as lines:
        async with frps() as server, filed(server, directory, changes, web=True, **more) as it:
            session = await server.session()
            await lines.wait_for("login to server success")
            yield it, session, lines


# status


async def test_status(tmp_path: Path) -> None:
    proxies = [
        proxy("z", 22),
        proxy("a", 0, plugin={"type": "socks5"}),
        proxy("m", 1),
        {"name": "web", "type": "http", "subdomain": "x", "localIP": "::1", "localPort": 80},
        {"name": "early", "type": "udp", "localPort": 53},
    ]
    async with admin(tmp_path, {"user": "u", "proxies": proxies}) as (it, session, lines):
        for _ in proxies:
            name = (await session.control.expect(NewProxy)).proxy_name
            answer = {"u.m": ("", "port already used"), "u.web": ("x.test:8080,y.test", ""), "u.early": None}.get(name, (":6000", ""))
            if answer is not None:
                await session.control.send(NewProxyResp(name, *answer))
        await lines.wait_for("start proxy success", 3)
        assert await it.get("/api/status") == {
            "tcp": [
                {
                    "name": "a",
                    "type": "tcp",
                    "status": "running",
                    "err": "",
                    "local_addr": "",
                    "plugin": "socks5",
                    "remote_addr": f"{HOST}:6000",
                },
                {
                    "name": "m",
                    "type": "tcp",
                    "status": "start error",
                    "err": "port already used",
                    "local_addr": f"{HOST}:1",
                    "plugin": "",
                    "remote_addr": "",
                },
                {
                    "name": "z",
                    "type": "tcp",
                    "status": "running",
                    "err": "",
                    "local_addr": f"{HOST}:22",
                    "plugin": "",
                    "remote_addr": f"{HOST}:6000",
                },
            ],
            "http": [
                {
                    "name": "web",
                    "type": "http",
                    "status": "running",
                    "err": "",
                    "local_addr": "[::1]:80",
                    "plugin": "",
                    "remote_addr": "x.test:8080,y.test",
                }
            ],
            "udp": [
                {
                    "name": "early",
                    "type": "udp",
                    "status": "wait start",
                    "err": "",
                    "local_addr": f"{HOST}:53",
                    "plugin": "",
                    "remote_addr": HOST,
                }
            ],
        }


async def test_status_without_a_session(tmp_path: Path) -> None:
    with logged() as lines:
        async with frps() as server, filed(server, tmp_path, web=True, proxies=[proxy("a", 1)]) as it:
            server.refuses = True
            await lines.wait_for("connect to server error")
            answer = await it.ask("GET", "/api/status")
            assert (answer.status, answer.body) == (200, b"{}\n")


# reload and stop


async def test_reload(tmp_path: Path) -> None:
    async with admin(tmp_path, proxies=[proxy("a", 1)]) as (it, session, lines):
        await session.accept("a")
        it.write(proxies=[proxy("a", 2)], what=1)
        answer = await it.ask("GET", "/api/reload")
        assert (answer.status, answer.body) == (200, b"")
        assert await session.control.receive() == CloseProxy("a")
        await session.accept("a")
        status, text = await it.refusal("GET", "/api/reload?strictConfig=true")
        assert (status, text.splitlines()[0]) == (400, 'invalid argument: json: unknown field "what"')
        assert lines.count("success reload conf") == 1
        assert (await it.ask("POST", "/api/reload")).status == 405


async def test_stop(tmp_path: Path) -> None:
    async with admin(tmp_path, proxies=[proxy("a", 1)]) as (it, session, _):
        await session.accept("a")
        answer = await it.ask("POST", "/api/stop")
        assert (answer.status, answer.body) == (200, b"")
        assert await session.control.expect(CloseProxy) == CloseProxy("a")
        with trio.fail_after(5):
            await it.stopped.wait()
        with pytest.raises(OSError, match="all attempts to connect"):
            await it.ask("GET", "/api/status")


async def test_what_comes_while_it_stops(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, _lines):
        it.client.stop(1000)
        said = (500, "apply config failed: the client is being stopped")
        assert await it.refusal("POST", "/api/store/proxies", TCP) == said
        assert await it.refusal("GET", "/api/reload") == said
        assert await it.get("/api/store/proxies") == {"proxies": [STORED]}


# the file


async def test_the_file_is_read_and_replaced(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, _, _lines):
        it.path.chmod(0o640)
        answer = await it.ask("GET", "/api/config")
        assert (answer.body, answer.fields["content-type"]) == (it.path.read_bytes(), "text/plain; charset=utf-8")
        assert (await it.ask("PUT", "/api/config", b"rubbish \xff")).status == 200
        assert it.path.read_bytes() == b"rubbish \xff"
        assert it.path.stat().st_mode & 0o777 == 0o640
        assert await it.refusal("PUT", "/api/config", b"") == (400, "body can't be empty")
        assert (await it.refusal("GET", "/api/reload"))[0] == 400
        it.path.unlink()
        assert await it.refusal("GET", "/api/config") == (400, f"invalid argument: open {it.path}: no such file or directory")


async def test_two_who_replace_the_file_do_it_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = most = 0

    def write(path: str, data: bytes) -> None:
        nonlocal writers, most
        writers += 1
        most = max(most, writers)
        time.sleep(0.02)
        writers -= 1

    monkeypatch.setattr(routes, "write_file", write)
    async with admin(tmp_path) as (it, _, _lines), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(it.ask, "PUT", "/api/config", b"x")
    assert most == 1


async def test_without_a_file(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, _, _lines):
        it.client.sources.file = None
        refused = (400, "invalid argument: frpc has no config file path")
        for method, path in (("GET", "/api/config"), ("PUT", "/api/config"), ("GET", "/api/reload"), ("POST", "/api/x/reload")):
            assert await it.refusal(method, path, b"x" if method == "PUT" else None) == refused
        assert (await it.get("/api/x/status"))["configFile"] == ""


# definitions


async def test_definitions_of_what_runs(tmp_path: Path) -> None:
    visitor = {"name": "a/b", "type": "stcp", "serverName": "s", "bindPort": -1}
    async with admin(tmp_path, proxies=[proxy("a/b", 1)], visitors=[visitor]) as (it, _, _lines):
        assert await it.get("/api/proxy/a%2Fb/config") == {
            "name": "a/b",
            "type": "tcp",
            "tcp": {
                "name": "a/b",
                "type": "tcp",
                **TABLES,
                "transport": {"bandwidthLimit": "", "bandwidthLimitMode": "client"},
                "localIP": HOST,
                "localPort": 1,
                "plugin": None,
            },
        }
        completed = {**visitor, "transport": {}, "bindAddr": HOST, "plugin": None}
        assert await it.get("/api/visitor/a%2Fb/config") == {"name": "a/b", "type": "stcp", "stcp": completed}
        assert await it.refusal("GET", "/api/proxy/N/config") == (404, 'proxy "N" not found')
        assert await it.refusal("GET", "/api/visitor/N/config") == (404, 'visitor "N" not found')


# the store


async def test_without_a_store_there_are_no_such_routes(tmp_path: Path) -> None:
    async with admin(tmp_path) as (it, _, _lines):
        for path in ("/api/store/proxies", "/api/store/visitors/a"):
            answer = await it.ask("GET", path)
            assert (answer.status, answer.body.strip()) == (404, b"404 page not found")


async def test_a_proxy_comes_changes_and_goes(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE, proxies=[proxy("other", 1)]) as (it, session, lines):
        await session.accept("other")
        path = tmp_path / "state" / "store.json"
        answer = await it.ask("POST", "/api/store/proxies", {**TCP, "unknown": 1})
        assert (answer.status, answer.json) == (200, STORED)
        assert json.loads(path.read_text()) == {"proxies": [STORED["tcp"]], "visitors": []}
        assert (await session.accept("dyn")).remote_port == 7000
        await until(lambda: "[dyn] start proxy success" in lines)
        assert (await it.get("/api/status"))["tcp"][0]["source"] == "store"
        assert "source" not in (await it.get("/api/status"))["tcp"][1]
        assert await it.refusal("POST", "/api/store/proxies", TCP) == (409, 'conflict: already exists: proxy "dyn"')
        assert await it.get("/api/store/proxies/dyn") == STORED
        assert await it.get("/api/store/proxies") == {"proxies": [STORED]}
        off = {**TCP, "tcp": {"enabled": False}}
        assert (await it.ask("PUT", "/api/store/proxies/dyn", off)).json["tcp"]["enabled"] is False
        assert await session.control.receive() == CloseProxy("dyn")
        assert (await it.get("/api/store/proxies"))["proxies"][0]["tcp"]["enabled"] is False
        assert (await it.get("/api/proxy/dyn/config"))["tcp"]["enabled"] is False
        gone = await it.ask("DELETE", "/api/store/proxies/dyn")
        assert (gone.status, gone.body) == (200, b"")
        assert await it.get("/api/store/proxies") == {"proxies": []}
        for method, body in (("PUT", TCP), ("DELETE", None)):
            assert await it.refusal(method, "/api/store/proxies/dyn", body) == (404, 'not found: not found: proxy "dyn"')
        assert await it.refusal("GET", "/api/store/proxies/dyn") == (404, 'not found: proxy "dyn"')
        said = [line for line in lines.texts if line.startswith("store: ")]
        assert said == ['store: created proxy "dyn"', 'store: updated proxy "dyn"', 'store: deleted proxy "dyn"']
        assert session.control.data == b""


async def test_a_visitor_comes_changes_and_goes(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, lines):
        wish = {"name": "v", "type": "stcp", "stcp": {"serverName": "s", "bindPort": -1}}
        stored = {"name": "v", "type": "stcp", "transport": {}, "serverName": "s", "bindPort": -1, "plugin": None}
        assert (await it.ask("POST", "/api/store/visitors", wish)).json == {"name": "v", "type": "stcp", "stcp": stored}
        await lines.wait_for("[v] start visitor success")
        assert await it.get("/api/store/visitors") == {"visitors": [{"name": "v", "type": "stcp", "stcp": stored}]}
        assert await it.refusal("POST", "/api/store/visitors", wish) == (409, 'conflict: already exists: visitor "v"')
        wish["stcp"]["serverName"] = "t"  # type: ignore[index]
        assert (await it.ask("PUT", "/api/store/visitors/v", wish)).status == 200
        assert (await it.get("/api/store/visitors/v"))["stcp"]["serverName"] == "t"
        await lines.wait_for("visitor removed: [v]")
        assert (await it.ask("DELETE", "/api/store/visitors/v")).status == 200
        assert await it.refusal("GET", "/api/store/visitors/v") == (404, 'not found: visitor "v"')
        assert await it.refusal("PUT", "/api/store/visitors/v", wish) == (404, 'not found: not found: visitor "v"')


async def test_all_of_the_store_sorted(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, _lines):
        for name in "cab":
            await it.ask("POST", "/api/store/proxies", {**TCP, "name": name})
        assert [each["name"] for each in (await it.get("/api/store/proxies"))["proxies"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "parse JSON error: unexpected end of JSON input"),
        (b"{", "parse JSON error: "),
        (b"[" * 100_000, "parse JSON error: exceeded max depth"),
        (b"[]", "parse JSON error: "),
        (b"{} x", "parse JSON error: "),
        ({"type": "tcp", "tcp": {}}, "proxy name is required"),
        ({"name": 1, "type": "tcp", "tcp": {}}, 'parse JSON error: json: "name" is no string'),
        ({"name": "a", "type": "what", "tcp": {}}, "invalid proxy type: what"),
        ({"name": "a", "tcp": {}}, "invalid proxy type: "),
        ({"name": "a", "type": "tcp"}, "exactly one proxy type block is required"),
        ({"name": "a", "type": "tcp", "tcp": None}, "exactly one proxy type block is required"),
        ({"name": "a", "type": "tcp", "tcp": {}, "udp": {}}, "exactly one proxy type block is required"),
        ({"name": "a", "type": "tcp", "udp": {}}, 'proxy type block "udp" does not match type "tcp"'),
        ({"name": "a", "type": "tcp", "tcp": 5}, 'parse JSON error: json: "tcp" is no object'),
        ({"name": "a", "type": "tcp", "tcp": {"localPort": "x"}}, "parse JSON error: "),
        ({"name": "a", "type": "tcp", "tcp": {"plugin": {"type": "what"}}}, "parse JSON error: "),
        ({"name": "a", "type": "tcp", "tcp": {"localPort": 99999}}, "invalid argument: validation error: localPort: "),
        ({"name": "a", "type": "xtcp", "xtcp": {}}, "invalid argument: validation error: "),
    ],
    ids=str,
)
async def test_definitions_that_are_none(body: Any, text: str, tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, _lines):
        for method, path in (("POST", "/api/store/proxies"), ("PUT", "/api/store/proxies/a")):
            status, said = await it.refusal(method, path, body)
            assert status == 400
            assert said.startswith(text)
        assert not (tmp_path / "state").exists()


async def test_a_visitor_s_errors_speak_of_visitors(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, _lines):
        for body, text in (
            ({"type": "stcp", "stcp": {}}, "visitor name is required"),
            ({"name": "a", "type": "tcp", "tcp": {}}, "invalid visitor type: tcp"),
            ({"name": "a", "type": "stcp", "sudp": {}}, 'visitor type block "sudp" does not match type "stcp"'),
            ({"name": "a", "type": "stcp", "stcp": {"serverName": "s"}}, "invalid argument: validation error: "),
        ):
            status, said = await it.refusal("POST", "/api/store/visitors", body)
            assert (status, said[: len(text)]) == (400, text)


async def test_the_name_in_the_url_is_that_of_the_body(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE) as (it, _, _lines):
        await it.ask("POST", "/api/store/proxies", TCP)
        assert await it.refusal("PUT", "/api/store/proxies/a", TCP) == (400, "proxy name in URL must match name in body")
        assert await it.refusal("GET", "/api/store/proxies/%ff") == (400, "invalid proxy name")
        inside = {**TCP, "tcp": {"Name": "another", "TYPE": "udp", "localPort": 5}}
        assert (await it.ask("PUT", "/api/store/proxies/dyn", inside)).json["tcp"]["name"] == "dyn"


@pytest.mark.parametrize("name", ["a b", "ä/ö", "<script>alert(1)</script>", "..", "a%b", "\u202e", "x" * 500])
async def test_names_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    from urllib.parse import quote

    async with admin(tmp_path, STORE) as (it, session, _):
        assert (await it.ask("POST", "/api/store/proxies", {**TCP, "name": name})).json["name"] == name
        assert (await session.control.expect(NewProxy)).proxy_name == name
        path = f"/api/store/proxies/{quote(name, safe='')}"
        assert (await it.get(path))["tcp"]["name"] == name
        assert (await it.get("/api/x/status"))["proxies"][0]["name"] == name
        assert (await it.ask("DELETE", path)).status == 200


async def test_when_it_can_not_be_kept_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with admin(tmp_path, STORE) as (it, session, lines):

        def fail(fd: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            status, text = await it.refusal("POST", "/api/store/proxies", TCP)
            assert status == 500
            assert text.startswith("failed to persist: ")
        assert await it.get("/api/store/proxies") == {"proxies": []}
        assert session.control.data == b""
        assert "proxy added" not in lines


async def test_an_entry_of_the_file_is_replaced_and_comes_back(tmp_path: Path) -> None:
    async with admin(tmp_path, STORE, proxies=[proxy("dyn", 1, 5)]) as (it, session, _):
        assert (await session.accept("dyn")).remote_port == 5
        await it.ask("POST", "/api/store/proxies", TCP)
        assert await session.control.receive() == CloseProxy("dyn")
        assert (await session.accept("dyn")).remote_port == 7000
        await it.ask("DELETE", "/api/store/proxies/dyn")
        assert await session.control.receive() == CloseProxy("dyn")
        assert (await session.accept("dyn")).remote_port == 5


async def test_a_client_that_starts_with_the_store_of_another(tmp_path: Path) -> None:
    """What is kept is there after a restart."""
    async with admin(tmp_path, STORE) as (it, session, _):
        await it.ask("POST", "/api/store/proxies", TCP)
        await session.accept("dyn")
    async with admin(tmp_path, STORE) as (it, session, _):
        await session.accept("dyn")
        assert await it.get("/api/store/proxies") == {"proxies": [STORED]}
