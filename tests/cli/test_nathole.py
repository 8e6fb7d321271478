from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from frp_py.cli import nathole
from frp_py.cli.frpc import main
from frp_py.errors import FrpError
from tests.support.stun import Address, Nat, StunServer, attribute, message, no_nat, stun_server


def symmetric(source: Address, at: int) -> Address:
    return ("203.0.113.66", 40000 + 7 * at)


def pool(source: Address, at: int) -> Address:
    return (f"203.0.113.{66 + at}", source[1])


def pool_of_ports(source: Address, at: int) -> Address:
    return (f"203.0.113.{66 + at}", 40000 + at)


def cone(source: Address, at: int) -> Address:
    return ("203.0.113.66", 50000)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run `frpc nathole discover` against a STUN server that is told by the file, by a flag (`flag=True`)."""

    def run(nat: Nat, *, flag: bool = False, prepare: Callable[[StunServer], None] | None = None) -> int:
        ask = nathole._ask

        async def with_server(server: str, local: str) -> tuple[str, list[str]]:
            assert server == "STUN"
            async with stun_server(nat) as stun:
                if prepare is not None:
                    prepare(stun)
                return await ask(stun.text, local)

        monkeypatch.setattr(nathole, "_ask", with_server)
        path = tmp_path / "frpc.toml"
        path.write_text('natHoleStunServer = "of the file"\n' if flag else 'natHoleStunServer = "STUN"\n')
        flags = ["--nat_hole_stun_server=STUN"] if flag else []
        return main(["nathole", "discover", "-c", str(path), "-l", "127.0.0.1:0", *flags])

    return run


Serve = Callable[..., int]


@pytest.mark.parametrize("flag", [False, True])
def test_no_nat(serve: Serve, flag: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(nathole, "own_addresses", lambda: ["127.0.0.1"])
    assert serve(no_nat, flag=flag) == 0
    lines = capsys.readouterr().out.splitlines()
    local = lines[4].removeprefix("Local address is: ")
    assert local.startswith("127.0.0.1:")
    assert lines == [
        "STUN server: STUN",
        "Your NAT type is: EasyNAT",
        "Behavior is: BehaviorNoChange",
        f"External address is: [{local} {local}]",
        f"Local address is: {local}",
        "Public Network: true",
    ]


@pytest.mark.parametrize(
    ("nat", "kind", "behavior"),
    [
        (cone, "EasyNAT", "BehaviorNoChange"),
        (symmetric, "HardNAT", "BehaviorPortChanged"),
        (pool, "HardNAT", "BehaviorIPChanged"),
        (pool_of_ports, "HardNAT", "BehaviorBothChanged"),
    ],
)
def test_nats(serve: Serve, nat: Nat, kind: str, behavior: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(nat) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [f"Your NAT type is: {kind}", f"Behavior is: {behavior}"]
    assert lines[-1] == "Public Network: false"
    if nat is symmetric:
        assert lines[3] == "External address is: [203.0.113.66:40000 203.0.113.66:40007]"


def one_address(server: StunServer) -> None:
    server.answer = lambda transaction, mapped, other, at: [message(transaction, [attribute(1, b"\0\1\0\x09\1\2\3\4")])]


def hostile(server: StunServer) -> None:
    server.answer = lambda transaction, mapped, other, at: [message(transaction, [attribute(9, b"\0\0\4\0\x1b[2J\n")], 0x0111)]


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        (one_address, "discover error: can not get enough addresses, need 2, got: [1.2.3.4:9]"),
        (hostile, "discover error: STUN binding error 400: \\x1b[2J\\n"),
    ],
)
def test_failures(serve: Serve, prepare: Callable[[StunServer], None], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(no_nat, prepare=prepare) == 1
    assert capsys.readouterr() == (f"{line}\n", "")


def test_addresses_that_cannot_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nathole", "discover", "--nat_hole_stun_server", "nowhere"]) == 1
    assert capsys.readouterr().out == "discover error: address nowhere: missing port in address\n"
    assert main(["nathole", "discover", "-l", "203.0.113.1:0", "--nat_hole_stun_server", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().out.startswith("discover error: listen udp4 203.0.113.1:0: ")
    assert nathole.report("", "") == 1
    assert capsys.readouterr().out == "nat_hole_stun_server can not be empty\n"


def test_no_interfaces(serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[str]:
        raise FrpError("no")

    monkeypatch.setattr(nathole, "own_addresses", broken)
    assert serve(cone) == 1
    assert capsys.readouterr().out == "classify nat feature error: no\n"


@pytest.mark.parametrize("broken", ["nope = 1\n", None])
def test_a_file_that_cannot_be_read_is_not_missed(broken: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def ask(server: str, local: str) -> tuple[str, list[str]]:
        asked.append((server, local))
        await trio.lowlevel.checkpoint()
        return "0.0.0.0:1", ["1.1.1.1:1", "1.1.1.1:1"]

    monkeypatch.setattr(nathole, "_ask", ask)
    path = tmp_path / "frpc.toml"
    if broken is not None:
        path.write_text(broken)
    assert main(["nathole", "discover", "-c", str(path)]) == 0
    assert asked == [("stun.easyvoip.com:3478", "")]


def test_the_group_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nathole"]) == 0
    assert "  discover  Ask a STUN server" in capsys.readouterr().out
