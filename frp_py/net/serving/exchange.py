"""A request and the answer to it, whatever version of HTTP they travel by, as those see it who answer in a task of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from frp_py.net.http.heads import UNTIL_CLOSE, Field, values_of
from frp_py.net.http.pages import Clock

if TYPE_CHECKING:
    from frp_py.net.engine.stream import EndStream

HEAD_TIME = 60  # s for a request's head (behaviour.md 8.5)
IDLE_TIME = 300  # s between requests
STALL_TIME = 300  # s for a user to send or to take a piece of a body

Bytes: TypeAlias = bytes | bytearray | memoryview

clock = Clock()


def has_body(method: bytes, status: int) -> bool:
    """Whether a response to that has a body."""
    return method != b"HEAD" and status >= 200 and status not in (204, 304)


def dated(fields: Sequence[Field]) -> list[Field]:
    """The fields, with Date if there is none."""
    return [*fields] if values_of(fields, b"date") else [*fields, (b"Date", clock.date())]


class Exchange(ABC):
    """One request. Its methods raise PeerError when the user's side fails; nothing is to be done about it then.

    The body is received by one task, the answer is given by one; they may be two.
    """

    __slots__ = ("fields", "host", "is_absolute", "length", "method", "started", "target", "trailers", "upgrade")

    def __init__(self, method: bytes, host: bytes | None, target: bytes, fields: list[Field], length: int) -> None:
        self.method = method
        self.host = host or b""
        """The authority that was asked, with its port."""
        self.target = target
        """Path and query; for CONNECT the authority."""
        self.fields = fields
        self.length = length
        """Of the body: bytes or CHUNKED."""
        self.is_absolute = False
        """Whether the request had the form that is meant for proxies."""
        self.upgrade = b""
        """The protocol that the user would like to go over to."""
        self.trailers: list[Field] = []
        """Of the request, once its body has been received."""
        self.started = False
        """Whether the answer has begun: that can't be taken back."""

    @abstractmethod
    async def receive(self) -> bytes:
        """The next piece of the body; none at its end."""

    @abstractmethod
    async def inform(self, status: int, fields: Sequence[Field]) -> None:
        """Send a response before the response: a status of 1xx."""

    @abstractmethod
    async def respond(self, status: int, fields: Sequence[Field], length: int = UNTIL_CLOSE, *, reason: bytes | None = None) -> None:
        """Begin the answer. `fields` say nothing of the framing; `length` is that of the body, which UNTIL_CLOSE leaves open."""

    @abstractmethod
    async def send(self, data: Bytes) -> None:
        """Send a piece of the body, and wait until it has gone."""

    @abstractmethod
    async def end(self, trailers: Sequence[Field] = ()) -> None:
        """Complete the answer."""

    @abstractmethod
    async def take_over(self, head: bytes) -> tuple[EndStream, bytes]:
        """Send `head` in place of an answer, and have the connection for something else; the bytes are what came behind the request.

        Only where `upgrade` says so, and for CONNECT.
        """

    async def answer(self, status: int, fields: Sequence[Field] = (), body: bytes = b"") -> None:
        """Give a whole answer."""
        await self.respond(status, fields, len(body))
        if body and has_body(self.method, status):
            await self.send(body)
        await self.end()


Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""Answers an exchange. One that returns without a complete answer, or raises PeerError, breaks it off."""
