import base64
import socket

import pytest
import trio

from frp_py.errors import FrpError
from frp_py.net.transports.upstream import Upstream
from frp_py.protocol import socks5


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.test:3128", Upstream("http", "proxy.test", 3128, None)),
        ("http://proxy.test", Upstream("http", "proxy.test", 80, None)),
        ("HTTP://u:p%40ss@192.0.2.9:8080/", Upstream("http", "192.0.2.9", 8080, ("u", "p@ss"))),
        ("socks5://u@[::1]", Upstream("socks5", "::1", 1080, ("u", ""))),
    ],
)
def test_what_a_url_names(url: str, expected: Upstream) -> None:
    assert Upstream.of(url) == expected


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://p", "scheme 'https' is not supported yet"),
        ("ntlm://p", "scheme 'ntlm' is not supported yet"),
        ("ftp://p", "scheme 'ftp' is not known"),
        ("http://", "names no host"),
        ("http://p:secret@h:99999", "Port out of range"),
    ],
)
def test_a_url_that_is_no_use(url: str, fault: str) -> None:
    with pytest.raises(FrpError, match=fault) as refused:
        Upstream.of(url)
    assert "secret" not in str(refused.value)


async def talk(upstream: Upstream, host: str, port: int, answers: list[bytes]) -> list[bytes]:
    """What the proxy hears, sending one of `answers` after each piece; b"SSH-" of the last one must be left for the server's side."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    heard: list[bytes] = []

    async def proxy() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        for answer in answers:
            heard.append(bytes(await stream.receive_some()))
            await stream.send_all(answer)
        await stream.send_eof()

    with ours, theirs, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy)
            await upstream.tunnel(ours, host, port)
        assert ours.recv(100) == b"SSH-"
    return heard


async def test_http_connect() -> None:
    (head,) = await talk(Upstream("http", "p", 80, ("u", "p:w")), "::1", 7000, [b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nSSH-"])
    lines = head.decode().split("\r\n")
    assert lines[:3] == ["CONNECT [::1]:7000 HTTP/1.1", "Host: [::1]:7000", "User-Agent: Mozilla/5.0"]
    assert lines[3:] == ["Proxy-Authorization: Basic " + base64.b64encode(b"u:p:w").decode(), "", ""]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 407 Auth\r\n\r\n", "refused the connection: HTTP/1.1 407 Auth"),
        (b"HTTP/1.1 201 Created\r\n\r\n", "refused"),
        (b"SSH-2.0-x\r\n\r\n", "refused the connection: SSH-2.0-x"),
        (b"HTTP/1.1\n\n 200 OK\r\n\r\n", r"refused the connection: HTTP/1.1\\n\\n 200 OK"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection"),
        (b"x" * 20000, "endless"),
    ],
)
async def test_http_refusals(answer: bytes, fault: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(FrpError, match=fault), flatten_subgroups=True, allow_unwrapped=True):
        await talk(Upstream("http", "p", 80, None), "h", 1, [answer])


@pytest.mark.parametrize("host", ["203.0.113.5", "2001:db8::1", "server.example"])
async def test_socks5_against_our_own_server(host: str) -> None:
    server = socks5.Server("u", "p")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    asked: list[socks5.Connect] = []

    async def proxy() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        while not asked:
            found = server.receive_data(await stream.receive_some())
            await stream.send_all(server.data_to_send())
            if found is not None:
                asked.append(found)
        await stream.send_all(socks5.reply(0, ("::", 9)) + b"SSH-")

    with ours, theirs, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy)
            await Upstream("socks5", "p", 1080, ("u", "p")).tunnel(ours, host, 7000)
        assert ours.recv(100) == b"SSH-"
    assert (asked[0].host, asked[0].port) == (host, 7000)


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ([b"\x05\xff"], "another way"),
        ([b"HT"], "does not speak SOCKS5"),
        ([b"\x05\x02", b"\x01\x01"], "refused user and password"),
        ([b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)], "connection refused"),
        ([b"\x05\x00", b"\x05\x63\x00\x01" + bytes(6)], "code 99"),
    ],
)
async def test_socks5_refusals(answers: list[bytes], fault: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(FrpError, match=fault), flatten_subgroups=True, allow_unwrapped=True):
        await talk(Upstream("socks5", "p", 1080, ("u", "p")), "h", 1, answers)
