"""frpc doctor and frps doctor find what is wrong, and disturb nobody."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from frp_py.cli import frpc, frps
from frp_py.cli.doctor import counted, span
from frp_py.client.advice import advice_for
from frp_py.config import server_from_dict
from frp_py.server.app import Server
from tests.support.inside import HOST, TOKEN, merged, proxy, running_client, running_server, service
from tests.support.net import until
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
Steps = dict[str, tuple[str, str, str]]


class Doctor:
    """Runs `frpc doctor` or `frps doctor` and reads what it says."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys
        self.code = -1
        self.last_line = ""

    def client(self, tree: dict[str, Any], *args: str) -> Steps:
        """The steps of `frpc doctor` by name: state, text, advice."""
        self.code = frpc.main(["doctor", "-c", self._file("frpc", tree), *args])
        return self._steps()

    def server(self, tree: dict[str, Any]) -> Steps:
        self.code = frps.main(["doctor", "-c", self._file("frps", tree)])
        return self._steps()

    async def client_of(self, server: Server, changes: dict[str, Any] | None = None, *args: str, **keys: Any) -> Steps:
        """`frpc doctor` beside a server that runs in this thread."""
        tree = {"serverAddr": HOST, "serverPort": server.config.bind_port, "auth": {"token": TOKEN}, **keys}
        tree = merged({"transport": {"tls": {"enable": False}}, **tree}, changes or {})
        return await trio.to_thread.run_sync(lambda: self.client(tree, *args))

    def _file(self, program: str, tree: dict[str, Any]) -> str:
        path = self.directory / f"{program}.json"
        path.write_text(json.dumps(tree))
        return str(path)

    def _steps(self) -> Steps:
        out, err = self._capsys.readouterr()
        assert err == ""
        steps: Steps = {}
        last = ""
        body, _, self.last_line = out.rstrip("\n").rpartition("\n\n")
        for line in body.splitlines():
            if match := re.fullmatch(r"(ok|failed|skipped) +([^:]+)(?:: (.*))?", line):
                last = match[2]
                steps[last] = match[1], match[3] or "", ""
            elif match := re.fullmatch(" {9}-> (.+)", line):
                steps[last] = (*steps[last][:2], match[1])
            else:
                assert line.startswith(" " * 11)
                steps[last] = steps[last][0], f"{steps[last][1]}\n{line.strip()}", ""
        failed = [name for name, (state, _, _) in steps.items() if state == "failed"]
        assert self.code == (1 if failed else 0)
        assert self.last_line == (f"{len(failed)} step{'s' * (len(failed) > 1)} failed" if failed else "no fault found")
        return steps


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    monkeypatch.delenv("http_proxy", raising=False)
    return Doctor(tmp_path, capsys)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


@asynccontextmanager
async def server_with(tree: dict[str, Any]) -> AsyncIterator[Server]:
    """A server with certificates of its own."""
    server = Server(server_from_dict({"bindAddr": HOST, "bindPort": free_port(), "auth": {"token": TOKEN}, **tree}))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()


class Certificates:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        authority = trustme.CA()
        self.ca = str(directory / "ca.crt")
        authority.cert_pem.write_to_path(self.ca)
        self.cert, self.key = str(directory / "x.crt"), str(directory / "x.key")
        issued = authority.issue_cert("frps.test", "127.0.0.2")
        issued.private_key_pem.write_to_path(self.key)
        Path(self.cert).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


# what can be seen without a server


def test_a_file_that_does_not_load(doctor: Doctor) -> None:
    steps = doctor.client({"serverPrt": 7000})
    assert list(steps) == ["configuration"]
    state, text, advice = steps["configuration"]
    assert state == "failed"
    assert text.startswith('json: unknown field "serverPrt"\nin ')
    assert advice == f"frpc verify -c {doctor.directory / 'frpc.json'} checks it after each change"


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert frpc.main(["doctor"]) == 1
    assert capsys.readouterr().out.startswith("failed   configuration: open ./frpc.ini: no such file or directory\n")
    (tmp_path / "frpc.toml").write_text("nope = 1\n")
    assert frpc.main(["doctor"]) == 1
    assert "./frpc.toml" in capsys.readouterr().out


def test_no_dns(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    steps = doctor.client({"serverAddr": "frp.example.com"})
    assert steps["DNS"] == ("failed", "lookup frp.example.com: Name or service not known", advice_for("lookup"))
    assert [steps[name][0] for name in ("TCP", "TLS", "login")] == ["skipped"] * 3


def test_nothing_listens(doctor: Doctor) -> None:
    port = free_port()
    steps = doctor.client({"serverAddr": HOST, "serverPort": port})
    assert steps["DNS"] == ("ok", f"{HOST} is an address", "")
    assert steps["TCP"] == ("failed", f"dial tcp {HOST}:{port}: connect: connection refused", advice_for("refused"))
    assert steps["login"][0] == "skipped"


def test_the_address_was_forgotten(doctor: Doctor) -> None:
    assert doctor.client({"serverPort": free_port()})["DNS"][2] == "serverAddr should be the name or address of the server"


def test_something_else_listens(doctor: Doctor) -> None:
    def serve() -> None:
        for _ in range(2):  # TCP, and TLS
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"SSH-2.0-x\r\n")
                connection.recv(9999)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        steps = doctor.client({"serverAddr": HOST, "serverPort": listener.getsockname()[1]})
        thread.join(5)
    assert steps["TLS"][0] == "failed"
    assert steps["TLS"][2] == advice_for("wrong version number")
    assert steps["login"][0] == "skipped"


def test_a_token_file_that_is_not_there(doctor: Doctor) -> None:
    steps = doctor.client({"serverAddr": HOST, "auth": {"tokenSource": {"type": "file", "file": {"path": "/none"}}}})
    assert steps["token"][:2] == (
        "failed",
        "failed to resolve auth.tokenSource: failed to read file /none: open /none: no such file or directory",
    )
    assert "TCP" not in steps


def test_a_clock_that_is_behind(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 7300)
    steps = doctor.client({"serverAddr": HOST, "serverPort": free_port()})
    assert steps["clock"] == (
        "failed",
        f"{doctor.directory / 'frpc.json'} was written 2 hours from now",
        "set the clock of this machine, e.g. timedatectl set-ntp true",
    )


@pytest.mark.parametrize("field", ["serverAddr", "user"])
def test_what_is_shown_can_not_steer_the_terminal(field: str, doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    path = doctor._file("frpc", {field: "a\x1b[2J", "serverPort": "x"})
    assert frpc.main(["doctor", "-c", path]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_local_services(doctor: Doctor, tmp_path: Path, taken_port: int) -> None:
    none = free_port()
    with closing(socket.socket(socket.AF_UNIX)) as unix:
        unix.bind(str(tmp_path / "there.sock"))
        unix.listen()
        entries: dict[str, dict[str, Any]] = {
            "there": {"localPort": taken_port},
            "missing": {"localPort": none},
            "unset": {},
            "datagrams": {"type": "udp", "localPort": none},
            "folder": {"plugin": {"type": "static_file", "localPath": str(tmp_path)}},
            "no folder": {"plugin": {"type": "static_file", "localPath": str(tmp_path / "none")}},
            "unix": {"plugin": {"type": "unix_domain_socket", "unixPath": str(tmp_path / "there.sock")}},
            "no unix": {"plugin": {"type": "unix_domain_socket", "unixPath": str(tmp_path / "none.sock")}},
            "forwarded": {"plugin": {"type": "http2https", "localAddr": f"{HOST}:{taken_port}"}},
            "not forwarded": {"plugin": {"type": "http2https", "localAddr": f"{HOST}:{none}"}},
            "by itself": {"plugin": {"type": "socks5"}},
        }
        proxies = [{"name": name, "type": "tcp", **entry} for name, entry in entries.items()]
        steps = doctor.client({"serverAddr": HOST, "serverPort": free_port(), "proxies": proxies})
    states = {name: steps[f"proxy {name}, local service"] for name in entries}
    assert states["there"] == ("ok", f"{HOST}:{taken_port} is there", "")
    service_advice = "start the service, or set localIP and localPort to where it listens"
    assert states["missing"] == ("failed", f"dial tcp {HOST}:{none}: connect: connection refused", service_advice)
    assert states["unset"][:2] == ("failed", "localPort is not set")
    assert states["datagrams"] == ("failed", f"dial udp {HOST}:{none}: connection refused", service_advice)
    assert states["folder"][0] == states["unix"][0] == states["forwarded"][0] == "ok"
    assert states["no folder"][:2] == ("failed", f"{tmp_path / 'none'} is no directory that can be read")
    assert states["no unix"][:2] == ("failed", f"dial unix {tmp_path / 'none.sock'}: no such file or directory")
    assert states["not forwarded"][0] == "failed"
    assert states["by itself"] == ("skipped", "plugin socks5 can't be tried from outside", "")


def test_a_udp_service_that_refuses_nothing(doctor: Doctor) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as there:
        there.bind((HOST, 0))
        port = there.getsockname()[1]
        proxies = [{"name": "a", "type": "udp", "localPort": port}]
        steps = doctor.client({"serverAddr": HOST, "serverPort": free_port(), "proxies": proxies})
    assert steps["proxy a, local service"] == ("skipped", f"{HOST}:{port} can't be tried from outside", "")


def test_ports_of_visitors(doctor: Doctor, taken_port: int) -> None:
    free = free_port()
    visitors = [
        {"name": name, "type": "stcp", "serverName": "x", "bindPort": port} for name, port in (("a", free), ("b", taken_port), ("c", -1))
    ]
    steps = doctor.client({"serverAddr": HOST, "serverPort": free_port(), "visitors": visitors})
    assert steps["visitor a"] == ("ok", f"{HOST}:{free} is free", "")
    assert steps["visitor b"][:2] == ("failed", f"{HOST}:{taken_port} is in use")
    assert steps["visitor c"] == ("skipped", "it doesn't listen", "")


# with a server


async def test_a_tunnel_that_works(doctor: Doctor) -> None:
    async with running_server() as server, service() as local:
        port = free_port()
        steps = await doctor.client_of(server, {"transport.tls.enable": True}, proxies=[proxy("a", local.port, port)])
    assert doctor.code == 0
    assert steps["TCP"][1].startswith(f"{HOST}:{server.config.bind_port} accepts connections, after ")
    state, text, advice = steps["TLS"]
    assert (state, text) == ("ok", "TLSv1.3, the server's certificate is not checked")
    assert "docs/guide/tls.md" in advice
    assert (ROOT / "docs" / "guide" / "tls.md").exists()
    assert steps["clock"][0] == steps["login"][0] == "ok"
    assert steps["proxy a, local service"] == ("ok", f"{HOST}:{local.port} is there", "")
    assert steps["proxy a, at the server"] == ("ok", f"users reach it at {HOST}:{port}", "")


async def test_a_wrong_token(doctor: Doctor) -> None:
    async with running_server() as server:
        steps = await doctor.client_of(server, {"auth.token": "wrong"}, proxies=[proxy("a", free_port(), 6000)])
    assert steps["login"] == (
        "failed",
        "token in login doesn't match token from configuration",
        "auth.token must be the same here and on the server",
    )
    assert steps["proxy a, local service"][0] == "failed"
    assert "proxy a, at the server" not in steps


async def test_a_server_that_demands_tls(doctor: Doctor) -> None:
    async with running_server({"transport.tls.force": True}) as server:
        steps = await doctor.client_of(server)
    assert steps["TLS"] == ("skipped", "transport.tls.enable is false", "")
    state, _, advice = steps["login"]
    assert state == "failed"
    assert advice == "the server demands TLS (its transport.tls.force): set transport.tls.enable = true"


async def test_a_certificate_of_another_authority(doctor: Doctor, certificates: Certificates, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other")
    async with server_with({"transport": {"tls": {"certFile": certificates.cert, "keyFile": certificates.key}}}) as server:
        trust = {"transport.tls.enable": True, "transport.tls.trustedCaFile": other.ca}
        steps = await doctor.client_of(server, trust)
        assert steps["TLS"][0] == "failed"
        assert steps["TLS"][1].startswith("failed to verify certificate: ")
        assert steps["TLS"][2] == "transport.tls.trustedCaFile must be the CA that the server's certificate is from"
        assert steps["login"][0] == "skipped"

        trust["transport.tls.trustedCaFile"] = certificates.ca
        steps = await doctor.client_of(server, trust)
        assert steps["TLS"][2] == "set transport.tls.serverName to a name that is in the server's certificate"

        steps = await doctor.client_of(server, {**trust, "transport.tls.serverName": "frps.test"})
        assert steps["TLS"] == ("ok", "TLSv1.3, the server's certificate is good", "")
        assert steps["login"][0] == "ok"


async def test_a_certificate_from_the_future(doctor: Doctor, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    issued = trustme.CA().issue_cert("frps.test", not_before=now + timedelta(days=3, hours=1), not_after=now + timedelta(days=9))
    cert, key = tmp_path / "x.crt", tmp_path / "x.key"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    async with server_with({"transport": {"tls": {"certFile": str(cert), "keyFile": str(key)}}}) as server:
        steps = await doctor.client_of(server, {"transport.tls.enable": True})
    assert steps["clock"][:2] == ("failed", "the server's certificate was made 3 days from now")
    assert steps["login"][0] == "ok"


async def test_a_server_that_demands_a_certificate(doctor: Doctor, certificates: Certificates) -> None:
    files = {"certFile": certificates.cert, "keyFile": certificates.key, "trustedCaFile": certificates.ca}
    async with server_with({"transport": {"tls": files}}) as server:
        steps = await doctor.client_of(server, {"transport.tls.enable": True})
        assert steps["login"][0] == "failed"
        assert steps["login"][2] == "the server wants a certificate: set transport.tls.certFile and keyFile"
        steps = await doctor.client_of(
            server, {"transport.tls": {"enable": True, "certFile": certificates.cert, "keyFile": certificates.key}}
        )
        assert steps["login"][0] == "ok"


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("secure", [True, False])
async def test_different_multiplexing(ours: bool, secure: bool, doctor: Doctor) -> None:
    async with running_server({"transport.tcpMux": not ours}) as server:
        steps = await doctor.client_of(server, {"transport.tcpMux": ours, "transport.tls.enable": secure})
    assert steps["login"][0] == "failed"
    assert steps["login"][2] == f"transport.tcpMux must be the same on both sides: set it to {'false' if ours else 'true'}"


async def test_what_the_server_refuses(doctor: Doctor, taken_port: int) -> None:
    allowed = free_port()
    async with running_server({"allowPorts": [{"single": allowed}, {"single": taken_port}]}) as server, service() as local:
        proxies = [
            proxy("good", local.port, allowed),
            proxy("not allowed", local.port, 1),
            proxy("twice", local.port, allowed),
            proxy("in use", local.port, taken_port),
            {"name": "site", "type": "http", "localPort": local.port, "customDomains": ["x.example.com"]},
        ]
        steps = await doctor.client_of(server, proxies=proxies)
        await until(lambda: server.proxies == {})
    found = {name: steps[f"proxy {name}, at the server"] for name in ("good", "not allowed", "twice", "in use", "site")}
    assert found["good"][0] == "ok"
    for name, reason in (
        ("not allowed", "port not allowed"),
        ("twice", "port already used"),
        ("in use", "port unavailable"),
        ("site", "type [http] not supported when vhost http port is not set"),
    ):
        assert found[name] == ("failed", reason, advice_for(reason))
        assert advice_for(reason)


async def test_a_client_that_runs_is_not_disturbed(doctor: Doctor) -> None:
    async with running_server() as server, service() as local:
        wishes = [proxy("a", local.port, free_port()), proxy("b", local.port, free_port(), loadBalancer={"group": "g"})]
        changes = {"clientID": "me"}
        async with running_client(server, changes, wishes) as client:
            await until(lambda: len(server.proxies) == 2)
            session, before = client.session, dict(server.proxies)
            steps = await doctor.client_of(server, changes, proxies=wishes)
            assert (client.session, server.proxies) == (session, before)
        assert steps["login"][0] == "ok"
        expected = "ok" if sys.platform == "linux" else "failed"
        assert steps["proxy a, at the server"][0] == expected
        assert steps["proxy b, at the server"] == ("skipped", "users of its group g would come here meanwhile; --try_proxies tries it", "")
        steps = await doctor.client_of(server, None, "--try_proxies", proxies=wishes[1:])
        assert steps["proxy b, at the server"][0] == "ok"


async def test_a_name_that_a_client_elsewhere_has(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frp_py.cli.doctor_client._seems_connected", lambda config: False)
    async with running_server() as server, service() as local:
        wishes = [proxy("a", local.port, free_port())]
        async with running_client(server, proxies=wishes):
            await until(lambda: server.proxies)
            steps = await doctor.client_of(server, proxies=wishes)
    reason = "proxy [a] already exists"
    assert steps["proxy a, at the server"] == ("failed", reason, "another client has a proxy of this name: stop it, or change name or user")


# the server's own doctor


def server_tree(**keys: Any) -> dict[str, Any]:
    return {"bindAddr": HOST, "bindPort": free_port(), "auth": {"token": "x"}, "allowPorts": [{"single": 6000}], **keys}


def test_a_server_that_may_start(doctor: Doctor) -> None:
    tree = server_tree(vhostHTTPPort=free_port())
    steps = doctor.server(tree)
    assert steps["running"][0] == steps["TLS"][0] == "skipped"
    assert steps["bindPort"] == ("ok", f"{HOST}:{tree['bindPort']} is free", "")
    assert steps["vhostHTTPPort"][0] == steps["token"][0] == steps["allowPorts"][0] == steps["clock"][0] == "ok"


def test_ports_of_the_server_that_are_taken(doctor: Doctor, taken_port: int) -> None:
    steps = doctor.server(server_tree(vhostHTTPPort=taken_port))
    assert steps["vhostHTTPPort"][:2] == ("failed", f"{HOST}:{taken_port} is in use")


async def test_a_server_that_runs_has_its_ports(doctor: Doctor) -> None:
    async with running_server() as server:
        tree = server_tree(bindPort=server.config.bind_port)
        steps = await trio.to_thread.run_sync(doctor.server, tree)
    assert steps["running"][:2] == ("ok", f"frps answers on {HOST} port {server.config.bind_port}")
    assert steps["bindPort"][:2] == ("ok", f"{HOST}:{server.config.bind_port} is in use, it seems by the frps that runs on this machine")


def test_an_open_door(doctor: Doctor) -> None:
    steps = doctor.server({"bindAddr": HOST, "bindPort": free_port()})
    assert steps["token"] == ("ok", "there is none", "anybody can open ports here: set auth.token")
    assert steps["allowPorts"][2] == "set allowPorts to those that the firewall lets through"


def test_certificates_of_the_server(doctor: Doctor, certificates: Certificates) -> None:
    def tls_step(**files: str) -> tuple[str, str, str]:
        return doctor.server(server_tree(transport={"tls": files}))["TLS"]

    assert tls_step(certFile=certificates.cert, keyFile=certificates.key) == ("ok", certificates.cert, "")
    assert tls_step(certFile="/none", keyFile="/none")[:2] == ("failed", "open /none: no such file or directory")
    assert tls_step(certFile=certificates.cert, keyFile=certificates.ca)[0] == "failed"


def test_a_certificate_that_has_ended(doctor: Doctor, tmp_path: Path) -> None:
    for days, expected in ((-1, "failed"), (3, "ok")):
        issued = trustme.CA().issue_cert("frps.test", not_after=datetime.now(UTC) + timedelta(days=days, hours=1))
        cert, key = tmp_path / "x.crt", tmp_path / "x.key"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        state, _, advice = doctor.server(server_tree(transport={"tls": {"certFile": str(cert), "keyFile": str(key)}}))["TLS"]
        assert (state, bool(advice)) == (expected, True)
    assert advice == "it expires in 3 days"


def test_names_below_the_server_s(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"frp-doctor.here.test": "192.0.2.7"}

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert doctor.server(server_tree(subDomainHost="here.test"))["subDomainHost"] == ("ok", "*.here.test is 192.0.2.7", "")
    step = doctor.server(server_tree(subDomainHost="gone.test"))["subDomainHost"]
    assert step == ("failed", "names below gone.test are not known", "add a DNS entry *.gone.test that leads to this server")


def test_the_log_file(doctor: Doctor, tmp_path: Path) -> None:
    assert doctor.server(server_tree(log={"to": str(tmp_path / "new" / "frps.log")}))["log"][0] == "ok"
    (tmp_path / "file").touch()
    assert doctor.server(server_tree(log={"to": str(tmp_path / "file" / "frps.log")}))["log"][0] == "failed"


def test_a_server_of_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert frps.main(["doctor", "--bind_addr", HOST, "--bind_port", str(free_port()), "-t", "x", "--allow_ports", "1"]) == 0
    assert capsys.readouterr().out.startswith("ok       configuration: made of the flags\nok       token\n")


def test_words() -> None:
    assert [span(s) for s in (1, 119, 120, 7200, 86400, 3 * 86400)] == [
        "1 seconds",
        "119 seconds",
        "2 minutes",
        "2 hours",
        "24 hours",
        "3 days",
    ]
    assert [counted([0] * n, "x", "xs") for n in (0, 1, 2)] == ["0 xs", "1 x", "2 xs"]
    assert advice_for("nothing that is known") == ""
