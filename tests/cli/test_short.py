"""The shortest ways: a port instead of names and flags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio

from frp_py.cli.frpc import main
from frp_py.cli.short import Announced, address
from frp_py.config.proxies import HttpProxy, StcpProxy, TcpmuxProxy
from tests.support.inside import frpc_config, running_server
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.cli.conftest import Made


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("22", ("", 22)),
        (":22", ("", 22)),
        ("nas:8080", ("nas", 8080)),
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("[::1]:80", ("::1", 80)),
        ("65535", ("", 65535)),
        ("0", None),
        ("65536", None),
        ("-1", None),
        ("ssh", None),
        ("", None),
        ("::1:80", None),
        ("a b:80", None),
        ("http://x:80", None),
        ("22x", None),
    ],
)
def test_addresses(word: str, found: tuple[str, int] | None) -> None:
    assert address(word) == found


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_is_enough(kind: str, made: type[Made]) -> None:
    assert main([kind, "22", "-s", "frp.example.com", "-t", "x"]) == 0
    (config,) = made.configs
    (proxy,) = config.proxies
    assert re.fullmatch(kind + "-[0-9a-f]{8}", proxy.name)
    assert (config.server_addr, proxy.type, proxy.local_ip, proxy.local_port, proxy.remote_port) == (
        "frp.example.com",
        kind,
        "127.0.0.1",
        22,
        0,
    )


def test_names_are_different_each_time(made: type[Made]) -> None:
    for _ in range(2):
        assert main(["tcp", "22"]) == 0
    assert len({config.proxies[0].name for config in made.configs}) == 2


def test_what_is_given_stays(made: type[Made]) -> None:
    assert main(["tcp", "nas:22", "-n", "mine", "-r", "6000", "--ue"]) == 0
    proxy = made.configs[0].proxies[0]
    assert (proxy.name, proxy.local_ip, proxy.local_port, proxy.remote_port, proxy.transport.use_encryption) == (
        "mine",
        "nas",
        22,
        6000,
        True,
    )


def test_sites_get_a_name_below_the_server_s(made: type[Made]) -> None:
    for args in (
        ["http", "8080"],
        ["http", "8080", "-n", "site"],
        ["https", "8443", "-n", "My Site"],
        ["http", "80", "-d", "x.example.com"],
    ):
        assert main(args) == 0
    made_up, named, not_a_label, with_domain = (config.proxies[0] for config in made.configs)
    assert isinstance(made_up, HttpProxy)
    assert made_up.subdomain == made_up.name
    assert named.subdomain == "site"
    assert re.fullmatch("https-[0-9a-f]{8}", not_a_label.subdomain)
    assert (with_domain.subdomain, with_domain.custom_domains) == ("", ("x.example.com",))


def test_what_else_is_missing_is_made_up(made: type[Made]) -> None:
    assert main(["tcpmux", "22"]) == 0
    assert main(["stcp", "22"]) == 0
    assert main(["stcp", "22", "--sk", "mine"]) == 0
    mux, secret, given = (config.proxies[0] for config in made.configs)
    assert isinstance(mux, TcpmuxProxy)
    assert (mux.multiplexer, mux.subdomain) == ("httpconnect", mux.name)
    assert isinstance(secret, StcpProxy)
    assert len(secret.secret_key) >= 20
    assert given.secret_key == "mine"


def test_with_frp_s_own_flags_words_mean_nothing(made: type[Made]) -> None:
    assert main(["tcp", "-n", "a", "-l", "22", "8080"]) == 0
    assert main(["tcp", "-n", "a", "surplus"]) == 0
    assert main(["tcp", "-n", "a", "-i", "nas", "8080"]) == 0
    assert [config.proxies[0].local_port for config in made.configs] == [22, 0, 0]


def test_without_words_a_name_is_needed(made: type[Made], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tcp", "-l", "22"]) == 1
    assert capsys.readouterr().out.startswith("name should not be empty\n")


def test_a_word_that_is_no_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tcp", "ssh", "-s", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith('Error: "ssh" is no port and no host:port\nUsage:\n  frpc tcp [[host:]port] [flags]\n')


async def told(proxy: dict[str, object], capsys: pytest.CaptureFixture[str], **server: object) -> str:
    """What is printed about a proxy at a real server."""
    from frp_py.client.app import Client

    async with running_server(server) as running, trio.open_nursery() as nursery:
        client = Client(frpc_config(running.config.bind_port, proxies=[proxy]))
        await nursery.start(Announced(client).run)
        text = ""
        with trio.fail_after(5):
            while not text:
                await trio.sleep(0.01)
                text = capsys.readouterr().out
        nursery.cancel_scope.cancel()
    return text.replace(str(running.config.bind_port), "BIND")


async def test_users_are_told_where_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    port, web = free_port(), free_port()
    tcp = {"name": "a", "type": "tcp", "localPort": 22}
    assert await told({**tcp, "remotePort": port}, capsys) == f"127.0.0.1:{port} leads to 127.0.0.1:22\n"
    udp = {"name": "a", "type": "udp", "localPort": 53, "localIP": "::1"}
    assert await told({**udp, "remotePort": port}, capsys) == f"127.0.0.1:{port}/udp leads to [::1]:53\n"
    site = {"name": "a", "type": "http", "localPort": 80, "subdomain": "x"}
    shown = await told(site, capsys, vhostHTTPPort=web, subDomainHost="example.com")
    assert shown == f"http://x.example.com:{web} leads to 127.0.0.1:80\n"


async def test_who_may_visit_is_told_how(capsys: pytest.CaptureFixture[str]) -> None:
    shown = await told({"name": "a b", "type": "stcp", "localPort": 22, "secretKey": "k"}, capsys)
    command = "frpc stcp visitor -s 127.0.0.1 -P BIND -t TOKEN --server_name 'a b' --sk k -n me --bind_port 22"
    assert shown == f"to reach 127.0.0.1:22 from another machine, run there:\n  {command}\n"


async def test_a_refusal_is_told_with_advice(capsys: pytest.CaptureFixture[str]) -> None:
    shown = await told({"name": "a", "type": "http", "localPort": 80, "subdomain": "x"}, capsys, vhostHTTPPort=free_port())
    assert shown == (
        "the server refuses: subdomain is not supported because this feature is not enabled in server\n"
        "  -> the server has no subDomainHost: set it there, or use customDomains (-d) here\n"
    )
