"""`make demo`: both programs and a small web service on this machine, and one request through the tunnel."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_HOST = "127.0.0.1"
_PATIENCE = 15.0
"""Seconds until the tunnel must stand."""


class DemoError(Exception):
    """The demo did not come about; `str()` says why."""


class _Page(BaseHTTPRequestHandler):
    """The local service."""

    def do_GET(self) -> None:
        body = b"hello from behind the tunnel\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Program:
    """frps or frpc as a process of its own; its output is shown as it comes."""

    def __init__(self, role: str, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "frp_py", role, "-c", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            env={name: value for name, value in os.environ.items() if name != "http_proxy"},  # which would be the way to the server
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its programs
        )
        self.name = {"server": "frps", "client": "frpc"}[role]
        self._seen = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self._reader = threading.Thread(target=self._show, daemon=True)
        self._reader.start()

    def _show(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            print(f"{self.name} | {line}", end="", flush=True)
            with self._seen:
                self._lines.append(line)
                self._seen.notify_all()
        with self._seen:
            self._ended = True
            self._seen.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait until a line with `text` has been written."""
        with self._seen:
            self._seen.wait_for(lambda: self._ended or any(text in line for line in self._lines), _PATIENCE)
            if not any(text in line for line in self._lines):
                raise DemoError(f"{self.name} {'ended' if self._ended else 'waited too long'} before it wrote {text!r}")

    def stop(self) -> int:
        """End the program and return its exit code."""
        self._process.terminate()
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        return code


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_HOST, 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _request(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy is not meant for loopback
    try:
        with opener.open(url, timeout=_PATIENCE) as answer:
            body: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise DemoError(f"the request through the tunnel failed: {error}") from None
    return body


def _demo(directory: Path, programs: list[_Program], local: ThreadingHTTPServer) -> None:
    bind, remote = _free_ports(2)
    token = os.urandom(16).hex()
    server, client = directory / "frps.toml", directory / "frpc.toml"
    common = f'auth.token = "{token}"\nlog.disablePrintColor = {str(not sys.stdout.isatty()).lower()}\n'
    server.write_text(f'bindAddr = "{_HOST}"\nbindPort = {bind}\n{common}')
    client.write_text(
        f'serverAddr = "{_HOST}"\nserverPort = {bind}\n{common}\n'
        f'[[proxies]]\nname = "web"\ntype = "tcp"\nlocalPort = {local.server_port}\nremotePort = {remote}\n'
    )
    programs.append(_Program("server", server))
    programs[-1].wait_for("frps started successfully")
    programs.append(_Program("client", client))
    programs[-1].wait_for("start proxy success")

    url = f"http://{_HOST}:{remote}/"
    print(f"\n$ curl {url}\n{_request(url).decode()}", flush=True)
    if os.environ.get("DEMO_ONCE") != "1":
        print("Both programs keep running; try the address yourself. Ctrl-C ends the demo.", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        print()


def main() -> int:
    """Run the demo and return the exit code: 0 when the request came through."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    programs: list[_Program] = []
    local = ThreadingHTTPServer((_HOST, 0), _Page)
    serving = threading.Thread(target=local.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        with tempfile.TemporaryDirectory(prefix="frp-demo-") as directory:
            try:
                _demo(Path(directory), programs, local)
            finally:
                codes = {program.name: program.stop() for program in reversed(programs)}
        if any(codes.values()):
            raise DemoError(f"the programs did not end well: {codes}")
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        local.shutdown()
        serving.join()
        local.server_close()
        signal.signal(signal.SIGTERM, previous)
    return 0
