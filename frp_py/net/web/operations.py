"""What an API consists of: a table of operations, from which the routes and their description are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from frp_py.net.web.request import Request

Handler: TypeAlias = "Callable[[Request], Awaitable[object]]"
"""Answers a request: with None (200, no body), bytes or str (plain text), Events, a Starlette response, or what becomes JSON."""


class ApiError(Exception):
    """An answer that isn't 200; `message` is told to whoever asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Events:
    """A stream of server-sent events.

    `source` makes an iterator over (name, what becomes JSON). It is asked for the next event when the one before has gone out, so nothing
    piles up for whoever is slow; it is cancelled when he leaves.
    """

    __slots__ = ("source",)

    def __init__(self, source: Callable[[], AsyncIterator[tuple[str, object]]]) -> None:
        self.source = source


class Query(msgspec.Struct, frozen=True):
    """A parameter behind the question mark; `type` is JSON Schema's."""

    name: str
    meaning: str = ""
    type: str = "string"
    required: bool = False
    choices: tuple[str, ...] = ()


class Operation(msgspec.Struct, frozen=True):
    """One method of one path, such as `/api/proxy/{type}/{name}`. The parameters are decoded after routing: `%2F` is part of a name."""

    method: str
    path: str
    handler: Handler
    summary: str
    query: tuple[Query, ...] = ()
    body: Any = None
    """Type of the request's body, for the description; `bytes` is plain text."""
    returns: Any = None
    """Type of the answer, for the description: a msgspec-able one, `str` (plain text), `Events`, or None (no body)."""
    errors: Mapping[int, str] = {}
    """Statuses and what they mean, for the description."""
    envelope: bool = False
    """Version 2: `{"code":200,"msg":"success","data":...}`."""
    changes: bool = False
    """It changes something: not for other machines while there is no password."""
    secrets: bool = False
    """It tells tokens and keys: not to other machines while there is no password."""
    nouns: Mapping[str, str] = {}
    """What path parameters are called when they can't be decoded: `{"key": "client key"}`."""


class RawRoute(msgspec.Struct, frozen=True):
    """A route that is not part of the API, such as `/metrics`; without `methods` for all of them."""

    path: str
    handler: Handler
    methods: tuple[str, ...] = ()
