"""The server's side of SOCKS5 (RFC 1928 and 1929) as far as the `socks5` plugin goes: CONNECT only (behaviour.md 8.2)."""

import hmac
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from frp_py.errors import PeerError

SUCCEEDED, GENERAL_FAILURE, NETWORK_UNREACHABLE, HOST_UNREACHABLE, CONNECTION_REFUSED = 0, 1, 3, 4, 5
COMMAND_NOT_SUPPORTED, ADDRESS_TYPE_NOT_SUPPORTED = 7, 8
"""Codes of replies."""

_VERSION = 5
_NO_AUTHENTICATION, _PASSWORD, _NO_METHOD = 0, 2, 0xFF
_CONNECT = 1
_IPV4, _DOMAIN, _IPV6 = 1, 3, 4


class Connect(NamedTuple):
    """Where the user wants to go: an IP address or a name, and a port."""

    host: str
    port: int


class Server:
    """The negotiation on one connection. What it wants to say is in `data_to_send`, also after an error: the last words."""

    __slots__ = ("_buffer", "_credentials", "_greeted", "_out", "_trusted")

    def __init__(self, username: str = "", password: str = "") -> None:
        """With a name or a password users must give both."""
        self._credentials = (username.encode(), password.encode()) if username or password else None
        self._buffer = bytearray()
        self._out = bytearray()
        self._greeted = False
        self._trusted = self._credentials is None

    def receive_data(self, data: bytes | bytearray | memoryview) -> Connect | None:
        """The request once it is whole; `reply` answers it, and `unread` has what the user sent early.

        Raises PeerError for a user that is refused; the connection ends after `data_to_send`.
        """
        self._buffer += data
        if not self._greeted and not self._greeting():
            return None
        if not self._trusted and not self._password():
            return None
        return self._request()

    def data_to_send(self) -> bytes:
        """What is to be sent now."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def unread(self) -> bytes:
        """The bytes behind the request."""
        return bytes(self._buffer)

    def _greeting(self) -> bool:
        buffer = self._buffer
        if buffer and buffer[0] != _VERSION:
            raise PeerError(f"SOCKS version {buffer[0]} is not 5")
        if len(buffer) < 2 or len(buffer) < (end := 2 + buffer[1]):
            return False
        method = _NO_AUTHENTICATION if self._credentials is None else _PASSWORD
        if method not in buffer[2:end]:
            self._out += bytes((_VERSION, _NO_METHOD))
            raise PeerError("SOCKS user offers no authentication method that is accepted")
        self._out += bytes((_VERSION, method))
        del buffer[:end]
        self._greeted = True
        return True

    def _password(self) -> bool:
        buffer = self._buffer
        if buffer and buffer[0] != 1:
            raise PeerError(f"SOCKS password version {buffer[0]} is not 1")
        if len(buffer) < 2 or len(buffer) < 3 + buffer[1]:
            return False
        name_end = 2 + buffer[1]
        end = name_end + 1 + buffer[name_end]
        if len(buffer) < end:
            return False
        assert self._credentials is not None
        right_name = hmac.compare_digest(bytes(buffer[2:name_end]), self._credentials[0])
        right_password = hmac.compare_digest(bytes(buffer[name_end + 1 : end]), self._credentials[1])
        if not (right_name and right_password):
            self._out += b"\x01\x01"
            raise PeerError("SOCKS user name or password is wrong")
        self._out += b"\x01\x00"
        del buffer[:end]
        self._trusted = True
        return True

    def _request(self) -> Connect | None:
        buffer = self._buffer
        if buffer and buffer[0] != _VERSION:
            raise PeerError(f"SOCKS version {buffer[0]} is not 5")
        if len(buffer) < 5:
            return None
        command, kind = buffer[1], buffer[3]
        begin = 4
        if kind == _IPV4:
            size = 4
        elif kind == _IPV6:
            size = 16
        elif kind == _DOMAIN:
            begin, size = 5, buffer[4]
        else:
            self._out += reply(ADDRESS_TYPE_NOT_SUPPORTED)
            raise PeerError(f"SOCKS address type {kind} is not known")
        end = begin + size
        if len(buffer) < end + 2:
            return None
        host = self._host(kind, bytes(buffer[begin:end]))
        port = buffer[end] << 8 | buffer[end + 1]
        del buffer[: end + 2]
        if command != _CONNECT:
            self._out += reply(COMMAND_NOT_SUPPORTED)
            raise PeerError(f"SOCKS command {command} is not supported")
        return Connect(host, port)

    def _host(self, kind: int, data: bytes) -> str:
        if kind == _IPV4:
            return str(IPv4Address(data))
        if kind == _IPV6:
            return str(IPv6Address(data))
        try:
            name = data.decode()
        except UnicodeDecodeError:
            name = ""
        if not name or not name.isprintable() or " " in name:
            self._out += reply(HOST_UNREACHABLE)
            raise PeerError("SOCKS domain name is none")
        return name


def reply(code: int, bound: tuple[str, int] = ("0.0.0.0", 0)) -> bytes:
    """The answer to a request; `bound` is the local address, numeric, of the connection that was made."""
    host = ip_address(bound[0].partition("%")[0])
    kind = _IPV4 if isinstance(host, IPv4Address) else _IPV6
    return bytes((_VERSION, code, 0, kind)) + host.packed + bound[1].to_bytes(2, "big")
