from __future__ import annotations

import pytest
import trio

from tests.support.inside import connect, logged, running_server
from tests.support.ports import free_port


async def test_who_asks_for_what_is_not_there_does_not_fill_the_log() -> None:
    port = free_port()
    with logged() as lines:
        async with running_server({"vhostHTTPPort": port}):
            user = await connect(port)
            await user.send_all(b"HEAD /path?token=secret HTTP/1.1\r\nHost: other\r\n\r\n")
            assert (await user.receive_some()).startswith(b"HTTP/1.1 404 ")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(user.send_all, b"HEAD / HTTP/1.1\r\nHost: nobody\r\n\r\n" * 1000)
                answers = b""
                with trio.fail_after(5):
                    while answers.count(b"HTTP/1.1 404 ") < 1000:
                        answers += await user.receive_some()
            await user.aclose()
    assert lines.count("do http proxy request [host: other] error: no route found: other /path (from [127.0.0.1:") == 1
    assert 199 <= lines.count("do http proxy request [host: nobody] error: no route found") < 300


@pytest.mark.parametrize(("key", "method"), [("vhostHTTPPort", "HEAD"), ("vhostHTTPPort", "CONNECT"), ("tcpmuxHTTPConnectPort", "CONNECT")])
async def test_a_page_that_can_not_be_read_does_not_fill_the_log(key: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.server.strangers._BURST", 4)
    monkeypatch.setattr("frp_py.server.bounded_log._BURST", 4)
    port = free_port()
    with logged() as lines:
        async with running_server({key: port, "custom404Page": "/nowhere/404.html"}):
            for _ in range(10):
                user = await connect(port)
                await user.send_all(f"{method} other:80 HTTP/1.0\r\n\r\n".encode() if method == "CONNECT" else b"HEAD / HTTP/1.0\r\n\r\n")
                assert (await user.receive_some()).startswith(b"HTTP/1.1 404 ")
                await user.aclose()
    assert 1 <= lines.count("read custom 404 page error: ") <= 4
