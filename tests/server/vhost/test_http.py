from __future__ import annotations

import trio

from tests.support.inside import connect, free_port, logged, running_server


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
