"""Entries as they are written into stores and told by the web API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from frp_py.config.decode import entry_of, entry_tree
from frp_py.config.plugins import PLUGINS
from frp_py.config.written import KINDS, as_written, completed


def written(value: dict[str, Any], kind: str = "proxy") -> dict[str, Any]:
    return as_written(entry_tree(value, kind, "x", "the test"), kind)


def test_tables_are_always_there_and_defaults_never() -> None:
    expected = (
        '{"name":"p","type":"tcp","transport":{"bandwidthLimit":""},"loadBalancer":{"group":""},"healthCheck":{"type":"",'
        '"intervalSeconds":0},"localIP":"127.0.0.1","localPort":10080,"plugin":null,"remotePort":7000}'
    )
    value = {"remotePort": 7000, "localPort": 10080, "localIP": "127.0.0.1", "type": "tcp", "name": "p"}
    assert json.dumps(written(value), separators=(",", ":")) == expected
    assert "localIP" not in written({"name": "p", "type": "tcp"})


def test_what_is_given_is_kept_under_its_proper_name() -> None:
    value = {
        "name": "h",
        "type": "http",
        "ENABLED": False,
        "annotations": {"a": "b"},
        "metadatas": {},
        "customdomains": ["x.test"],
        "subdomain": "",
        "transport": {"bandwidthLimit": " 1MB ", "useEncryption": True, "useCompression": False},
        "healthCheck": {"type": "http", "path": "/", "httpHeaders": [{"name": "a"}]},
        "requestHeaders": {"set": {"x": "y"}},
        "plugin": {"type": "https2http", "localAddr": "a:1", "enableHTTP2": False, "what": 1},
        "remotePort": 1,
        "unknown": [],
    }
    assert written(value) == {
        "name": "h",
        "type": "http",
        "enabled": False,
        "annotations": {"a": "b"},
        "transport": {"useEncryption": True, "bandwidthLimit": "1MB"},
        "loadBalancer": {"group": ""},
        "healthCheck": {"type": "http", "intervalSeconds": 0, "path": "/", "httpHeaders": [{"name": "a", "value": ""}]},
        "plugin": {"type": "https2http", "localAddr": "a:1", "requestHeaders": {}, "enableHTTP2": False},
        "customDomains": ["x.test"],
        "requestHeaders": {"set": {"x": "y"}},
        "responseHeaders": {},
    }


def test_visitors() -> None:
    value = {"name": "v", "type": "xtcp", "serverName": "s", "bindPort": -1, "natTraversal": {"disableAssistedAddrs": True}}
    assert written(value, "visitor") == {
        "name": "v",
        "type": "xtcp",
        "transport": {},
        "serverName": "s",
        "bindPort": -1,
        "plugin": None,
        "natTraversal": {"disableAssistedAddrs": True},
    }
    plugin = {"type": "virtual_net", "destinationIP": "10.0.0.1"}
    assert written({"name": "v", "type": "stcp", "plugin": plugin}, "visitor")["plugin"] == plugin


def test_completed_ones_have_their_defaults() -> None:
    value = {"name": "h", "type": "tcp", "healthCheck": {"type": "tcp", "maxFailed": 3}}
    entry = entry_of(entry_tree(value, "proxy", "x", "the test"), "proxy")
    assert completed(entry) == {
        "name": "h",
        "type": "tcp",
        "transport": {"bandwidthLimit": "", "bandwidthLimitMode": "client"},
        "loadBalancer": {"group": ""},
        "healthCheck": {"type": "tcp", "timeoutSeconds": 3, "maxFailed": 3, "intervalSeconds": 10},
        "localIP": "127.0.0.1",
        "plugin": None,
    }


@pytest.mark.parametrize(("kind", "entry_type"), [(kind, name) for kind, types in KINDS.items() for name in types])
def test_what_is_written_reads_the_same(kind: str, entry_type: str) -> None:
    value = {"name": "n", "type": entry_type, "transport": {"useEncryption": True}, "enabled": True}
    once = written(value, kind)
    assert written(once, kind) == once
    entry = entry_of(entry_tree(value, kind, "x", "the test"), kind)
    assert entry_of(entry_tree(completed(entry), kind, "x", "the test"), kind) == entry


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_plugins_read_the_same(plugin: str) -> None:
    once = written({"name": "n", "type": "tcp", "plugin": {"type": plugin}})
    assert once["plugin"]["type"] == plugin
    assert written(once) == once
