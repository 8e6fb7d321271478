"""The two ends of packet streams, driven by hand: real sockets, ticks that are calls, and an end that keeps what it is fed."""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from frp_py.log import get_logger
from frp_py.net.engine import datagrams
from frp_py.net.engine.datagrams import LocalSockets, PacketStream, UserPort, keep_small, run_at, segments, udp_socket
from frp_py.net.engine.link import MuxLink
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.places import Crowd, Places
from frp_py.net.engine.stream import Holder
from frp_py.net.engine.translator import Translator
from frp_py.protocol.datagrams import PACK, PING, tail_of
from frp_py.protocol.messages import NewProxy, UDPAddress, UDPPacket
from frp_py.protocol.wire import WIRES
from frp_py.protocol.yamux import SMALL, PullFrom

HOST = "127.0.0.1"


class FakeEnd:
    """An end that takes everything, or keeps it."""

    def __init__(self, kept: int = 0) -> None:
        self.sink: Any = None
        self.owner: Any = None
        self.kept = kept
        self.received_total = self.sent_total = 0
        self.fed = bytearray()
        self.state = "open"

    def start(self) -> None: ...

    def pause(self) -> None: ...

    def consumed(self, n: int) -> None: ...

    def pull(self, recv_into: PullFrom) -> int:
        raise NotImplementedError

    def feed(self, data: memoryview) -> int:
        self.fed += data
        return 0

    def finish(self) -> None: ...

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def say(self, data: bytes) -> None:
        """What the other side sends."""
        self.sink.feed(memoryview(data))

    def take(self, wire: str = "v1") -> list[Any]:
        """The messages sent since the last look."""
        messages = WIRES[wire].Reader().receive_data(self.fed)
        self.fed.clear()
        return messages


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.finish_batch()


class Port:
    """A UserPort, and what it asked for."""

    def __init__(self, engine: Engine, wire: str = "v1", host: str = HOST) -> None:
        self.engine = engine
        self.needed = 0
        self.lost: list[str] = []
        self.counted = [0, 0]
        sock = udp_socket(host, 0)
        self.address = (HOST, sock.getsockname()[1])
        self.port = UserPort(
            engine,
            sock,
            wire=wire,
            packet_size=1500,
            log=get_logger(),
            need=self._need,
            on_lost=self.lost.append,
            count=self._count,
        )

    def _need(self) -> None:
        self.needed += 1

    def _count(self, n: int, m: int) -> None:
        self.counted[0] += n
        self.counted[1] += m

    def receive(self) -> None:
        """Deal with one event."""
        self.port._on_event(1)

    def tick(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.port._tick()

    def meet(self, *users: socket.socket) -> None:
        """These have sent something."""
        for sock in users:
            sock.sendto(b"", self.address)
            self.receive()


@pytest.fixture
def port(engine: Engine) -> Iterator[Port]:
    it = Port(engine)
    yield it
    it.port.close()


def user(target: tuple[str, int] | None = None) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.settimeout(2)
    if target is not None:
        sock.connect(target)
    return sock


def name_of(sock: socket.socket) -> UDPAddress:
    return UDPAddress(HOST, sock.getsockname()[1])


def contents(end: FakeEnd, wire: str = "v1") -> list[bytes]:
    return [message.content for message in end.take(wire)]


def test_datagrams_wait_for_a_stream_and_go_in_order(port: Port) -> None:
    end = FakeEnd()
    with user(port.address) as sock:
        for i in range(3):
            sock.send(b"%d" % i)
        port.receive()
        assert port.needed == 1
        assert port.counted == [0, 0]
        port.port.attach(end)
        assert contents(end) == [b"0", b"1", b"2"]
        assert port.counted == [3, 0]
        sock.send(b"next")
        port.receive()
        [message] = end.take()
        assert (message.content, message.user_address) == (b"next", name_of(sock))
        assert port.needed == 1


def test_the_queue_is_bounded_and_the_newest_are_dropped(port: Port) -> None:
    with user(port.address) as sock:
        for i in range(1100):
            sock.send(b"%d" % i)
            port.receive()
    end = FakeEnd()
    port.port.attach(end)
    assert contents(end) == [b"%d" % i for i in range(1024)]
    assert port.port.dropped == 76


def test_nothing_goes_to_a_link_that_owes_too_much(port: Port) -> None:
    end = FakeEnd(kept=1)
    port.port.attach(end)
    with user(port.address) as sock:
        for _ in range(1500):
            sock.send(bytes(1500))
            port.receive()
    assert end.fed == b""
    assert 400 < port.port.dropped < 600
    end.kept = 0
    end.owner.drained(end, 1)
    assert len(end.fed) < 70_000  # and then others have their turn
    end.kept = 1
    port.engine.finish_batch()
    fed = len(end.fed)
    end.kept = 0
    end.owner.drained(end, 1)
    assert fed < len(end.fed) < fed + 70_000
    for _ in range(100):
        port.engine.finish_batch()
    assert len(end.take()) == 1500 - port.port.dropped
    with user(port.address) as sock:
        sock.send(b"now")
        port.receive()
    assert contents(end) == [b"now"]


def test_one_event_takes_a_bounded_number(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    with user(port.address) as sock:
        for _ in range(100):
            sock.send(b"x")
        port.receive()
    assert len(contents(end)) == 32


def test_answers_find_their_users(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    with user() as one, user() as two:
        port.meet(one, two)
        frames = [PACK["v1"](b"%d" % i, tail_of(name_of(sock))) for i, sock in enumerate((one, two, one))]
        end.say(b"".join(frames))
        assert [one.recv(100), two.recv(100), one.recv(100)] == [b"0", b"1", b"2"]
    assert port.counted == [0, 3]


@pytest.mark.parametrize(
    "target",
    [
        UDPAddress("localhost", 9),
        UDPAddress("", 9),
        UDPAddress("<broadcast>", 9),
        UDPAddress("192.0.2.1", 0),
        UDPAddress("::1", 9),
        UDPAddress("1.2.3.4\0", 9),
        UDPAddress("127.0.0.1", 9),
    ],
)
def test_who_has_sent_nothing_is_not_answered(port: Port, target: UDPAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    end = FakeEnd()
    port.port.attach(end)
    sent: list[Any] = []
    sendto = port.port._sendto

    def watched(content: bytes, address: Any) -> int:
        sent.append(address)
        return sendto(content, address)

    monkeypatch.setattr(port.port, "_sendto", watched)
    with user() as sock:
        port.meet(sock)
        end.say(PACK["v1"](b"x", tail_of(target)) + PACK["v1"](b"y", tail_of(name_of(sock))))
        assert sock.recv(100) == b"y"
        assert sent == [sock.getsockname()]
    assert end.state == "open"


def test_nobody_else_is_sent_runs_either(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    with user() as sock, user() as other:
        port.meet(sock)
        end.say(PACK["v1"](b"x", tail_of(name_of(other))) * 10 + PACK["v1"](b"y", tail_of(name_of(sock))))
        assert sock.recv(10) == b"y"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(10)
    assert port.counted == [0, 1]


def test_users_are_answered_for_a_minute_and_longer_while_they_are(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    with user() as sock:
        answer = PACK["v1"](b"y", tail_of(name_of(sock)))
        port.tick(30)
        end.say(PING["v1"])
        port.meet(sock)
        for _ in range(5):
            port.tick(59)
            end.say(answer)
            assert sock.recv(10) == b"y"
        port.tick(59)
        end.say(PING["v1"])
        port.tick(59)
        end.say(PING["v1"])
        port.tick(2)
        end.say(answer)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(10)
    assert port.lost == []


def test_sixty_silent_seconds_end_a_stream_and_any_message_counts(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    port.tick(59)
    end.say(PING["v1"])
    port.tick(59)
    assert port.lost == []
    port.tick()
    assert port.lost == ["nothing received for 60 s"]
    assert (end.state, port.port.stream) == ("closed", None)


@pytest.mark.parametrize("garbage", [b"x" * 20, PACK["v1"](b"x", tail_of(UDPAddress("h", 1)))[:-1] + b"]"])
def test_garbage_ends_a_stream(port: Port, garbage: bytes) -> None:
    end = FakeEnd()
    port.port.attach(end)
    end.say(garbage)
    assert end.state == "aborted"
    assert len(port.lost) == 1
    end.say(garbage)  # what was on its way
    assert len(port.lost) == 1


def test_the_end_of_a_stream_is_told_once(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    end.owner.ended(end)
    end.owner.broke(end, "too")
    assert port.lost == ["closed by the other side"]
    port.port.attach(other := FakeEnd())
    port.port.close()
    other.owner.broke(other, "late")
    assert (other.state, port.lost) == ("closed", ["closed by the other side"])


def test_what_is_remembered_of_users_is_bounded_and_forgotten(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "KNOWN", 5)
    end = FakeEnd()
    port.port.attach(end)
    for _ in range(12):
        with user(port.address) as sock:
            sock.send(b"x")
            port.receive()
            end.say(PACK["v1"](b"y", tail_of(name_of(sock))))
            assert sock.recv(10) == b"y"
    assert len(end.take()) == 12
    assert len(port.port._tails) <= 5
    assert len(port.port._users) <= 5
    assert len(port.port._former) <= 5
    for _ in range(120):
        end.say(PING["v1"])
        port.tick()
    assert port.port._tails == port.port._users == port.port._former == {}


def test_strangers_dont_drive_out_who_has_just_asked(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "KNOWN", 5)
    end = FakeEnd()
    port.port.attach(end)
    with user() as sock:
        port.meet(sock)
        for _ in range(5):
            with user() as stranger:
                port.meet(stranger)
        end.say(PACK["v1"](b"y", tail_of(name_of(sock))))
        assert sock.recv(10) == b"y"


def test_a_run_of_datagrams_arrives_as_it_was(port: Port) -> None:
    end = FakeEnd()
    port.port.attach(end)
    sizes = [500] * 70 + [100, 500, 500, 0, 0, 0, 0, 0, 9] + [40] * 5
    with user() as sock, user() as other:
        port.meet(sock, other)
        sent = [bytes([i]) * size for i, size in enumerate(sizes)]
        frames = [PACK["v1"](content, tail_of(name_of(sock))) for content in sent]
        frames.insert(40, PACK["v1"](b"for another", tail_of(name_of(other))))
        end.say(b"".join(frames))
        assert [sock.recv(2000) for _ in sent] == sent
        assert other.recv(100) == b"for another"
    assert port.counted == [0, sum(sizes) + len(b"for another")]


def test_a_route_that_takes_no_runs(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "segments", lambda content: [(17, 103, b"?")])  # refused: EINVAL
    end = FakeEnd()
    port.port.attach(end)
    with user() as sock:
        port.meet(sock)
        end.say(PACK["v1"](b"z" * 30, tail_of(name_of(sock))) * 10)
        assert [sock.recv(100) for _ in range(10)] == [b"z" * 30] * 10


def test_runs() -> None:
    a, b = object(), object()
    packets = [(a, b"1"), (a, b"2"), (a, b"3"), (a, b"4"), (b, b"5"), (b, b"66")]
    assert run_at(packets, 0) == ([b"1", b"2", b"3", b"4"], 4)
    assert run_at(packets, 1) == (None, 4)
    assert run_at(packets, 4) == (None, 5)
    assert run_at([(a, b"")] * 9, 0) == (None, 1)
    assert run_at([(a, bytes(9000))] * 9, 0) == ([bytes(9000)] * 7, 7)
    run, end = run_at([(a, b"x")] * 200, 10)
    assert run is not None
    assert (len(run), end) == (64, 74)
    assert segments(b"x" * 258)[0][2] in (b"\x02\x01", b"\x01\x02")


def test_an_ipv6_port_serves_ipv4_users(engine: Engine) -> None:
    try:
        port = Port(engine, host="::")
    except OSError:
        pytest.skip("no IPv6")
    end = FakeEnd()
    port.port.attach(end)
    with user(port.address) as sock:
        sock.send(b"hello")
        port.receive()
        [message] = end.take()
        assert message.user_address == name_of(sock)
        end.say(PACK["v1"](b"hi", tail_of(message.user_address)) * 6)
        assert [sock.recv(10) for _ in range(6)] == [b"hi"] * 6
    port.port.close()


@pytest.mark.parametrize(("round_trip", "small"), [(0.0, True), (0.009, True), (0.011, False), (0.2, False)])
def test_little_is_on_its_way_to_a_peer_who_is_near(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, round_trip: float, small: bool
) -> None:
    with socket.create_server((HOST, 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
    sock.setblocking(False)
    link = MuxLink(engine, sock, client=True, keepalive=0, log=get_logger(), on_open=lambda *args: None, on_lost=lambda reason: None)
    assert 0 <= link.round_trip < 0.5
    monkeypatch.setattr(MuxLink, "round_trip", round_trip)
    holder = Holder(engine)
    end = link.open(holder, holder)
    keep_small(end)
    assert bool(end.state & SMALL) is small
    keep_small(FakeEnd())
    link.close()


class Local:
    """LocalSockets before a service that is a socket of the test."""

    def __init__(self, engine: Engine, most: int = 100, crowd: Crowd | None = None) -> None:
        self.engine = engine
        self.service = user()
        self.service.settimeout(0.2)
        self.lost: list[str] = []
        self.end = FakeEnd()
        self.sockets = LocalSockets(
            engine,
            socket.AF_INET,
            self.service.getsockname(),
            wire="v1",
            packet_size=1500,
            crowd=crowd or Crowd(Places(most)),
            header=lambda who: b"<%d>" % who.port,
            log=get_logger(),
        )
        self.sockets.attach(self.end, self.lost.append)

    def say(self, n: int, content: bytes) -> tuple[bytes, Any]:
        """User n sends; what the service gets, and from where."""
        self.end.say(PACK["v1"](content, tail_of(UDPAddress("192.0.2.1", n))))
        return self.service.recvfrom(2000)

    def answers(self) -> list[Any]:
        """What the users get by now."""
        for local in list(self.sockets.sockets.values()):
            local._on_event(1)
        self.engine.finish_batch()
        return [message for message in self.end.take() if isinstance(message, UDPPacket)]

    def tick(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.sockets._tick()

    def close(self) -> None:
        self.sockets.close()
        self.service.close()


@pytest.fixture
def local(engine: Engine) -> Iterator[Local]:
    it = Local(engine)
    yield it
    it.close()


def test_each_user_has_a_socket_and_the_first_datagram_a_header(local: Local) -> None:
    data, one = local.say(1, b"a")
    assert data == b"<1>a"
    data, two = local.say(2, b"b")
    assert data == b"<2>b"
    assert local.say(1, b"c") == (b"c", one)
    assert one != two
    local.service.sendto(b"for two", two)
    local.service.sendto(b"for one", one)
    assert {(message.content, message.user_address.port) for message in local.answers()} == {(b"for one", 1), (b"for two", 2)}


def test_a_socket_is_closed_after_thirty_idle_seconds(local: Local) -> None:
    _, address = local.say(1, b"a")
    local.tick(20)
    local.say(1, b"a")
    local.tick(29)
    local.service.sendto(b"alive", address)
    assert len(local.answers()) == 1
    local.tick(29)
    assert len(local.sockets.sockets) == 1
    local.tick()
    assert local.sockets.sockets == {}
    assert local.sockets._due == {}
    data, _ = local.say(1, b"again")
    assert data == b"<1>again"


def test_nothing_is_kept_of_users_who_made_room(engine: Engine) -> None:
    """A flood from ever new addresses has thousands of them a second."""
    local = Local(engine, most=10)
    for n in range(1, 500):
        local.say(n, b"x")
        engine.finish_batch()
    gc.collect()
    assert sum(isinstance(each, datagrams.LocalSocket) for each in gc.get_objects()) <= 11
    local.tick(31)
    assert local.sockets._due == {}
    local.close()


def test_the_silent_make_room(engine: Engine) -> None:
    local = Local(engine, most=3)
    for n in (1, 2, 3):
        local.say(n, b"x")
    local.tick(5)
    assert local.say(1, b"still here")[0] == b"still here"
    assert local.say(4, b"x")[0] == b"<4>x"
    assert len(local.sockets.sockets) == 3
    assert local.say(1, b"and now")[0] == b"and now"
    assert local.say(2, b"x")[0] == b"<2>x"  # it was the oldest, and silent
    for n in range(10, 40):
        local.say(n, b"x")  # when all have just been used, one of them goes all the same
    assert len(local.sockets.sockets) == 3
    local.tick(40)
    assert local.sockets.sockets == {}
    local.close()


def test_all_proxies_share_the_places_and_a_flood_for_one_costs_the_others_nothing(engine: Engine) -> None:
    places = Places(30)
    flooded, other, late = (Local(engine, crowd=Crowd(places)) for _ in range(3))
    addresses = [other.say(n, b"x")[1] for n in range(1, 11)]
    for local in (other, flooded, late):
        local.tick(5)
    for n in range(1, 200):
        flooded.say(n, b"x")
        engine.finish_batch()
        assert places.taken <= 30
    assert len(flooded.sockets.sockets) == 20
    for n in range(1, 6):
        late.say(n, b"x")  # whoever has less than the average gets a place
    assert [len(local.sockets.sockets) for local in (flooded, other, late)] == [15, 10, 5]
    assert [other.say(n, b"y") for n in range(1, 11)] == [(b"y", address) for address in addresses]
    flooded.tick(31)
    assert places.taken == 15
    for local in (flooded, other, late):
        local.close()
    assert places.taken == 0
    assert places.crowds == set()


def test_the_visitors_of_a_proxy_are_one_crowd(engine: Engine) -> None:
    """Or who knows the secret key would have a share for each connection that he opens."""
    places = Places(20)
    other = Local(engine, crowd=Crowd(places))
    addresses = [other.say(n, b"x")[1] for n in range(1, 9)]
    crowd = Crowd(places)
    visitors = [Local(engine, crowd=crowd) for _ in range(40)]
    for visitor in visitors:
        for n in (1, 2):
            visitor.say(n, b"x")
        engine.finish_batch()
    assert (places.taken, len(crowd.locals)) == (20, 12)
    assert [other.say(n, b"y") for n in range(1, 9)] == [(b"y", address) for address in addresses]
    for local in (other, *visitors):
        local.close()
    assert places.taken == 0


def test_a_ping_every_thirty_seconds(local: Local) -> None:
    local.tick(29)
    assert local.end.fed == b""
    local.tick()
    assert local.end.fed == PING["v1"]
    local.tick(30)
    assert local.end.fed == PING["v1"] * 2


def test_a_new_stream_replaces_the_old_and_users_keep_their_sockets(local: Local) -> None:
    _, address = local.say(1, b"a")
    old, local.end = local.end, FakeEnd()
    local.sockets.attach(local.end, local.lost.append)
    assert (old.state, local.lost) == ("closed", [])
    local.service.sendto(b"hello", address)
    assert [message.content for message in local.answers()] == [b"hello"]
    assert local.say(1, b"b") == (b"b", address)


def test_answers_without_a_stream_or_to_one_that_is_full_are_dropped(local: Local) -> None:
    _, address = local.say(1, b"a")
    local.end.kept = 1
    for _ in range(1500):
        local.service.sendto(bytes(1400), address)
        assert local.answers() == []
    local.end.kept = 0
    local.end.owner.drained(local.end, 1)
    for _ in range(100):
        local.engine.finish_batch()
    assert 900 < len(local.answers()) < 1200
    local.end.owner.broke(local.end, "gone")
    assert local.lost == ["gone"]
    local.service.sendto(b"hello", address)
    assert local.answers() == []


def test_a_service_that_is_not_there_costs_nothing(local: Local) -> None:
    address = local.service.getsockname()
    local.service.close()
    for _ in range(5):
        local.end.say(PACK["v1"](b"x", tail_of(UDPAddress("192.0.2.1", 1))) * 5)
        assert local.answers() == []
    local.service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local.service.settimeout(2)
    local.service.bind(address)
    data, _ = local.say(1, b"there")
    assert data == b"there"


def test_no_descriptors_left(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    local.say(1, b"x")

    def none_left(*args: Any) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", none_left)
        local.end.say(PACK["v1"](b"x", tail_of(UDPAddress("192.0.2.1", 2))))
        assert local.sockets.sockets == {}
        local.end.say(PACK["v1"](b"x", tail_of(UDPAddress("192.0.2.1", 2))))  # though there is nobody to make room
    assert local.say(2, b"y")[0] == b"<2>y"


def test_a_run_for_the_service(local: Local) -> None:
    local.say(1, b"")
    frames = [PACK["v1"](bytes([i]) * 800, tail_of(UDPAddress("192.0.2.1", 1))) for i in range(20)]
    local.end.say(b"".join(frames))
    assert [local.service.recv(2000) for _ in frames] == [bytes([i]) * 800 for i in range(20)]


@pytest.mark.parametrize("wires", [("v1", "v2"), ("v2", "v1")])
def test_translation(engine: Engine, wires: tuple[str, str]) -> None:
    done: list[Translator] = []
    visitor, work = FakeEnd(), FakeEnd()
    translator = Translator(engine, visitor, wires[0], work, wires[1], done.append)
    who = tail_of(UDPAddress("192.0.2.1", 7))
    visitor.say(PING[wires[0]] + PACK[wires[0]](b"ask", who) * 2)
    assert work.fed == PACK[wires[1]](b"ask", who) * 2
    work.say(PING[wires[1]] + PACK[wires[1]](b"answer", who))
    assert visitor.fed == PING[wires[0]] + PACK[wires[0]](b"answer", who)
    assert (translator.received, translator.sent) == (6, 6)
    assert done == []
    visitor.owner.ended(visitor)
    assert (visitor.state, work.state, done) == ("closed", "closed", [translator])
    translator.abort()
    assert done == [translator]


@pytest.mark.parametrize("side", ["visitor", "work"])
def test_any_other_message_ends_a_translation(engine: Engine, side: str) -> None:
    done: list[Translator] = []
    ends = {"visitor": FakeEnd(), "work": FakeEnd()}
    Translator(engine, ends["visitor"], "v1", ends["work"], "v2", done.append)
    ends[side].say(WIRES["v1" if side == "visitor" else "v2"].pack(NewProxy("p")))
    assert len(done) == 1
    assert {end.state for end in ends.values()} == {"closed", "aborted"}


def test_a_socket_below_a_stream_is_read_by_the_piece(engine: Engine) -> None:
    got: list[Any] = []
    end = FakeEnd()
    port = Port(engine)
    port.port.attach(end)
    stream = port.port.stream
    assert isinstance(stream, PacketStream)
    with user() as sock:
        port.meet(sock)
        frame = PACK["v1"](b"piece", tail_of(name_of(sock)))
        rest = [frame[:10], frame[10:], b""]

        def recv_into(room: memoryview) -> int:
            piece = rest.pop(0)
            room[: len(piece)] = piece
            got.append(len(room))
            return len(piece)

        assert [stream.pull(recv_into) for _ in range(3)] == [10, len(frame) - 10, 0]
        assert sock.recv(100) == b"piece"
    port.port.close()
