"""The pages of frps, used as an operator uses them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.support import Eyes, Site, server_site
from tests.support import programs
from tests.support.ports import free_port
from tests.support.programs import World, connect, exchange, proxy

Look = Callable[..., Eyes]


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=re.compile(f"^{title}"))


class Busy:
    """A server with two users' clients, one proxy of which has had a user."""

    def __init__(self, world: World) -> None:
        local = world.service()
        self.port, self.other, self.vhost = free_port(), free_port(), free_port()
        self.site: Site = server_site(world, f'subDomainHost = "example.test"\nvhostHTTPPort = {self.vhost}\n')
        site = (
            '[[proxies]]\nname = "site"\ntype = "http"\nlocalPort = 1\nsubdomain = "www"\ncustomDomains = ["a.test"]\nlocations = ["/x"]\n'
            'hostHeaderRewrite = "inside"\nannotations = { owner = "me" }\n'
        )
        self.alice = world.frpc(self.site.port, 'user = "alice"\nclientID = "one"\n', proxy("ssh", local.port, self.port) + site)
        self.bob = world.frpc(self.site.port, 'user = "bob"\n', proxy("db", local.port, self.other))
        self.alice.wait_for("[site] start proxy success")
        self.bob.wait_for("[db] start proxy success")
        exchange(self.port, b"x" * 5000)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    """For tests that change nothing of it."""
    with programs.world(tmp_path_factory.mktemp("busy")) as world:
        yield Busy(world)


def test_overview(busy: Busy, look: Look) -> None:
    page = look(busy.site.origin).go()
    expect(page).to_have_title("frp server")
    expect(page.get_by_role("link", name=re.compile("Clients 2"))).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("Proxies 3"))).to_be_visible()
    configuration = card(page, "Server Configuration")
    for text in (str(busy.site.port), str(busy.vhost), "example.test", "no limit"):
        expect(configuration).to_contain_text(text)
    expect(card(page, "Proxy Types")).to_contain_text("HTTP", ignore_case=True)
    expect(page.locator(".plot canvas").first).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    # live, without a refresh: a user comes, and goes
    figure = page.locator(".stat").filter(has_text="Connections")
    with connect(busy.port) as user:
        user.sendall(b"hello")
        expect(figure).to_contain_text("1", timeout=8000)
    expect(figure).to_contain_text("0", timeout=8000)
    page.get_by_role("radio", name="Hour").click()
    expect(page.get_by_role("radio", name="Hour")).to_be_checked()
    page.get_by_role("link", name=re.compile("Clients 2")).click()
    expect(page.get_by_role("heading", name="Clients")).to_be_visible()


def test_clients(busy: Busy, look: Look) -> None:
    page = look(busy.site.origin).go("/clients")
    expect(row(page, "alice.one")).to_contain_text("Online")
    expect(row(page, "alice.one")).to_contain_text("127.0.0.1")
    page.get_by_role("searchbox").fill("BOB")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    page.get_by_role("radio", name="Offline").click()
    expect(page.get_by_text("No client is offline")).to_be_visible()
    page.get_by_role("radio", name="Online").click()
    page.get_by_role("link", name="alice.one").click()
    expect(page.get_by_role("heading", name="alice.one")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="alice.ssh").click()
    expect(page.get_by_role("heading", name="alice.ssh")).to_be_visible()
    expect(page.get_by_role("navigation", name="Breadcrumb")).to_contain_text("alice.one")


def test_proxies(busy: Busy, look: Look) -> None:
    page = look(busy.site.origin).go("/proxies")
    expect(page.locator("tbody tr")).to_have_count(3)
    expect(row(page, "alice.ssh")).to_contain_text(str(busy.port))
    expect(row(page, "alice.site")).to_contain_text("a.test")
    page.get_by_role("radio", name="HTTP", exact=False).first.click()
    expect(page).to_have_url(re.compile("#/proxies/http$"))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("radio", name="SUDP").click()
    expect(page.get_by_text("No SUDP proxies")).to_be_visible()
    page.get_by_role("radio", name="All").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("searchbox").fill(str(busy.other))
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(row(page, "bob.db")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("columnheader", name="Name").get_by_role("button").click()
    expect(page.locator("tbody tr").first).to_contain_text("alice.site")
    page.get_by_role("columnheader", name="Name").get_by_role("button").click()
    expect(page.locator("tbody tr").first).to_contain_text("bob.db")


def test_proxy(busy: Busy, look: Look) -> None:
    eyes = look(busy.site.origin)
    page = eyes.go("/proxy/alice.ssh")
    expect(page.locator(".stat").filter(has_text="Traffic today")).to_contain_text(re.compile(r"9\.7\d"))  # KB: 5000 bytes in, 5000 out
    expect(card(page, "Traffic history")).to_be_visible()
    with connect(busy.port) as user:
        user.sendall(b"hello")
        expect(card(page, "Live connections").first).to_contain_text("127.0.0.1:", timeout=8000)
    page.goto(f"{busy.site.origin}/static/#/proxy/alice.site")
    for text in ("a.test", "www.example.test", "/x", "inside", "owner", "me"):
        expect(page.get_by_role("main")).to_contain_text(text)
    eyes.expect_failures()
    for route, text in (("/proxy/none%2Fsuch", "Proxy not found"), ("/clients/nobody", "Client not found")):
        page.goto(f"{busy.site.origin}/static/#{route}")
        expect(page.get_by_text(text)).to_be_visible()


def test_what_changes_something(world: World, look: Look) -> None:
    busy = Busy(world)
    page = look(busy.site.origin).go("/clients")
    expect(row(page, "alice.one")).to_be_visible()
    page.get_by_role("link", name="alice.one").click()
    page.get_by_role("button", name="Disconnect").click()
    page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    expect(page.get_by_text("The client was disconnected")).to_be_visible()
    busy.alice.wait_for("login to server success", count=2)
    expect(page.get_by_text("Online").first).to_be_visible()
    # without a refresh the list shows who went
    page.get_by_role("link", name="Proxies", exact=True).first.click()
    expect(row(page, "bob.db")).to_contain_text("Online")
    busy.bob.stop()
    expect(row(page, "bob.db")).to_contain_text("Offline", timeout=8000)
    page.get_by_role("button", name="Clear Offline").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(row(page, "bob.db")).to_be_visible()
    page.get_by_role("button", name="Clear Offline").click()
    page.get_by_role("dialog").get_by_role("button", name="Clear").click()
    expect(row(page, "bob.db")).to_have_count(0)
    # reload tells what took effect and what did not
    path: Path = busy.site.program.config_path
    path.write_text(
        path.read_text().replace("subDomainHost", "maxPortsPerClient = 7\nsubDomainHost").replace(f"{busy.vhost}", f"{free_port()}")
    )
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name="Reload configuration").click()
    page.get_by_role("dialog").get_by_role("button", name="Reload", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("maxPortsPerClient")
    expect(page.get_by_role("dialog")).to_contain_text("vhostHTTPPort")
