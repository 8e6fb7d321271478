"""Who may see the dashboards."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Error, Page, expect

from tests.browser.support import Eyes, client_site, server_site
from tests.support.ports import free_port
from tests.support.programs import World, proxy

Look = Callable[..., Eyes]


def is_refused(page: Page, url: str) -> bool:
    """Whether the browser is left with 401; without a window to ask in it may call that an error."""
    try:
        answer = page.goto(url)
    except Error as error:
        return "ERR_INVALID_AUTH_CREDENTIALS" in error.message
    return answer is not None and answer.status == 401 and page.locator("#app").count() == 0


def test_user_and_password_are_asked_for(world: World, look: Look) -> None:
    server = server_site(world)
    client = client_site(world, server.port)
    for site, title in ((server, "frp server"), (client, "Proxies · frp client")):
        page = look(site.origin).go()
        expect(page).to_have_title(title)
        assert page.goto(f"{site.origin}/") is not None
        assert page.url.startswith(f"{site.origin}/static/")
        stranger = look(site.origin, user="")
        answer = stranger.context.request.get(f"{site.origin}/static/")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="Restricted"')
        stranger.expect_failures()
        assert is_refused(stranger.page, f"{site.origin}/static/")
    mistaken = look(server.origin, password="wrong")
    mistaken.expect_failures()
    assert is_refused(mistaken.page, f"{server.origin}/static/")


def test_a_changed_password_is_told_and_the_page_does_not_hang(world: World, look: Look) -> None:
    server = server_site(world)
    eyes = look(server.origin)
    page = eyes.go("/proxies")
    eyes.expect_failures()
    page.route("**/api/**", lambda route: route.fulfill(status=401, body="Unauthorized"))
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("You are not signed in")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_without_a_password_there_is_a_warning(world: World, look: Look) -> None:
    server = server_site(world, password="", address="0.0.0.0")
    page = look(server.origin, user="").go()
    expect(page.get_by_text("This dashboard has no password")).to_be_visible()


def test_who_may_only_read_sees_why(world: World, look: Look) -> None:
    server, local = server_site(world), world.service()
    client = client_site(world, server.port, 'store.path = "store.json"\n', proxy("it", local.port, free_port()))
    client.program.wait_for("[it] start proxy success")
    session = {"program": "frpc", "version": "1", "startedAt": 1, "now": 1, "open": True, "readOnly": True}
    asked: set[tuple[str, str]] = set()
    pages = {site: look(site.origin).page for site in (server, client)}
    for page in pages.values():
        page.on("request", lambda request: asked.add((request.method, request.url.rpartition("/")[2])))
        page.route("**/api/x/session", lambda route: route.fulfill(json=session))
    for site, address, button in (
        (server, "/proxies", "Clear Offline"),
        (server, "/", "Reload configuration"),
        (client, "/proxies", "Reload"),
        (client, "/proxies?tab=store", "New Proxy"),
        (client, "/config", "Update & Reload"),
    ):
        page = pages[site]
        page.goto(f"{site.origin}/static/#{address}")
        it = page.get_by_role("button", name=button)
        expect(it).to_have_attribute("aria-disabled", "true")
        it.click(force=True)
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.mouse.move(0, 0)
        it.hover(force=True)
        expect(page.get_by_role("tooltip")).to_contain_text("Not allowed")
        expect(page.get_by_text("This dashboard has no password")).to_be_visible()
    assert {name for method, name in asked if method != "GET"} <= {"check"}  # of a text, which changes nothing
