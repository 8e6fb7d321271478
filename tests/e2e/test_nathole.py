"""`frpc nathole discover` as a program, against a STUN server of ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from tests.support.stun import Address, stun_server


def symmetric(source: Address, at: int) -> Address:
    return ("203.0.113.66", 40000 + 3 * at)


@pytest.mark.parametrize("by", ["file", "flag"])
async def test_discover(by: str, tmp_path: Path) -> None:
    async with stun_server(symmetric) as server:
        command = [sys.executable, "-m", "frp_py", "frpc", "nathole", "discover", "-l", "127.0.0.1:0"]
        if by == "flag":
            command += ["-c", str(tmp_path / "missing"), "--nat-hole-stun-server", server.text]
        else:
            (tmp_path / "frpc.ini").write_text(f"[common]\nnat_hole_stun_server = {server.text}\n")
            command += ["-c", str(tmp_path / "frpc.ini")]
        with trio.fail_after(20):
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    lines = done.stdout.decode().splitlines()
    local = lines.pop(4)
    assert lines == [
        f"STUN server: {server.text}",
        "Your NAT type is: HardNAT",
        "Behavior is: BehaviorPortChanged",
        "External address is: [203.0.113.66:40000 203.0.113.66:40003]",
        "Public Network: false",
    ]
    assert local.startswith("Local address is: 127.0.0.1:")
    assert (done.returncode, done.stderr) == (0, b"")
