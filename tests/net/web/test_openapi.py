from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis

from frp_py.net.web.openapi import description
from frp_py.net.web.operations import Events, Operation, Query
from frp_py.net.web.request import Request
from tests.net.web.helpers import running_site


async def handler(request: Request) -> None:
    return None


class Inner(msgspec.Struct):
    n: int


class Outer(msgspec.Struct, rename="camel"):
    """Has another one within."""

    the_inner: Inner
    maybe: Inner | None = None


OPERATIONS = [
    Operation("GET", "/api/proxy/{type}/{name}", handler, "One proxy", returns=Outer, errors={404: "no such proxy"}),
    Operation("GET", "/api/proxies", handler, "All", query=(Query("page", "which", "integer"), Query("status", choices=("a", "b")))),
    Operation("DELETE", "/api/proxies", handler, "Clear", query=(Query("status", required=True),), changes=True),
    Operation("POST", "/api/v2/things/{key}", handler, "Make", body=Inner, returns=list[Outer], envelope=True),
    Operation("PUT", "/api/config", handler, "Write", body=bytes, returns=str),
    Operation("GET", "/api/x/events", handler, "Listen", returns=Events),
]


def all_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from all_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from all_in(each)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(msgspec.json.encode(description("frps", "1.2.3", OPERATIONS)))
    return result


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "frps API", "version": "1.2.3"}
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == {(each.path, each.method) for each in OPERATIONS}
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(set(names)) == len(OPERATIONS)
    assert "getApiProxyTypeName" in names


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {each["$ref"] for each in all_in(document) if "$ref" in each}
    assert {"#/components/schemas/Outer", "#/components/schemas/Inner", "#/components/schemas/Error"} <= references
    assert {reference.rpartition("/")[2] for reference in references} <= set(document["components"]["schemas"])


def test_parameters(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert [(p["name"], p["in"], p["required"]) for p in paths["/api/proxy/{type}/{name}"]["get"]["parameters"]] == [
        ("type", "path", True),
        ("name", "path", True),
    ]
    page, status = paths["/api/proxies"]["get"]["parameters"]
    assert (page["schema"], page["required"], page["description"]) == ({"type": "integer"}, False, "which")
    assert status["schema"] == {"type": "string", "enum": ["a", "b"]}
    assert paths["/api/proxies"]["delete"]["parameters"][0]["required"] is True


def test_bodies_and_answers(document: dict[str, Any]) -> None:
    paths = document["paths"]
    make = paths["/api/v2/things/{key}"]["post"]
    assert make["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Inner"}
    envelope = make["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert envelope["data"] == {"type": "array", "items": {"$ref": "#/components/schemas/Outer"}}
    assert envelope["code"] == {"const": 200}
    assert list(make["responses"]) == ["200", "400", "401", "403", "413", "429"]
    assert make["responses"]["400"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/EnvelopeError"}
    assert list(paths["/api/config"]["put"]["requestBody"]["content"]) == ["text/plain"]
    assert list(paths["/api/config"]["put"]["responses"]["200"]["content"]) == ["text/plain"]
    assert list(paths["/api/x/events"]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]
    one = paths["/api/proxy/{type}/{name}"]["get"]["responses"]
    assert one["404"]["description"] == "no such proxy"
    assert "content" not in paths["/api/proxies"]["get"]["responses"]["200"]


async def test_it_is_served() -> None:
    async with running_site(OPERATIONS, program="frps") as site:
        answer = await site.ask("/api/openapi.json")
        assert (answer.status, answer.fields["content-type"]) == (200, "application/json")
        assert set(answer.json["paths"]) == {*(each.path for each in OPERATIONS), "/api/x/session"}
        assert (await site.ask("/api/openapi.json")).json == answer.json


def test_it_is_valid() -> None:
    document = msgspec.json.decode(msgspec.json.encode(description("frps", "1.2.3", OPERATIONS)))
    schemathesis.openapi.from_dict(document).validate()
    document["paths"]["/api/config"]["put"]["parameters"] = [{"name": 3}]
    with pytest.raises(Exception, match="is a required property"):
        schemathesis.openapi.from_dict(document).validate()
