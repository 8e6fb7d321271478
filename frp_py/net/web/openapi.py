"""The API's description (OpenAPI 3.1), made of its table of operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from frp_py.net.web.operations import Events, Operation

_PARAMETER = re.compile(r"\{(\w+)\}")
_REF = "#/components/schemas/{name}"
_PLAIN = {"type": "string"}
_TEXT = {"text/plain": {"schema": _PLAIN}}


def description(program: str, version: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """The document, ready to be encoded."""
    operations = list(operations)
    kinds = list(dict.fromkeys(kind for each in operations for kind in (each.body, each.returns) if _is_described(kind)))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in sorted(operations, key=lambda each: each.path):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{program} API", "version": version},
        "paths": paths,
        "components": {
            "schemas": components | {"Error": _error("Code", "Msg"), "EnvelopeError": _error("code", "msg", "data")},
            "securitySchemes": {"password": {"type": "http", "scheme": "basic"}},
        },
        "security": [{"password": []}, {}],
    }


def _is_described(kind: Any) -> bool:
    return kind not in (None, bytes, str, Events)


def _error(status: str, text: str, data: str = "") -> dict[str, Any]:
    properties: dict[str, Any] = {status: {"type": "integer"}, text: _PLAIN}
    if data:
        properties[data] = {"type": "null"}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _operation(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    names = _PARAMETER.findall(operation.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]
    for query in operation.query:
        schema: dict[str, Any] = {"type": query.type}
        if query.choices:
            schema["enum"] = list(query.choices)
        parameters.append({"name": query.name, "in": "query", "required": query.required, "description": query.meaning, "schema": schema})
    errors = {401: "no password, or a wrong one", 403: "refused: another origin, or no password is set", 429: "too many wrong passwords"}
    if names:
        errors[400] = "a parameter can't be decoded"
    if operation.body is not None:
        errors[413] = "the body is too large"
    if operation.returns is Events:
        errors[503] = "there are too many streams"
    errors.update(operation.errors)
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _identifier(operation),
        "responses": {"200": {"description": "success", **_content(_answer(operation, schema_of))}},
    }
    for status, meaning in sorted(errors.items()):
        described["responses"][str(status)] = {
            "description": meaning or HTTPStatus(status).phrase,
            "content": _error_content(operation, status),
        }
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = _TEXT if operation.body is bytes else {"application/json": {"schema": schema_of[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _answer(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    kind = operation.returns
    if kind is Events:
        return {"text/event-stream": {"schema": _PLAIN}}
    if kind in (str, bytes):
        return _TEXT
    schema = schema_of.get(kind)
    if operation.envelope:
        properties = {"code": {"const": 200}, "msg": {"const": "success"}, "data": {"type": "null"} if schema is None else schema}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {} if schema is None else {"application/json": {"schema": schema}}


def _content(content: dict[str, Any]) -> dict[str, Any]:
    return {"content": content} if content else {}


def _error_content(operation: Operation, status: int) -> dict[str, Any]:
    if status in (401, 429):
        return _TEXT
    return {"application/json": {"schema": {"$ref": _REF.format(name="EnvelopeError" if operation.envelope else "Error")}}}


def _identifier(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path)
    return operation.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)
