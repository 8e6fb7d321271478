"""What those are told who may not see secrets: everything but run ids and the keys of groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.net.web.helpers import Answer
from tests.server.web.helpers import Site, running_site
from tests.support.inside import Peer, logged
from tests.support.ports import free_port

RUN_ID = "5eed0123456789ab"
OTHERS = {"X-Forwarded-For": "192.0.2.1"}  # the mark of somebody from elsewhere


@asynccontextmanager
async def site_with_a_client() -> AsyncIterator[tuple[Site, Peer]]:
    """It has no id of its own."""
    with logged():
        async with running_site(webServer__addr="0.0.0.0") as site:
            peer = await site.client("u", "", run_id=RUN_ID)
            assert (await peer.register("p", remote_port=free_port(), group="g", group_key="a group key")).error == ""
            yield site, peer


async def seen(site: Site, target: str) -> Any:
    answer = await site.ask(target, fields=OTHERS)
    assert answer.status == 200, answer
    return answer.json


async def name_of(site: Site) -> str:
    """What the client is called instead of its run id."""
    names: set[str] = {client["clientID"] for client in await seen(site, "/api/clients")}
    (name,) = names - {"5e", "5f"}
    return name


async def answers(site: Site) -> AsyncIterator[tuple[str, Answer]]:
    """Those to everything that can be read."""
    values = {"type": "tcp", "name": "p", "key": f"u.{await name_of(site)}"}
    for operation in site.server.web.service._operations:  # type: ignore[union-attr]
        if operation.method == "GET" and not operation.path.endswith("/events"):
            target = operation.path.format(**values)
            yield target, await site.ask(target, fields=OTHERS)
    yield "/metrics", await site.ask("/metrics", fields=OTHERS)


async def test_no_run_id_and_no_key_of_a_group_is_told_to_who_may_only_look() -> None:
    async with site_with_a_client() as (site, peer):
        found = [(target, answer) async for target, answer in answers(site)]
        assert len(found) > 15
        assert [(target, answer.status) for target, answer in found if answer.status != 200] == [("/metrics", 404)]
        for secret in (RUN_ID.encode(), b"a group key", b"groupKey"):
            assert [target for target, answer in found if secret in answer.body and not target.endswith("openapi.json")] == []
        await site.leaves(peer)  # it comes back with the same run id
        for target in ("/api/proxies/p", "/api/v2/proxies"):
            assert RUN_ID.encode() not in (await site.ask(target, fields=OTHERS)).body
        assert (await site.get("/api/proxies/p"))["clientID"] == RUN_ID


async def test_who_may_see_secrets_is_told_them() -> None:
    async with site_with_a_client() as (site, _):
        client = await site.get(f"/api/clients/u.{RUN_ID}")
        assert (client["key"], client["clientID"], client["runID"]) == (f"u.{RUN_ID}", RUN_ID, RUN_ID)
        stats = await site.get("/api/proxies/p")
        assert (stats["clientID"], stats["conf"]["loadBalancer"]) == (RUN_ID, {"group": "g", "groupKey": "a group key"})


async def test_the_other_name_is_good_for_all_that_a_run_id_is_good_for() -> None:
    async with site_with_a_client() as (site, _):
        name = await name_of(site)
        key = f"u.{name}"
        client = await seen(site, f"/api/clients/{key}")
        assert (client["key"], client["user"], client["clientID"], client["runID"]) == (key, "u", name, "")
        assert (await seen(site, f"/api/v2/clients/{key}"))["data"]["status"] == {"phase": "online", "curConns": 0, "proxyCount": 1}
        assert (await seen(site, f"/api/x/clients/{key}/traffic"))["data"]["name"] == key
        assert (await seen(site, f"/api/clients?clientId={name}"))[0]["key"] == key
        for query in (f"clients?clientID={name}", f"clients?q={name[7:14]}", f"proxies?clientID={name}", f"proxies?q={name[7:14]}"):
            assert (await seen(site, f"/api/v2/{query}"))["data"]["total"] == 1, query
        assert (await seen(site, "/api/proxies/p"))["clientID"] == name
        assert (await site.ask(f"/api/clients/v.{name}", fields=OTHERS)).status == 404


@pytest.mark.parametrize(
    "query", ["clients?runID=RUN_ID", "clients?clientID=RUN_ID", "clients?q=5eed", "proxies?clientID=RUN_ID", "proxies?q=5eed"]
)
async def test_filters_do_not_tell_it_either(query: str) -> None:
    async with site_with_a_client() as (site, _):
        target = f"/api/v2/{query.replace('RUN_ID', RUN_ID)}"
        assert (await seen(site, target))["data"]["total"] == 0
        assert (await site.data(target))["total"] == 1


async def test_nor_does_the_order() -> None:
    async with site_with_a_client() as (site, _):
        for client_id in ("5e", "5f"):
            await site.client("u", client_id)
        name = await name_of(site)
        for target in ("clients", "clients?sort=name"):
            shown = [client["clientID"] for client in (await seen(site, f"/api/v2/{target}"))["data"]["items"]]
            assert shown == ["5e", "5f", name]
            assert [client["clientID"] for client in (await site.data(f"/api/v2/{target}"))["items"]] == ["5e", RUN_ID, "5f"]


async def test_ids_of_their_own_are_no_secrets() -> None:
    with logged():
        async with running_site(webServer__addr="0.0.0.0") as site:
            peer = await site.client("u", "c", run_id=RUN_ID)
            assert (await peer.register("p", remote_port=free_port())).error == ""
            for is_online in (True, False):
                client = await seen(site, "/api/clients/u.c")
                assert (client["key"], client["clientID"], client["runID"], client["online"]) == ("u.c", "c", "", is_online)
                assert (await seen(site, "/api/proxies/p"))["clientID"] == "c"
                if is_online:
                    await site.leaves(peer)
