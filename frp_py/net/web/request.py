"""A request, as handlers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from starlette import requests

from frp_py.net.http.heads import Field, values_of
from frp_py.net.web.operations import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams

    from frp_py.net.serving.exchange import Exchange
    from frp_py.net.web.asgi import Call

BODY_LIMIT = 1 << 20  # bytes


class Request(requests.Request):
    """Starlette's request, with the path's parameters decoded and the body bounded."""

    sees_secrets = False
    """Whether the asker may see tokens, keys and run ids among what he is told."""

    @property
    def call(self) -> Call:
        """What carries it."""
        call: Call = self.scope["frp.call"]
        return call

    @property
    def exchange(self) -> Exchange:
        """It and its answer, one storey lower."""
        return self.call.exchange

    @property
    def fields(self) -> list[Field]:
        """The header as it came."""
        return self.call.exchange.fields

    @property
    def peer(self) -> str:
        """The address it came from."""
        return self.call.peer

    @property
    def query(self) -> QueryParams:
        """What is behind the question mark."""
        return self.query_params

    @property
    def path_parameters(self) -> dict[str, str]:
        """The parameters in the path."""
        return self.scope["path_params"]  # type: ignore[no-any-return]

    def decode_path(self, nouns: Mapping[str, str]) -> None:
        """Decode the path's parameters. Raises ApiError (400)."""
        parameters: dict[str, str] = self.scope["path_params"]
        for name, value in parameters.items():
            try:
                parameters[name] = decoded(value)
            except ValueError:
                raise ApiError(400, f"invalid {nouns.get(name, name)}") from None

    def field(self, name: bytes) -> str | None:
        """The value of a header field, given in lower case; None when there is none, or more than one."""
        values = values_of(self.call.exchange.fields, name)
        return values[0].decode("latin-1") if len(values) == 1 else None

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body. Raises ApiError (413) when it has more than `limit` bytes."""
        if not hasattr(self, "_body"):
            exchange = self.call.exchange
            data = bytearray()
            if exchange.length > limit:
                raise ApiError(413, f"the body has more than {limit} bytes")
            if exchange.length:
                while piece := await self.call.receive_body():
                    data += piece
                    if len(data) > limit:
                        raise ApiError(413, f"the body has more than {limit} bytes")
            self._body = bytes(data)
        return self._body


def decoded(text: str) -> str:
    """A percent-encoded piece of a path. Raises ValueError when an escape is malformed, or the bytes aren't UTF-8."""
    raw = text.encode("latin-1")
    if b"%" in raw:
        for piece in raw.split(b"%")[1:]:
            int(piece[:2] if len(piece) >= 2 and piece[:2].isalnum() else b"-", 16)
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8")
