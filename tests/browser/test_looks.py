"""How the pages look, to eyes, keyboards and screen readers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.browser.support import AXE, DESKTOP, PHONE, Eyes, Site, client_site, server_site
from tests.support import programs
from tests.support.ports import free_port
from tests.support.programs import proxy

Look = Callable[..., Eyes]

SERVER_PAGES = ("/", "/clients", "/clients/ops.laptop", "/proxies", "/proxy/ops.ssh", "/no/such/page")
CLIENT_PAGES = (
    *("/proxies", "/proxies?tab=store", "/proxies/detail/ssh", "/proxies/detail/taken", "/proxies/create", "/proxies/stored/edit"),
    *("/visitors", "/visitors/create", "/config", "/log"),
)


class Pair(NamedTuple):
    """Both dashboards, with something on every page."""

    server: Site
    client: Site


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with programs.world(tmp_path_factory.mktemp("pair")) as world:
        server, local = server_site(world), world.service()
        stored = {"name": "stored", "type": "tcp", "localPort": local.port, "remotePort": free_port()}
        visitor = {"name": "door", "type": "stcp", "serverName": "secret", "secretKey": "k", "bindPort": free_port()}
        (world.directory / "store.json").write_text(json.dumps({"proxies": [stored], "visitors": [visitor]}))
        common = 'user = "ops"\nclientID = "laptop"\nstore.path = "store.json"\n'
        secret = f'[[proxies]]\nname = "secret"\ntype = "stcp"\nsecretKey = "k"\nlocalPort = {local.port}\n'
        proxies = proxy("ssh", local.port, free_port()) + proxy("taken", local.port, server.port) + secret
        client = client_site(world, server.port, common, proxies)
        client.program.wait_for("[taken] start error")
        yield Pair(server, client)


def sites(pair: Pair) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    return ("server", pair.server.origin, SERVER_PAGES), ("client", pair.client.origin, CLIENT_PAGES)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility_and_width(pair: Pair, look: Look, shots: Path, scheme: str) -> None:
    """No rule of WCAG 2.2 AA that axe can check is broken, and no page is wider than a phone; pictures of all are left for people."""
    for name, origin, routes in sites(pair):
        eyes = look(origin, color_scheme=scheme)
        eyes.expect_failures()  # a page that isn't there
        for route in routes:
            page = eyes.go(route)
            for width, size in (("phone", PHONE), ("desktop", DESKTOP)):
                page.set_viewport_size(size)  # type: ignore[arg-type]
                page.screenshot(path=shots / f"{name}{route.replace('/', '_').replace('?', '_')}-{width}-{scheme}.png")
                assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (route, width)
            assert violations(page, "" if scheme == "light" else "color-contrast") == [], route
    page.evaluate("() => document.querySelector('main').append(Object.assign(document.createElement('img'), {src: 'shared/icon.svg'}))")
    assert violations(page) != []  # it would be found


def violations(page: Page, rule: str = "") -> list[str]:
    """What breaks the rules of WCAG 2.2 AA and good practice, or just this one of axe's."""
    # not add_script_tag: the page's policy forbids that, as it should
    page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("(runOnly) => axe.run({runOnly, resultTypes: ['violations']})", [rule] if rule else tags)
    return [f"{one['id']}: {node['html'][:200]} ({node['failureSummary'][:200]})" for one in found["violations"] for node in one["nodes"]]


def test_the_theme_and_the_language_are_kept(pair: Pair, look: Look) -> None:
    for _, origin, _ in sites(pair):
        eyes = look(origin, color_scheme="light")
        page = eyes.go("/proxies")
        light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Theme").click()
        page.get_by_role("menuitemradio", name="Dark").click()
        page.get_by_role("button", name="Language").click()
        page.get_by_role("menuitemradio", name="简体中文").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("代理")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("代理")
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != light


def test_chinese_has_a_word_for_everything(pair: Pair, look: Look) -> None:
    for _, origin, routes in sites(pair):
        eyes = look(origin, locale="zh-CN")
        eyes.expect_failures()
        texts = eyes.go("/proxies").evaluate(
            "() => Promise.all(['texts.js', 'shared/texts.js'].map("
            "async (path) => (await import(new URL(path, document.baseURI))).default))"
        )
        for text in texts:
            assert set(text["en"]) == set(text["zh"])
        known = {key for text in texts for key in text["en"]}
        for route in routes:
            words = eyes.go(route).locator("body").inner_text().split()
            assert not known & set(words), route


def test_everything_by_keyboard(pair: Pair, look: Look) -> None:
    page = look(pair.client.origin).go("/proxies")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        what = page.evaluate(
            "() => [document.activeElement.tagName, document.activeElement.innerText || document.activeElement.getAttribute('aria-label')]"
        )
        seen = page.evaluate(
            "() => { const box = document.activeElement.getBoundingClientRect(); return box.width > 0 && box.height > 0; }"
        )
        if what[0] == "BODY":
            break
        assert seen, what
        reached.add((what[1] or "").split("\n")[0])
    assert {"Reload", "More actions", "Status", "Refresh", "ssh", "taken", "secret"} <= reached
    # tabs move with the arrows, "/" goes to the search, menus and dialogs close with Esc and give the focus back
    page.get_by_role("radio", name="Status").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Store")).to_be_checked()
    expect(page.get_by_role("button", name="Actions for stored")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    menu = page.get_by_role("button", name="Actions for stored")
    menu.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Disable")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Disable")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("link", name="stored").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="stored")).to_be_focused()
