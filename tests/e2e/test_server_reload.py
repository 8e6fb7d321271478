"""frps reads its file again, at SIGHUP and by itself, and nobody notices."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from frp_py.cli.frps import main
from tests.support.ports import free_port
from tests.support.programs import TOKEN, Program, World, connect, exchange, proxy, works


def hang_up(frps: Program, config: str, count: int = 1, said: str = "success reload conf") -> None:
    frps.config_path.write_text(config)
    frps.process.send_signal(signal.SIGHUP)
    frps.wait_for(said, count=count)


def test_sighup(world: World) -> None:
    echo = world.service()
    tunnel = world.tunnel(echo.port)
    frps, config = tunnel.server, tunnel.server.config_path.read_text()
    with connect(tunnel.port) as user:
        user.sendall(b"before")
        assert user.recv(100) == b"before"
        hang_up(frps, f'{config}nonsense = 1\nauth.tokenSource.type = "file"\n', said="reload config error: ")
        hang_up(
            frps, config.replace(TOKEN, "another") + f'allowPorts = [{{single = 1}}]\nlog.level = "debug"\nvhostHTTPPort = {free_port()}\n'
        )
        frps.wait_for("changed: auth.token, log.level, allowPorts")
        frps.wait_for("restart needed for: vhostHTTPPort")
        user.sendall(b"after")
        assert user.recv(100) == b"after"
    assert works(tunnel.port)
    late = world.frpc(tunnel.server_port, "loginFailExit = false")
    late.wait_for("token in login doesn't match token from configuration")
    late.kill()
    other = world.frpc(tunnel.server_port, proxies=proxy("other", echo.port, free_port()))
    other.config_path.write_text(other.config_path.read_text().replace(TOKEN, "another"))
    other.kill()
    again = world.start("client", other.config_path.read_text())
    again.wait_for("[other] start error: port not allowed")


def test_the_commands(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    frps, _ = world.frps(f'webServer.port = {free_port()}\nwebServer.user = "u"\nwebServer.password = "p"')
    path, config = str(frps.config_path), frps.config_path.read_text()
    assert main(["status", "-c", path]) == 0
    assert "Clients      0 online, 0 offline\n" in capsys.readouterr().out
    frps.config_path.write_text(f"{config}maxPortsPerClient = 3\nvhostHTTPPort = 1\n")
    assert main(["reload", "-c", path]) == 0
    assert capsys.readouterr().out == "reload success\nchanged: maxPortsPerClient\nrestart needed for: vhostHTTPPort\n"
    frps.config_path.write_text(config.replace('"p"', '"another"'))
    assert main(["reload", "-c", path]) == 1
    assert capsys.readouterr().out.startswith("api status code [401]\n  Unauthorized\n  The server that runs may have been given another")
    hang_up(frps, frps.config_path.read_text(), said="changed: webServer.password")
    assert main(["reload", "-c", path]) == 0
    assert capsys.readouterr().out == "reload success\n"


def test_the_file_is_watched(world: World) -> None:
    frps, port = world.frps("watchConfig = true")
    config = frps.config_path.read_text()
    time.sleep(0.5)  # until it has been looked at for the first time
    frps.config_path.write_text(config.replace(TOKEN, "another"))
    frps.wait_for("changed: auth.token", deadline=10)
    world.frpc(port, "loginFailExit = false").wait_for("doesn't match token")


def test_many_reloads_under_traffic(world: World) -> None:
    """No failed request, and nothing piles up."""
    echo = world.service()
    tunnel = world.tunnel(echo.port)
    frps, config = tunnel.server, tunnel.server.config_path.read_text()
    stopped = threading.Event()
    failures: list[str] = []
    served = 0

    def talk() -> None:
        nonlocal served
        with connect(tunnel.port) as lasting:
            while not stopped.is_set():
                try:
                    assert exchange(tunnel.port, b"new connection") == b"new connection"
                    lasting.sendall(b"old")
                    assert lasting.recv(3) == b"old"
                    served += 1
                except (OSError, AssertionError) as error:
                    failures.append(repr(error))
                    return

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    figures = []
    try:
        for n in range(1, 61):
            changed = (config.replace(TOKEN, "another") + 'log.level = "debug"\nallowPorts = [{start = 1, end = 65000}]\n', config)[n % 2]
            hang_up(frps, f"{changed}maxPortsPerClient = {n}\n", n)
            if n % 20 == 0:
                figures.append((frps.figures.threads, frps.figures.rss))
    finally:
        stopped.set()
        for thread in threads:
            thread.join(10)
    assert failures == []
    assert served > 20
    assert figures[-1][0] <= figures[0][0]
    assert figures[-1][1] - figures[0][1] < 3
