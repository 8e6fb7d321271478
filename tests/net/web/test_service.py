from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock

from frp_py.config.common import TlsFiles, WebServerConfig
from frp_py.errors import FrpError
from frp_py.net.web.operations import Events, Operation, RawRoute
from frp_py.net.web.request import Request
from frp_py.net.web.service import WebService
from tests.net.web.helpers import FIELDS, HOST, OPERATIONS, PASSWORD, USER, basic, files, hello, running_site, trusting
from tests.support.inside import logged
from tests.support.net import descriptors, running_engine, until


async def test_every_answer_carries_what_browsers_are_to_obey() -> None:
    with logged(bugs=1):
        async with running_site(OPERATIONS, pprof_enable=True) as site:
            for target, status in (
                *(("/hello", 200), ("/bug", 500), ("/nothing", 404), ("/", 301), ("/static/nothing", 404)),
                *(("/healthz", 200), ("/debug/pprof/", 200), ("/api/x/session", 200)),
            ):
                answer = await site.ask(target)
                assert answer.status == status
                assert FIELDS.items() <= answer.fields.items(), target
            assert FIELDS.items() <= (await site.ask("/hello", {})).fields.items()
            assert FIELDS.items() <= (await site.ask("/hello", method="POST")).fields.items()


async def test_what_is_asked_for_has_a_length() -> None:
    async with running_site(OPERATIONS) as it:
        for target in ("/static/", "/hello?", "/"):
            assert (await it.ask(target + "a" * (8192 - len(target)), basic())).status != 414
            assert (await it.ask(target + "a" * (8193 - len(target)), basic())).status == 414


async def test_many_requests_on_one_connection_and_many_connections() -> None:
    async with running_site(OPERATIONS) as site, site.user() as user, site.user() as other:
        for _ in range(3):
            assert (await user.ask("/hello", basic())).body == b"hello 127.0.0.1"
            assert (await other.ask("/body", basic(), method="PUT", body=b"x" * 100_000)).body == b"x" * 100_000
        await user.stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert [(await user.answer()).status for _ in range(2)] == [200, 200]


async def test_a_port_that_is_taken_is_an_error_in_the_usual_words() -> None:
    async with running_site() as site, running_engine() as engine:
        other = WebService(engine, WebServerConfig(addr=HOST, port=site.port), program="frps", operations=(), pages="server")
        with pytest.raises(FrpError, match=f"listen tcp {HOST}:{site.port}: bind: address already in use"):
            other.listen()
        other.close()


async def test_the_port_is_free_when_it_is_closed_before_it_runs_and_again_when_it_has_run() -> None:
    before = descriptors()
    async with running_engine() as engine:
        first = WebService(engine, WebServerConfig(addr=HOST), program="frps", operations=(), pages="server")
        host, port = first.listen()
        first.close()
        first.close()
        for _ in range(2):
            again = WebService(engine, WebServerConfig(addr=HOST, port=port), program="frps", operations=(), pages="server")
            assert again.listen() == (host, port)
            with trio.move_on_after(0.01):
                await again.run()
    assert descriptors() == before


async def test_stopping_ends_everything_at_once(mock_clock: MockClock) -> None:
    """The clock stands still: nothing that has to wait for time would come to an end."""
    started = trio.Event()

    async def ticks(request: Request) -> Events:
        async def source() -> AsyncIterator[tuple[str, object]]:
            yield "tick", 1
            started.set()
            await trio.sleep_forever()

        return Events(source)

    operations = (*OPERATIONS, Operation("GET", "/events", ticks, "Tick"))
    async with running_site(operations) as site, site.user() as idle, site.user() as waiting, site.user() as listening:
        await idle.ask("/hello", basic())
        await waiting.send("/wait", basic())
        await listening.send("/events", basic())
        await started.wait()
        site.scope.cancel()
        with trio.CancelScope(shield=True):
            assert await idle.is_over()
            assert await waiting.is_over()
            assert await listening.is_over()


async def test_above_the_limit_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.net.web.service._CONNECTIONS", 2)
    async with running_site(OPERATIONS) as site, site.user() as a, site.user() as b, site.user() as c:
        assert await c.is_over()
        assert (await a.ask("/hello", basic())).status == (await b.ask("/hello", basic())).status == 200
        a.stream.socket.close()  # type: ignore[attr-defined]
        await until(lambda: site.service._connections == 1)
        async with site.user() as again:
            assert (await again.ask("/hello", basic())).status == 200


async def test_renewed_while_it_runs(authority: trustme.CA, tmp_path: Path) -> None:
    first, second = files(authority, tmp_path, "one"), files(authority, tmp_path, "two")
    context = trusting(authority, "http/1.1")
    async with running_site(OPERATIONS, tls=first) as site:

        async def subject() -> str:
            async with site.user(tls=context) as user:
                assert (await user.ask("/healthz")).status == 200
                return str(user.stream.getpeercert()["subject"])  # type: ignore[attr-defined]

        assert "one" in await subject()
        async with site.user(tls=context) as user:
            assert (await user.ask("/hello", basic())).status == 200
            site.service.renew(WebServerConfig(addr=HOST, user=USER, password="new", tls=second))
            assert (await user.ask("/hello", basic())).status == 401
            assert (await user.ask("/hello", basic(password="new"))).status == 200
        assert "two" in await subject()
        broken = TlsFiles(cert_file=second.cert_file, key_file=first.key_file)
        with pytest.raises(FrpError, match="can't be used"):
            site.service.renew(WebServerConfig(addr=HOST, user=USER, password="newer", tls=broken))
        assert "two" in await subject()
        async with site.user(tls=context) as user:
            assert (await user.ask("/hello", basic(password="new"))).status == 200


async def test_a_password_that_is_taken_away_is_warned_of() -> None:
    with logged() as lines:
        async with running_site(addr="0.0.0.0") as site:
            site.service.renew(WebServerConfig(addr="0.0.0.0"))
            assert "HAS NO PASSWORD" in lines


async def test_profiling_comes_and_goes_with_the_configuration() -> None:
    async with running_site(OPERATIONS) as site:
        assert (await site.ask("/debug/pprof/", {})).status == 404
        site.service.renew(WebServerConfig(addr=HOST, user=USER, password=PASSWORD, pprof_enable=True))
        assert (await site.ask("/debug/pprof/", {})).status == 200
        site.service.renew(WebServerConfig(addr=HOST, user=USER, password=PASSWORD))
        assert (await site.ask("/debug/pprof/", {})).status == 404


@pytest.mark.parametrize("program", ["frps", "frpc"])
async def test_the_session(program: str) -> None:
    async with running_site(program=program) as site:
        answer = (await site.ask("/api/x/session")).json
        session = answer["data"] if program == "frps" else answer
        assert set(session) == {"program", "version", "startedAt", "now", "open", "readOnly"}
        assert session["program"] == program
        assert 0 <= session["now"] - session["startedAt"] <= 10
        assert (session["open"], session["readOnly"]) == (False, False)


async def test_without_a_password_everybody_is_warned() -> None:
    for addr, password, warned in (("0.0.0.0", "", True), ("0.0.0.0", PASSWORD, False), (HOST, "", False)):
        with logged() as lines:
            async with running_site(addr=addr, password=password) as site:
                assert ("HAS NO PASSWORD" in lines) == warned
                session = (await site.ask("/api/x/session")).json
                assert (session["open"], session["readOnly"]) == (warned, False)


async def test_raw_routes_take_all_methods_unless_told() -> None:
    async with running_site(raw=[RawRoute("/metrics", hello), RawRoute("/one", hello, ("GET",))]) as site:
        for method in ("GET", "POST", "DELETE"):
            assert (await site.ask("/metrics", method=method)).body == b"hello 127.0.0.1"
        assert (await site.ask("/metrics", {})).status == 401
        assert (await site.ask("/one", method="POST")).status == 405
