"""Who is measured: pairs of programs that read frp's files, two HAProxies in a row, and `ssh -R`."""

from __future__ import annotations

import contextlib
import getpass
import os
import resource
import shlex
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.places import Place
from bench.system import HOST, Process, Unavailable, find, free_ports, running, wait_for

TCP, UDP, VHOST, FRP = "tcp", "udp", "vhost", "frp"
"""What a contestant can do; FRP: all that is written in frp's files."""

_SETTLE = 0.3  # s between the start of a tunnel and its use
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Setup:
    """How a pair is configured."""

    tls: bool = True
    mux: bool = True
    relay: bool = False
    """The client comes through a `Relay`."""


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.shutdown(socket.SHUT_RD)  # wakes the thread that receives from it, and says nothing
    sock.close()


class Relay:
    """Passes connections on to `port`, until they are cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((HOST, self._target), 5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                self._pairs.append((near, far))
                for source, target in ((near, far), (far, near)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            try:
                while data := source.recv(1 << 16):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                _reset(target)

    def cut(self) -> None:
        """Reset all connections."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for sock in pair:
                with contextlib.suppress(OSError):
                    _reset(sock)

    def close(self) -> None:
        """Cut, and take no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@dataclass
class Tunnel:
    """Two programs between users and services."""

    place: Place
    ports: dict[str, int]
    """Where users come, by service; `encrypted` and `compressed` lead to the sink too, `vhost` to the web server."""
    processes: list[Process] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    """Seconds until each of them served."""
    relay: Relay | None = None
    server_port: int = 0
    restart: Callable[[], Process] | None = None
    """Kills the server and starts it again."""

    @property
    def cpu(self) -> float:
        """Seconds of processor time of both."""
        return sum(process.cpu for process in self.processes)

    @property
    def memory(self) -> float:
        """Resident kilobytes of both."""
        return sum(process.memory for process in self.processes)


class Contestant(Protocol):
    """Somebody who is measured."""

    can: frozenset[str]

    def between(self, place: Place, services: dict[str, int], directory: Path, setup: Setup) -> contextlib.AbstractContextManager[Tunnel]:
        """A tunnel to the services. Raises Unavailable."""


class Pair:
    """Programs that read frp's files; the commands get `-c FILE`. They may take `patience` seconds to serve."""

    can = frozenset((TCP, UDP, VHOST, FRP))

    def __init__(self, frps: str, frpc: str, *, patience: float = 15.0) -> None:
        self._commands = shlex.split(frps), shlex.split(frpc)
        self._patience = patience

    @contextmanager
    def between(self, place: Place, services: dict[str, int], directory: Path, setup: Setup) -> Iterator[Tunnel]:
        bind, vhost, *public = free_ports(8)
        kinds: list[tuple[str, str, str, str]] = [(name, "tcp", name, "") for name in ("echo", "sink", "web") if name in services]
        kinds += [("encrypted", "tcp", "sink", "transport.useEncryption = true")]
        kinds += [("compressed", "tcp", "sink", "transport.useCompression = true"), ("udp", "udp", "udp", "")]
        tunnel = Tunnel(place, {name: port for (name, *_), port in zip(kinds, public, strict=False)}, server_port=bind)
        tunnel.ports["vhost"] = vhost
        common = f'auth.token = "bench"\nlog.level = "error"\ntransport.tcpMux = {str(setup.mux).lower()}\n'
        server, client = directory / "frps.toml", directory / "frpc.toml"
        server.write_text(f'bindAddr = "0.0.0.0"\nbindPort = {bind}\nproxyBindAddr = "{HOST}"\nvhostHTTPPort = {vhost}\n{common}')
        proxies = "".join(
            f'[[proxies]]\nname = "{name}"\ntype = "{kind}"\nlocalPort = {services[service]}\nremotePort = {tunnel.ports[name]}\n{more}\n'
            for name, kind, service, more in kinds
        )
        if "web" in services:
            proxies += f'[[proxies]]\nname = "vhost"\ntype = "http"\nlocalPort = {services["web"]}\ncustomDomains = ["web.test"]\n'
        with ExitStack() as stack:
            if setup.relay:
                tunnel.relay = Relay(bind)
                stack.callback(tunnel.relay.close)
            client.write_text(
                f'serverAddr = "{place.near_address}"\nserverPort = {tunnel.relay.port if tunnel.relay else bind}\n'
                f"transport.tls.enable = {str(setup.tls).lower()}\n{common}{proxies}"
            )
            commands = [*place.near, *self._commands[0], "-c", str(server)], [*place.far, *self._commands[1], "-c", str(client)]
            waits = [bind], [tunnel.ports[name] for name, kind, *_ in kinds if kind == "tcp"]
            log = directory / "log"
            for command, ports in zip(commands, waits, strict=True):
                began = time.perf_counter()
                process = Process(command, log)
                tunnel.processes.append(process)
                stack.callback(process.end)
                for port in ports:
                    wait_for(port, process, self._patience)
                tunnel.started.append(time.perf_counter() - began)

            def restart() -> Process:
                tunnel.processes[0].popen.kill()
                tunnel.processes[0].end()
                process = tunnel.processes[0] = Process(commands[0], log)
                stack.callback(process.end)
                return process

            tunnel.restart = restart
            time.sleep(_SETTLE)
            yield tunnel


class HaProxy:
    """users -> HAProxy -> HAProxy -> service: two hops in C, with neither TLS nor multiplexing between them."""

    can = frozenset((TCP, VHOST))

    @contextmanager
    def between(self, place: Place, services: dict[str, int], directory: Path, setup: Setup) -> Iterator[Tunnel]:
        haproxy = find("haproxy")
        local = {name: port for name, port in services.items() if name != "udp"}
        if "web" in local:
            local["vhost"] = local["web"]
        public, middle = free_ports(len(local)), free_ports(len(local))
        tunnel = Tunnel(place, dict(zip(local, public, strict=True)))
        most = min(12000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2)
        head = f"global\n nbthread 1\n maxconn {most}\ndefaults\n maxconn {most}\n"
        head += "".join(f" timeout {what} 600s\n" for what in ("connect", "client", "server"))
        hops = (
            ("near", place.near, [(HOST, port) for port in public], [(place.far_address, port) for port in middle]),
            ("far", place.far, [(place.far_address, port) for port in middle], [(HOST, port) for port in local.values()]),
        )
        with ExitStack() as stack:
            for side, prefix, sources, targets in hops:
                text = head
                for name, (host, port), (to, at) in zip(local, sources, targets, strict=True):
                    mode = "http" if name == "vhost" and side == "near" else "tcp"
                    text += f"listen {name}\n mode {mode}\n bind {host}:{port}\n server s {to}:{at}\n"
                config = directory / f"{side}.cfg"
                config.write_text(text)
                command = [*prefix, haproxy, "-db", "-f", str(config)]
                tunnel.processes.append(stack.enter_context(running(command, directory / "log")))
            for port in public:
                wait_for(port, tunnel.processes[0])
            time.sleep(_SETTLE)
            yield tunnel


class Ssh:
    """`ssh -R` to an sshd of its own, as the user who measures."""

    can = frozenset((TCP,))

    @contextmanager
    def between(self, place: Place, services: dict[str, int], directory: Path, setup: Setup) -> Iterator[Tunnel]:
        sshd, ssh, keygen = find("sshd"), find("ssh"), find("ssh-keygen")
        if not os.geteuid() and not Path("/run/sshd").is_dir():
            raise Unavailable("sshd has no /run/sshd")
        local = {name: port for name, port in services.items() if name != "udp"}
        bind, *public = free_ports(1 + len(local))
        tunnel = Tunnel(place, dict(zip(local, public, strict=True)))
        for name in ("host", "user"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
        config = directory / "sshd_config"
        config.write_text(
            f"Port {bind}\nListenAddress {place.near_address}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\nAllowTcpForwarding yes\n"
        )
        options = ["ExitOnForwardFailure=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        command = [ssh, "-F", "none", "-N", "-i", str(directory / "user"), "-p", str(bind)]
        command += [part for option in options for part in ("-o", option)]
        for name, port in local.items():
            command += ["-R", f"{HOST}:{tunnel.ports[name]}:{HOST}:{port}"]
        command.append(f"{getpass.getuser()}@{place.near_address}")
        with running([*place.near, sshd, "-D", "-e", "-f", str(config)], directory / "log") as server:
            time.sleep(_SETTLE)  # its port may be on an address that we don't reach
            if server.popen.poll() is not None:
                raise Unavailable(f"sshd does not start: {(directory / 'log').read_text().strip()[-200:]}")
            with running([*place.far, *command], directory / "log") as client:
                tunnel.processes += [server, client]
                for port in public:
                    wait_for(port, client)
                time.sleep(_SETTLE)
                yield tunnel
