"""The pages of frpc, used as an operator uses them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.support import Eyes, Site, client_site, server_site
from tests.support import programs
from tests.support.ports import free_port
from tests.support.programs import HOST, World, eventually, proxy, works

Look = Callable[..., Eyes]
STORE = 'store.path = "store.json"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server of all clients here, each of which is a test's own."""
    with programs.world(tmp_path_factory.mktemp("server")) as world:
        yield server_site(world)


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def toolbar(page: Page) -> Locator:
    return page.locator(".toolbar")


def test_status_shows_what_runs_what_does_not_and_what_helps(server: Site, world: World, look: Look) -> None:
    local, port = world.service(), free_port()
    client = client_site(world, server.port, STORE, proxy("good", local.port, port) + proxy("bad", local.port, server.port))
    client.program.wait_for("[bad] start error")
    page = look(client.origin).go("/proxies")
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    expect(row(page, "good")).to_contain_text("Running")
    expect(row(page, "good")).to_contain_text(f"{HOST}:{port}")
    expect(row(page, "good")).to_contain_text(f"{HOST}:{local.port}")
    expect(row(page, "bad")).to_contain_text("Start error")
    expect(row(page, "bad")).to_contain_text("port unavailable")
    for pill, names in (("Running 1", ["good"]), ("Error 1", ["bad"]), ("Waiting 0", []), ("All 2", ["bad", "good"])):
        page.get_by_role("radio", name=pill).click()
        expect(page.locator("tbody tr")).to_have_count(len(names))
        for name in names:
            expect(row(page, name)).to_be_visible()
    page.get_by_role("searchbox").fill("GOO")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    toolbar(page).get_by_label("Source").select_option("store")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    toolbar(page).get_by_label("Source").select_option("")
    toolbar(page).get_by_label("Type").select_option("udp")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    toolbar(page).get_by_label("Type").select_option("tcp")
    page.get_by_role("link", name="bad", exact=True).click()
    expect(page.get_by_role("heading", name="bad")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("port unavailable")
    expect(page.get_by_role("alert")).to_contain_text("What to do")
    expect(page.get_by_role("link", name="Edit")).to_have_count(0)  # it is of the file


def test_a_proxy_is_added_changed_switched_off_and_removed(server: Site, world: World, look: Look) -> None:
    local = world.service()
    client = client_site(world, server.port, STORE)
    client.program.wait_for("login to server success")
    page = look(client.origin).go("/proxies?tab=store")
    expect(page.get_by_text("Nothing in the store")).to_be_visible()
    page.get_by_role("link", name="New Proxy").click()

    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Some values need your attention: Name, Local port")).to_be_visible()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_be_focused()
    port, other = free_port(), free_port()
    page.get_by_role("textbox", name="Name", exact=True).fill("made here")
    page.get_by_label("Remote port").fill(str(port))
    page.get_by_label("Local port").fill(str(local.port))
    page.get_by_text("Metadata and annotations").click()
    page.get_by_role("button", name="Add: Annotations").click()
    page.get_by_label("Annotations, name 1").fill("owner")
    page.get_by_label("Annotations, value 1").fill("the tests")
    page.get_by_role("textbox", name="Name", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="made here")).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    assert works(port)
    stored = json.loads((world.directory / "store.json").read_text())["proxies"]
    assert [(entry["name"], entry["remotePort"], entry["annotations"]) for entry in stored] == [("made here", port, {"owner": "the tests"})]

    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_be_disabled()
    page.get_by_label("Remote port").fill(str(other))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text(f"{HOST}:{other}")).to_be_visible()
    eventually(lambda: works(other), "the changed proxy works")
    assert not works(port)

    page.get_by_role("link", name="Proxies", exact=True).first.click()
    page.get_by_role("radio", name="Store").click()
    page.get_by_role("button", name="Actions for made here").click()
    page.get_by_role("menuitem", name="Disable").click()
    expect(row(page, "made here")).to_contain_text("Disabled")
    eventually(lambda: not works(other), "a disabled proxy doesn't work")
    page.get_by_role("button", name="Actions for made here").click()
    page.get_by_role("menuitem", name="Enable").click()
    expect(row(page, "made here")).to_contain_text("Running")
    eventually(lambda: works(other), "an enabled proxy works")

    page.get_by_role("button", name="Actions for made here").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing in the store")).to_be_visible()
    eventually(lambda: not works(other), "a deleted proxy doesn't work")
    assert json.loads((world.directory / "store.json").read_text())["proxies"] == []


def test_what_the_program_refuses_is_shown_and_nothing_typed_is_lost(server: Site, world: World, look: Look) -> None:
    local = world.service()
    client = client_site(world, server.port, STORE)
    client.program.wait_for("login to server success")
    eyes = look(client.origin)
    page = eyes.go("/proxies/create")
    page.get_by_role("textbox", name="Name", exact=True).fill("one")
    page.get_by_label("Local port").fill(str(local.port))
    page.get_by_text("Metadata and annotations").click()
    page.get_by_role("button", name="Add: Annotations").click()
    page.get_by_label("Annotations, name 1").fill("not a key!")
    eyes.expect_failures()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("annotation key not a key! is invalid")
    # leaving asks, by link as well as by the browser's own way back
    page.get_by_role("link", name="Config", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("one")
    assert page.url.endswith("#/proxies/create")
    page.get_by_label("Annotations, name 1").fill("key")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="one")).to_be_visible()
    page.goto(f"{client.origin}/static/#/proxies/create")
    page.get_by_role("textbox", name="Name", exact=True).fill("one")
    page.get_by_label("Local port").fill("1")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text('already exists: proxy "one"')
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    expect(page).to_have_url(re.compile(r"#/proxies\?tab=store$"))


def test_a_visitor_made_here_reaches_its_proxy(server: Site, world: World, look: Look) -> None:
    local, port = world.service(), free_port()
    secret = f'[[proxies]]\nname = "secret"\ntype = "stcp"\nsecretKey = "k"\nlocalPort = {local.port}\n'
    client = client_site(world, server.port, STORE, secret)
    client.program.wait_for("[secret] start proxy success")
    page = look(client.origin).go("/visitors")
    page.get_by_role("link", name="New Visitor").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("door")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Some values need your attention: Server name, Bind port")).to_be_visible()
    expect(page.get_by_label("Server name")).to_be_focused()  # two frames later: what is typed in between may land there
    page.get_by_label("Server name").fill("secret")
    page.get_by_label("Secret key", exact=True).fill("k")
    page.get_by_label("Bind port").fill(str(port))
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="door")).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    assert works(port)
    expect(page.get_by_text("••••••••")).to_be_visible()
    page.get_by_role("button", name="Show: Secret key").click()
    expect(page.get_by_text("k", exact=True)).to_be_visible()
    page.get_by_role("link", name="Visitors", exact=True).first.click()
    page.get_by_role("button", name="Actions for door").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No visitors yet")).to_be_visible()
    eventually(lambda: not works(port), "a deleted visitor doesn't listen")


def test_the_configuration_is_edited_checked_and_reloaded(server: Site, world: World, look: Look) -> None:
    local, port, more = world.service(), free_port(), free_port()
    client = client_site(world, server.port, "", proxy("first", local.port, port))
    client.program.wait_for("[first] start proxy success")
    path = client.program.config_path
    before = path.read_text()
    eyes = look(client.origin)
    page = eyes.go("/config")
    editor = page.get_by_label("Text of the configuration file")
    expect(editor).to_have_value(before)
    expect(page.get_by_text("No errors")).to_be_visible()
    faulty = before + '\n[[proxies]]\nname = "second"\ntype = "tcp"\nlocalPort = "x\n'
    editor.fill(faulty)
    line = faulty.count("\n")
    expect(page.get_by_role("button", name=f"Go to line {line}")).to_be_visible()
    page.get_by_role("button", name=f"Go to line {line}").click()
    at = page.evaluate("() => document.activeElement.value.slice(0, document.activeElement.selectionStart).split('\\n').length")
    assert at == line
    assert editor.get_attribute("aria-invalid") == "true"
    editor.fill(faulty.replace('"x', f"{local.port}\nremotePort = {more}\nnonsense = 1"))
    expect(page.locator("#verdict")).to_contain_text("nonsense")
    assert path.read_text() == before
    editor.fill(before.replace('"first"', '"renamed"') + proxy("second", local.port, more))
    expect(page.get_by_text("No errors")).to_be_visible()
    page.get_by_role("button", name="Update & Reload").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(path.name)
    dialog.get_by_role("button", name="Update & Reload").click()
    expect(dialog).to_contain_text("Configuration reloaded")
    for text in ("Added", "renamed", "second", "Removed", "first"):
        expect(dialog).to_contain_text(text)
    dialog.get_by_role("button", name="Close").last.click()
    assert '"second"' in path.read_text()
    eventually(lambda: works(port) and works(more), "both proxies work")
    expect(page.get_by_text("Not saved")).to_have_count(0)
    # a key that can't be applied is named
    editor.fill(path.read_text().replace(f"serverPort = {server.port}", f"serverPort = {server.port + 1}"))
    page.get_by_role("button", name="Update & Reload").click()
    dialog.get_by_role("button", name="Update & Reload").click()
    expect(dialog.get_by_role("status")).to_contain_text("serverPort")
    dialog.get_by_role("button", name="Close").last.click()
    # somebody else's change is not overwritten unawares
    path.write_text(path.read_text() + "# by hand\n")
    editor.fill(before)
    page.get_by_role("button", name="Update & Reload").click()
    expect(dialog).to_contain_text("changed by somebody else")


def test_an_error_is_saved_only_on_purpose_and_what_runs_goes_on(server: Site, world: World, look: Look) -> None:
    local, port = world.service(), free_port()
    client = client_site(world, server.port, "", proxy("it", local.port, port))
    client.program.wait_for("[it] start proxy success")
    eyes = look(client.origin)
    page = eyes.go("/config")
    page.get_by_label("Text of the configuration file").fill("serverAddr = [")
    expect(page.locator("#verdict")).to_contain_text("Error")
    eyes.expect_failures()
    page.get_by_role("button", name="Update & Reload").click()
    expect(page.get_by_role("dialog")).to_contain_text("The text has an error")
    page.get_by_role("dialog").get_by_role("button", name="Update & Reload").click()
    expect(page.get_by_role("dialog")).to_contain_text("Reload failed")
    expect(page.get_by_role("dialog")).to_contain_text("What ran before still runs.")
    assert works(port)


def test_reload_from_the_list(server: Site, world: World, look: Look) -> None:
    local, port = world.service(), free_port()
    client = client_site(world, server.port)
    client.program.wait_for("login to server success")
    page = look(client.origin).go("/proxies")
    expect(page.get_by_text("No proxies yet")).to_be_visible()
    path = client.program.config_path
    path.write_text(path.read_text() + proxy("new", local.port, port))
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("dialog")).to_contain_text("new")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row(page, "new")).to_contain_text("Running")


def test_the_log_follows_filters_and_pauses(server: Site, world: World, look: Look) -> None:
    local = world.service()
    client = client_site(world, server.port, STORE, proxy("bad", local.port, server.port))
    client.program.wait_for("[bad] start error")
    page = look(client.origin).go("/log")
    lines = page.get_by_role("log").get_by_role("listitem")
    expect(lines.filter(has_text="login to server success")).to_have_count(1)
    page.get_by_label("Level").select_option("warn")
    expect(lines.filter(has_text="start error")).to_have_count(1)
    expect(lines.filter(has_text="login to server success")).to_have_count(0)
    page.get_by_label("Level").select_option("trace")
    page.get_by_role("button", name="Pause").click()
    client.program.process.send_signal(signal.SIGHUP)
    expect(page.get_by_text(re.compile(r"Paused, [1-9]\d* new"))).to_be_visible()
    expect(lines.filter(has_text="success reload conf")).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(lines.filter(has_text="success reload conf")).to_have_count(1)
    page.get_by_role("searchbox").fill("RELOAD CONF")
    expect(lines).to_have_count(1)
    page.get_by_role("searchbox").fill("no such words")
    expect(page.get_by_text("No line matches")).to_be_visible()


def test_without_a_store_nothing_can_be_made(server: Site, world: World, look: Look) -> None:
    client = client_site(world, server.port)
    page = look(client.origin).go("/proxies?tab=store")
    expect(page.get_by_text("The store is off")).to_be_visible()
    expect(page.get_by_text("[store]")).to_be_visible()
    for route in ("/proxies/create", "/visitors/create", "/proxies/x/edit"):
        page.goto(f"{client.origin}/static/#{route}")
        expect(page.get_by_role("status").filter(has_text="The store is off").first).to_be_visible()
        expect(page).to_have_url(re.compile(r"#/(proxies\?tab=store|visitors)$"))
        expect(page.get_by_role("heading", name=re.compile("^(Proxies|Visitors)$"))).to_be_visible()


def test_stop_asks_first(server: Site, world: World, look: Look) -> None:
    client = client_site(world, server.port)
    client.program.wait_for("login to server success")
    eyes = look(client.origin)
    page = eyes.go("/proxies")
    for answer in ("Cancel", "Stop frpc"):
        page.get_by_role("button", name="More actions").click()
        page.get_by_role("menuitem", name="Stop frpc").click()
        eyes.expect_failures()
        page.get_by_role("dialog").get_by_role("button", name=answer).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
    assert client.program.wait() == 0
    expect(page.get_by_text("frpc does not answer")).to_be_visible(timeout=15_000)


def test_names_that_are_not_there(server: Site, world: World, look: Look) -> None:
    client = client_site(world, server.port, STORE)
    eyes = look(client.origin)
    eyes.expect_failures()
    page = eyes.go("/proxies")
    for route, text in (
        ("/proxies/detail/a%2Fb", "Proxy not found"),
        ("/visitors/detail/x", "Visitor not found"),
        ("/proxies/x/edit", "Proxy not found"),
        ("/no/such/page", "Page not found"),
    ):
        page.goto(f"{client.origin}/static/#{route}")
        expect(page.get_by_text(text)).to_be_visible()
