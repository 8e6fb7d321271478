"""Metrics in the text format of Prometheus, 0.0.4 (behaviour.md 14.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from frp_py.net.web.operations import RawRoute
from frp_py.server.web.common import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from frp_py.net.web.request import Request
    from frp_py.server.statistics import Record, Statistics

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Metrics(Part):
    """`/metrics`, while it is switched on."""

    def routes(self) -> tuple[RawRoute, ...]:
        """It answers to all methods."""
        return (RawRoute("/metrics", self._metrics),)

    async def _metrics(self, request: Request) -> Response:
        if not self.server.config.enable_prometheus:
            return PlainTextResponse("404 page not found\n", 404)
        statistics = self.statistics
        blocks = await self.each(_lines, statistics.children.values())
        body = "".join(_assembled(statistics, blocks)).encode()
        return Response(body, media_type=_CONTENT_TYPE)


def _assembled(statistics: Statistics, blocks: list[tuple[str, str, str, str]]) -> Iterable[str]:
    detailed, connections, received, sent = zip(*blocks, strict=True) if blocks else ((), (), (), ())
    yield _head("frp_server_client_counts", "gauge", "The current client counts of frps")
    yield f"frp_server_client_counts {statistics.clients}\n"
    for name, kind, text, lines in (
        ("proxy_counts", "gauge", "The current proxy counts", [_by_type(*item) for item in sorted(statistics.types.items())]),
        ("proxy_counts_detailed", "gauge", "The current number of proxies grouped by type and name", detailed),
        ("connection_counts", "gauge", "The current connection counts", connections),
        ("traffic_in", "counter", "The total in traffic", received),
        ("traffic_out", "counter", "The total out traffic", sent),
    ):
        body = "".join(lines)
        if body:
            yield _head(f"frp_server_{name}", kind, text)
            yield body


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _by_type(kind: str, count: int) -> str:
    return f'frp_server_proxy_counts{{type="{kind}"}} {count}\n'


def _lines(record: Record) -> tuple[str, str, str, str]:
    """The line of each metric about a proxy; empty for those that have not been used."""
    labels = f'{{name="{record.name.translate(_ESCAPES)}",type="{record.type}"}}'
    return (
        f"frp_server_proxy_counts_detailed{labels} {0 if record.proxy is None else 1}\n",
        f"frp_server_connection_counts{labels} {record.connections}\n" if record.was_used else "",
        f"frp_server_traffic_in{labels} {record.traffic_in}\n" if record.traffic_in else "",
        f"frp_server_traffic_out{labels} {record.traffic_out}\n" if record.traffic_out else "",
    )
