"""The client port: what a connection is that comes there (behaviour.md 1.3), until the engine has it or a vhost."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import trio

from frp_py.errors import FrpError
from frp_py.log import get_logger
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.link import MuxLink
from frp_py.net.engine.listen import plain_address
from frp_py.net.transports import tls
from frp_py.protocol import first_bytes
from frp_py.protocol.first_bytes import Destination, TLSStart
from frp_py.server.penalties import NO_LOGIN
from frp_py.server.reception import STRANGERS_BYTES, STRANGERS_OWED, Caller, Reception

if TYPE_CHECKING:
    from frp_py.server.app import Server

log = get_logger()

STAGE = 10
"""Seconds for each step before the login (wire.md 12)."""
_RESET = struct.pack("ii", 1, 0)


class Entrance:
    """Lets in who may come in."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def on_connection(self, sock: socket.socket, address: Any) -> None:
        """Somebody has connected."""
        if self._server.is_shared or not self._shut_out(sock, address):
            self._server.start_task(self._admit, sock, address)

    def _shut_out(self, sock: socket.socket, address: Any) -> bool:
        """Whether a connection is refused for what others from its source did; it is reset then."""
        if not self._server.penalties.shuts_out(address[0], trio.current_time()):
            return False
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
        return True

    async def _admit(self, sock: socket.socket, address: Any) -> None:
        """Find out what an accepted connection is, and hand it on (behaviour.md 1.3)."""
        server = self._server
        scope = trio.CancelScope()
        guest = server.enter_lobby(scope.cancel, address[0])
        handed_on = False
        current = sock
        try:
            with scope:
                scope.deadline = trio.current_time() + STAGE
                first = await _first_bytes(sock)
                if first is None:
                    return
                https = server.https if server.shares(server.config.vhost_https_port) else None
                http = server.http if server.shares(server.config.vhost_http_port) else None
                destination = first_bytes.destination(first, http_shares=http is not None, https_shares=https is not None)
                if destination is not Destination.LINK and not server.has_room_for_user(sock):
                    server.strangers_log.warning("user connection from [%s] closed: the descriptors left are not for users", address[0])
                    server.make_room()
                    return
                if destination is Destination.VHOST_HTTP and http is not None:
                    handed_on = True
                    http.on_connection(sock, address)
                    return
                if destination is Destination.VHOST_HTTPS and https is not None:
                    handed_on = True
                    https.on_connection(sock, address)
                    return
                if server.is_shared and self._shut_out(sock, address):
                    return
                if destination is not Destination.LINK:
                    server.strangers_log.warning("connection from [%s] closed: the websocket transport is not supported yet", address[0])
                    return
                start = first_bytes.tls_start(first[0])
                if start is TLSStart.NONE:
                    if server.config.transport.tls.force:
                        raise FrpError("non-TLS connection received on a TlsOnly server")
                else:
                    if start is TLSStart.AFTER_THIS_BYTE:
                        sock.recv(1)
                    current = tls_sock = tls.wrap_server(server.tls_context, sock)
                    scope.deadline = trio.current_time() + STAGE
                    try:
                        await tls.handshake(tls_sock)
                    except OSError:
                        await tls.linger(tls_sock)
                        raise
                handed_on = True
            if scope.cancelled_caught:
                log.debug("connection from [%s] closed: too slow, or others were waiting", address[0])
                if not guest.made_room_for_others:
                    server.offended(address, NO_LOGIN)
        except (FrpError, OSError) as error:
            reason = tls.reason(error) if isinstance(error, OSError) else str(error)
            server.strangers_log.warning("checkAndEnableTLSServerConnWithTimeout error: %s (from [%s])", reason, address[0])
            server.offended(address, NO_LOGIN)
        finally:
            guest.leave()
            if not handed_on:
                current.close()
        if handed_on:
            self._hand_on(current, address)

    def _hand_on(self, sock: socket.socket, address: Any) -> None:
        """From here the engine has it."""
        caller = Caller(self._server, address, self._server.enter_lobby(lambda: caller.close(), address[0]))
        caller.local_address = lambda: plain_address(sock.getsockname())
        try:
            self._attend(caller, sock)
        except OSError as error:
            log.error("connection from [%s] closed: %s", address[0], error)
            sock.close()
            caller.gone(str(error))

    def _attend(self, caller: Caller, sock: socket.socket) -> None:
        """Let the engine watch a transport connection. Raises OSError when the system has no room for one more."""
        server = self._server
        transport = server.config.transport
        server.callers.add(caller)
        if transport.tcp_mux:
            caller.link = MuxLink(
                server.engine,
                sock,
                client=False,
                keepalive=transport.tcp_mux_keepalive_interval,
                log=server.strangers_log.with_prefix(caller.address[0]),
                on_open=caller.open_stream,
                on_lost=caller.gone,
            )
            caller.close = caller.link.close
            caller.link.session.owed_limit = STRANGERS_OWED
            caller.link.allowance = STRANGERS_BYTES
            server.strangers.add(caller.expire)
            return
        reception = Reception(caller)
        caller.close = reception.drop
        reception.end = end = socket_end(server.engine, sock, reception, reception)
        try:
            end.start()
        except OSError:
            reception.drop()
            raise


async def _first_bytes(sock: socket.socket) -> bytes | None:
    """The first bytes, left in the socket; None when there are too few before the end."""
    # readable means from here on: all of them are there, or nothing more comes
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, first_bytes.SIZE)
    await trio.lowlevel.wait_readable(sock)
    first = sock.recv(first_bytes.SIZE, socket.MSG_PEEK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return first if len(first) == first_bytes.SIZE else None
