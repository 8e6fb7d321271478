"""The forms of frpc know every key of every kind of proxy and visitor, and write nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, Route

import frp_py
from frp_py.config.base import Section
from frp_py.config.decode import Document, decode_client
from frp_py.config.plugins import PLUGINS
from frp_py.config.proxies import PROXIES
from frp_py.config.visitors import VISITOR_PLUGINS, VISITORS

PAGES = Path(frp_py.__file__).parent / "dashboard" / "client"
VALUES = {
    "text": "x",
    "secret": "x",
    "number": 7,
    "check": True,
    "list": ["x"],
    "map": {"x": "y"},
    "headers": [{"name": "x", "value": "y"}],
}

FILLED = """
(kind, type, plugin, values) => {
  const { applies, newBlock, sectionsOf, withValue } = window.fields;
  let block = { ...newBlock(kind), name: "it", type };
  if (plugin) block = withValue(block, "plugin.type", plugin);
  for (let round = 0; round < 2; round += 1) {  // some fields apply only when others are set
    for (const { fields } of sectionsOf(kind)) for (const field of fields) {
      if (!applies(field, block) || field.path === "plugin.type") continue;
      const special = { "transport.bandwidthLimit": "1MB", "plugin.enableHTTP2": false };
      const plain = field.kind === "choice" ? field.choices.at(-1) : values[field.kind];
      block = withValue(block, field.path, special[field.path] ?? plain);
    }
  }
  return block;
}
"""


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page with fields.js as `window.fields`."""
    page = browser.new_page()

    def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        route.fulfill(path=PAGES / name) if name else route.fulfill(body="<!doctype html>", content_type="text/html")

    page.route("http://fields.test/**", serve)
    page.goto("http://fields.test/")
    page.evaluate("async () => { window.fields = await import('/fields.js'); }")
    yield page
    page.close()


def block_of(page: Page, kind: str, of_type: str, plugin: str = "") -> dict[str, Any]:
    """A block in which every field that applies is set."""
    block: dict[str, Any] = page.evaluate(
        f"([kind, type, plugin, values]) => ({FILLED})(kind, type, plugin, values)", [kind, of_type, plugin, VALUES]
    )
    return block


def definition_of(page: Page, kind: str, block: dict[str, Any]) -> dict[str, Any]:
    definition: dict[str, Any] = page.evaluate("([kind, block]) => window.fields.definitionOf(kind, block)", [kind, block])
    return definition


def faults_of(page: Page, kind: str, block: dict[str, Any]) -> dict[str, str]:
    faults: dict[str, str] = page.evaluate("([kind, block]) => window.fields.faultsOf(kind, block)", [kind, block])
    return faults


def paths(tree: object, before: str = "") -> set[str]:
    """Where the values of a tree lie; what is in a map or a list is one value."""
    if not isinstance(tree, dict) or set(tree) == {"x"}:
        return {before[:-1]}
    return {path for key, value in tree.items() for path in paths(value, f"{before}{key}.")}


def keys(struct: type[Section], before: str = "") -> set[str]:
    """The same of a struct of the configuration."""
    found = set()
    for field in msgspec.structs.fields(struct):
        name = before + field.encode_name
        if field.encode_name == "plugin":
            continue
        if isinstance(field.type, type) and issubclass(field.type, Section):
            found |= keys(field.type, f"{name}.")
        else:
            found.add(name)
    return found


def decoded(kind: str, block: dict[str, Any]) -> Any:
    config = decode_client(Document({"proxies" if kind == "proxy" else "visitors": [block]}, "json", "the form"), strict=True)
    return (config.proxies if kind == "proxy" else config.visitors)[0]


@pytest.mark.parametrize(("kind", "of_type"), [*(("proxy", one) for one in PROXIES), *(("visitor", one) for one in VISITORS)])
def test_every_key_has_a_field(page: Page, kind: str, of_type: str) -> None:
    block = block_of(page, kind, of_type)
    offered = paths(block) | {"type", "enabled"}
    struct = (PROXIES if kind == "proxy" else VISITORS)[of_type]
    missing = keys(struct) - offered
    if of_type in ("udp", "stcp", "sudp", "xtcp"):
        missing -= {"loadBalancer.group", "loadBalancer.groupKey"}  # without effect there
    assert missing == set()
    assert len(keys(struct)) >= 9
    written = definition_of(page, kind, block)
    assert (written["name"], written["type"]) == ("it", of_type)
    assert faults_of(page, kind, block) == {}
    entry = decoded(kind, written[of_type])
    assert entry.name == "it"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_key_of_a_plugin_has_a_field(page: Page, plugin: str) -> None:
    block = block_of(page, "proxy", "tcp", plugin)
    assert keys(PLUGINS[plugin]) <= paths(block["plugin"])
    written = definition_of(page, "proxy", block)["tcp"]
    assert decoded("proxy", written).plugin.type == plugin
    if "enableHTTP2" in block["plugin"]:
        assert written["plugin"]["enableHTTP2"] is False
    # another one leaves nothing of it behind
    other = "socks5" if plugin != "socks5" else "virtual_net"
    changed = definition_of(page, "proxy", {**block, "plugin": {**block["plugin"], "type": other}})["tcp"]
    assert decoded("proxy", changed).plugin.type == other


def test_the_visitors_plugin(page: Page) -> None:
    block = block_of(page, "visitor", "stcp", "virtual_net")
    assert keys(VISITOR_PLUGINS["virtual_net"]) <= paths(block["plugin"])
    assert decoded("visitor", definition_of(page, "visitor", block)["stcp"]).plugin.destination_ip == "x"


@pytest.mark.parametrize("first", PROXIES)
def test_another_type_leaves_nothing_behind(page: Page, first: str) -> None:
    block = block_of(page, "proxy", first)
    for second in PROXIES:
        written = definition_of(page, "proxy", {**block, "type": second})
        assert decoded("proxy", written[second]).type == second


def test_nothing_but_what_was_set_is_written(page: Page) -> None:
    plain = {
        "name": " it ",
        "type": "tcp",
        "localIP": "127.0.0.1",
        "localPort": 22,
        "remotePort": 0,
        "transport": {"bandwidthLimit": ""},
        "enabled": True,
    }
    assert definition_of(page, "proxy", {**plain, "enabled": None})["tcp"] == {
        "name": "it",
        "type": "tcp",
        "localIP": "127.0.0.1",
        "localPort": 22,
    }
    assert definition_of(page, "proxy", {**plain, "enabled": False})["tcp"]["enabled"] is False
    unknown = definition_of(page, "proxy", {**plain, "ours": {"some": 1}, "annotations": {"empty": ""}})["tcp"]
    assert unknown["ours"] == {"some": 1}
    assert unknown["annotations"] == {"empty": ""}


@pytest.mark.parametrize(
    ("kind", "block", "wrong"),
    [
        ("proxy", {"type": "tcp", "name": "", "localPort": 1}, {"name"}),
        ("proxy", {"type": "tcp", "name": "x" * 51, "localPort": 1}, {"name"}),
        ("proxy", {"type": "tcp", "name": "名" * 50, "localPort": 1}, set()),
        ("proxy", {"type": "tcp", "name": "x"}, {"localPort"}),
        ("proxy", {"type": "tcp", "name": "x", "localPort": 65536}, {"localPort"}),
        ("proxy", {"type": "tcp", "name": "x", "localPort": "8x"}, {"localPort"}),
        ("proxy", {"type": "tcp", "name": "x", "localPort": 1, "remotePort": -1}, {"remotePort"}),
        ("proxy", {"type": "tcp", "name": "x", "plugin": {"type": "socks5"}}, set()),
        ("proxy", {"type": "tcp", "name": "x", "plugin": {"type": "static_file"}}, {"plugin.localPath"}),
        ("proxy", {"type": "http", "name": "x", "localPort": 1}, {"customDomains"}),
        ("proxy", {"type": "http", "name": "x", "localPort": 1, "customDomains": [" "]}, {"customDomains"}),
        ("proxy", {"type": "http", "name": "x", "localPort": 1, "subdomain": "www"}, set()),
        ("proxy", {"type": "tcp", "name": "x", "localPort": 1, "healthCheck": {"type": "http"}}, {"healthCheck.path"}),
        ("proxy", {"type": "tcp", "name": "x", "localPort": 1, "healthCheck": {"type": "tcp"}}, set()),
        ("proxy", {"type": "tcp", "name": "x", "localPort": 1, "transport": {"bandwidthLimit": "1GB"}}, {"transport.bandwidthLimit"}),
        ("visitor", {"type": "stcp", "name": "x"}, {"serverName", "bindPort"}),
        ("visitor", {"type": "stcp", "name": "x", "serverName": "y", "bindPort": -1}, set()),
        ("visitor", {"type": "sudp", "name": "x", "serverName": "y", "bindPort": -1}, {"bindPort"}),
        (
            "visitor",
            {"type": "stcp", "name": "x", "serverName": "y", "bindPort": 1, "plugin": {"type": "virtual_net"}},
            {"plugin.destinationIP"},
        ),
    ],
)
def test_rules(page: Page, kind: str, block: dict[str, Any], wrong: set[str]) -> None:
    assert set(faults_of(page, kind, block)) == wrong
