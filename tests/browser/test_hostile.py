"""What clients call themselves is text, whatever it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from frp_py.protocol.messages import ClientSpec, Login, LoginResp, NewProxy, NewProxyResp
from tests.browser.support import DESKTOP, Eyes, client_site, server_site
from tests.e2e.peers import FrpClient, Messages, key_of
from tests.support.ports import free_port
from tests.support.programs import TOKEN, World, proxy

Look = Callable[..., Eyes]

SCRIPT = '"><img src=x onerror=alert(1)><script>alert(1)</script>${alert(1)}{{7*7}}'
TURNED = "\u202egnp.exe\u202c \u2066\u200b\u0000\u0007"
LONG = "名" * 200
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd 123 \U0001f4a5"


class Hostile:
    """A client that has `text` in every field it controls."""

    def __init__(self, port: int, text: str) -> None:
        self.peer = FrpClient(port, TOKEN)
        conn = self.peer.dial()
        control = Messages(conn, "v1")
        now = int(time.time())
        login = Login(
            version=text,
            hostname=text,
            os=text,
            arch=text,
            user=text,
            privilege_key=key_of(TOKEN, now),
            timestamp=now,
            client_id=text,
            metas={text: text},
            client_spec=ClientSpec(type=""),
        )
        control.send(login)
        answer = control.receive()
        assert isinstance(answer, LoginResp)
        assert answer.error == ""
        control.encrypt(TOKEN, None, client=True)
        common = {"annotations": {"key": text}, "metas": {text: text}, "group": "", "bandwidth_limit": "1MB"}
        control.send(NewProxy(f"{text}.tcp", "tcp", remote_port=free_port(), **common))  # type: ignore[arg-type]
        assert control.expect(NewProxyResp).error == ""
        web = NewProxy(
            f"{text}.http",
            "http",
            custom_domains=(text.replace("/", ""),),
            locations=(text,),
            host_header_rewrite=text,
            headers={text: text},
            route_by_http_user=text,
            **common,  # type: ignore[arg-type]
        )
        control.send(web)
        assert control.expect(NewProxyResp).error == ""
        mux = NewProxy(f"{text}.mux", "tcpmux", custom_domains=("mux.test",), route_by_http_user=text, multiplexer="httpconnect", **common)  # type: ignore[arg-type]
        control.send(mux)
        assert control.expect(NewProxyResp).error == ""


def unharmed(page: Page) -> None:
    """Nothing of it became markup, and nothing is wider than the window."""
    assert page.locator("main script, main img, main iframe").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_names_of_clients_are_text_on_the_pages_of_frps(world: World, look: Look) -> None:
    server = server_site(world, f"vhostHTTPPort = {free_port()}\ntcpmuxHTTPConnectPort = {free_port()}\n")
    clients = [Hostile(server.port, text) for text in (SCRIPT, TURNED, LONG, RIGHT_TO_LEFT)]
    narrow = {"width": 360, "height": 740}
    for size in (DESKTOP, narrow):
        eyes = look(server.origin, size=size)
        page = eyes.go()
        unharmed(page)
        eyes.go("/clients")
        expect(page.locator("tbody tr")).to_have_count(4)
        assert SCRIPT in page.locator("tbody").inner_text()
        assert "\u202e" not in page.locator("body").inner_text()
        unharmed(page)
        routes = [link.get_attribute("href") for link in page.locator("tbody a.row-link").all()]
        eyes.go("/proxies")
        expect(page.locator("tbody tr").first).to_be_visible()
        unharmed(page)
        routes += [link.get_attribute("href") for link in page.locator("tbody a.row-link").all()]
        assert len(routes) == 16
        for route in routes if size is narrow else ():
            page.goto(f"{server.origin}/static/{route}")
            expect(page.locator(".stat").first).to_be_visible()
            expect(page.get_by_text("not found")).to_have_count(0)
            unharmed(page)
    for client in clients:
        client.peer.close()


def test_names_of_the_configuration_are_text_on_the_pages_of_frpc(world: World, look: Look) -> None:
    server, local = server_site(world), world.service()
    names = [SCRIPT, "\u202egnp.exe", "名" * 50, "a/b?c#d%2Fe"]
    stored = [{"name": name, "type": "tcp", "localPort": local.port, "metadatas": {name: name}} for name in names]
    visitor = {"name": SCRIPT, "type": "stcp", "serverName": SCRIPT, "bindPort": free_port()}
    (world.directory / "store.json").write_text(json.dumps({"proxies": stored, "visitors": [visitor]}))
    client = client_site(world, server.port, 'store.path = "store.json"\n', proxy("plain", local.port, free_port()))
    client.program.wait_for("[plain] start proxy success")
    eyes = look(client.origin, size={"width": 360, "height": 740})
    page = eyes.go("/proxies")
    expect(page.locator("tbody tr")).to_have_count(5)
    assert "\u202e" not in page.locator("body").inner_text()
    unharmed(page)
    routes = [link.get_attribute("href") for link in page.locator("tbody a.row-link").all()]
    eyes.go("/visitors")
    expect(page.locator("tbody tr")).to_have_count(1)
    routes.append(page.locator("tbody a.row-link").get_attribute("href"))
    for route in routes:
        assert route is not None
        page.goto(f"{client.origin}/static/{route}")
        expect(page.get_by_role("heading", name="Backend").or_(page.get_by_role("heading", name="Connection"))).to_be_visible()
        unharmed(page)
        if not route.endswith("/plain"):
            page.get_by_role("link", name="Edit").click()
            expect(page.get_by_role("button", name="Save")).to_be_visible()
            unharmed(page)
            page.get_by_role("link", name="Cancel").click()
    eyes.go("/log")
    expect(page.get_by_role("log")).to_contain_text("<script>alert(1)</script>")
    unharmed(page)
