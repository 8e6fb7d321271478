"""Another configuration for a server that runs."""

from __future__ import annotations

import gc
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trustme
from trio.testing import MockClock

from frp_py import log as logs
from frp_py import server_from_dict
from frp_py.config import to_dict
from frp_py.config.base import Bandwidth, Section
from frp_py.config.common import TlsFiles
from frp_py.config.server import HttpPluginConfig, PortsRange, ServerConfig
from frp_py.errors import ConfigError, FrpError
from frp_py.net import watch
from frp_py.net.transports import tls
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.messages import Pong
from frp_py.server.app import Server, Source
from frp_py.server.reload import HOW, Reloaded, keys_of, merged, split
from frp_py.server.work import WorkPool
from tests.support.inside import (
    HOST,
    TOKEN,
    Clock,
    connect,
    ending,
    logged,
    peers_of,
    proxy,
    receive_all,
    receive_exactly,
    running_client,
    running_server,
    service,
    started,
)
from tests.support.inside import merged as changed
from tests.support.net import until
from tests.support.ports import free_port

server_context = tls.server_context  # running_server puts another one in its place


class Running:
    """A server, and the tree of its file."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tree = to_dict(server.config)
        server.source = Source("frps.toml", self.load)

    def load(self) -> ServerConfig:
        return server_from_dict(self.tree)

    async def reload(self, changes: Mapping[str, Any]) -> Reloaded:
        self.tree = changed(self.tree, changes)
        return await self.server.reload()


@asynccontextmanager
async def running(changes: Mapping[str, Any] | None = None) -> AsyncIterator[Running]:
    async with running_server(changes) as server:
        yield Running(server)


# the table


def with_another(section: Any, path: list[str]) -> Any:
    """A configuration that differs in one key."""
    name, *rest = path
    field = next(field for field in msgspec.structs.fields(section) if field.encode_name == name)
    value = getattr(section, field.name)
    return msgspec.structs.replace(section, **{field.name: with_another(value, rest) if rest else another(name, value)})


def another(name: str, value: Any) -> Any:
    others = {"webServer.tls": TlsFiles(), "allowPorts": (PortsRange(single=1),), "httpPlugins": (HttpPluginConfig(),)}
    if name in others:
        return others[name]
    if name == "tls":
        return TlsFiles(cert_file="x")
    if name == "tokenSource":
        return server_from_dict({"auth": {"tokenSource": {"type": "file", "file": {"path": "/x"}}}}).auth.token_source
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 7
    if isinstance(value, Bandwidth):
        return Bandwidth("1MB")
    return (*value, "x") if isinstance(value, tuple) else f"{value}x"


def test_the_table_has_every_key() -> None:
    assert set(HOW) == {key for key, _ in keys_of(ServerConfig())}


@pytest.mark.parametrize("key", [key for key, _ in keys_of(ServerConfig())])
def test_every_key_is_applied_or_named(key: str) -> None:
    old = ServerConfig()
    new = with_another(old, key.split("."))
    applied, restart = split(old, new)
    assert key in (restart if HOW[key] is None else applied)
    effective = merged(old, new, restart)
    assert effective == (old if HOW[key] is None else new)
    assert split(effective, new) == Reloaded([], restart)
    assert split(old, old) == Reloaded([], [])


def test_what_follows_from_a_key_that_needs_a_restart_stays_with_it() -> None:
    old, new = ServerConfig(), server_from_dict({"transport": {"tcpMux": False, "maxPoolCount": 9}})
    assert new.transport.heartbeat_timeout == 90
    applied, restart = split(old, new)
    assert (applied, restart) == (["transport.maxPoolCount"], ["transport.tcpMux", "transport.heartbeatTimeout"])
    effective = merged(old, new, restart)
    assert (effective.transport.heartbeat_timeout, effective.transport.max_pool_count) == (-1, 9)


def test_values_of_tables_that_may_be_absent() -> None:
    old = server_from_dict({"webServer": {"tls": {"certFile": "a", "keyFile": "b"}}})
    assert dict(keys_of(old))["webServer.tls"] == TlsFiles(cert_file="a", key_file="b")
    assert split(old, ServerConfig()).applied == ["webServer.tls"]
    assert all(not isinstance(value, Section) for _, value in keys_of(ServerConfig()))


# what is said


async def test_it_says_what_it_has_done() -> None:
    with logged() as lines:
        async with running() as run:
            done = await run.reload({"maxPortsPerClient": 3, "subDomainHost": "example.com", "tcpmuxHTTPConnectPort": 9, "bindAddr": "::1"})
            restart = ["bindAddr", "tcpmuxHTTPConnectPort"]
            assert done == Reloaded(["subDomainHost", "maxPortsPerClient"], restart)
            assert lines.texts[-3:] == [
                "success reload conf",
                "changed: subDomainHost, maxPortsPerClient",
                "restart needed for: bindAddr, tcpmuxHTTPConnectPort",
            ]
            assert run.server.config.bind_addr == HOST
            assert run.server.config.max_ports_per_client == 3
            # those that need a restart are named until there is one
            assert await run.reload({}) == Reloaded([], restart)
            assert await run.reload({"bindAddr": HOST, "tcpmuxHTTPConnectPort": 0}) == Reloaded([], [])
            assert lines.texts[-1] == "success reload conf"


async def test_a_server_without_a_file() -> None:
    with logged():
        async with running_server() as server:
            with pytest.raises(ConfigError, match="frps has no config file path"):
                await server.reload()


class Web:
    """A web server that keeps what it is given, unless it is broken."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.given: list[Any] = []
        self.is_broken = is_broken

    def renew(self, config: Any) -> None:
        if self.is_broken:
            raise FrpError("no such folder")
        self.given.append(config)

    def close(self) -> None:
        """At the server's end."""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"log.level": "loud"}, "log level"),
        ({"auth": {"tokenSource": {"type": "file", "file": {"path": "/nowhere/token"}}}}, "/nowhere/token"),
        ({"transport.tls.certFile": "/nowhere/crt", "transport.tls.keyFile": "/nowhere/key"}, "open /nowhere/crt: no such file"),
        ({"transport.tls.trustedCaFile": "/dev/null"}, "failed to parse CA certificate"),
        ({"log.to": "/proc/nowhere/frps.log"}, "log.to: open /proc/nowhere/frps.log: no such file"),
        ({"webServer.assetsDir": "/nowhere"}, "no such folder"),
    ],
)
async def test_when_something_is_wrong_nothing_changes(changes: Mapping[str, Any], said: str) -> None:
    with logged() as lines:
        async with running() as run:
            tls.server_context = server_context  # running_server puts back what was there
            server = run.server
            server.web = Web(is_broken=True)  # type: ignore[assignment]
            before = server.config, server.token, server.tls_context, server.certificates, server.tcp_ports._allowed
            tree = run.tree
            with pytest.raises(ConfigError, match=said):
                await run.reload({"allowPorts": [{"single": 1}], "auth.token": "another", **changes})
            assert before == (server.config, server.token, server.tls_context, server.certificates, server.tcp_ports._allowed)
            assert "success reload conf" not in lines
            run.tree = tree
            assert await run.reload({}) == Reloaded([], [])


async def test_two_at_a_time() -> None:
    with logged() as lines:
        async with running() as run:
            run.tree = changed(run.tree, {"subDomainHost": "example.com"})
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(run.server.reload)
            assert lines.count("success reload conf") == 5
            assert lines.count("changed:") == 1


# credentials


async def test_a_session_goes_on_with_the_token_that_it_began_with() -> None:
    with logged() as lines:
        async with (
            running() as run,
            service() as web,
            running_client(run.server, {}, [proxy("it", web.port, port := free_port(), transport={"useEncryption": True})]),
            peers_of(run.server) as peers,
        ):
            await lines.wait_for("[it] start proxy success")
            peer = await peers.logged_in(pool_count=1)
            assert await run.reload({"auth.token": "another"}) == Reloaded(["auth.token"], [])
            user = await connect(port)
            await user.send_all(b"still encrypted with the old one")
            assert await receive_exactly(await web.accept(), 32) == b"still encrypted with the old one"
            await user.aclose()
            assert (await peer.register("more", remote_port=0)).error == ""
            # whoever comes now needs the new one
            assert (await (await peers.connect()).log_in()).error == "token in login doesn't match token from configuration"
            now = int(time.time())
            assert (await (await peers.connect()).log_in(privilege_key=privilege_key("another", now), timestamp=now)).error == ""


async def test_a_session_goes_on_with_the_scopes_that_it_began_with() -> None:
    with logged():
        async with running() as run, peers_of(run.server) as peers:
            peer = await peers.logged_in()
            await run.reload({"auth.additionalScopes": ["HeartBeats", "NewWorkConns"], "auth.token": "another"})
            await peer.ping()
            assert (await peer.control.expect(Pong)).error == ""
            run.server.controls.running(peer.run_id).work.want(waiter := Waiter())
            await peer.work()
            await until(lambda: waiter.served)
            await run.reload({"auth.token": TOKEN})
            late = await peers.logged_in()
            await late.ping()
            assert (await late.control.expect(Pong)).error
            assert "token" in (await started(await late.work())).error


class Waiter:
    """Somebody who needs a work connection."""

    def __init__(self) -> None:
        self.served = 0

    def serve(self, work: Any) -> bool:
        self.served += 1
        work.end.close()
        return True

    def give_up(self, reason: str) -> None:
        pass


async def test_the_token_of_a_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with logged() as lines:
        async with running({"auth": {"tokenSource": {"type": "file", "file": {"path": str(file)}}}}) as run, peers_of(run.server) as peers:
            await peers.logged_in()
            assert await run.reload({}) == Reloaded([], [])
            file.write_text("another")
            assert await run.reload({}) == Reloaded(["auth.tokenSource"], [])
            assert "doesn't match" in (await (await peers.connect()).log_in()).error
            assert run.server.token == "another"
            assert "auth.token is empty" not in lines
            assert await run.reload({"auth": {"token": ""}}) == Reloaded(["auth.tokenSource"], [])
            assert "auth.token is empty: everybody who reaches the client port may open proxies" in lines


# limits and the rest


async def test_ports() -> None:
    with logged():
        first, second = free_port(), free_port()
        async with running({"allowPorts": [{"single": first}]}) as run, peers_of(run.server) as peers:
            peer = await peers.logged_in()
            assert (await peer.register("a", remote_port=first)).error == ""
            await run.reload({"allowPorts": [{"single": second}], "maxPortsPerClient": 2})
            await (await connect(first)).aclose()  # it stays
            assert (await peer.register("b", remote_port=second)).error == ""
            assert (await peer.register("c", remote_port=second)).error == "exceed the max_ports_per_client"
            await run.reload({"maxPortsPerClient": 0})
            assert (await peer.register("c", remote_port=first)).error == "port already used"
            assert (await peer.register("c", remote_port=free_port())).error == "port not allowed"
            udp = await peer.register("c", proxy_type="udp", remote_port=first)
            assert udp.error == f"acquire port {first} error: port not allowed"


async def test_what_clients_are_told_and_given() -> None:
    with logged():
        async with running({"vhostHTTPPort": free_port(), "subDomainHost": "old.example"}) as run, peers_of(run.server) as peers:
            peer = await peers.logged_in(pool_count=99)
            await peer.register("a", proxy_type="http", subdomain="a")
            await run.reload({"subDomainHost": "new.example", "transport.maxPoolCount": 7, "transport.heartbeatTimeout": 5})
            assert (await peer.register("b", proxy_type="http", subdomain="b")).remote_addr.startswith("b.new.example:")
            assert run.server.proxies["a"].remote_address.startswith("a.old.example:")
            late = await peers.logged_in(pool_count=99)
            sizes = []
            for each in (peer, late):
                pool = run.server.controls.running(each.run_id).work
                assert isinstance(pool, WorkPool)
                sizes.append(pool._size)
            assert sizes == [5, 7]
            await run.reload({"detailedErrorsToClient": False})
            assert (await peer.register("a", proxy_type="http", subdomain="c")).error == "new proxy [a] error"


async def test_heartbeats_of_new_sessions(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running() as run, peers_of(run.server) as peers:
            old = await peers.logged_in()
            await run.reload({"transport.heartbeatTimeout": 3})
            new = await peers.logged_in()
            await clock.forward(5)
            await until(lambda: new.lost)
            assert old.lost == []


async def test_keepalive_of_tcp() -> None:
    with logged():
        async with running({"transport.tcpKeepalive": 100}) as run, peers_of(run.server) as peers:

            async def probed_after() -> int:
                """Seconds, on the connection of a client who comes now."""
                await peers.logged_in()
                link = run.server.controls.all()[-1]._link
                assert link is not None
                assert link._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                return link._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)

            assert await probed_after() == 100
            await run.reload({"transport.tcpKeepalive": 200})
            assert await probed_after() == 200


async def test_how_long_users_wait(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running({"userConnTimeout": 1000}) as run, peers_of(run.server) as peers:
            await (await peers.logged_in()).register("it", remote_port=(port := free_port()))
            user = await connect(port)
            await lines.wait_for("get a user connection")
            await run.reload({"userConnTimeout": 5})
            await clock.forward(3)
            assert "timeout trying to get work connection" not in lines
            await clock.forward(4)
            assert await ending(user) in ("eof", "reset")
            assert "timeout trying to get work connection" in lines


async def test_the_page_for_what_is_not_there(tmp_path: Path) -> None:
    page = tmp_path / "404.html"
    page.write_text("<p>nothing</p>")
    ports = {"vhostHTTPPort": free_port(), "tcpmuxHTTPConnectPort": free_port()}
    with logged():
        async with running(ports) as run:
            await run.reload({"custom404Page": str(page), "tcpmuxPassthrough": True, "vhostHTTPTimeout": 7})
            for port, request in (
                (ports["vhostHTTPPort"], b"GET / HTTP/1.0\r\n\r\n"),
                (ports["tcpmuxHTTPConnectPort"], b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
            ):
                user = await connect(port)
                await user.send_all(request)
                assert (await receive_all(user)).endswith(b"<p>nothing</p>")
            assert run.server.http is not None
            assert run.server.tcpmux is not None
            assert run.server.tcpmux.passthrough
            assert run.server.http.finished.seconds == 67


async def test_penalties() -> None:
    with logged():
        async with running() as run:
            await run.reload({"sourcePenalties": {"longest": 7, "exempt": ["192.0.2.0/24"]}})
            penalties = run.server.penalties
            assert penalties.longest == 7
            assert penalties.offend("192.0.2.9", 100.0, 0.0) == 0
            assert penalties.offend(HOST, 100.0, 0.0) == 7


async def test_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "logs" / "frps.log"
    logger = logging.getLogger("frp_py")
    try:
        async with running() as run:
            await run.reload({"subDomainHost": "example.com"})
            assert logger.propagate  # nothing about the log has changed: it is left alone
            await run.reload({"log": {"to": str(file), "level": "debug"}})
            assert "changed: log.to, log.level" in file.read_text()
            assert logger.level == logging.DEBUG
            await run.reload({"log.level": "error"})
            size = file.stat().st_size
            await run.reload({"subDomainHost": "example.org"})
            assert file.stat().st_size == size
    finally:
        logs.reset()


# certificates


class Authority:
    """Makes certificates, and puts them into files."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.cert, self.key, self.trusted = (str(directory / name) for name in ("crt.pem", "key.pem", "ca.pem"))
        self.ca.cert_pem.write_to_path(self.trusted)
        self.issue()

    def issue(self) -> None:
        issued = self.ca.issue_cert("frp.example")
        Path(self.cert).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(self.key)

    def spoil(self) -> None:
        Path(self.key).write_text("half of a k")

    async def serial(self, port: int) -> str:
        """The number of the certificate that a server shows."""
        context = ssl.create_default_context(cafile=self.trusted)
        stream = trio.SSLStream(await connect(port), context, server_hostname="frp.example")
        with trio.fail_after(5):
            await stream.do_handshake()
        found = stream.getpeercert()
        await trio.aclose_forcefully(stream)
        return str(found["serialNumber"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_on_the_client_port(authority: Authority) -> None:
    with logged() as lines:
        async with running() as run, peers_of(run.server) as peers:
            tls.server_context = server_context  # running_server puts back what was there
            peer = await peers.logged_in()
            port = run.server.config.bind_port
            files = {"certFile": authority.cert, "keyFile": authority.key, "force": True}
            done = await run.reload({"transport.tls": files})
            assert done.applied == ["transport.tls.certFile", "transport.tls.keyFile", "transport.tls.force"]
            first = await authority.serial(port)
            assert (await peer.register("a")).error == ""  # without TLS it came, and stays
            talk = (await peers.connect()).open()
            await talk.send(peer.login())
            assert await talk.ending() in ("eof", "reset")
            await lines.wait_for("non-TLS connection received on a TlsOnly server")
            context = run.server.tls_context
            assert await run.reload({}) == Reloaded([], [])
            assert run.server.tls_context is context
            authority.issue()
            assert await run.reload({}) == Reloaded(["transport.tls.certFile"], [])
            assert await authority.serial(port) != first


async def test_certificates_that_others_renew(authority: Authority, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with running({"transport.tls": {"certFile": authority.cert, "keyFile": authority.key}}) as run:
            tls.server_context = server_context  # running_server puts back what was there
            port = run.server.config.bind_port
            await run.reload({"subDomainHost": "example.com"})
            await clock.forward(65)
            assert "were read again" not in lines
            authority.issue()
            await clock.forward(62)
            assert lines.count("files of certificates have changed, and were read again") == 1
            serial = await authority.serial(port)
            await clock.forward(62)
            assert lines.count("read again") == 1
            authority.spoil()
            await clock.forward(125)
            assert lines.count("files of certificates have changed, and can't be used") == 1
            assert await authority.serial(port) == serial
            authority.issue()
            await clock.forward(62)
            assert lines.count("were read again") == 2
            assert await authority.serial(port) != serial


async def test_the_web_server(authority: Authority, mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged():
        async with running({"webServer.tls": {"certFile": authority.cert, "keyFile": authority.key}}) as run:
            run.server.web = web = Web()  # type: ignore[assignment]
            await run.reload({"subDomainHost": "example.com"})
            assert web.given == []
            done = await run.reload({"webServer.password": "another", "webServer.addr": "::1", "webServer.port": 9})
            assert done == Reloaded(["webServer.password"], ["webServer.addr", "webServer.port"])
            assert [(given.addr, given.port, given.password) for given in web.given] == [("127.0.0.1", 0, "another")]
            authority.issue()
            assert (await run.reload({})).applied == ["webServer.tls"]
            assert len(web.given) == 2
            authority.issue()
            await clock.forward(62)
            assert len(web.given) == 3


# watching


async def test_the_file_is_watched_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = watch.watch_files

    looks = 0

    async def quickly(paths: Any, then: Callable[[], Any]) -> None:
        def look() -> Any:
            nonlocal looks
            looks += 1
            return paths()

        await real(look, then, 0.01)

    monkeypatch.setattr(watch, "watch_files", quickly)
    file = tmp_path / "frps.toml"
    file.write_text("x")
    with logged() as lines:
        async with running() as run:
            run.server.source = Source(str(file), run.load)
            file.write_text("not watched yet")
            await trio.sleep(0.1)
            assert "success reload conf" not in lines
            await run.reload({"watchConfig": True})
            await until(lambda: looks)
            run.tree = changed(run.tree, {"subDomainHost": "example.com"})
            file.write_text("something else")
            await lines.wait_for("changed: subDomainHost")
            run.tree = changed(run.tree, {"nonsense": 1})
            file.write_text("something wrong")
            await lines.wait_for("reload config error: ")
            del run.tree["nonsense"]
            run.tree = changed(run.tree, {"watchConfig": False})
            file.write_text("no more of that")
            await lines.wait_for("changed: watchConfig")
            file.write_text("unseen")
            await trio.sleep(0.1)
            assert lines.count("success reload conf") == 3


# many times


async def test_many_reloads_under_way(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's connection ends, and nothing piles up."""
    tokens = [TOKEN, "another"]
    levels = ["info", "debug"]
    with logged():
        async with (
            running({"transport.tls": {"certFile": authority.cert, "keyFile": authority.key}}) as run,
            service() as web,
            running_client(run.server, {"transport.tls.enable": True}, [proxy("it", web.port, port := free_port())]),
        ):
            tls.server_context = server_context  # running_server puts back what was there
            monkeypatch.setattr(logs, "setup", lambda settings: None)
            await until(lambda: "it" in run.server.proxies)
            user = await connect(port)
            local = await web.accept()
            stopped = False
            echoes = 0

            async def talk() -> None:
                nonlocal echoes
                while not stopped:
                    await user.send_all(b"ping")
                    assert await receive_exactly(local, 4) == b"ping"
                    echoes += 1
                    more = await connect(port)
                    await more.send_all(b"new")
                    other = await web.accept()
                    assert await receive_exactly(other, 3) == b"new"
                    await more.aclose()
                    await other.aclose()

            async def reload(times: int) -> tuple[int, int, int]:
                for n in range(times):
                    if n % 10 == 0:
                        authority.issue()
                    await run.reload(
                        {
                            "auth.token": tokens[n % 2],
                            "log.level": levels[n % 2],
                            "userConnTimeout": 10 + n % 2,
                            "allowPorts": [{"start": 1, "end": 65535 - n % 2}],
                            "watchConfig": n % 2 == 0,
                        }
                    )
                gc.collect()
                return (
                    len(os.listdir("/proc/self/fd")),
                    len(run.server.engine._timeouts),
                    len(run.server._nursery.child_tasks),
                )

            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk)
                first = await reload(20)
                second = await reload(100)
                stopped = True
            assert echoes > 20
            assert second[1:] == first[1:]
            assert abs(second[0] - first[0]) <= 6  # those of the user who comes and goes
            await user.aclose()
