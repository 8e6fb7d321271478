"""Metrics for Prometheus (behaviour.md 14.3)."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.server.web.helpers import Site, running_site
from tests.support.ports import free_port
from tests.support.programs import program

HEADS = """\
# HELP frp_server_client_counts The current client counts of frps
# TYPE frp_server_client_counts gauge
# HELP frp_server_proxy_counts The current proxy counts
# TYPE frp_server_proxy_counts gauge
# HELP frp_server_proxy_counts_detailed The current number of proxies grouped by type and name
# TYPE frp_server_proxy_counts_detailed gauge
# HELP frp_server_connection_counts The current connection counts
# TYPE frp_server_connection_counts gauge
# HELP frp_server_traffic_in The total in traffic
# TYPE frp_server_traffic_in counter
# HELP frp_server_traffic_out The total out traffic
# TYPE frp_server_traffic_out counter
"""


async def metrics(site: Site) -> list[str]:
    answer = await site.ask("/metrics")
    assert (answer.status, answer.fields["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return answer.body.decode().splitlines()


def samples(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


async def test_an_empty_server() -> None:
    async with running_site(enablePrometheus=True) as site:
        assert "\n".join(await metrics(site)) + "\n" == "".join(HEADS.splitlines(True)[:2]) + "frp_server_client_counts 0\n"


async def test_every_metric() -> None:
    async with running_site(enablePrometheus=True) as site:
        peer = await site.client()
        await peer.register("p", remote_port=free_port())
        await peer.register("s", proxy_type="stcp", sk="k")
        site.server.proxies["p"].count_open()
        site.count("p", 1, 2)
        lines = await metrics(site)
        assert [line for line in lines if line.startswith("#")] == HEADS.splitlines()
        assert samples(lines) == [
            "frp_server_client_counts 1",
            'frp_server_proxy_counts{type="stcp"} 1',
            'frp_server_proxy_counts{type="tcp"} 1',
            'frp_server_proxy_counts_detailed{name="p",type="tcp"} 1',
            'frp_server_proxy_counts_detailed{name="s",type="stcp"} 1',
            'frp_server_connection_counts{name="p",type="tcp"} 1',
            'frp_server_traffic_in{name="p",type="tcp"} 1',
            'frp_server_traffic_out{name="p",type="tcp"} 2',
        ]
        site.server.proxies["p"].count_closed()
        await site.leaves(peer)
        site.server.statistics.prune()
        assert samples(await metrics(site)) == [
            "frp_server_client_counts 0",
            'frp_server_proxy_counts{type="stcp"} 0',
            'frp_server_proxy_counts{type="tcp"} 0',
            'frp_server_proxy_counts_detailed{name="p",type="tcp"} 0',
            'frp_server_proxy_counts_detailed{name="s",type="stcp"} 0',
            'frp_server_connection_counts{name="p",type="tcp"} 0',
            'frp_server_traffic_in{name="p",type="tcp"} 1',
            'frp_server_traffic_out{name="p",type="tcp"} 2',
        ]


HOSTILE = ['a"b', "a\\b", "a\nb", 'x",type="y"} 5\nfrp_server_client_counts 99', "\u2028é😀\0", "a\rb"]


async def test_names_can_t_say_anything_else() -> None:
    async with running_site(enablePrometheus=True) as site:
        peer = await site.client()
        for name in HOSTILE:
            await peer.register(name, proxy_type="stcp", sk="k")
        answer = await site.ask("/metrics")
        lines = answer.body.decode().split("\n")
        detailed = [line for line in lines if line.startswith("frp_server_proxy_counts_detailed")]
        assert len(detailed) == len(HOSTILE)
        assert lines.count("frp_server_client_counts 1") == 1
        assert not any(line.endswith(" 99") for line in lines)
        named = [re.fullmatch(r'\w+\{name="((?:[^"\\\n]|\\.)*)",type="stcp"\} 1', line, re.DOTALL) for line in detailed]
        unescaped = [re.sub(r"\\(.)", lambda c: "\n" if c[1] == "n" else c[1], found[1]) for found in named if found]
        assert unescaped == HOSTILE


async def test_promtool_finds_nothing_wrong() -> None:
    promtool = program("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    async with running_site(enablePrometheus=True) as site:
        peer = await site.client()
        for name in HOSTILE:
            await peer.register(name, proxy_type="stcp", sk="k")
            site.count(name, 1, 1)
        text = (await site.ask("/metrics")).body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=20, check=False)  # noqa: ASYNC221
    found = [line for line in done.stderr.decode().splitlines() if line and "_total" not in line]  # frp's names are as they are
    assert (found, done.stdout) == ([], b"")


async def test_it_is_there_only_when_it_is_wanted() -> None:
    async with running_site() as site:
        assert (await site.ask("/metrics")).status == 404
    async with running_site(enablePrometheus=True) as site:
        for method in ("GET", "POST", "DELETE"):
            assert (await site.ask("/metrics", method)).status == 200


async def test_it_needs_the_password() -> None:
    async with running_site(enablePrometheus=True, webServer__user="u", webServer__password="p") as site:
        assert (await site.ask("/metrics")).status == 401
        assert (await site.ask("/metrics", fields={"Authorization": "Basic dTpw"})).status == 200
