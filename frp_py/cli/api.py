"""`reload`, `status` and `stop`: asking the web API of the program that runs (config.md 5.5, behaviour.md 11.4).

frp's server takes no such questions; those to ours are below /api/x/.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING, Any

from frp_py.errors import FrpError
from frp_py.log import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from frp_py.config.client import ClientConfig
    from frp_py.config.common import WebServerConfig

_LARGEST = 1 << 26  # bytes of an answer
_KINDS = ("tcp", "udp", "tcpmux", "http", "https", "stcp", "sudp", "xtcp")
_COLUMNS = (
    ("Name", "name"),
    ("Status", "status"),
    ("LocalAddr", "local_addr"),
    ("Plugin", "plugin"),
    ("RemoteAddr", "remote_addr"),
    ("Error", "err"),
)


def read_config(path: str, *, strict: bool) -> ClientConfig:
    """What a client's file says, without its store and its included files, and unchecked: enough to find the API. Raises ConfigError."""
    from frp_py.config.decode import decode_client
    from frp_py.config.files import read_file
    from frp_py.config.formats import parse
    from frp_py.config.legacy_ini import is_legacy

    data = read_file(path)
    if b"common" in data and is_legacy(data):
        from frp_py.config.legacy_client import read_client

        return read_client(data, path, os.environ)[0]
    return decode_client(parse(data, path, os.environ, strict=strict), strict=strict)


def reload(web: WebServerConfig, timeout: float, *, strict: bool) -> str:
    """Make the client read its file again; returns what to print. Raises FrpError. `timeout` in s, of each step."""
    _ask(web, "GET", "/api/reload?strictConfig=true" if strict else "/api/reload", timeout)
    return "reload success"


def stop(web: WebServerConfig, timeout: float) -> str:
    """Stop the client; returns what to print. Raises FrpError."""
    _ask(web, "POST", "/api/stop", timeout)
    return "stop success"


def status(web: WebServerConfig, timeout: float) -> str:
    """The tables of the client's proxies. Raises FrpError."""
    body = _ask(web, "GET", "/api/status", timeout)
    try:
        groups = json.loads(body)
        tables = [(kind, [_row(entry) for entry in groups[kind]]) for kind in _KINDS if groups.get(kind)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise FrpError(f"unmarshal http response error: {printable(body.decode(errors='replace'))}") from None
    return "".join(["Proxy Status...\n\n", *(f"{kind.upper()}\n{_table(rows)}\n" for kind, rows in tables)])


def reload_server(web: WebServerConfig, timeout: float) -> str:
    """Make the server read its file again; returns what to print. Raises FrpError."""
    data = _data(_ask(web, "POST", "/api/x/system/reload", timeout))
    lines = ["reload success"]
    for key, title in (("applied", "changed"), ("restart", "restart needed for")):
        if keys := data.get(key):
            lines.append(f"{title}: {', '.join(map(str, keys))}")
    return "\n".join(map(printable, lines))


def server_status(web: WebServerConfig, timeout: float) -> str:
    """A few lines about the server. Raises FrpError."""
    data = _data(_ask(web, "GET", "/api/x/overview", timeout))
    try:
        kinds = ", ".join(f"{count} {kind}" for kind, count in data["proxyTypeCount"].items() if count)
        rows = [
            ("Version", data["version"]),
            ("Up since", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(data["startedAt"]))),
            ("Clients", f"{data['clients']} online, {data['clientsOffline']} offline"),
            ("Proxies", f"{data['proxies']} ({kinds})" if kinds else data["proxies"]),
            ("Connections", data["connections"]),
            ("Traffic in", f"{_size(data['todayTrafficIn'])} today, {_size(data['trafficIn'])} since the start"),
            ("Traffic out", f"{_size(data['todayTrafficOut'])} today, {_size(data['trafficOut'])} since the start"),
            *(("Hint", hint) for hint in data["hints"]),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise FrpError("the answer is no overview of a server") from None
    return "\n".join(printable(f"{title:<13}{value}") for title, value in rows)


def _size(n: float) -> str:
    units = ["TB", "GB", "MB", "KB", "B"]
    while n >= 1024 and len(units) > 1:
        units.pop()
        n /= 1024
    return f"{n:.4g} {units[-1]}"


def _data(body: bytes) -> dict[str, Any]:
    """What an answer in an envelope says."""
    try:
        data = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise FrpError(f"unmarshal http response error: {printable(body[:2000].decode(errors='replace'))}")
    return data


def _row(entry: dict[str, Any]) -> list[str]:
    return [printable(str(entry.get(key) or "")) for _, key in _COLUMNS]


def _table(rows: Sequence[Sequence[str]]) -> str:
    rows = [[title for title, _ in _COLUMNS], *rows]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return "".join("".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + "\n" for row in rows)


def _ask(web: WebServerConfig, method: str, path: str, timeout: float) -> bytes:
    """The body of the answer, whose status is 200. Raises FrpError with the texts of config.md 5.5."""
    if not web.port:
        raise FrpError("web server port should be set if you want to use this feature")
    host = f"[{web.addr}]" if ":" in web.addr else web.addr
    scheme = "https" if web.tls else "http"
    url = f"{scheme}://{host}:{web.port}{path}"
    headers = (
        {"Authorization": f"Basic {base64.b64encode(f'{web.user}:{web.password}'.encode()).decode()}"} if web.user or web.password else {}
    )
    connection, target = _connection(web, scheme, path, url, max(timeout, 0.001))
    try:
        connection.connect()
    except ssl.SSLError as error:
        raise FrpError(f'{method.title()} "{url}": tls: {error.reason or error}') from None
    except OSError as error:
        raise FrpError(f'{method.title()} "{url}": {_dial_error(error, host, web)}') from None
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_LARGEST)
        if answer.length:
            raise IncompleteRead(body)
    except TimeoutError:
        raise FrpError(f'{method.title()} "{url}": context deadline exceeded') from None
    except (OSError, HTTPException) as error:
        raise FrpError(f'{method.title()} "{url}": {_reason(error)}') from None
    finally:
        connection.close()
    if answer.status != 200:
        said = "".join(f"\n  {line}" for line in _said(answer.getheader("Content-Type"), body))
        raise FrpError(f"api status code [{answer.status}]{said}")
    return body


def _said(content_type: str | None, body: bytes) -> Iterator[str]:
    """The program's own words about a refusal, if they are words."""
    text = body.decode(errors="replace")
    if content_type is not None and content_type.startswith("application/json"):
        try:
            answer = json.loads(body)
            text = str(answer.get("msg") or answer.get("Msg") or "")
        except (ValueError, AttributeError, RecursionError):
            return
    elif content_type is not None and not content_type.startswith("text/plain"):
        return
    yield from (printable(line) for line in text[:2000].splitlines() if line)


def _connection(web: WebServerConfig, scheme: str, path: str, url: str, timeout: float) -> tuple[HTTPConnection, str]:
    """A connection that is still to be opened, and what its request line names."""
    through = None if _is_loopback(web.addr) else _proxy(scheme, web.addr)
    if through is None:
        if web.tls is None:
            return HTTPConnection(web.addr, web.port, timeout=timeout), path
        return HTTPSConnection(web.addr, web.port, timeout=timeout, context=_context(web)), path
    host, port = through
    if web.tls is None:
        return HTTPConnection(host, port, timeout=timeout), url
    tunnel = HTTPSConnection(host, port, timeout=timeout, context=_context(web))
    tunnel.set_tunnel(web.addr, web.port)
    return tunnel, path


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def _proxy(scheme: str, host: str) -> tuple[str, int] | None:
    """The proxy that the environment names (config.md 1.10)."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get(scheme)
    if not url or proxy_bypass(host):
        return None
    parts = urlsplit(url if "//" in url else f"//{url}")
    return (parts.hostname, parts.port or 80) if parts.hostname else None


def _context(web: WebServerConfig) -> ssl.SSLContext:
    """On this machine nobody is in between; elsewhere the certificate must be the one in the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if web.tls is None or _is_loopback(web.addr):
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(web.tls.cert_file)
    except OSError as error:
        raise FrpError(f"certificate {web.tls.cert_file} can't be read: {(error.strerror or str(error)).lower()}") from None
    return context


def _dial_error(error: OSError, host: str, web: WebServerConfig) -> str:
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {web.addr}: no such host"
    reason = "i/o timeout" if isinstance(error, TimeoutError) else f"connect: {(error.strerror or str(error)).lower()}"
    return f"dial tcp {host}:{web.port}: {reason}"


def _reason(error: Exception) -> str:
    if isinstance(error, RemoteDisconnected):
        return "EOF"
    if isinstance(error, HTTPException):
        return "unexpected EOF" if isinstance(error, IncompleteRead) else "malformed HTTP response"
    return "read: connection reset by peer" if isinstance(error, ConnectionResetError) else str(error)
