from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest
import trio
import trio.lowlevel
from starlette.responses import JSONResponse, StreamingResponse
from trio.testing import MockClock

from frp_py.net.web.operations import ApiError, Operation
from frp_py.net.web.request import Request
from tests.net.web.helpers import basic, running_site
from tests.support.inside import logged


class Info(msgspec.Struct, rename="camel"):
    how_many: int


async def structure(request: Request) -> Info:
    return Info(3)


async def nothing(request: Request) -> None:
    return None


async def text(request: Request) -> str:
    return "übel"


async def octets(request: Request) -> bytes:
    return b"\xff\0"


async def parameters(request: Request) -> dict[str, object]:
    return {"path": request.path_parameters, "user": "user" in request.query, "q": request.query.get("q")}


async def refuse(request: Request) -> None:
    raise ApiError(404, 'no <proxy> "ä"')


async def broken(request: Request) -> None:
    raise KeyError("secret of ours")


async def unencodable(request: Request) -> object:
    return object()


async def whole(request: Request) -> JSONResponse:
    return JSONResponse({"a": 1}, 202, {"X-Own": "1", "Cache-Control": "max-age=5"})


async def streamed(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[str]:
        for n in range(3):
            yield f"{n}"
            await trio.lowlevel.checkpoint()

    return StreamingResponse(pieces(), media_type="text/plain")


async def large(request: Request) -> list[str]:
    return ["abc" * 100] * 3000


OPERATIONS = [
    Operation(method, path, handler, "", envelope=path.startswith("/v2"), nouns={"name": "proxy name", "key": "client key"})
    for method, path, handler in (
        *(("GET", "/nothing", nothing), ("GET", "/text", text), ("GET", "/octets", octets), ("GET", "/whole", whole)),
        *(("GET", "/streamed", streamed), ("GET", "/large", large)),
        *(("GET", "/p/{name}", parameters), ("GET", "/p/{type}/{name}", parameters), ("DELETE", "/p/{name}", nothing)),
        *(("GET", "/p/fixed", structure), ("GET", "/v2/clients/{key}", parameters)),
        *((("GET", f"{prefix}/structure", structure)) for prefix in ("/v1", "/v2")),
        *((("GET", f"{prefix}/nothing", nothing)) for prefix in ("/v1", "/v2")),
        *((("GET", f"{prefix}/refuse", refuse)) for prefix in ("/v1", "/v2")),
        *((("GET", f"{prefix}/broken", broken)) for prefix in ("/v1", "/v2")),
        *((("GET", f"{prefix}/unencodable", unencodable)) for prefix in ("/v1", "/v2")),
        ("GET", "/api/x/poll", nothing),
    )
]


@pytest.mark.parametrize(
    ("target", "status", "kind", "body"),
    [
        ("/nothing", 200, None, b""),
        ("/text", 200, "text/plain; charset=utf-8", "übel".encode()),
        ("/octets", 200, "text/plain; charset=utf-8", b"\xff\0"),
        ("/v1/structure", 200, "application/json", b'{"howMany":3}\n'),
        ("/v2/structure", 200, "application/json", b'{"code":200,"msg":"success","data":{"howMany":3}}\n'),
        ("/v1/refuse", 404, "application/json", '{"Code":404,"Msg":"no <proxy> \\"ä\\""}\n'.encode()),
        ("/v2/refuse", 404, "application/json", '{"code":404,"msg":"no <proxy> \\"ä\\"","data":null}\n'.encode()),
        ("/none", 404, "text/plain; charset=utf-8", b"404 page not found\n"),
        ("/text/", 404, "text/plain; charset=utf-8", b"404 page not found\n"),
        ("//text", 404, "text/plain; charset=utf-8", b"404 page not found\n"),
        ("/%74ext", 404, "text/plain; charset=utf-8", b"404 page not found\n"),
        ("/static/../text", 404, "text/plain; charset=utf-8", b"404 page not found\n"),
        ("/streamed", 200, "text/plain; charset=utf-8", b""),
    ],
)
async def test_what_results_become(target: str, status: int, kind: str | None, body: bytes) -> None:
    async with running_site(OPERATIONS) as site, site.user() as user:
        answer = await user.ask(target, basic())
        assert (answer.status, answer.fields.get("content-type"), answer.body) == (status, kind, body)
        if target == "/streamed":
            assert await user.until(b"0\r\n\r\n") == b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"


async def test_a_response_is_passed_on_as_it_is() -> None:
    async with running_site(OPERATIONS) as site:
        answer = await site.ask("/whole")
        assert (answer.status, answer.json, answer.fields["x-own"]) == (202, {"a": 1}, "1")
        assert answer.fields["cache-control"] == "max-age=5"


async def test_answers_of_the_api_are_kept_by_nobody(quick: MockClock) -> None:
    async with running_site(OPERATIONS) as site:
        for target in ("/text", "/v1/structure", "/v2/refuse", "/api/openapi.json"):
            assert (await site.ask(target)).fields["cache-control"] == "no-store"
        assert (await site.ask("/text", {})).fields["cache-control"] == "no-store"


@pytest.mark.parametrize("target", ["/v1/broken", "/v2/broken", "/v1/unencodable", "/v2/unencodable"])
async def test_a_bug_is_the_end_of_its_request_alone(target: str) -> None:
    with logged(bugs=1) as lines:
        async with running_site(OPERATIONS) as site, site.user() as user:
            answer = await user.ask(target, basic())
            assert answer.status == 500
            assert b"secret" not in answer.body
            assert set(answer.json) == ({"Code", "Msg"} if "v1" in target else {"code", "msg", "data"})
            assert (await user.ask("/text", basic())).status == 200
    assert f"http response [{target}]: error: " in lines


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/p/a", {"name": "a"}),
        ("/p/a%2Fb", {"name": "a/b"}),
        ("/p/%2e%2e", {"name": ".."}),
        ("/p/a%252Fb", {"name": "a%2Fb"}),
        ("/p/a+b%20c%00", {"name": "a+b c\0"}),
        ("/p/%E4%B8%AD", {"name": "中"}),
        ("/p/tcp/x%3F%23", {"type": "tcp", "name": "x?#"}),
        ("/p/fixed%2f", {"name": "fixed/"}),
    ],
)
async def test_parameters_are_decoded_after_routing(target: str, path: dict[str, str]) -> None:
    async with running_site(OPERATIONS) as site:
        assert (await site.ask(target)).json == {"path": path, "user": False, "q": None}


async def test_a_fixed_path_goes_before_a_parameter_and_queries_are_decoded() -> None:
    async with running_site(OPERATIONS) as site:
        assert (await site.ask("/p/fixed")).json == {"howMany": 3}
        assert (await site.ask("/p/x?user&q=%2F+%26")).json == {"path": {"name": "x"}, "user": True, "q": "/ &"}
        assert (await site.ask("/p/x?user=&q=%ff%zz")).json == {"path": {"name": "x"}, "user": True, "q": "\ufffd%zz"}


async def test_what_cant_be_decoded_is_refused_by_its_noun() -> None:
    async with running_site(OPERATIONS) as site:
        assert (await site.ask("/p/%ff")).json == {"Code": 400, "Msg": "invalid proxy name"}
        assert (await site.ask("/p/%ff/a")).json == {"Code": 400, "Msg": "invalid type"}
        assert (await site.ask("/v2/clients/a%c3")).json == {"code": 400, "msg": "invalid client key", "data": None}
        assert (await site.ask("/p/%f")).status == 400


async def test_other_methods_are_refused_without_a_word() -> None:
    async with running_site(OPERATIONS) as site:
        for target, methods in (("/text", "GET"), ("/p/x", "GET, DELETE")):
            for method in ("HEAD", "POST", "OPTIONS", "BREW"):
                answer = await site.ask(target, {}, method=method)
                assert (answer.status, answer.body, answer.fields["allow"]) == (405, b"", methods)
        assert (await site.ask("/p/x", method="DELETE")).status == 200


async def test_large_answers_are_compressed_for_those_who_like_it() -> None:
    async with running_site(OPERATIONS) as site:
        plain = await site.ask("/large")
        packed = await site.ask("/large", {**basic(), "Accept-Encoding": "br, gzip"})
        assert (packed.fields["content-encoding"], packed.fields["vary"]) == ("gzip", "accept-encoding")
        assert "content-encoding" not in plain.fields
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body) / 10
        assert "content-encoding" not in (await site.ask("/text", {**basic(), "Accept-Encoding": "gzip"})).fields


async def test_what_is_logged(quick: MockClock) -> None:
    async with running_site(OPERATIONS) as site:
        with logged() as lines:
            await site.ask("/v1/structure?secret=1")
            await site.ask("/v1/refuse")
            await site.ask("/v1/structure", {})
            await site.ask("/none")
            await site.ask("/p/" + "x" * 1000)
        api = [line for line in lines.texts if line.startswith("http re")]
        assert api == [
            *("http request: [/v1/structure]", "http response [/v1/structure]: code [200]"),
            *("http request: [/v1/refuse]", 'http response [/v1/refuse]: error: no <proxy> "ä"'),
            *(f"http request: [/p/{'x' * 297}]", f"http response [/p/{'x' * 297}]: code [200]"),
        ]
        assert lines.warnings == ['http response [/v1/refuse]: error: no <proxy> "ä"']


async def test_long_errors_are_cut_in_the_log(quick: MockClock) -> None:
    async def refuse_at_length(request: Request) -> None:
        raise ApiError(404, "x" * 5000)

    async with running_site((Operation("GET", "/long", refuse_at_length, ""),)) as site:
        with logged() as lines:
            assert (await site.ask("/long")).json["Msg"] == "x" * 5000
    assert lines.warnings == ["http response [/long]: error: " + "x" * 1000]


async def test_whoever_comes_without_a_password_doesnt_fill_the_log() -> None:
    fields = {"X-Forwarded-For": "192.0.2.1"}
    with logged() as lines:
        logging.getLogger("frp_py").setLevel(logging.INFO)
        async with running_site(OPERATIONS, password="", addr="0.0.0.0") as site:
            for target, status in (("/text", 200), ("/v1/refuse", 404)):
                assert (await site.ask(target, fields)).status == status
                assert "http re" not in lines
            await site.ask("/text", {})
            assert "http request: [/text]" in lines
