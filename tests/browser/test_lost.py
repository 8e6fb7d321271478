"""What is gone is shown, and what comes back is found again, without a refresh."""

from __future__ import annotations

import signal
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.support import Eyes, client_site, server_site
from tests.support.ports import free_port
from tests.support.programs import World, proxy

Look = Callable[..., Eyes]


def test_frps_is_killed_and_comes_back(world: World, look: Look) -> None:
    web_port = free_port()
    server = server_site(world, web_port=web_port)
    local = world.service()
    client = client_site(world, server.port, "", proxy("it", local.port, free_port()))
    client.program.wait_for("[it] start proxy success")
    on_server, on_client = look(server.origin), look(client.origin)
    seen, own = on_server.go("/proxies"), on_client.go("/proxies")
    expect(seen.get_by_role("link", name="it", exact=True)).to_be_visible()
    expect(own.get_by_text("Running", exact=True)).to_be_visible()

    on_server.expect_failures()
    server.program.kill()
    expect(own.get_by_text("Not connected to")).to_be_visible(timeout=10_000)
    expect(own.get_by_text("Disconnected")).to_be_visible()
    expect(own.get_by_text("Next attempt in")).to_be_visible(timeout=10_000)
    expect(seen.get_by_text("The server does not answer")).to_be_visible(timeout=10_000)
    expect(seen.get_by_text("Trying again").first).to_be_visible()
    seen.get_by_role("button", name="Try now").click()
    expect(seen.get_by_text("The server does not answer")).to_be_visible()
    expect(seen.get_by_role("link", name="it", exact=True)).to_be_visible()  # what was known stays

    server_site(world, port=server.port, web_port=web_port)
    client.program.wait_for("[it] start proxy success", count=2, deadline=30)
    expect(own.get_by_text("Connected", exact=True)).to_be_visible(timeout=10_000)
    expect(own.get_by_text("Not connected to")).to_have_count(0)
    expect(seen.get_by_text("The server does not answer")).to_have_count(0, timeout=15_000)
    expect(seen.get_by_role("link", name="it", exact=True)).to_be_visible()


def test_a_client_that_was_refused_says_why(world: World, look: Look) -> None:
    server = server_site(world)
    client = client_site(
        world, server.port, 'loginFailExit = false\nauth.tokenSource = { type = "file", file.path = "token" }\n'.replace("auth.", "#")
    )
    client.program.wait_for("login to server success")
    # the server now wants another token, and has forgotten its clients
    server.program.stop()
    path = server.program.config_path
    path.write_text(path.read_text().replace('auth.token = "', 'auth.token = "other '))
    world.start("server", path.read_text()).wait_for("frps started successfully")
    client.program.wait_for("connect to server error", deadline=20)
    page = look(client.origin).go("/proxies")
    expect(page.get_by_text("token in login doesn't match", exact=False).first).to_be_visible(timeout=15_000)


def test_where_events_do_not_pass_the_pages_ask(world: World, look: Look) -> None:
    server, local = server_site(world), world.service()
    client = client_site(world, server.port, "", proxy("first", local.port, free_port()))
    client.program.wait_for("[first] start proxy success")
    on_server, on_client = look(server.origin), look(client.origin)
    for eyes in (on_server, on_client):
        eyes.expect_failures()
        eyes.page.route("**/api/x/events", lambda route: route.abort())
        eyes.go("/proxies")
        expect(eyes.page.get_by_role("link", name="first", exact=True)).to_be_visible()
    path = client.program.config_path
    path.write_text(path.read_text() + proxy("second", local.port, free_port()))
    client.program.process.send_signal(signal.SIGHUP)
    for eyes in (on_server, on_client):
        expect(eyes.page.get_by_role("link", name="second", exact=True)).to_be_visible(timeout=15_000)
