"""udp proxies, with real programs: what arrives, what is cut, what is lost, and what is given back."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.programs import HOST, Program, World, connect, eventually, need, proxy, receive_exactly


class UdpService:
    """A local UDP service: answers each datagram with answer(datagram), or not when that is None."""

    def __init__(self, answer: Callable[[bytes], bytes | None] = lambda data: data, host: str = HOST) -> None:
        self.users: set[Any] = set()
        self.got: list[bytes] = []
        self._answer = answer
        self._sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sock.bind((host, 0))
        self._sock.settimeout(0.05)
        self.port: int = self._sock.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                data, user = self._sock.recvfrom(65536)
            except TimeoutError:
                continue
            self.users.add(user)
            self.got.append(data)
            answer = self._answer(data)
            if answer is not None:
                self._sock.sendto(answer, user)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._sock.close()


@pytest.fixture
def services() -> Any:
    made: list[UdpService] = []

    def make(*args: Any, **kwargs: Any) -> UdpService:
        made.append(UdpService(*args, **kwargs))
        return made[-1]

    yield make
    for service in made:
        service.close()


def free_udp_port(host: str = HOST) -> int:
    while True:
        port = free_port()  # outside the range of which users get their own
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock,
        ):
            sock.bind((host, port))
            return port


def udp_proxy(name: str, local_port: int, remote_port: int, extra: str = "") -> str:
    return f'\n[[proxies]]\nname = "{name}"\ntype = "udp"\nlocalPort = {local_port}\nremotePort = {remote_port}\n{extra}\n'


def user(port: int, timeout: float = 5, host: str = HOST) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((host, port))
    sock.settimeout(timeout)
    return sock


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return sock.recv(65536)


def answers(sock: socket.socket) -> bool:
    """Whether the echo behind it answers at the moment; old answers are thrown away."""
    sock.settimeout(0.2)
    token = os.urandom(8)
    try:
        sock.send(token)
        while sock.recv(65536) != token:
            pass
    except OSError:
        return False
    return True


def tunnel(world: World, local_port: int, *, server: str = "", client: str = "", extra: str = "") -> tuple[Program, Program, int]:
    frps, server_port = world.frps(server)
    port = free_udp_port()
    frpc = world.frpc(server_port, client, udp_proxy("it", local_port, port, extra))
    frpc.wait_for("[it] start proxy success")
    frps.wait_for(f"udp proxy listen port [{port}]")
    return frps, frpc, port


@pytest.mark.parametrize(
    ("common", "client", "extra"),
    [
        ("", "", ""),
        ("", 'transport.wireProtocol = "v2"\n', ""),
        ("", "transport.tls.enable = false\n", "transport.useEncryption = true\ntransport.useCompression = true\n"),
        ("transport.tcpMux = false\n", 'transport.wireProtocol = "v2"\n', "transport.useEncryption = true\n"),
        ("transport.tcpMux = false\n", "", "transport.useCompression = true\n"),
    ],
    ids=["v1", "v2", "encrypted-compressed", "nomux-v2-encrypted", "nomux-compressed"],
)
def test_datagrams_of_all_sizes(world: World, services: Any, common: str, client: str, extra: str) -> None:
    service = services()
    _, _, port = tunnel(world, service.port, server=common, client=common + client, extra=extra)
    with user(port) as sock:
        # those that come before the work connection wait for it
        for n in (1, 0, 2, 3, 100, 1499, 1500, 1501, 9000):
            data = os.urandom(n)
            assert ask(sock, data) == data[:1500], n


def test_datagrams_as_long_as_the_option_says(world: World, services: Any) -> None:
    option = "udpPacketSize = 7000\n"
    service = services()
    _, _, port = tunnel(world, service.port, server=option, client=option)
    with user(port) as sock:
        data = os.urandom(7001)
        assert ask(sock, data) == data[:7000]


def test_a_datagram_too_long_for_the_wire_is_lost_and_nothing_else(world: World, services: Any) -> None:
    option = "udpPacketSize = 9000\n"
    service = services()
    frps, _, port = tunnel(world, service.port, server=option, client=option)
    with user(port) as sock:
        assert ask(sock, b"before") == b"before"
        sock.send(bytes(9000))
        assert ask(sock, b"after") == b"after"
    assert "work connection lost" not in frps.output


def test_an_answer_longer_than_the_option_is_cut(world: World, services: Any) -> None:
    service = services(lambda data: bytes(4000))
    _, _, port = tunnel(world, service.port)
    with user(port) as sock:
        assert ask(sock, b"?") == bytes(1500)


def test_each_user_has_an_address_of_his_own_at_the_service(world: World, services: Any) -> None:
    service = services()
    _, _, port = tunnel(world, service.port)
    socks = [user(port) for _ in range(300)]
    ask(socks[0], b"ready")
    for i, sock in enumerate(socks):
        sock.send(b"%d" % i)
    for i, sock in enumerate(socks):
        assert sock.recv(100) == b"%d" % i
    assert len(service.users) == 300
    for sock in socks:
        sock.close()


def test_dns(world: World) -> None:
    dns_port = free_port()
    dnsmasq = subprocess.Popen(
        [
            *(
                need("dnsmasq"),
                "--keep-in-foreground",
                "--no-daemon",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
            ),
            *(f"--listen-address={HOST}", f"--port={dns_port}", "--address=/it.test/192.0.2.99", "--txt-record=big.test," + "x" * 200),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _, _, port = tunnel(world, dns_port)
        dig = [need("dig"), f"@{HOST}", "-p", str(port), "+notcp", "+tries=5", "+time=1", "+short"]
        assert subprocess.run([*dig, "it.test"], capture_output=True, text=True, check=True).stdout == "192.0.2.99\n"
        assert subprocess.run([*dig, "big.test", "TXT"], capture_output=True, text=True, check=True).stdout == '"' + "x" * 200 + '"\n'
        many = [subprocess.Popen([*dig, f"host{i}.it.test"], stdout=subprocess.PIPE, text=True) for i in range(20)]
        assert [each.communicate()[0] for each in many] == ["192.0.2.99\n"] * 20
    finally:
        dnsmasq.terminate()
        dnsmasq.wait()


def test_the_client_comes_back(world: World, services: Any) -> None:
    service = services()
    frps, server_port = world.frps()
    port = free_udp_port()
    config = udp_proxy("it", service.port, port)
    first = world.frpc(server_port, "", config)
    with user(port) as sock:
        eventually(lambda: answers(sock), "it works")
        first.kill()
        frps.wait_for("client exit success")
        assert not answers(sock)
        world.frpc(server_port, "", config)
        eventually(lambda: answers(sock), "it works again")


def test_the_link_is_cut_and_made_again(world: World, services: Any) -> None:
    service = services()
    _, server_port = world.frps()
    wire = world.wire(server_port)
    port = free_udp_port()
    frpc = world.frpc(wire.port, "", udp_proxy("it", service.port, port))
    with user(port) as sock:
        eventually(lambda: answers(sock), "it works")
        wire.cut()
        frpc.wait_for("start proxy success", count=2)
        eventually(lambda: answers(sock), "it works again")


def test_the_service_comes_later(world: World, services: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind((HOST, 0))
        local_port = place.getsockname()[1]
    _, frpc, port = tunnel(world, local_port)
    with user(port) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        for _ in range(3):
            assert not answers(sock)
        service.bind((HOST, local_port))
        service.settimeout(5)

        def arrives() -> bool:
            sock.send(b"there")
            return service.recv(100) == b"there"

        assert arrives()
    assert frpc.runs


def test_ports(world: World, services: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        foreign = taken.getsockname()[1]
        allowed, other = free_udp_port(), free_udp_port()
        _, server_port = world.frps(f"allowPorts = [{{ single = {allowed} }}, {{ single = {foreign} }}]\n")
        proxies = "".join(
            udp_proxy(name, 1, port)
            for name, port in (("good", allowed), ("second", allowed), ("not", other), ("foreign", foreign), ("zero", 0))
        )
        frpc = world.frpc(server_port, "", proxies)
        frpc.wait_for("[good] start proxy success")
        for name, text in (
            ("second", f"acquire port {allowed} error: port already used"),
            ("not", f"acquire port {other} error: port not allowed"),
            ("foreign", f"acquire port {foreign} error: port unavailable"),
            ("zero", "acquire port 0 error: no available port"),
        ):
            assert frpc.wait_for(f"[{name}] start").endswith(f"[{name}] start error: {text}")


def test_a_tcp_and_a_udp_proxy_may_have_the_same_port(world: World, services: Any) -> None:
    service = services()
    tcp = world.service()
    port = free_port()
    _, server_port = world.frps()
    both = udp_proxy("u", service.port, port) + f'\n[[proxies]]\nname = "t"\ntype = "tcp"\nlocalPort = {tcp.port}\nremotePort = {port}\n'
    frpc = world.frpc(server_port, "", both)
    frpc.wait_for("[u] start proxy success")
    frpc.wait_for("[t] start proxy success")
    with user(port) as sock:
        assert ask(sock, b"hello") == b"hello"


def test_a_local_name_that_is_none(world: World) -> None:
    _, server_port = world.frps()
    frpc = world.frpc(server_port, "", udp_proxy("it", 1, free_udp_port(), 'localIP = "nowhere.invalid"\n'))
    assert "[it] start error: lookup nowhere.invalid" in frpc.wait_for("start error")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_service_is_told_who_comes(world: World, services: Any, version: str) -> None:
    service = services()
    _, _, port = tunnel(world, service.port, extra=f'transport.proxyProtocolVersion = "{version}"\n')
    with user(port) as one, user(port) as two:
        for sock in (one, two):
            answer = ask(sock, b"first")
            if version == "v1":
                assert answer == b"PROXY UNKNOWN\r\nfirst"
            else:
                source = sock.getsockname()[1].to_bytes(2, "big")
                addresses = socket.inet_aton(HOST) * 2 + source + service.port.to_bytes(2, "big")
                assert answer == b"\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c" + addresses + b"first"
            assert ask(sock, b"second") == b"second"


def has_ipv6() -> bool:
    try:
        free_udp_port("::1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
def test_ipv6_on_both_sides(world: World, services: Any) -> None:
    service = services(host="::1")
    _, server_port = world.frps('proxyBindAddr = "::"\n')
    port = free_udp_port()
    frpc = world.frpc(server_port, "", udp_proxy("it", service.port, port, 'localIP = "::1"\ntransport.proxyProtocolVersion = "v2"\n'))
    frpc.wait_for("start proxy success")
    with user(port, host="::1") as six, user(port) as four:
        loopback = socket.inet_pton(socket.AF_INET6, "::1")
        source = six.getsockname()[1].to_bytes(2, "big")
        introduction = b"\r\n\r\n\x00\r\nQUIT\n\x21\x22\x00\x24" + loopback * 2 + source + service.port.to_bytes(2, "big")
        assert ask(six, b"first") == introduction + b"first"
        assert ask(four, b"first") == b"first"  # from IPv4 to IPv6 there is no header
        assert ask(six, b"second") == b"second"


def test_a_flood_leaves_the_others_alone(world: World, services: Any) -> None:
    silent = services(lambda data: None)
    tcp = world.service()
    frps, server_port = world.frps()
    udp_port, tcp_port = free_udp_port(), free_port()
    proxies = (
        udp_proxy("u", silent.port, udp_port)
        + f'\n[[proxies]]\nname = "t"\ntype = "tcp"\nlocalPort = {tcp.port}\nremotePort = {tcp_port}\n'
    )
    frpc = world.frpc(server_port, "", proxies)
    frpc.wait_for("[u] start proxy success")
    frpc.wait_for("[t] start proxy success")
    over = threading.Event()

    def flood() -> None:
        with user(udp_port) as sock:
            data = bytes(1400)
            while not over.is_set():
                for _ in range(50):
                    sock.send(data)
                time.sleep(0.0005)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        eventually(lambda: len(silent.got) > 0, "the flood gets through")
        blob = random.Random(1).randbytes(2 << 20)
        with socket.create_connection((HOST, tcp_port), 20) as sock:
            sock.settimeout(20)
            writer = threading.Thread(target=sock.sendall, args=(blob,))
            writer.start()
            received = bytearray()
            while len(received) < len(blob):
                received += sock.recv(1 << 18)
            writer.join()
        assert sha256(received).digest() == sha256(blob).digest()
    finally:
        over.set()
        thread.join()
    assert max(frps.figures.rss, frpc.figures.rss) < 120


def user_from(ports: Iterator[int], port: int) -> socket.socket:
    """A user with the next of `ports` that is free."""
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind((HOST, next(ports)))
        except OSError:
            sock.close()
            continue
        sock.connect((HOST, port))
        sock.settimeout(5)
        return sock


def test_floods_for_two_proxies_leave_descriptors_for_others(world: World, services: Any) -> None:
    """Each datagram from another address, as whoever makes addresses up can send them."""
    service, ports, tcp_port, server_port = services(), [free_udp_port(), free_udp_port()], free_port(), free_port()
    proxies = [udp_proxy(str(port), service.port, port) for port in ports]
    frpc = world.frpc(server_port, "loginFailExit = false\n", "".join(proxies) + proxy("tcp", world.service().port, tcp_port))
    frpc.wait_for("connection refused")
    frpc.limit_descriptors(256)  # before it has asked how many it may have
    world.frps(port=server_port)
    frpc.wait_for("start proxy success", count=3)
    for port in ports:
        with user(port) as sock:
            eventually(lambda sock=sock: answers(sock), "it works")  # type: ignore[misc]
    before = frpc.figures.descriptors
    numbers = iter(range(20_000, 60_000))
    for _ in range(4):
        for port in ports:
            for _ in range(40):
                with user_from(numbers, port) as sock:
                    ask(sock, b"x")
    assert before + 100 < frpc.figures.descriptors <= before + 130
    crowd = [connect(tcp_port) for _ in range(60)]
    for sock in crowd:
        sock.sendall(b"hello")
    assert [receive_exactly(sock, 5) for sock in crowd] == [b"hello"] * 60
    for sock in crowd:
        sock.close()


@pytest.mark.slow
def test_ten_thousand_users(world: World, services: Any) -> None:
    service = services()
    frps, frpc, port = tunnel(world, service.port)
    with user(port) as sock:
        eventually(lambda: answers(sock), "it works")
    before = frps.figures.rss, frpc.figures.rss
    descriptors = frpc.figures.descriptors
    peak = [0.0, 0.0]
    ports = iter(range(20_000, 60_000))
    for _ in range(100):
        socks = [user_from(ports, port) for _ in range(100)]
        for sock in socks:
            sock.send(b"x" * 200)
        for sock in socks:
            assert sock.recv(1000) == b"x" * 200
            sock.close()
    for i, program in enumerate((frps, frpc)):
        peak[i] = program.figures.rss - before[i]
    assert frpc.figures.descriptors >= min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2)
    assert peak[0] < 20, peak
    assert peak[1] < 40, peak
    eventually(lambda: frpc.figures.descriptors <= descriptors, "the sockets are closed", deadline=45)
    assert frpc.figures.rss - before[1] < 25
