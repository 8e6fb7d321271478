"""The services answer as the loads expect."""

from __future__ import annotations

from pathlib import Path

from bench.loads import download, upload
from bench.services import services
from bench.system import connected, exactly


def test_echo_and_sink(tmp_path: Path) -> None:
    with services(tmp_path, []) as ports:
        with connected(ports["echo"]) as user:
            user.sendall(bytes(300_000))
            assert exactly(user, 300_000) == bytes(300_000)
        upload(ports["sink"], 3_000_000)
        download(ports["sink"], 3_000_000)
