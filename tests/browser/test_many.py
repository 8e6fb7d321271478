"""Ten thousand proxies are listed without a stall."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.support import Eyes, client_site, server_site
from tests.support.programs import World

Look = Callable[..., Eyes]
COUNT = 10_000
LONG_TASK = 200
"""Milliseconds."""

WATCH = """
window.stalls = [];
const note = (list) => window.stalls.push(...list.getEntries().map((entry) => entry.duration));
new PerformanceObserver(note).observe({ type: "longtask", buffered: true });
"""


def opening(page: Page, url: str, text: str) -> float:
    """Seconds until `text` is seen."""
    began = time.monotonic()
    page.goto(url)
    expect(page.get_by_text(text, exact=True).first).to_be_visible(timeout=15_000)
    return time.monotonic() - began


def stalls(page: Page) -> list[float]:
    found: list[float] = page.evaluate("() => window.stalls.splice(0)")
    return [duration for duration in found if duration > LONG_TASK]


def test_ten_thousand_proxies(world: World, look: Look) -> None:
    server = server_site(world)
    proxies = "".join(f'[[proxies]]\nname = "p{n:05}"\ntype = "stcp"\nsecretKey = "k"\nlocalPort = {n + 1}\n' for n in range(COUNT))
    client = client_site(world, server.port, "", proxies)
    client.program.wait_for(f"[p{COUNT - 1:05}] start proxy success", deadline=40)
    for origin, total in ((server.origin, "10,000"), (client.origin, "10,000")):
        eyes = look(origin)
        page = eyes.page
        page.add_init_script(WATCH)
        usual = opening(look(origin).page, f"{origin}/static/#/no/such/page", "Page not found")
        assert opening(page, f"{origin}/static/#/proxies", "p00000") < max(
            2, 3 * usual
        )  # the latter on a machine that is busy with other things
        expect(page.get_by_text(f"of {total}")).to_be_visible()
        assert page.locator("tbody tr").count() <= 100
        page.get_by_role("button", name="Next page").click()
        expect(page.get_by_role("link", name="p00000", exact=True)).to_have_count(0)
        page.get_by_role("searchbox").fill("p09999")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_role("searchbox").fill("")
        page.get_by_role("columnheader", name="Name").get_by_role("button").click()
        page.get_by_role("columnheader", name="Status").get_by_role("button").click()
        expect(page.locator("tbody tr").nth(9)).to_be_visible()
        page.wait_for_timeout(1500)  # events come meanwhile
        assert stalls(page) == []
    # it would be noticed
    page.evaluate(
        "() => new Promise((done) => setTimeout(() => { const end = performance.now() + 300; while (performance.now() < end); done(); }))"
    )
    page.wait_for_timeout(500)
    assert stalls(page) != []
