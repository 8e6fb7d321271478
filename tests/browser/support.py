"""What the browser tests see with: pages that notice every fault, and programs that have dashboards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.support.ports import free_port
from tests.support.programs import HOST, IN_CI, Program, World

USER, PASSWORD = "operator", "a password of the tests"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def chromium() -> str:
    """The path of the system's Chromium; without one the test is skipped, or fails in CI."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        (pytest.fail if IN_CI else pytest.skip)(f"none of {', '.join(names)} is installed")
    return path


class Eyes:
    """A page of a dashboard at `origin`, in a context of its own.

    What must not happen is noted: errors on the console, uncaught ones, breaches of the Content-Security-Policy, alerts, requests to
    another host. `expect_failures` allows requests to fail, which a browser reports on the console.
    """

    def __init__(self, browser: Browser, origin: str, *, user: str, password: str, size: dict[str, int] = DESKTOP, **how: Any) -> None:
        self.origin = origin
        self.faults: list[str] = []
        self.failures_expected = False
        if user:
            how["http_credentials"] = {"username": user, "password": password, "origin": origin}
        how.setdefault("locale", "en-GB")
        how.setdefault("reduced_motion", "reduce")
        self.context = browser.new_context(viewport=size, **how)  # type: ignore[arg-type]
        self.context.set_default_timeout(10_000)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI}`));"
            "window.alert = (text) => console.error(`alert: ${text}`);"
        )

    def expect_failures(self) -> None:
        """From now on requests may fail or be refused."""
        self.failures_expected = True

    def go(self, route: str = "/") -> Page:
        """Open a page by its hash route, e.g. "/clients"; it is loaded, and its first data are there."""
        self.page.goto(f"{self.origin}/static/#{route}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the page has a heading and nothing of it loads any more."""
        self.page.locator("main h1").first.wait_for()
        expect(self.page.locator("main .loading, main .skeleton, main [aria-busy=true]")).to_have_count(0, timeout=10_000)

    def close(self) -> list[str]:
        """Close it; returns what went wrong on it."""
        self.context.close()
        return self.faults

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning") or (self.failures_expected and "Failed to load resource" in message.text):
            return
        self.faults.append(f"{message.type} on the console: {message.text} ({message.location.get('url')})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.origin + "/", "data:", "blob:")):
            self.faults.append(f"request to elsewhere: {request.url}")


class Site(NamedTuple):
    """A program with a dashboard at `origin`; clients come to `port` of a server."""

    program: Program
    origin: str
    port: int = 0


def _web(port: int, password: str = PASSWORD, address: str = HOST) -> str:
    user = USER if password else ""
    return f'webServer = {{ addr = "{address}", port = {port}, user = "{user}", password = "{password}" }}\n'


def server_site(world: World, extra: str = "", *, port: int | None = None, web_port: int | None = None, **web: str) -> Site:
    """frps with its dashboard; `web`: password, address."""
    web_port = web_port or free_port()
    program, port = world.frps(_web(web_port, **web) + extra, port=port)
    return Site(program, f"http://{HOST}:{web_port}", port)


def client_site(world: World, server_port: int, extra: str = "", proxies: str = "") -> Site:
    """frpc with its dashboard, which is up before anything is connected."""
    web_port = free_port()
    program = world.frpc(server_port, _web(web_port) + extra, proxies)
    program.wait_for("admin server listen on")
    return Site(program, f"http://{HOST}:{web_port}")
