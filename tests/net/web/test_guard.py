from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from frp_py.net.web.guard import FOREIGN, NAMED, READ_ONLY, SECRET
from frp_py.net.web.operations import Operation, RawRoute
from frp_py.net.web.request import Request
from tests.net.web.helpers import Site, basic, running_site
from tests.support.inside import Clock, logged
from tests.support.net import until


async def nothing(request: Request) -> None:
    return None


OPERATIONS = (
    Operation("GET", "/api/status", nothing, "Look"),
    Operation("GET", "/api/reload", nothing, "Change", changes=True),
    Operation("POST", "/api/stop", nothing, "Change", changes=True),
    Operation("GET", "/api/config", nothing, "Look at secrets", secrets=True),
    Operation("GET", "/api/v2/x", nothing, "Look", envelope=True),
)


@asynccontextmanager
async def site(**config: Any) -> AsyncIterator[Site]:
    async with running_site(OPERATIONS, [RawRoute("/metrics", nothing)], **config) as running:
        yield running


async def status(of: Site, target: str, fields: dict[str, str] | None = None, **how: Any) -> int:
    return (await of.ask(target, fields, **how)).status


# passwords


@pytest.mark.parametrize(
    "fields",
    [
        {},
        basic(user="admi"),
        basic(password=""),
        basic(user="", password=""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!!"},
        {"Authorization": "Basic YWRtaW4="},
        {"Authorization": "Bearer " + basic()["Authorization"][6:]},
        {"Authorization": "Basic " + "A" * 10_000},
        {"Authorization": basic()["Authorization"], "authorization": basic()["Authorization"]},
        {"Proxy-Authorization": basic()["Authorization"]},
    ],
)
async def test_nothing_but_the_password_opens(fields: dict[str, str], quick: MockClock) -> None:
    with logged():
        async with site() as it:
            began = trio.current_time()
            answer = await it.ask("/api/status", fields)
            assert trio.current_time() - began >= 0.2
            assert (answer.status, answer.body) == (401, b"Unauthorized\n")
            assert answer.fields["www-authenticate"] == 'Basic realm="Restricted"'
            assert answer.fields["content-type"].startswith("text/plain")


async def test_the_password_is_asked_for_everything_but_health_and_profiles(quick: MockClock) -> None:
    async with site(pprof_enable=True) as it:
        for target in ("/", "/static/", "/static/x.js", "/favicon.ico", "/metrics", "/api/x/session", "/api/openapi.json", "/api/v2/x"):
            assert await status(it, target, {}) == 401, target
        for target in ("/healthz", "/debug/pprof/", "/debug/pprof/cmdline"):
            assert await status(it, target, {}) == 200, target
        assert await status(it, "/nothing", {}) == 404
        assert await status(it, "/api/status", {}, method="HEAD") == 405
        assert await status(it, "/api/status", {}, method="POST") == 405


async def test_health_is_answered_whoever_asks_and_however() -> None:
    for password in ("", "x"):
        async with site(password=password) as it:
            for method in ("GET", "POST", "BREW"):
                fields = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
                answer = await it.ask("/healthz", fields, method=method, host="any.example")
                assert (answer.status, answer.body) == (200, b"")


async def test_a_user_without_a_password_and_a_password_without_a_user(quick: MockClock) -> None:
    async with site(user="me", password="") as it:
        assert await status(it, "/api/status", {}) == 401
        assert await status(it, "/api/status", basic("me", "")) == 200
    async with site(user="", password="it") as it:
        assert await status(it, "/api/status", {}) == 401
        assert await status(it, "/api/status", basic("", "it")) == 200


async def test_guessing_gets_slower_and_hinders_nobody_else(mock_clock: MockClock) -> None:
    clock = Clock(mock_clock)
    with logged() as lines:
        async with site() as it, trio.open_nursery() as nursery:
            answered: list[int] = []

            async def guess() -> None:
                async with it.user(source="127.0.0.66") as user:
                    answered.append((await user.ask("/api/status", basic(password="wrong"))).status)

            for _ in range(20):
                nursery.start_soon(guess)
            await until(lambda: len(answered) == 12)  # beyond what may wait: not even looked at
            assert answered == [429] * 12
            async with it.user(source="127.0.0.66") as user:
                answer = await user.ask("/api/status", basic())
                assert (answer.status, answer.fields["retry-after"]) == (429, "5")
            async with it.user(source="127.0.0.67") as user:
                assert (await user.ask("/api/status", basic())).status == 200
            for _ in range(6):
                await clock.forward(1)
            await until(lambda: answered.count(401) == 8)
            async with it.user(source="127.0.0.66") as user:
                assert (await user.ask("/api/status", basic())).status == 200
            nursery.start_soon(guess)
            await clock.forward(4)
            assert len(answered) == 20
            await clock.forward(2)
            await until(lambda: len(answered) == 21)
    assert lines.count("wrong user or password from [127.0.0.66]") == 4  # the 1st, 2nd, 4th, 8th


async def ticket(of: Site) -> str:
    """What a browser gets with the page."""
    return (await of.ask("/")).fields["set-cookie"].partition(";")[0]


async def test_guesses_do_not_lock_out_a_browser_that_was_let_in_before(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind another web server, or a tunnel, all are one source."""
    monkeypatch.setattr("frp_py.net.web.throttle.DELAY", 5)  # none of the guesses is over before the clock is moved
    clock = Clock(mock_clock)
    with logged():
        async with site() as it, trio.open_nursery() as nursery:
            cookie = {"Cookie": f"a=b; {await ticket(it)}"}
            answered: list[int] = []

            async def guess(fields: dict[str, str]) -> None:
                answered.append(await status(it, "/api/status", {**basic(password="wrong"), **fields}))

            for _ in range(20):
                nursery.start_soon(guess, {})
            await until(lambda: len(answered) == 12)
            assert answered == [429] * 12
            assert await status(it, "/api/status") == 429
            assert await status(it, "/api/status", {**basic(), **cookie}) == 200
            for forged in ("f" * 80, "", cookie["Cookie"][:-1], cookie["Cookie"][:-80] + "0" * 80):
                assert await status(it, "/api/status", {**basic(), "Cookie": f"frp-ticket-0={forged}"}) == 429
            for _ in range(20):  # it opens nothing, and guesses with it are counted as well
                nursery.start_soon(guess, cookie)
            await until(lambda: len(answered) == 24)
            assert answered == [429] * 24
            assert await status(it, "/api/status", {**basic(), **cookie}) == 429
            await clock.forward(6)
            await until(lambda: answered.count(401) == 16)


async def test_tickets_are_for_browsers_that_have_given_the_password(quick: MockClock) -> None:
    with logged():
        async with site() as it:
            answer = await it.ask("/")
            assert answer.fields["set-cookie"].partition(";")[2] == " Max-Age=2592000; Path=/; HttpOnly; SameSite=Strict"
            assert "set-cookie" not in (await it.ask("/", {**basic(), "Cookie": answer.fields["set-cookie"]})).fields
            assert "set-cookie" not in (await it.ask("/api/status")).fields
            assert "set-cookie" not in (await it.ask("/", basic(password="wrong"))).fields
            assert "set-cookie" not in (await it.ask("/", {"Cookie": await ticket(it)})).fields
        async with site(password="") as it:
            assert "set-cookie" not in (await it.ask("/", {})).fields


async def test_whoever_guesses_from_everywhere_doesnt_fill_the_log(mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.net.web.guard._LINES", 3)
    clock = Clock(mock_clock)

    async def guess(of: Site, n: int) -> None:
        async with of.user(source=f"127.0.1.{n}") as user:
            assert (await user.ask("/api/status", basic(password="wrong"))).status == 401

    with logged() as lines:
        async with site() as it, trio.open_nursery() as nursery:
            for n in range(1, 11):
                nursery.start_soon(guess, it, n)
            await until(lambda: it.service._throttle._waiting == 10)
            await clock.forward(1)
            await until(lambda: not it.service._throttle._waiting)
            assert lines.count("wrong user or password") == 3
            await clock.forward(2)
            nursery.start_soon(guess, it, 11)
            await until(lambda: it.service._throttle._waiting == 1)
            await clock.forward(1)
    assert lines.count("wrong user or password") == 4


# other origins


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "nonsense"}, False),
        ({"Origin": "http://HOST"}, True),
        ({"Origin": "https://HOST"}, True),  # TLS may end in front of us
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://HOST", "origin": "http://evil.example"}, False),
        ({"Origin": "http://HOST@evil.example"}, False),
        ({"Origin": "http://HOST.evil.example"}, False),
    ],
)
@pytest.mark.parametrize("target", ["/api/status", "/api/reload", "/api/stop", "/metrics", "/debug/pprof/"])
async def test_pages_of_other_origins_steer_nothing(fields: dict[str, str], allowed: bool, target: str) -> None:
    async with site(pprof_enable=True) as it:
        sent = {name: value.replace("HOST", it.host) for name, value in fields.items()}
        answer = await it.ask(target, {**basic(), **sent}, method="POST" if target == "/api/stop" else "GET")
        assert answer.status == (200 if allowed else 403)
        if not allowed:
            assert FOREIGN.encode() in answer.body


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"User-Agent": "curl/8"}, True),
        ({"User-Agent": "Mozilla/5.0"}, False),
        ({"User-Agent": "Mozilla/5.0", "Referer": "http://evil.example/?HOST"}, False),
        ({"User-Agent": "Mozilla/5.0", "Referer": "http://HOST/static/"}, True),
        ({"User-Agent": "Mozilla/5.0", "Sec-Fetch-Site": "same-origin"}, True),
        ({"User-Agent": "Mozilla/5.0", "Origin": "http://HOST"}, True),
    ],
)
async def test_a_browser_that_tells_nothing_changes_nothing(fields: dict[str, str], allowed: bool) -> None:
    """An image on a foreign page: over plain HTTP browsers say neither Sec-Fetch-Site nor Origin."""
    async with site() as it:
        sent = {**basic(), **{name: value.replace("HOST", it.host) for name, value in fields.items()}}
        assert await status(it, "/api/reload", sent) == (200 if allowed else 403)
        assert await status(it, "/api/status", sent) == 200


async def test_anybody_may_link_to_the_pages() -> None:
    async with site(pages="none") as it:
        for target, expected in (("/", 301), ("/static/nothing", 404), ("/favicon.ico", 404)):
            assert await status(it, target, {**basic(), "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}) == expected


async def test_refusals_have_the_shape_of_the_api() -> None:
    async with site() as it:
        fields = {**basic(), "Sec-Fetch-Site": "cross-site"}
        assert (await it.ask("/api/status", fields)).json == {"Code": 403, "Msg": FOREIGN}
        assert (await it.ask("/api/v2/x", fields)).json == {"code": 403, "msg": FOREIGN, "data": None}


# without a password


@pytest.mark.parametrize(
    ("host", "served"),
    [
        *(("127.0.0.1", True), ("127.0.0.1:7400", True), ("[::1]:7400", True), ("[fe80::1]", True), ("10.1.2.3:80", True)),
        *(("localhost", True), ("LocalHost:7400", True), ("frps:7500", True), ("", True)),
        *(("evil.example", False), ("evil.example:7400", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example", False)),
        *(("127.1", False), ("evil.example.", False), ("1.2.3.4.5", False)),
    ],
)
async def test_names_that_can_be_bought_are_not_served_without_a_password(host: str, served: bool) -> None:
    async with site(password="") as it:
        for target in ("/api/status", "/metrics"):
            answer = await it.ask(target, {}, host=host)
            assert answer.status == (200 if served else 403)
            assert served or NAMED.encode() in answer.body
        assert await status(it, "/", {}, host=host) == (301 if served else 403)
    async with site() as it:
        assert await status(it, "/api/status", host=host) == 200


async def test_the_configured_name_is_served() -> None:
    async with site(password="", addr="localhost") as it:
        assert await status(it, "/api/status", {}, host="localhost:1") == 200


@pytest.mark.parametrize(
    "fields", [{"X-Forwarded-For": "1.2.3.4"}, {"Forwarded": "for=1.2.3.4"}, {"X-Real-IP": "1.2.3.4"}, {"Via": "1.1 a"}]
)
async def test_who_comes_by_a_proxy_changes_nothing_without_a_password(fields: dict[str, str]) -> None:
    with logged():
        async with site(password="", addr="0.0.0.0") as it:
            assert await status(it, "/api/reload", fields) == 403
            assert await status(it, "/api/status", fields) == 200
            assert (await it.ask("/api/x/session", fields)).json["readOnly"] is True
        async with site(password="") as it:  # only this machine comes here; who lets others in knows what he does
            assert await status(it, "/api/reload", fields) == 200


async def test_only_this_machine_changes_anything_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with logged():
        async with site(password="", addr="0.0.0.0") as it:
            assert await status(it, "/api/reload", {}) == 200
            assert await status(it, "/api/config", {}) == 200
            assert await status(it, "/api/reload", {}, host="localhost:7400") == 200
            for method, target in (("GET", "/api/reload"), ("POST", "/api/stop")):
                answer = await it.ask(target, {}, method=method, host="203.0.113.1:7400")  # through a tunnel
                assert answer.json == {"Code": 403, "Msg": READ_ONLY}
            monkeypatch.setattr("frp_py.net.web.guard._is_loopback", lambda host: False)
            async with it.user(source="127.0.0.9", to="127.0.0.9") as user:  # this machine, by another of its addresses
                assert (await user.ask("/api/reload", host="127.0.0.9:1")).status == 200
                assert (await user.ask("/api/reload", host="127.0.0.8:1")).status == 403
            async with it.user(source="127.0.0.9") as user:  # another machine
                assert (await user.ask("/api/status")).status == 200
                assert (await user.ask("/api/x/session")).json["readOnly"] is True
                for method, target in (("GET", "/api/reload"), ("POST", "/api/stop")):
                    assert (await user.ask(target, method=method)).json == {"Code": 403, "Msg": READ_ONLY}
                assert (await user.ask("/api/config")).json == {"Code": 403, "Msg": SECRET}


async def test_with_a_password_every_machine_may_change() -> None:
    async with site(addr="0.0.0.0") as it, it.user(source="127.0.0.9") as user:
        assert (await user.ask("/api/reload", {**basic(), "X-Forwarded-For": "1.2.3.4"}, host="a.example")).status == 200
