"""The application: routes made of operations, and what happens to every request on its way through one of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
import trio
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from frp_py.errors import PeerError
from frp_py.log import get_logger
from frp_py.net.http.conditions import accepts_gzip
from frp_py.net.web.events import EventStreams
from frp_py.net.web.operations import ApiError, Events, Operation, RawRoute
from frp_py.net.web.request import Request

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from frp_py.net.web.guard import Guard
    from frp_py.net.web.operations import Handler

log = get_logger()

_PACKED = 2048  # bytes from which on an answer is compressed
_PIECE = 64 * 1024  # bytes compressed before others get their turn
_LONGEST_PATH, _LONGEST_ERROR = 300, 1000  # characters of them in the log


class Endpoint:
    """What a request goes through: who may ask, the handler, and what its result becomes. A subclass says what errors look like."""

    is_page = False
    is_public = False
    changes = False
    secrets = False

    def __init__(self, handler: Handler, guard: Guard, streams: EventStreams) -> None:
        self._handler = handler
        self._guard = guard
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application."""
        request = Request(scope, receive)
        response = await self._respond(request)
        if not self.is_page:
            response.headers.setdefault("cache-control", "no-store")
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        refusal = self._guard.refusal(request, is_page=self.is_page, changes=self.changes, secrets=self.secrets)
        if refusal:
            log.debug("request for [%s] from [%s] refused: %s", request.scope["path"][:_LONGEST_PATH], request.peer, refusal)
            return self.error(403, refusal)
        if not self.is_public and (demand := await self._guard.demand(request)) is not None:
            status, fields, body = demand
            response = Response(body, status)
            response.raw_headers += [(name.lower(), value) for name, value in fields]
            return response
        if not self.is_public:
            request.call.admit()
        return await self.handle(request)

    async def handle(self, request: Request) -> Response:
        """Call the handler."""
        try:
            return await self.answer(request, await self._handler(request))
        except ApiError as error:
            return self.error(error.status, error.message)

    async def answer(self, request: Request, result: object) -> Response:
        """The response that a handler's result stands for."""
        if isinstance(result, Response):
            return result
        if isinstance(result, Events):
            return self._streams.response(request.call, result)
        if result is None:
            return Response()
        if isinstance(result, str | bytes):
            return await packed(request, result.encode() if isinstance(result, str) else result, "text/plain; charset=utf-8")
        return await packed(request, self.json(result), "application/json")

    def json(self, result: object) -> bytes:
        """One object, and a newline."""
        return msgspec.json.encode(result) + b"\n"

    def error(self, status: int, message: str) -> Response:
        """An answer that isn't 200."""
        return PlainTextResponse(message + "\n", status)


class OperationEndpoint(Endpoint):
    """An operation of the API; errors are of version 1 (behaviour.md 11.1)."""

    def __init__(self, operation: Operation, guard: Guard, streams: EventStreams) -> None:
        super().__init__(operation.handler, guard, streams)
        self.changes = operation.changes
        self.secrets = operation.secrets
        self._nouns = operation.nouns
        self._log = log.debug if operation.path.startswith("/api/x/") else log.info  # the dashboard asks all the time

    async def handle(self, request: Request) -> Response:
        """Call the handler, and log it."""
        path = request.scope["path"][:_LONGEST_PATH]
        note, warn = self._log, log.warning
        request.sees_secrets = not self._guard.is_read_only(request)
        if not request.sees_secrets:  # anybody: he doesn't fill the log
            note = warn = log.debug
        note("http request: [%s]", path)
        try:
            request.decode_path(self._nouns)
            response = await self.answer(request, await self._handler(request))
        except ApiError as error:
            warn("http response [%s]: error: %s", path, error.message[:_LONGEST_ERROR])
            response = self.error(error.status, error.message)
        except PeerError:
            raise
        except Exception as error:
            log.exception("http response [%s]: error: %s", path, error)
            response = self.error(500, "internal server error")
        else:
            note("http response [%s]: code [%d]", path, response.status_code)
        return response

    def error(self, status: int, message: str) -> Response:
        """`{"Code":...,"Msg":...}`."""
        return Response(self._error_body(status, message), status, media_type="application/json")

    def _error_body(self, status: int, message: str) -> bytes:
        return msgspec.json.encode({"Code": status, "Msg": message}) + b"\n"


class EnvelopeEndpoint(OperationEndpoint):
    """An operation of version 2 (behaviour.md 11.3)."""

    def json(self, result: object) -> bytes:
        """The data in its envelope."""
        return b'{"code":200,"msg":"success","data":%b}\n' % msgspec.json.encode(result)

    def _error_body(self, status: int, message: str) -> bytes:
        return msgspec.json.encode({"code": status, "msg": message, "data": None}) + b"\n"


class PageEndpoint(Endpoint):
    """A part of the user interface. Whoever opens it with a browser gets a ticket (tickets.py)."""

    is_page = True

    async def answer(self, request: Request, result: object) -> Response:
        """As it is, with a ticket for who has none."""
        response = await super().answer(request, result)
        if ticket := self._guard.new_ticket(request):
            response.headers["set-cookie"] = ticket
        return response


class PublicEndpoint(Endpoint):
    """What needs no password."""

    is_public = True


class _Healthz:
    """Whoever asks, and however: it is alive."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response()(scope, receive, send)


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """No route."""
    await PlainTextResponse("404 page not found\n", 404)(scope, receive, send)


class _Methods:
    """All methods of one path; what is answered to others is part of the specification, so this is not left to the router."""

    def __init__(self, endpoints: dict[str, Endpoint]) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            await Response(status_code=405, headers={"allow": ", ".join(self._endpoints)})(scope, receive, send)
        else:
            await endpoint(scope, receive, send)


def application(
    operations: Iterable[Operation],
    raw: Iterable[RawRoute],
    pages: Sequence[tuple[str, Handler]],
    public: Sequence[tuple[str, Handler]],
    guard: Guard,
    streams: EventStreams,
) -> Router:
    """The whole of it; paths without parameters come first, whatever the order of the tables."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for operation in operations:
        kind = EnvelopeEndpoint if operation.envelope else OperationEndpoint
        paths.setdefault(operation.path, {})[operation.method] = kind(operation, guard, streams)
    for path, handler in pages:
        paths[path] = {"GET": PageEndpoint(handler, guard, streams)}
    for path, handler in public:
        paths[path] = dict.fromkeys(("GET", "POST"), PublicEndpoint(handler, guard, streams))
    routes = [Route("/healthz", _Healthz())]
    for route in raw:
        endpoint = Endpoint(route.handler, guard, streams)
        routes.append(Route(route.path, _Methods(dict.fromkeys(route.methods, endpoint)) if route.methods else endpoint))
    routes += [Route(path, _Methods(endpoints)) for path, endpoints in sorted(paths.items(), key=lambda item: item[0].count("{"))]
    return Router(routes, redirect_slashes=False, default=not_found)


async def packed(request: Request, body: bytes, media_type: str) -> Response:
    """A response with that body, compressed if that is accepted and worth while."""
    if len(body) < _PACKED:
        return Response(body, media_type=media_type)
    headers = {"vary": "accept-encoding"}
    if accepts_gzip(request.fields):
        headers["content-encoding"] = "gzip"
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        pieces = []
        for start in range(0, len(body), _PIECE):
            if start:
                await trio.lowlevel.checkpoint()
            pieces.append(packer.compress(memoryview(body)[start : start + _PIECE]))
        pieces.append(packer.flush())
        body = b"".join(pieces)
    return Response(body, headers=headers, media_type=media_type)
