"""What a server says of users doesn't become more than an address in requests to the local service."""

from __future__ import annotations

import ssl

import pytest
import trio

from frp_py.client.plugins.http_plugin import ip_of
from frp_py.protocol.messages import StartWorkConn
from tests.support.inside import HOST, frps, logged, proxy, running_frpc, service
from tests.support.net import until


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("192.0.2.1", b"192.0.2.1"),
        ("2001:db8::1", b"2001:db8::1"),
        ("::ffff:192.0.2.1", b"::ffff:192.0.2.1"),
        ("fe80::1%eth0", b"fe80::1"),
        ("fe80::1%\r\nEvil: 1", b"fe80::1"),
        ("", b""),
        ("6\r\n\r\nGET /evil HTTP/1.1\r\nHost: i\r\nA: b", b""),
        ("192.0.2.1, 10.0.0.1", b""),
        ("192.0.2.1 ", b""),
        ("1.2.3.４", b""),
        ("localhost", b""),
        ("1" * 60_000, b""),
    ],
)
def test_what_is_no_address_is_not_taken_for_one(said: str, taken: bytes) -> None:
    assert ip_of(StartWorkConn("it", src_addr=said)) == taken


async def test_a_server_writes_no_requests_into_what_users_say_by_tls() -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with logged():
        async with frps() as server, service() as web:
            plugin = {"type": "https2http", "localAddr": f"{HOST}:{web.port}"}
            async with running_frpc(server, {}, [{**proxy("it", 0), "plugin": plugin}]) as client:
                session = await server.session()
                await session.accept("it")
                await until(lambda: client.session and client.session.proxies["it"].phase.name == "RUNNING")
                work = await session.ask()
                evil = "6\r\n\r\nGET /evil HTTP/1.1\r\nHost: i\r\nA: b"
                await work.send(StartWorkConn("it", src_addr=evil, src_port=1))
                user = trio.SSLStream(work.stream, context, server_hostname="localhost", https_compatible=True)
                await user.send_all(b"GET /mine HTTP/1.1\r\nHost: localhost\r\n\r\n")
                asked = await (await web.accept()).receive_some()
                assert asked.startswith(b"GET /mine HTTP/1.1\r\nHost: localhost\r\n")
                assert asked.count(b"\r\n\r\n") == 1
                assert b"GET /evil" not in asked
