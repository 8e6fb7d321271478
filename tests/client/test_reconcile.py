"""Comparisons of what is and what is wished."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frp_py.client.reconcile import NEEDS_RESTART, changed_keys, difference, needs_restart, renewed
from frp_py.config import client_from_dict
from frp_py.config.base import Bandwidth
from frp_py.config.client import ClientConfig
from frp_py.config.proxies import HttpProxy, ProxyBase, ProxyTransport, StcpProxy, TcpProxy
from frp_py.config.schema import Field, fields_of

ENTRIES = st.builds(
    lambda make, name, port, limit: make(name=name, local_port=port, transport=ProxyTransport(bandwidth_limit=Bandwidth(limit))),
    st.sampled_from([TcpProxy, HttpProxy, StcpProxy]),
    st.sampled_from("abcdef"),
    st.integers(0, 2),
    st.sampled_from(["", "1MB"]),
)
SETS = st.lists(ENTRIES, unique_by=lambda entry: entry.name)


@given(SETS, SETS)
def test_stopping_and_starting_makes_one_the_other(before: list[ProxyBase], after: list[ProxyBase]) -> None:
    present = {entry.name: entry for entry in before}
    found = difference(present, after)
    running = dict(present)
    for name in found.to_stop:
        del running[name]
    stayed = set(running)
    for entry in found.to_start:
        assert entry.name not in running
        running[entry.name] = entry
    assert running == {entry.name: entry for entry in after}
    assert stayed == {entry.name for entry in after if present.get(entry.name) == entry}
    kinds = [{entry.name for entry in found.added}, {entry.name for entry in found.changed}, set(found.removed), stayed]
    assert sum(map(len, kinds)) == len(set().union(*kinds)) == len({*present, *running})


@given(SETS)
def test_nothing_is_done_for_the_same(entries: list[ProxyBase]) -> None:
    assert difference({entry.name: entry for entry in reversed(entries)}, entries) == ([], [], [])


def test_order_is_kept() -> None:
    wished = [TcpProxy(name=name, local_port=1) for name in "zay"]
    found = difference({"y": TcpProxy(name="y"), "z": TcpProxy(name="z"), "x": TcpProxy(name="x"), "b": TcpProxy(name="b")}, wished)
    assert (found.to_stop, [entry.name for entry in found.to_start]) == (["x", "b", "z", "y"], ["a", "z", "y"])


# the common part


def config(tree: dict[str, Any]) -> ClientConfig:
    return client_from_dict(tree, environ={})


def test_keys_that_have_changed_are_named_as_in_files() -> None:
    before = config({"log": {"level": "info"}, "metadatas": {"a": "1"}, "webServer": {"port": 1}})
    after = config(
        {
            "log": {"level": "debug"},
            "metadatas": {"a": "2"},
            "transport": {"tls": {"serverName": "x"}, "heartbeatInterval": 5},
            "webServer": {"port": 1, "tls": {"certFile": "c", "keyFile": "k"}},
            "proxies": [{"name": "a", "type": "tcp"}],
        }
    )
    assert changed_keys(before, after) == [
        "log.level",
        "webServer.tls",
        "transport.heartbeatInterval",
        "transport.tls.serverName",
        "metadatas",
    ]
    assert changed_keys(after, after) == []


def test_what_needs_a_restart_stays_as_it_is() -> None:
    before = config({"serverAddr": "a", "user": "u", "webServer": {"port": 1, "password": "old"}, "transport": {"poolCount": 1}})
    after = config(
        {
            "serverAddr": "b",
            "user": "v",
            "webServer": {"port": 2, "password": "new"},
            "transport": {"poolCount": 3, "tcpMux": False, "quic": {"maxIdleTimeout": 9}},
            "proxies": [{"name": "a", "type": "tcp"}],
        }
    )
    made = renewed(before, after)
    assert (made.server_addr, made.user, made.web_server.port, made.web_server.password) == ("a", "u", 1, "new")
    assert (made.transport.pool_count, made.transport.tcp_mux, made.transport.quic.max_idle_timeout) == (3, True, 30)
    assert made.proxies == after.proxies
    keys = changed_keys(before, after)
    assert [key for key in keys if needs_restart(key)] == [
        *("user", "serverAddr", "webServer.port", "transport.tcpMux", "transport.quic.maxIdleTimeout")
    ]
    # and they are told again, as long as the file says something else
    assert [key for key in changed_keys(made, after) if not needs_restart(key)] == []


def all_keys(fields: list[Field], prefix: str = "") -> set[str]:
    found = set()
    for field in fields:
        found.add(prefix + field.name)
        if field.kind == "table" and len(field.tables) == 1:
            found |= all_keys([*fields_of(field.tables[0])], f"{prefix}{field.name}.")
    return found


@pytest.mark.parametrize("key", sorted(NEEDS_RESTART))
def test_the_keys_that_need_one_exist(key: str) -> None:
    assert key in all_keys([*fields_of(ClientConfig)])


def test_equal_configurations_are_the_same() -> None:
    one = config({"auth": {"token": "t"}})
    assert renewed(one, msgspec.structs.replace(one)) == one
