"""Real clients that read their files again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from tests.support.ports import free_port
from tests.support.programs import HOST, ROOT, TOKEN, Program, World, connect, eventually, proxy, receive_exactly, works


def hang_up(client: Program) -> None:
    """Write first what it is to read."""
    client.process.send_signal(signal.SIGHUP)


def settled(client: Program, count: int) -> None:
    client.wait_for("success reload conf", count=count)


def test_connections_outlive_a_reload(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    same, changed, moved, added = (free_port() for _ in range(4))
    kept = proxy("same", service.port, same)
    client = world.frpc(port, "", kept + proxy("changed", service.port, changed) + proxy("gone", service.port, 0))
    client.wait_for("start proxy success", count=3)
    text = client.config_path.read_text()
    with connect(same) as one, connect(changed) as two:
        for sock in (one, two):
            sock.sendall(b"before")
            assert receive_exactly(sock, 6) == b"before"
        common = text[: text.index("\n[[proxies]]")]
        client.config_path.write_text(common + proxy("changed", service.port, moved) + kept + proxy("added", service.port, added))
        hang_up(client)
        settled(client, 1)
        client.wait_for("[changed] start proxy success", count=2)
        client.wait_for("[added] start proxy success")
        for sock in (one, two):  # also those who came by what has changed
            sock.sendall(b"after")
            assert receive_exactly(sock, 5) == b"after"
        assert works(same)
        assert works(moved)
        assert works(added)
        assert not works(changed, 1)
    assert client.output.count("[same] start proxy success") == 1
    assert client.output.count("login to server success") == 1


def test_a_proxy_changes_everything_but_its_port(world: World) -> None:
    """The server has let go of name and port before it is asked for them again."""
    first, second = world.service(), world.service()
    _, port = world.frps()
    remote = free_port()
    client = world.frpc(port, "", proxy("it", first.port, remote))
    client.wait_for("start proxy success")
    text = client.config_path.read_text()
    for n in range(1, 11):
        now = second if n % 2 else first
        client.config_path.write_text(text.replace(f"localPort = {first.port}", f"localPort = {now.port}"))
        before = now.connections
        hang_up(client)
        client.wait_for("start proxy success", count=n + 1)
        assert works(remote)
        assert now.connections == before + 1
    assert "start error" not in client.output


def test_a_bad_file_changes_nothing(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    text = tunnel.client.config_path.read_text()
    tunnel.client.config_path.write_text("[[" + text)
    hang_up(tunnel.client)
    tunnel.client.wait_for("reload config error: toml: line ")
    assert works(tunnel.port)
    tunnel.client.config_path.unlink()
    hang_up(tunnel.client)
    tunnel.client.wait_for("reload config error: open ")
    assert works(tunnel.port)


def test_the_log_changes_its_level_and_its_place(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    client, path = tunnel.client, world.directory / "log" / "frpc.log"
    text = client.config_path.read_text()
    client.config_path.write_text(f'log.to = "{path}"\nlog.level = "debug"\n{text}')
    hang_up(client)
    eventually(lambda: path.exists() and "success reload conf" in path.read_text(), "it logs to the file")
    client.config_path.write_text(text)
    hang_up(client)
    settled(client, 1)


def test_the_secret_is_changed_without_a_restart(world: World) -> None:
    service = world.service()
    frps, port = world.frps()
    client = world.frpc(port, "loginFailExit = false\n", proxy("it", service.port, remote := free_port()))
    client.wait_for("[it] start proxy success")
    client.config_path.write_text(client.config_path.read_text().replace(TOKEN, "another"))
    hang_up(client)
    settled(client, 1)
    assert works(remote)  # the session goes on
    frps.stop()
    config = frps.config_path.read_text().replace(TOKEN, "another")
    world.start("server", config)
    client.wait_for("[it] start proxy success", count=2)
    assert works(remote)


def test_the_file_is_watched(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    first, second = free_port(), free_port()
    (world.directory / "d").mkdir()
    client = world.frpc(port, f'watchConfig = true\nincludes = ["{world.directory}/d/*.toml"]\n', proxy("one", service.port, first))
    client.wait_for("[one] start proxy success")
    (world.directory / "d" / "two.toml").write_text(proxy("two", service.port, second))
    client.wait_for("the configuration file has changed")
    client.wait_for("[two] start proxy success")
    assert works(second)


def test_what_is_withdrawn_is_gone(world: World) -> None:
    """Ports at both ends, descriptors and threads."""
    service = world.service()
    frps, port = world.frps()
    client = world.frpc(port)
    client.wait_for("login to server success")
    text = client.config_path.read_text()
    ports = [free_port() for _ in range(6)]
    everything = f"""
[[proxies]]
name = "tcp"
type = "tcp"
localPort = {service.port}
remotePort = {ports[0]}
healthCheck = {{ type = "tcp", intervalSeconds = 1 }}
[[proxies]]
name = "udp"
type = "udp"
localPort = {service.port}
remotePort = {ports[1]}
[[proxies]]
name = "secret"
type = "stcp"
secretKey = "k"
localPort = {service.port}
[[proxies]]
name = "packets"
type = "sudp"
secretKey = "k"
localPort = {service.port}
[[proxies]]
name = "plugin"
type = "tcp"
remotePort = {ports[2]}
plugin = {{ type = "static_file", localPath = "{world.directory}" }}
[[visitors]]
name = "tcp"
type = "stcp"
serverName = "secret"
secretKey = "k"
bindPort = {ports[3]}
[[visitors]]
name = "udp"
type = "sudp"
serverName = "packets"
secretKey = "k"
bindPort = {ports[4]}
"""
    figures: list[tuple[int, int, int, int]] = []
    for n in range(1, 5):
        client.config_path.write_text(text + everything)
        hang_up(client)
        settled(client, 2 * n - 1)
        client.wait_for("start proxy success", count=5 * n)
        client.wait_for("start visitor success", count=2 * n)
        assert works(ports[0])
        assert works(ports[3])
        client.config_path.write_text(text)
        hang_up(client)
        settled(client, 2 * n)
        eventually(lambda: not works(ports[0], 1) and not works(ports[3], 1), "they are closed")
        time.sleep(0.3)
        figures.append(tuple(each for it in (frps, client) for each in (it.figures.descriptors, it.figures.threads)))  # type: ignore[arg-type]
    assert all(after <= before for before, after in zip(figures[0], figures[-1], strict=True)), figures


def test_each_client_of_a_directory_reads_its_own_file(world: World) -> None:
    service = world.service()
    _, port = world.frps()
    ports = {name: free_port() for name in ("a", "b", "c")}
    directory = world.directory / "clients"
    directory.mkdir()
    common = f'serverAddr = "{HOST}"\nserverPort = {port}\nauth.token = "{TOKEN}"\nlog.disablePrintColor = true\n'
    for name in "ab":
        (directory / f"{name}.toml").write_text(common + proxy(name, service.port, ports[name]))
    output = world.directory / "out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "frp_py", "client", "--config_dir", str(directory)],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=world.directory,
            env={"PYTHONPATH": str(ROOT)},
        )
    try:
        eventually(lambda: output.read_text().count("start proxy success") == 2, "both have started")
        (directory / "a.toml").write_text("[[")
        (directory / "b.toml").write_text(common + proxy("b", service.port, ports["c"]))
        process.send_signal(signal.SIGHUP)
        eventually(lambda: output.read_text().count("start proxy success") == 3, "the second one has changed")
        assert f"reload config file [{directory / 'a.toml'}] error: toml: " in output.read_text()
        assert works(ports["a"])
        assert works(ports["c"])
        assert not works(ports["b"], 1)
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert "bug" not in output.read_text()
