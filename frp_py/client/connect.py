"""The way to the server: a transport connection, and the login on it (wire.md 1 and 6.1)."""

from __future__ import annotations

import os
import platform
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from frp_py.errors import FrpError, PeerError
from frp_py.net.engine.ends import socket_end
from frp_py.net.engine.stream import EndStream
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.net.transports import tls
from frp_py.net.transports.tcp import dial
from frp_py.protocol import first_bytes, wire_v2
from frp_py.protocol.aead import Opener, Sealer
from frp_py.protocol.auth import privilege_key
from frp_py.protocol.cipher import Decryptor, Encryptor, derive_key
from frp_py.protocol.go_names import go_arch, go_os
from frp_py.protocol.messages import Login, LoginResp
from frp_py.protocol.wire import WIRES, Wire
from frp_py.version import FRP_VERSION

if TYPE_CHECKING:
    from frp_py.config import ClientConfig
    from frp_py.net.engine.loop import Engine

_LOGIN_ANSWER = 10  # s
_HANDSHAKE = 10  # s
_LONGEST_RUN_ID = 1024  # characters: it stands in every line of the log
LONGEST_TEXT = 2000
"""Characters of what the server says that are kept, and written to the log: a message may have 64 KiB, and come each second."""
_MUX_HINT = " before it answered the login (is transport.tcpMux the same on both sides?)"

Change = Callable[[bytes | bytearray], bytes | bytearray]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A control connection on which the login has succeeded; `rest` was received after the answer."""

    stream: EndStream
    wire: Wire
    answer: LoginResp
    seal: Change
    open: Change
    rest: bytes


class Connector:
    """Opens transport connections to the server, and logs in. The files of `transport.tls` are read once."""

    def __init__(self, config: ClientConfig, engine: Engine, token: str) -> None:
        self._config = config
        self._engine = engine
        self.token = token
        self.wire = WIRES[config.transport.wire_protocol]
        self.wire_name = config.transport.wire_protocol
        self._tls: ssl.SSLContext | None = None

    async def connect(self) -> socket.socket:
        """A new transport connection, its TLS handshake done. Raises FrpError with the reason."""
        config = self._config
        transport = config.transport
        sock = await self._dial()
        if not transport.tls.enable:
            return sock
        current: socket.socket = sock
        try:
            if self._tls is None:
                self._tls = tls.client_context(transport.tls)
            if not transport.tls.disable_custom_tls_first_byte:
                sock.send(bytes([first_bytes.TLS_CUSTOM]))
            current = wrapped = tls.wrap_client(self._tls, sock, transport.tls.server_name or config.server_addr)
            with trio.fail_after(_HANDSHAKE):
                await tls.handshake(wrapped)
        except trio.TooSlowError:
            current.close()
            raise FrpError(f"tls: handshake with the server not finished within {_HANDSHAKE} s") from None
        except OSError as error:
            current.close()
            raise FrpError(f"tls: {tls.reason(error)}") from None
        except ValueError as error:  # a server name that is none
            current.close()
            raise FrpError(f"tls: {error}") from None
        except BaseException:
            current.close()
            raise
        return wrapped

    async def _dial(self) -> socket.socket:
        """A TCP connection to the server, by way of transport.proxyURL where that is set. Raises FrpError."""
        config = self._config
        transport = config.transport
        timeout = transport.dial_server_timeout
        local_ip, keepalive = transport.connect_server_local_ip, transport.dial_server_keepalive
        if not transport.proxy_url:
            return await dial(config.server_addr, config.server_port, timeout=timeout, local_ip=local_ip, keepalive=keepalive)
        from frp_py.net.transports.upstream import Upstream

        upstream = Upstream.of(transport.proxy_url)
        sock = await dial(upstream.host, upstream.port, timeout=timeout, local_ip=local_ip, keepalive=keepalive)
        try:
            with trio.fail_after(timeout):
                await upstream.tunnel(sock, config.server_addr, config.server_port)
        except trio.TooSlowError:
            sock.close()
            raise FrpError(f"proxy {upstream.host}:{upstream.port} did not answer within {timeout} s") from None
        except OSError as error:
            sock.close()
            raise FrpError(f"proxy {upstream.host}:{upstream.port}: {(error.strerror or str(error)).lower()}") from None
        except BaseException:
            sock.close()
            raise
        return sock

    def control_stream(self, sock: socket.socket) -> EndStream:
        """A transport connection used whole, without stream multiplexing."""
        stream = EndStream(self._engine)
        return stream.attach(socket_end(self._engine, sock, stream, stream))

    def opening(self) -> bytes:
        """What every link connection begins with."""
        return wire_v2.MAGIC if self.wire_name == "v2" else b""

    async def log_in(self, stream: EndStream, run_id: str) -> LoggedIn:
        """Log in on a new link connection. Raises FrpError with the server's reason."""
        with trio.move_on_after(_LOGIN_ANSWER):
            return await self._log_in(stream, run_id)
        raise FrpError(f"the server did not answer the login within {_LOGIN_ANSWER} s")

    async def _log_in(self, stream: EndStream, run_id: str) -> LoggedIn:
        wire = self.wire
        login = wire.pack(self._login(run_id))
        received = bytearray()

        async def more() -> None:
            try:
                data = await stream.receive_some()
            except trio.BrokenResourceError as error:
                hint = _MUX_HINT if "closed by the other side" in str(error) else ""
                raise FrpError(f"{error}{hint}") from None
            if not data:
                raise FrpError(f"connection closed by the other side{_MUX_HINT}")
            received.extend(data)
            if received[0] == 0 and self.wire_name == "v1":
                raise PeerError(f"the server sent something else than a message{_MUX_HINT}")

        if self.wire_name == "v2":
            transport = self._config.transport
            hello = wire_v2.offer(
                transport.protocol,
                tls=transport.tls.enable,
                tcp_mux=transport.tcp_mux,
                client_random=os.urandom(wire_v2.RANDOM_SIZE),
            )
            await _send(stream, wire_v2.MAGIC + wire_v2.pack_frame(wire_v2.CLIENT_HELLO, hello) + login)
            while (frame := wire_v2.take_frame(received)) is None:
                await more()
            kind, payload, used = frame
            if kind != wire_v2.SERVER_HELLO:
                raise PeerError(f"the server sent a frame of type {kind} where its hello was due")
            agreed = wire_v2.accept(hello, payload)
            del received[:used]
            ours, theirs = agreed.keys(self.token)
            nonce = os.urandom(12 if agreed.algorithm == "aes-256-gcm" else 24)
            seal: Change = Sealer(agreed.algorithm, ours, nonce).update
            open_: Change = Opener(agreed.algorithm, theirs).update
        else:
            await _send(stream, login)
            key = derive_key(self.token)
            seal, open_ = Encryptor(key, os.urandom(16), light=True).update, Decryptor(key, light=True).update
        while (taken := wire.take_message(received)) is None:
            await more()
        answer, used = taken
        if not isinstance(answer, LoginResp):
            raise PeerError(f"the server sent {type(answer).__name__} where LoginResp was due")
        if answer.error:
            raise FrpError(answer.error[:LONGEST_TEXT])
        if len(answer.run_id) > _LONGEST_RUN_ID:
            raise PeerError("the server gives a run id that is too long")
        return LoggedIn(stream, wire, answer, seal, open_, bytes(received[used:]))

    def _login(self, run_id: str) -> Login:
        config = self._config
        now = int(time.time())
        return Login(
            version=FRP_VERSION,
            hostname=socket.gethostname(),
            os=go_os(sys.platform),
            arch=go_arch(platform.machine(), sys.byteorder),
            user=config.user,
            privilege_key=privilege_key(self.token, now),
            timestamp=now,
            run_id=run_id,
            client_id=config.client_id,
            metas=config.metadatas,
            pool_count=config.transport.pool_count,
            features=(HALF_CLOSE, DIRECT),
        )


async def _send(stream: EndStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError as error:
        raise FrpError(str(error)) from None
