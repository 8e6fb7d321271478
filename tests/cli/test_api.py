"""reload, status and stop against something that answers like the API of a client or a server."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from frp_py.cli.frpc import main
from frp_py.cli.frps import main as frps

Answer = tuple[int, str, bytes]


def entry(name: str, local: str = "", remote: str = "", plugin: str = "", error: str = "") -> dict[str, str]:
    return {
        "name": name,
        "type": "not looked at",
        "status": "start error" if error else "running",
        "err": error,
        "local_addr": local,
        "plugin": plugin,
        "remote_addr": remote,
    }


PROXIES = {
    "http": [entry("site", "127.0.0.1:8080", "www.example.com:8080")],
    "tcp": [
        entry("relay", remote="203.0.113.5:6002", plugin="socks5"),
        entry("shell", "127.0.0.1:22", "203.0.113.5:6000"),
        entry("shell2", "127.0.0.1:22", error="port already used"),
    ],
}
TABLES = """\
Proxy Status...

TCP
Name    Status       LocalAddr     Plugin  RemoteAddr        Error              
relay   running                    socks5  203.0.113.5:6002                     
shell   running      127.0.0.1:22          203.0.113.5:6000                     
shell2  start error  127.0.0.1:22                            port already used  

HTTP
Name  Status   LocalAddr       Plugin  RemoteAddr            Error  
site  running  127.0.0.1:8080          www.example.com:8080         

"""  # noqa: W291


class Api:
    """Answers each request alike, and remembers what was asked."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append((self.command, self.path, self.headers["Authorization"]))
                status, kind, body = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port: int = self.server.server_address[1]


@contextmanager
def api(status: int = 200, body: bytes = b"", kind: str = "text/plain", context: ssl.SSLContext | None = None) -> Iterator[Api]:
    made = Api((status, kind, body), context)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join(5)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(tmp_path: Path, command: str, port: int, *args: str, more: str = "") -> int:
    path = tmp_path / "frpc.toml"
    path.write_text(f'webServer.port = {port}\nwebServer.user = "u"\nwebServer.password = "p"\n{more}')
    return main([command, "-c", str(path), *args])


def test_status_shows_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, json.dumps(PROXIES).encode(), "application/json") as running:
        assert ask(tmp_path, "status", running.port) == 0
    assert capsys.readouterr() == (TABLES, "")
    assert running.asked == [("GET", "/api/status", f"Basic {base64.b64encode(b'u:p').decode()}")]


def test_status_of_a_client_that_is_not_connected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, b"{}") as running:
        assert ask(tmp_path, "status", running.port) == 0
    assert capsys.readouterr().out == "Proxy Status...\n\n"


def test_a_status_can_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, json.dumps({"tcp": [{"name": "a\x1b[2J"}]}).encode()) as running:
        assert ask(tmp_path, "status", running.port) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "args", "request_line", "out"),
    [
        ("reload", [], ("GET", "/api/reload?strictConfig=true"), "reload success\n"),
        ("reload", ["--strict_config=false"], ("GET", "/api/reload"), "reload success\n"),
        ("stop", ["--api-timeout", "1m"], ("POST", "/api/stop"), "stop success\n"),
    ],
)
def test_reload_and_stop(
    command: str, args: list[str], request_line: tuple[str, str], out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with api() as running:
        assert ask(tmp_path, command, running.port, *args) == 0
    assert running.asked[0][:2] == request_line
    assert capsys.readouterr() == (out, "")


def test_without_user_and_password_none_are_sent(tmp_path: Path) -> None:
    path = tmp_path / "frpc.toml"
    with api() as running:
        path.write_text(f"webServer.port = {running.port}\n")
        assert main(["stop", "-c", str(path)]) == 0
    assert running.asked == [("POST", "/api/stop", None)]


@pytest.mark.parametrize(
    ("status", "body", "kind", "out"),
    [
        (401, b"Unauthorized\n", "text/plain; charset=utf-8", "api status code [401]\n  Unauthorized\n"),
        (400, b'json: unknown field "x"\x1b[0m', "text/plain", 'api status code [400]\n  json: unknown field "x"\\x1b[0m\n'),
        (500, b"<html>", "text/html", "api status code [500]\n"),
        (302, b"", "text/plain", "api status code [302]\n"),
        (400, b'{"Code":400,"Msg":"no\\tsuch"}\n', "application/json", "api status code [400]\n  no\\tsuch\n"),
        (404, b'{"code":404,"msg":"not here","data":null}', "application/json", "api status code [404]\n  not here\n"),
        (404, b'{"error":1}', "application/json", "api status code [404]\n"),
        (404, b"[1", "application/json", "api status code [404]\n"),
    ],
)
def test_another_answer_than_200(status: int, body: bytes, kind: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(status, body, kind) as running:
        assert ask(tmp_path, "reload", running.port) == 1
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("body", [b"nonsense", b"[1]", b'{"tcp":[1]}', b'{"tcp":{"a":1}}', b'{"tcp":1}'])
def test_an_answer_that_is_no_status(body: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, body) as running:
        assert ask(tmp_path, "status", running.port) == 1
    assert capsys.readouterr().out == f"unmarshal http response error: {body.decode()}\n"


@pytest.mark.parametrize("command", ["reload", "status", "stop"])
def test_nobody_answers(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(tmp_path, command, port) == 1
    method, path = {"reload": ("Get", "reload?strictConfig=true"), "status": ("Get", "status"), "stop": ("Post", "stop")}[command]
    url = f"http://127.0.0.1:{port}/api/{path}"
    assert capsys.readouterr().out == f'{method} "{url}": dial tcp 127.0.0.1:{port}: connect: connection refused\n'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"", "EOF"), (b"SSH-2.0-x\r\n", "malformed HTTP response"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "unexpected EOF")],
)
def test_something_else_answers(answer: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert ask(tmp_path, "status", port) == 1
        thread.join(5)
    assert capsys.readouterr().out == f'Get "http://127.0.0.1:{port}/api/status": {reason}\n'


def test_somebody_listens_and_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert ask(tmp_path, "status", port, "--api-timeout", "50ms") == 1
    assert capsys.readouterr().out == f'Get "http://127.0.0.1:{port}/api/status": context deadline exceeded\n'


def test_a_name_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert ask(tmp_path, "status", 7400, more='webServer.addr = "host.invalid"\n') == 1
    assert capsys.readouterr().out == 'Get "http://host.invalid:7400/api/status": dial tcp: lookup host.invalid: no such host\n'


def test_without_a_port_there_is_nobody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, "status", 0) == 1
    assert capsys.readouterr() == ("web server port should be set if you want to use this feature\n", "")


def test_a_file_that_does_not_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-c", str(tmp_path / "none")]) == 1
    assert ask(tmp_path, "status", 1, more="nope = 1\n") == 1
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"open {tmp_path / 'none'}: no such file or directory", 'json: unknown field "nope"')


def test_a_file_need_not_be_right_to_stop_its_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = 'log.level = "loud"\nincludes = ["/none/at/all/*"]\n[[proxies]]\nname = "a"\ntype = "http"\n'
    with api() as running:
        assert ask(tmp_path, "stop", running.port, more=more) == 0
        assert ask(tmp_path, "stop", running.port, "--strict_config=false", more="nope = 1\n") == 0
        path = tmp_path / "frpc.ini"
        path.write_text(f"[common]\nadmin_port = {running.port}\n")
        assert main(["stop", "-c", str(path)]) == 0
    assert capsys.readouterr() == ("stop success\n" * 3, "")


def test_https(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = server_files(tmp_path)
    with api(200, b"{}", context=files[2]) as running:
        assert ask(tmp_path, "status", running.port, more=f'webServer.tls = {{ certFile = "{files[0]}", keyFile = "{files[1]}" }}\n') == 0
        assert ask(tmp_path, "status", running.port) == 1
    out = capsys.readouterr().out
    assert out.startswith(f'Proxy Status...\n\nGet "http://127.0.0.1:{running.port}/api/status": ')


def test_https_elsewhere_needs_the_certificate_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An address that isn't loopback for us, though it leads here."""
    monkeypatch.setattr("frp_py.cli.api._is_loopback", lambda host: False)
    (tmp_path / "other").mkdir()
    ours, other = server_files(tmp_path), server_files(tmp_path / "other")
    for files, code in ((ours, 0), (other, 1)):
        with api(200, b"{}", context=ours[2]) as running:
            tls = f'webServer.tls = {{ certFile = "{files[0]}", keyFile = "{files[1]}" }}\n'
            assert ask(tmp_path, "status", running.port, more=tls) == code
    assert ": tls: CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().out
    with api(200, b"{}", context=ours[2]) as running:
        assert ask(tmp_path, "status", running.port, more='webServer.tls = { certFile = "/none", keyFile = "/none" }\n') == 1
    assert capsys.readouterr().out == "certificate /none can't be read: no such file or directory\n"


def test_the_environment_s_proxy_is_used_for_other_machines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with api() as proxy, api() as running:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert ask(tmp_path, "stop", running.port) == 0
        assert ask(tmp_path, "stop", 7400, more='webServer.addr = "192.0.2.1"\n') == 0
        monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert [path for _, path, _ in proxy.asked] == ["http://192.0.2.1:7400/api/stop"]
    assert len(running.asked) == 1


def server_files(directory: Path) -> tuple[Path, Path, ssl.SSLContext]:
    certificate = trustme.CA().issue_cert("frpc.test")
    cert, key = directory / "web.crt", directory / "web.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, key, context


# the server


OVERVIEW = {
    "time": 1_800_000_000,
    "version": "0.70.1",
    "startedAt": 1_790_000_000,
    "clients": 2,
    "clientsOffline": 1,
    "proxies": 5,
    "proxyTypeCount": {"tcp": 3, "udp": 0, "http": 2},
    "connections": 7,
    "trafficIn": 5 << 30,
    "trafficOut": 1 << 50,
    "todayTrafficIn": 10,
    "todayTrafficOut": 1536,
    "memory": 1,
    "hints": ["set a\x1bpassword"],
}


def ask_server(tmp_path: Path, command: str, port: int) -> int:
    path = tmp_path / "frps.toml"
    path.write_text(f'webServer.port = {port}\nwebServer.user = "u"\nwebServer.password = "p"\n')
    return frps([command, "-c", str(path)])


def envelope(data: object) -> bytes:
    return json.dumps({"code": 200, "msg": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("data", "out"),
    [
        ({"applied": [], "restart": []}, "reload success\n"),
        ({"applied": ["allowPorts", "log.level"], "restart": []}, "reload success\nchanged: allowPorts, log.level\n"),
        ({"applied": [], "restart": ["bindPort"]}, "reload success\nrestart needed for: bindPort\n"),
    ],
)
def test_reload_of_a_server(data: object, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, envelope(data), "application/json") as running:
        assert ask_server(tmp_path, "reload", running.port) == 0
    credentials = "Basic " + base64.b64encode(b"u:p").decode()
    assert running.asked == [("POST", "/api/x/system/reload", credentials)]
    assert capsys.readouterr() == (out, "")


def test_status_of_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, envelope(OVERVIEW), "application/json") as running:
        assert ask_server(tmp_path, "status", running.port) == 0
    assert running.asked[0][:2] == ("GET", "/api/x/overview")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("Up since     20")
    assert lines[:1] + lines[2:] == [
        "Version      0.70.1",
        "Clients      2 online, 1 offline",
        "Proxies      5 (3 tcp, 2 http)",
        "Connections  7",
        "Traffic in   10 B today, 5 GB since the start",
        "Traffic out  1.5 KB today, 1024 TB since the start",
        "Hint         set a\\x1bpassword",
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":null}', b'{"data":{}}', envelope({**OVERVIEW, "proxyTypeCount": []}), b"[" * 9999])
def test_what_is_no_answer_of_a_server(body: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(200, body, "application/json") as running:
        assert ask_server(tmp_path, "status", running.port) == 1
    assert capsys.readouterr().out.startswith(("unmarshal http response error: ", "the answer is no overview of a server"))


def test_another_password_than_that_of_the_running_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with api(401, b"Unauthorized\n") as running:
        assert ask_server(tmp_path, "reload", running.port) == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "api status code [401]\n  Unauthorized\n  The server that runs may have been given another webServer.user or password."
    )
    assert "SIGHUP" in out


def test_a_server_that_can_not_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_server(tmp_path, "reload", 0) == 1
    assert "webServer.port is not set" in (out := capsys.readouterr().out)
    assert "systemctl reload frps" in out
    assert frps(["status", "-c", str(tmp_path / "nothing.toml")]) == 1
