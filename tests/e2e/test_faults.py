"""What goes wrong around the programs: they notice, tell their users, give everything back, and go on."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from frp_py.client.app import Client
from frp_py.config import client_from_dict, server_from_dict
from frp_py.net.engine.ends import SocketEnd
from frp_py.net.engine.link import MuxEnd, MuxLink
from frp_py.net.engine.relay import Relay
from frp_py.net.engine.stream import Holder
from frp_py.server.app import Server
from frp_py.server.control import Control
from tests.support.ports import free_port
from tests.support.programs import (
    HOST,
    Program,
    Service,
    Wire,
    World,
    connect,
    eventually,
    exchange,
    proxy,
    receive_exactly,
    wait_until_free,
    works,
)

NO_MUX = "transport.tcpMux = false\n"
BOTH = pytest.mark.parametrize("common", ["", NO_MUX], ids=["mux", "nomux"])


def is_told(user: socket.socket, seconds: float = 2) -> bool:
    """Whether the user's connection ends."""
    user.settimeout(seconds)
    try:
        return user.recv(1) == b""
    except ConnectionResetError:
        return True


@contextmanager
def users_of(port: int, n: int) -> Iterator[list[socket.socket]]:
    """Users whose connections are in use."""
    users = [connect(port) for _ in range(n)]
    for user in users:
        user.sendall(b"hello")
        assert receive_exactly(user, 5) == b"hello"
    yield users
    for user in users:
        user.close()


@BOTH
def test_a_killed_client_that_is_started_again_has_its_ports_at_once(world: World, common: str) -> None:
    service = world.service()
    tunnel = world.tunnel(service.port, server=common, client=common)
    frpc = tunnel.client
    for _ in range(3):
        with users_of(tunnel.port, 5) as users:
            frpc.kill()
            frpc = world.frpc(tunnel.server_port, common, proxy("it", service.port, tunnel.port))
            if not common:
                assert all(is_told(user) for user in users)
        line = frpc.wait_for("[it] start ", deadline=3)
        assert line.endswith("[it] start proxy success")
        assert works(tunnel.port)


@BOTH
def test_a_client_is_back_soon_after_its_server(world: World, common: str) -> None:
    tunnel = world.tunnel(world.service().port, server=common, client=common)
    for how in ("stop", "kill"):
        server = world.programs[-1] if world.programs[-1].config_path.name.startswith("server") else tunnel.server
        with users_of(tunnel.port, 5) as users:
            getattr(server, how)()
            assert all(is_told(user) for user in users)
        world.frps(common, port=tunnel.server_port)
        took = eventually(lambda: works(tunnel.port, 1), "the client is back", 10)
        print(f"server {how}: the client was back after {took:.1f} s")
        assert took < 5


@BOTH
def test_a_link_that_is_cut_is_made_again(world: World, common: str) -> None:
    frps, server_port = world.frps(common)
    wire, port = world.wire(server_port), free_port()
    frpc = world.frpc(wire.port, common, proxy("it", world.service().port, port))
    frpc.wait_for("start proxy success")
    for number in range(1, 4):
        with users_of(port, 5) as users:
            wire.cut()
            assert all(is_told(user) for user in users)
        frpc.wait_for("start proxy success", count=number + 1, deadline=5)
        assert works(port)
    assert frps.output.count("client exit success") == 3
    assert "start error" not in frpc.output


class Blackout:
    """One client with a wire of its own, the users of which are held."""

    def __init__(self, world: World, server_port: int, service: Service, swallow: set[str]) -> None:
        self.swallow = swallow
        self.wire: Wire = world.wire(server_port)
        self.port = free_port()
        self.frpc: Program = world.frpc(
            self.wire.port,
            "transport.tcpMuxKeepaliveInterval = 1\nloginFailExit = false\n",
            proxy("-".join(sorted(swallow)), service.port, self.port),
        )
        self.frpc.wait_for("start proxy success")
        self.users = [connect(self.port) for _ in range(20)]
        for user in self.users:
            user.sendall(b"hello")
            assert receive_exactly(user, 5) == b"hello"


@pytest.mark.slow
def test_a_link_that_swallows_is_noticed_and_nothing_is_left_of_it(world: World) -> None:
    frps, server_port = world.frps("transport.tcpMuxKeepaliveInterval = 1\n")
    service = world.service()
    first = frps.figures.descriptors, frps.figures.rss
    blackouts = [Blackout(world, server_port, service, swallow) for swallow in ({"up"}, {"down"}, {"up", "down"})]
    idle = [(each.frpc.figures.descriptors - 20, each.frpc.figures.rss) for each in blackouts]
    for each in blackouts:
        each.wire.swallow = each.swallow
    began = time.monotonic()
    for each in blackouts:
        assert all(is_told(user, 15) for user in each.users)
        each.frpc.wait_for("session with the server ended", deadline=15)
        for user in each.users:
            user.close()
    frps.wait_for("client exit success", count=3, deadline=15)
    took = time.monotonic() - began
    print(f"noticed after {took:.1f} s; frps {first[1]:.1f} -> {frps.figures.rss:.1f} MB")
    assert took < 14  # 1 s until the ping, 10 s for its answer, and the grain of the clocks
    for each in blackouts:
        wait_until_free(each.port)
    eventually(lambda: frps.figures.descriptors <= first[0] + 3, "the server's descriptors are closed", 12)  # a new login may be on its way
    eventually(lambda: service.open == 0, "the services have been told")
    assert frps.figures.rss < first[1] + 8
    for each in blackouts:
        each.wire.swallow = set()
        each.wire.cut()
    for each, (descriptors, rss) in zip(blackouts, idle, strict=True):
        each.frpc.wait_for("start proxy success", count=2, deadline=15)
        assert works(each.port)
        eventually(lambda each=each, level=descriptors: each.frpc.figures.descriptors <= level + 1, "the client's are closed")  # type: ignore[misc]
        assert each.frpc.figures.rss < rss + 8
        assert each.frpc.figures.threads < 5


@pytest.mark.slow
@pytest.mark.parametrize("mux", [True, False], ids=["mux", "nomux"])
async def test_no_task_and_no_object_of_a_lost_link_is_left(world: World, mux: bool) -> None:
    """Both programs inside this one, so that their tasks can be counted."""
    server_port, port = free_port(), free_port()
    wire, service = world.wire(server_port), world.service()
    transport = {"tcpMux": mux}
    server = Server(server_from_dict({"bindAddr": HOST, "bindPort": server_port, "transport": transport}))
    client = Client(
        client_from_dict(
            {
                "serverAddr": HOST,
                "serverPort": wire.port,
                "transport": transport,
                "proxies": [{"name": "it", "type": "tcp", "localPort": service.port, "remotePort": port}],
            }
        )
    )

    async def ready() -> None:
        with trio.fail_after(10):
            await trio.to_thread.run_sync(eventually, lambda: works(port, 1), "users are served")

    async def settled(wanted: tuple[int, int] | None) -> tuple[int, int]:
        """Tasks, and objects of connections, once there are not more than wanted."""
        classes = (MuxLink, MuxEnd, SocketEnd, Relay, Holder, Control)
        for _ in range(100):
            await trio.sleep(0.05)
            gc.collect()
            found = trio.lowlevel.current_statistics().tasks_living, sum(isinstance(each, classes) for each in gc.get_objects())
            if wanted is None or (found[0] <= wanted[0] and found[1] <= wanted[1]):
                return found
        return found

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await nursery.start(client.run)
        await ready()
        await trio.sleep(2.5)  # what lingers, lingers 2 s
        before = await settled(None)
        for _ in range(3):
            users = [await trio.to_thread.run_sync(connect, port) for _ in range(20)]
            for user in users:
                user.sendall(b"hello")
            await trio.sleep(0.1)
            wire.cut()
            await ready()
            for user in users:
                user.close()
        after = await settled(before)
        assert after <= before
        assert len(server.users) == len(client.users) == 0
        nursery.cancel_scope.cancel()


# local services


def test_a_service_that_is_down_is_an_error_for_its_user_only(world: World) -> None:
    down, remote = free_port(), free_port()
    tunnel = world.tunnel(world.service().port)
    frpc = world.frpc(tunnel.server_port, "", proxy("down", down, remote))
    frpc.wait_for("start proxy success")
    for count in range(1, 4):
        with connect(remote) as user:
            assert is_told(user)
        frpc.wait_for(f"[down] connect to local service [{HOST}:{down}] error: connect: connection refused", count=count)
    with socket.create_server((HOST, down)) as service, connect(remote) as user:
        connection, _ = service.accept()
        with connection:
            connection.sendall(b"up")
            assert receive_exactly(user, 2) == b"up"
    assert "start error" not in frpc.output
    assert works(tunnel.port)


def test_a_service_that_is_slow_keeps_nobody_else_waiting(world: World) -> None:
    """One that takes no connections at all is given up after 10 s; others don't feel it."""
    tunnel = world.tunnel(world.service().port)
    remote = free_port()
    with socket.socket() as full:
        full.bind((HOST, free_port()))
        full.listen(0)
        filling = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            filling.append(sock)
        frpc = world.frpc(tunnel.server_port, "", proxy("full", full.getsockname()[1], remote))
        frpc.wait_for("start proxy success")
        waiting = [connect(remote) for _ in range(50)]
        for _ in range(20):
            began = time.monotonic()
            assert works(tunnel.port)
            assert time.monotonic() - began < 0.5
        assert frpc.stop() < 1
        assert all(is_told(user) for user in waiting)
        for sock in (*filling, *waiting):
            sock.close()


def test_an_answer_that_takes_its_time_arrives(world: World) -> None:
    asked = threading.Event()

    def slow(connection: socket.socket) -> None:
        connection.recv(10)
        asked.wait(10)
        connection.sendall(b"at last")

    tunnel = world.tunnel(world.service(slow).port)
    with connect(tunnel.port) as user:
        user.sendall(b"well?")
        time.sleep(0.3)
        asked.set()
        assert receive_exactly(user, 7) == b"at last"


# exhaustion


@pytest.mark.slow
@BOTH
def test_running_out_of_descriptors_never_costs_a_listener(world: World, common: str) -> None:
    # without multiplexing, users who wait hold the descriptors that their work connections need
    tunnel = world.tunnel(world.service().port, server=common + "userConnTimeout = 1\n", client=common)
    server = tunnel.server
    with users_of(tunnel.port, 5) as users:
        server.limit_descriptors(server.figures.descriptors + 30)
        crowd = [connect(tunnel.port) for _ in range(100)] + [connect(tunnel.server_port) for _ in range(50)]
        server.wait_for("trying again in", deadline=3)
        for user in users:  # who was there before is served
            user.sendall(b"still?")
            assert receive_exactly(user, 6) == b"still?"
        for sock in crowd:
            sock.close()
        eventually(lambda: works(tunnel.port, 2), "new users are served again", 15)
    other = world.frpc(tunnel.server_port, common, proxy("other", world.service().port, free_port()))
    other.wait_for("start proxy success", deadline=15)
    assert server.figures.cpu < 10


@BOTH
def test_a_crowd_leaves_descriptors_for_work_connections_and_clients(world: World, common: str) -> None:
    tunnel = world.tunnel(world.service().port, server=common, client=common)
    tunnel.server.limit_descriptors(tunnel.server.figures.descriptors + 100)
    port = free_port()
    world.frpc(tunnel.server_port, common, proxy("late", world.service().port, port)).wait_for("start proxy success")
    crowd = [connect(port) for _ in range(150)]
    tunnel.server.wait_for("descriptors left are not for users")
    assert [exchange_on(user) for user in crowd[:20]] == [b"hello"] * 20
    other = world.frpc(tunnel.server_port, common, proxy("other", world.service().port, free_port()))
    other.wait_for("start proxy success", deadline=5)
    for sock in crowd:
        sock.close()
    eventually(lambda: works(port, 2), "new users are served again")


def test_a_client_without_descriptors_refuses_users_and_goes_on(world: World) -> None:
    tunnel = world.tunnel(world.service().port)
    with users_of(tunnel.port, 5) as users:
        tunnel.client.limit_descriptors(tunnel.client.figures.descriptors + 10)
        crowd = [connect(tunnel.port) for _ in range(50)]
        tunnel.client.wait_for("too many open files")
        exchanged = [exchange_on(user) for user in users]
        assert exchanged == [b"hello"] * 5
        for sock in crowd:
            sock.close()
        eventually(lambda: works(tunnel.port, 2), "new users are served again")


def exchange_on(user: socket.socket) -> bytes:
    user.sendall(b"hello")
    return receive_exactly(user, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("common", "count"), [("", 10_000), (NO_MUX, 2_000)], ids=["mux", "nomux"])
def test_thousands_of_connections_leave_nothing_behind(world: World, common: str, count: int) -> None:
    tunnel = world.tunnel(world.service().port, server=common, client=common)
    figures = tunnel.server.figures, tunnel.client.figures

    def round_of(n: int) -> None:
        users = [connect(tunnel.port, 30) for _ in range(n)]
        for user in users:
            user.sendall(b"hello")
        assert [receive_exactly(user, 5) for user in users] == [b"hello"] * n
        for user in users:
            user.close()

    idle = [each.descriptors for each in figures]
    for _ in range(4):
        round_of(250)
    before = [each.rss for each in figures]
    began = time.monotonic()
    for _ in range(count // 250):
        round_of(250)
    took = time.monotonic() - began
    for each, level in zip(figures, idle, strict=True):
        eventually(lambda each=each, level=level: each.descriptors <= level + 12, "descriptors are closed")  # type: ignore[misc]
    after = [each.rss for each in figures]
    print(f"{count} connections in {took:.1f} s; frps {before[0]:.1f} -> {after[0]:.1f} MB, frpc {before[1]:.1f} -> {after[1]:.1f} MB")
    assert all(now < then + 8 for now, then in zip(after, before, strict=True))
    assert exchange(tunnel.port, b"hello") == b"hello"
