"""Requests run through ten proxies that stay while fifty others come, change and go."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.http import User
from tests.support.ports import free_port
from tests.support.programs import HOST, Program, Service, World, eventually, need

ROUNDS = int(os.environ.get("RELOADS", "0"))
"""Reloads of each kind while wrk asks as fast as it can; unset, a few while users ask at their leisure."""

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def web(connection: object) -> None:
    """A service that answers whatever is asked."""
    data = b""
    while piece := connection.recv(1 << 16):  # type: ignore[attr-defined]
        *requests, data = (data + piece).split(b"\r\n\r\n")
        connection.sendall(ANSWER * len(requests))  # type: ignore[attr-defined]


def entry(name: str, kind: str, **keys: object) -> str:
    lines = "".join(f"{key} = {value if isinstance(value, int) else f'{value!r}'}\n" for key, value in keys.items())
    return f'[[proxies]]\nname = "{name}"\ntype = "{kind}"\n{lines}'


class Load:
    """Requests without end, by one user for each place: half of them on one connection, half on a new one for each."""

    def __init__(self, places: list[tuple[int, str]]) -> None:
        self.done = [0] * len(places)
        self.failed: list[str] = []
        self._over = False
        self._threads = [threading.Thread(target=self._run, args=(i, *place)) for i, place in enumerate(places)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join()

    def _run(self, i: int, port: int, host: str) -> None:
        user = None
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        try:
            while not self._over:
                user = user or User(port)
                answer = user.send(request).answer()
                if (answer.status, answer.body) != (200, b"hello"):
                    self.failed.append(f"{host}:{port}: {answer}")
                self.done[i] += 1
                if i % 2:
                    user.sock.close()
                    user = None
                time.sleep(0.002)  # the others need the processor as well
        except (OSError, AssertionError) as error:
            self.failed.append(f"{host}:{port} after {self.done[i]}: {error!r}")
        finally:
            if user is not None:
                user.sock.close()


@contextmanager
def wrk(places: list[tuple[int, str]]) -> Iterator[list[str]]:
    """The same by wrk, as fast as it can; what it has to say about failures is in the list after the block."""
    command = [need("wrk"), "-t1", "-c4", "-d100000s"]
    running = [
        subprocess.Popen([*command, "-H", f"Host: {host}", f"http://{HOST}:{port}/"], stdout=subprocess.PIPE, text=True)
        for port, host in places
    ]
    said: list[str] = []
    try:
        yield said
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            text, _ = process.communicate(timeout=20)
            said += [line for line in text.splitlines() if "errors" in line or "Non-2xx" in line]
            print(next(line for line in text.splitlines() if "requests in" in line))


class Files:
    """What the client's file says, one time after the other."""

    def __init__(self, common: str, service: Service) -> None:
        self._common = common
        self._service = service
        self._ports = [free_port() for _ in range(20)]
        self._udp = [free_port() for _ in range(5)]

    def text(self, n: int) -> str:
        """Fifty others; then the same of which some have changed, some are gone and some new; then none."""
        kind = n % 3
        if kind == 2:
            return self._common
        local = self._service.port if kind == 0 else 1
        tcp = [local] * 10 + [self._service.port] * 10
        entries = [entry(f"tcp{i}", "tcp", localPort=tcp[i], remotePort=p) for i, p in enumerate(self._ports)]
        entries += [entry(f"udp{i}", "udp", localPort=local, remotePort=p) for i, p in enumerate(self._udp)]
        entries += [entry(f"web{i}-{kind if i < 5 else 0}", "http", localPort=local, subdomain=f"other{i}") for i in range(15)]
        entries += [entry(f"stcp{i}", "stcp", localPort=1, secretKey=f"k{kind}") for i in range(10)]
        return self._common + "".join(entries if kind == 0 else entries[5:])


def test_no_request_fails_and_nothing_is_left(world: World) -> None:
    service = world.service(web)
    vhost = free_port()
    frps, port = world.frps(f'vhostHTTPPort = {vhost}\nsubDomainHost = "test"\n')
    ports = [free_port() for _ in range(5)]
    same = "".join(entry(f"same{i}", "tcp", localPort=service.port, remotePort=p) for i, p in enumerate(ports))
    same += "".join(entry(f"page{i}", "http", localPort=service.port, subdomain=f"s{i}") for i in range(5))
    client = world.frpc(port, "", same)
    client.wait_for("start proxy success", count=10)
    places = [(p, HOST) for p in ports] + [(vhost, f"s{i}.test") for i in range(5)]
    files = Files(client.config_path.read_text(), service)
    counts = itertools.count(1)

    def reload(rounds: int) -> None:
        for n in range(3 * rounds):
            client.config_path.write_text(files.text(n))
            client.process.send_signal(signal.SIGHUP)
            client.wait_for("success reload conf", count=next(counts))

    reload(2)
    before = figures(frps, client)
    if ROUNDS:
        with wrk(places) as failed:
            reload(ROUNDS)
        assert failed == []
    else:
        with Load(places) as threads:
            reload(8)
        assert threads.failed == []
        assert all(threads.done), threads.done
    assert client.output.count("login to server success") == 1
    assert client.output.count("[same0] start proxy success") == client.output.count("[page4] start proxy success") == 1
    eventually(lambda: figures(frps, client)[0] <= before[0] + 30, "descriptors are given back")  # the pool may have grown
    after = figures(frps, client)
    print(f"descriptors, threads, MB before: {before}, after: {after}")
    assert after[1] <= before[1]
    assert after[2] < before[2] + 25


def figures(*programs: Program) -> tuple[int, int, float]:
    """Descriptors, threads and MB of all together."""
    each = [program.figures for program in programs]
    return sum(it.descriptors for it in each), sum(it.threads for it in each), sum(it.rss for it in each)
