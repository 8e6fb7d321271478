"""Where requests go, who may send them, and what is done to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.http import Recorder, User, basic, get, saying, service, web, web_tunnel
from tests.support.ports import free_port
from tests.support.programs import World


def test_routes(world: World) -> None:
    def site(name: str, domains: str, extra: str = "") -> str:
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode())
        return web(name, service(world, saying(response)), extra, domains)

    it = web_tunnel(
        world,
        site("exact", '"a.example.com"')
        + site("paths", '"a.example.com"', 'locations = ["/foo", "/foo/bar"]')
        + site("wild", '"*.example.com"')
        + site("alice", '"a.example.com"', 'routeByHTTPUser = "alice"')
        + site("sub", "", 'subdomain = "S"').replace("customDomains = []", "")
        + site("only", '"only.test"', 'routeByHTTPUser = "bob"\nhttpUser = "bob"\nhttpPassword = "x"'),
        server='subDomainHost = "sub.test"',
        count=6,
    )
    cases = [
        (b"/", b"a.example.com", b"", b"exact"),
        (b"/foobar", b"A.Example.COM:80", b"", b"paths"),
        (b"/foo/bar?x", b"a.example.com.", b"", b"paths"),
        (b"/Foo", b"a.example.com", b"", b"exact"),
        (b"/", b"b.c.example.com", b"", b"wild"),
        (b"/", b"a.example.com", b"Authorization: " + basic("alice", "x") + b"\r\n", b"alice"),
        (b"/", b"a.example.com", b"Authorization: " + basic("carol", "x") + b"\r\n", b"exact"),
        (b"/", b"s.sub.test", b"", b"sub"),
        (b"/", b"only.test", b"Authorization: " + basic("bob", "x") + b"\r\n", b"only"),
        (b"/", b"only.test", b"Authorization: " + basic("bob", "y") + b"\r\n", 401),
        (b"/", b"only.test", b"", 404),
        (b"/", b"example.com", b"", 404),
        (b"/", b"", b"", 404),
    ]
    with it.user() as user:
        for path, host, fields, expected in cases:
            answer = user.send(get(path, host, fields)).answer()
            assert expected in (answer.status, answer.body), (path, host, answer)
    world.programs[0].wait_for("http proxy listen for host [a.example.com] location [/foo/bar] group [], routeByHTTPUser []")


def test_what_the_server_refuses(world: World) -> None:
    port = free_port()
    _, server_port = world.frps(f'vhostHTTPPort = {port}\nsubDomainHost = "sub.test"')
    frpc = world.frpc(
        server_port,
        "",
        web("a", 1, 'locations = ["/x"]')
        + web("b", 1, 'locations = ["/y", "/x"]')
        + web("c", 1, "", '"x.sub.test"')
        + web("d", 1, 'subdomain = "x.y"'),
    )
    frpc.wait_for("[a] start proxy success")
    frpc.wait_for("[b] start error: router config conflict")
    frpc.wait_for("[c] start error: custom domain [x.sub.test] should not belong to subdomain host [sub.test]")
    frpc.wait_for("[d] start error: '.' and '*' are not supported in subdomain")
    with User(port) as user:
        assert user.send(get(b"/y")).answer().status == 404  # what [b] had taken before it failed is given back
    world.programs[0].wait_for("no route found: web.test /y")
    _, plain_port = world.frps()
    world.frpc(plain_port, "", web("e", 1)).wait_for("start error: type [http] not supported when vhost http port is not set")


def test_credentials(world: World) -> None:
    it = web_tunnel(world, web("web", service(world, Recorder()), 'httpUser = "u"\nhttpPassword = "p"'))
    with it.user() as user:
        answer = user.send(get()).answer()
        assert (answer.status, answer.body) == (401, b"Unauthorized\n")
        assert answer.get("WWW-Authenticate") == 'Basic realm="Restricted"'
        assert answer.get("X-Content-Type-Options") == "nosniff"
        assert user.send(get(fields=b"Authorization: " + basic("u", "q") + b"\r\n")).answer().status == 401
        assert user.send(get(fields=b"Authorization: " + basic("u", "p") + b"\r\n")).answer().status == 200
        # as a proxy only Proxy-Authorization counts
        target = b"http://web.test/"
        answer = user.send(get(target, fields=b"Authorization: " + basic("u", "p") + b"\r\n")).answer()
        assert (answer.status, answer.body) == (407, b"Proxy Authentication Required\n")
        answer = user.send(get(target, fields=b"Proxy-Authorization: " + basic("u", "p") + b"\r\n")).answer()
        assert answer.body.startswith(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n")
        assert b"Proxy-Authorization" not in answer.body


def test_fields_that_are_set(world: World) -> None:
    recorder = Recorder(head=b"Server: x\r\nX-Old: 1\r\n")
    extra = (
        'hostHeaderRewrite = "inner.test:99"\nrequestHeaders.set.x-from = "frp"\nrequestHeaders.set.X-Forwarded-Proto = "https"\n'
        'requestHeaders.set.Host = "no"\nresponseHeaders.set.x-old = "2"\nresponseHeaders.set.X-New = "3"'
    )
    it = web_tunnel(world, web("web", service(world, recorder), extra))
    with it.user() as user:
        answer = user.send(get(fields=b"X-From: user\r\n")).answer()
        assert answer.body == (
            b"GET / HTTP/1.1\r\nHost: inner.test:99\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: web.test\r\n"
            b"X-Forwarded-Proto: https\r\nx-from: frp\r\n\r\n"
        )
        assert (answer.get("Server"), answer.get("x-old"), answer.get("X-New")) == ("x", "2", "3")
        assert user.send(get(host=b"b.test")).answer().get("X-New") is None


@pytest.mark.parametrize("content", [b"<html>mine</html>", b"plain", None])
def test_an_own_page(world: World, tmp_path: Path, content: bytes | None) -> None:
    page = tmp_path / "404.html"
    it = web_tunnel(world, web("web", service(world, Recorder())), server=f'custom404Page = "{page}"')
    with it.user() as user:
        if content is not None:
            page.write_bytes(content)
        answer = user.send(get(host=b"x.test")).answer()
        assert answer.status == 404
        if content is None:
            assert b"was not found" in answer.body
            world.programs[0].wait_for("read custom 404 page error: ")
        else:
            assert answer.body == content
            assert (answer.get("Content-Type") or "").startswith("text/html" if b"<" in content else "text/plain")
            page.write_bytes(b"new")
            assert user.send(get(host=b"x.test")).answer().body == b"new"


def test_groups_take_turns_by_request(world: World) -> None:
    def member(name: str) -> str:
        response = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name.encode()
        return web(name, service(world, saying(response)), 'loadBalancer.group = "g"\nloadBalancer.groupKey = "k"')

    it = web_tunnel(world, member("a"))
    others = [world.frpc(it.server_port, "", member(name)) for name in "b"]
    others[0].wait_for("start proxy success")
    with it.user() as user:
        assert [user.send(get()).answer().body for _ in range(5)] == [b"b", b"a", b"b", b"a", b"b"]
        others[0].kill()
        world.programs[0].wait_for("client exit success")
        assert [user.send(get()).answer().body for _ in range(3)] == [b"a"] * 3
    world.frpc(it.server_port, "", member("c").replace('"k"', '"wrong"')).wait_for("start error: group auth failed")
    world.frpc(it.server_port, "", member("d").replace("web.test", "other.test")).wait_for("start error: group params invalid")
    both = member("e").replace('["web.test"]', '["web.test", "web.test"]')
    world.frpc(it.server_port, "", both).wait_for("start error: group proxy repeated")
    with it.user() as user:
        assert [user.send(get()).answer().body for _ in range(3)] == [b"a"] * 3
