"""Whom the shared ports send away is in the log, with his address: there are programs that shut out whom they find there."""

from __future__ import annotations

import base64
import logging

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection

from tests.support.inside import connect, ending, logged, peers_of, receive_all, running_server, started
from tests.support.net import until
from tests.support.ports import free_port

SECRET = {"http_user": "u", "http_pwd": "p", "custom_domains": ("it.test",)}
WRONG = base64.b64encode(b"u:wrong").decode()
HELLO = bytes.fromhex(
    "1603010043 0100003f 0303" + "00" * 32 + "00 0002 1301 0100 0014 0000 0010 000e 00000b" + b"nobody.test".hex()
)  # of a client that asks for nobody.test


@pytest.mark.parametrize(
    ("port_key", "kind", "sent", "line"),
    [
        (
            "vhostHTTPPort",
            "http",
            f"GET / HTTP/1.1\r\nHost: it.test\r\nAuthorization: Basic {WRONG}\r\n\r\n".encode(),
            "http user connection [{}] refused: wrong credentials for [it.test]",
        ),
        ("vhostHTTPPort", "http", b"GET  HTTP/1.1\r\n\r\n", "http user connection [{}] refused: "),
        (
            "vhostHTTPPort",
            "http",
            b"GET / HTTP/1.1\r\nHost: other\r\n\r\n",
            "do http proxy request [host: other] error: no route found: other / (from [{}])",
        ),
        (
            "tcpmuxHTTPConnectPort",
            "tcpmux",
            f"CONNECT it.test:1 HTTP/1.1\r\nHost: it.test\r\nProxy-Authorization: Basic {WRONG}\r\n\r\n".encode(),
            "tcpmux user connection [{}] refused: wrong credentials for [it.test]",
        ),
        (
            "tcpmuxHTTPConnectPort",
            "tcpmux",
            b"CONNECT other:1 HTTP/1.1\r\n\r\n",
            "tcpmux user connection [{}] refused: no proxy for [other]",
        ),
        ("vhostHTTPSPort", "https", HELLO, "https user connection [{}] refused: no proxy for [nobody.test]"),
        ("vhostHTTPSPort", "https", b"GET / HTTP/1.1\r\n\r\n", "https user connection [{}] closed: "),
    ],
)
async def test_who_is_sent_away(port_key: str, kind: str, sent: bytes, line: str) -> None:
    port = free_port()
    with logged() as lines:
        async with running_server({port_key: port}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            assert (await peer.register("it", proxy_type=kind, multiplexer="httpconnect", **SECRET)).error == ""
            logging.getLogger("frp_py").setLevel(logging.INFO)  # it is found in the log of everybody
            user = await connect(port)
            host, user_port = user.socket.getsockname()
            await user.send_all(sent)
            await user.send_eof()
            with trio.move_on_after(1):
                await receive_all(user)
            await lines.wait_for(line.format(f"{host}:{user_port}"))
            await user.aclose()


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ([(":authority", "it.test"), ("authorization", f"Basic {WRONG}")], "refused: wrong credentials for [it.test]"),
        ([(":authority", "a b")], "refused: "),
        ([], "refused: "),
    ],
)
async def test_who_is_sent_away_by_http_2(fields: list[tuple[str, str]], line: str) -> None:
    port = free_port()
    user = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False))
    user.initiate_connection()
    user.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), *fields], end_stream=True)
    with logged() as lines:
        async with running_server({"vhostHTTPPort": port}) as server, peers_of(server) as peers:
            await (await peers.logged_in()).register("it", proxy_type="http", **SECRET)
            stream = await connect(port)
            await stream.send_all(user.data_to_send())
            host, user_port = stream.socket.getsockname()
            assert line in await lines.wait_for(f"http user connection [{host}:{user_port}] ")
            await stream.aclose()


async def test_users_by_the_thousand_do_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of one proxy, and not those of all."""
    monkeypatch.setattr("frp_py.server.proxies.base._LINES", 5)
    monkeypatch.setattr("frp_py.server.app._USER_LINES", 8)
    for rate in ("proxies.base._LINES_RATE", "app._USER_LINES_RATE"):
        monkeypatch.setattr(f"frp_py.server.{rate}", 0.001)
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in(features=("direct",))
            for name in ("one", "other"):
                await peer.register(name, remote_port=(port := free_port()))
                for _ in range(40):
                    await (await connect(port)).aclose()
                await until(lambda: server.proxies[name].users_log._budget.kept_back >= 30)  # noqa: B023
            assert 1 <= lines.count("[one] get a user connection") <= 5
            assert lines.count("[one] get a user") + lines.count("[other] get a user") <= 8
            assert lines.count("new proxy [other] type [tcp] success") == 1  # the client has lines of its own


async def test_a_service_whose_bytes_can_not_be_read_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its users bring about a line each, in either program."""
    monkeypatch.setattr("frp_py.server.proxies.base._LINES", 6)
    monkeypatch.setattr("frp_py.server.proxies.base._LINES_RATE", 0.001)
    port = free_port()
    with logged() as lines:
        async with running_server() as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            await peer.register("it", remote_port=port, use_compression=True)
            for _ in range(10):
                user = await connect(port)
                work = await peers.work_of(peer)
                await started(work)
                await work.send_raw(b"this is not snappy")
                assert await ending(user) == "reset"
            assert 1 <= lines.count("what the other side sent can't be read: ") <= 6
            assert "] [it] what the other side sent" in lines


async def test_a_password_of_tcpmux_that_nobody_is_asked_for_is_in_the_log() -> None:
    with logged() as lines:
        async with running_server({"tcpmuxHTTPConnectPort": free_port()}) as server, peers_of(server) as peers:
            peer = await peers.logged_in()
            for name, user in (("good", "u"), ("bad", "")):
                domains = (f"{name}.test",)
                wish = {"proxy_type": "tcpmux", "multiplexer": "httpconnect", "custom_domains": domains, "http_pwd": "p", "http_user": user}
                assert (await peer.register(name, **wish)).error == ""
    assert lines.count("its httpPassword is not asked for without httpUser") == 1
    assert "[bad] tcpmux proxy lets everybody in" in lines


async def test_a_browser_that_asks_without_credentials_first_is_no_attacker() -> None:
    port = free_port()
    with logged() as lines:
        async with running_server({"vhostHTTPPort": port}) as server, peers_of(server) as peers:
            await (await peers.logged_in()).register("it", proxy_type="http", **SECRET)
            user = await connect(port)
            await user.send_all(b"GET / HTTP/1.0\r\nHost: it.test\r\n\r\n")
            assert b" 401 " in await receive_all(user)
            assert "refused" not in lines
