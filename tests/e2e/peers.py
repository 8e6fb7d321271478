"""Peers that speak as frp 0.70 does: blocking sockets, threads, a yamux of their own, and no extension of ours.

The yamux here is written apart from ours, in the plainest way, and strict: what the other side must not do is written down in `faults`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from frp_py.protocol import wire_v1, wire_v2
from frp_py.protocol.aead import Opener, Sealer
from frp_py.protocol.cipher import Decryptor, Encryptor, derive_key
from frp_py.protocol.messages import (
    Login,
    LoginResp,
    Message,
    NewProxy,
    NewProxyResp,
    NewWorkConn,
    ReqWorkConn,
    StartWorkConn,
)
from tests.support.ports import free_port
from tests.support.programs import HOST

SYN, ACK, FIN, RST = 1, 2, 4, 8
DATA, WINDOW, PING, GO_AWAY = range(4)
FIRST, MAXIMUM = 262144, 6291456
INCREMENT = 6029312

M = TypeVar("M", bound=Message)


class Conn(Protocol):
    """A link connection: a socket, or a stream."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, n: int, /) -> bytes: ...
    def close(self) -> None: ...


class Stream:
    """One yamux stream, closed as frp closes: FIN once."""

    def __init__(self, mux: Yamux, number: int) -> None:
        self.number = number
        self._mux = mux
        self._data = bytearray()
        self._send_window = self.receive_window = FIRST
        self._owed = 0
        self._ended = self.was_reset = self._finished = False
        self.acknowledged = 0
        self._changed = threading.Condition()

    # by the reader

    def put(self, data: bytes) -> None:
        with self._changed:
            self._data += data
            self._changed.notify_all()

    def grant(self, n: int) -> None:
        with self._changed:
            self._send_window += n
            self._changed.notify_all()

    def end(self, *, reset: bool = False) -> None:
        with self._changed:
            if self._ended and not reset:
                self._mux.faults.append(f"stream {self.number} was finished twice")
            self._ended = True
            self.was_reset |= reset
            self._changed.notify_all()

    # by its user

    @property
    def has_ended(self) -> bool:
        """Whether the other side has said so."""
        return self._ended

    def recv(self, n: int) -> bytes:
        with self._changed:
            if not self._changed.wait_for(lambda: self._data or self._ended, 15):
                raise TimeoutError("nothing came on the stream")
            if self.was_reset and not self._data:
                raise ConnectionResetError
            data = bytes(self._data[:n])
            del self._data[: len(data)]
            self._owed += len(data)
            if self._owed >= MAXIMUM // 2:
                owed, self._owed = self._owed, 0
                self.receive_window += owed
                self._mux.send(WINDOW, 0, self.number, owed)
            return data

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            with self._changed:
                if not self._changed.wait_for(lambda: self._send_window > 0 or self.was_reset, 15):
                    raise TimeoutError("no window on the stream")
                if self.was_reset or self._finished:
                    raise BrokenPipeError
                n = min(len(view), self._send_window)
                self._send_window -= n
            self._mux.send(DATA, 0, self.number, n, view[:n])
            view = view[n:]

    def close(self) -> None:
        if not self._finished and not self.was_reset:
            self._finished = True
            with contextlib.suppress(OSError):
                self._mux.send(WINDOW, FIN, self.number, 0)


class Yamux:
    """A session over a socket; `faults` are what the other side did against wire.md 2."""

    def __init__(self, sock: socket.socket, *, client: bool) -> None:
        self.faults: list[str] = []
        self.pings = 0
        self.is_open = True
        self.answers_pings = True
        self._sock = sock
        self._client = client
        self._next = 1 if client else 2
        self._streams: dict[int, Stream] = {}
        self._accepted: queue.Queue[Stream] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def open(self) -> Stream:
        with self._lock:
            stream = self._streams[self._next] = Stream(self, self._next)
            self._next += 2
        stream.receive_window += INCREMENT
        self.send(WINDOW, SYN, stream.number, INCREMENT)
        return stream

    def accept(self, timeout: float = 10) -> Stream:
        return self._accepted.get(timeout=timeout)

    def ping(self, value: int) -> None:
        self.send(PING, SYN, 0, value)

    def send(self, kind: int, flags: int, number: int, length: int, data: bytes | memoryview = b"") -> None:
        with self._lock:
            # header and body in two writes, as the existing implementation may
            self._sock.sendall(struct.pack(">BBHII", 0, kind, flags, number, length))
            if data:
                self._sock.sendall(data)

    def close(self) -> None:
        self.is_open = False
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                version, kind, flags, number, length = struct.unpack(">BBHII", self._exactly(12))
                if version or kind > GO_AWAY:
                    self.faults.append(f"version {version}, type {kind}")
                    break
                self._frame(kind, flags, number, length)
        self.is_open = False
        for stream in list(self._streams.values()):
            stream.end(reset=True)

    def _frame(self, kind: int, flags: int, number: int, length: int) -> None:
        if kind == PING:
            if flags & SYN and self.answers_pings:
                self.send(PING, ACK, 0, length)
            elif flags & ACK:
                self.pings += 1
            return
        if kind == GO_AWAY:
            self.faults.append(f"GoAway {length}")
            return
        stream = self._streams.get(number)
        if flags & SYN:
            if self._client:
                self.faults.append("the server has opened a stream")
            if stream is not None:
                self.faults.append(f"stream {number} was opened twice")
            stream = self._streams[number] = Stream(self, number)
            stream.receive_window += INCREMENT
            self.send(WINDOW, ACK, number, INCREMENT)
            self._accepted.put(stream)
        if flags & ACK and stream is not None:
            stream.acknowledged += 1
            if stream.acknowledged > 1:
                self.faults.append(f"stream {number} was acknowledged twice")
        body = self._exactly(length) if kind == DATA else b""
        if stream is None:
            return
        if kind == WINDOW:
            stream.grant(length)
        elif body:
            stream.receive_window -= length
            if stream.receive_window < 0:
                self.faults.append(f"stream {number}: more than the window")
            stream.put(body)
        if flags & RST:
            stream.end(reset=True)
        elif flags & FIN:
            stream.end()

    def _exactly(self, n: int) -> bytes:
        data = bytearray()
        while len(data) < n:
            piece = self._sock.recv(min(n - len(data), 1 << 16))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)


class Messages:
    """Messages over a link connection, in one of the wire versions; encrypted from `encrypt` on."""

    def __init__(self, conn: Conn, version: str) -> None:
        self.conn = conn
        self.version = version
        self.others: list[Message] = []
        """Passed over by `expect`."""
        self._data = bytearray()
        self._seal: Callable[[bytes], bytes | bytearray] = bytes
        self._open: Callable[[bytes], bytes | bytearray] = bytes
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            self.conn.sendall(bytes(self._seal(self._wire_pack(message))))

    def _wire_pack(self, message: Message) -> bytes:
        return wire_v1.pack(message) if self.version == "v1" else wire_v2.pack(message)

    def receive(self) -> Message | None:
        """The next message, None at the end."""
        take = wire_v1.take_message if self.version == "v1" else wire_v2.take_message
        while (taken := take(self._data)) is None:
            if not self._more():
                return None
        message, used = taken
        del self._data[:used]
        return message

    def frame(self) -> tuple[int, bytes]:
        """The next frame of wire v2."""
        while (taken := wire_v2.take_frame(self._data)) is None:
            if not self._more():
                raise EOFError
        kind, payload, used = taken
        del self._data[:used]
        return kind, payload

    def expect(self, kind: type[M]) -> M:
        """The next message of this kind."""
        while (message := self.receive()) is not None:
            if isinstance(message, kind):
                return message
            self.others.append(message)
        raise EOFError(f"the end, where {kind.__name__} was expected")

    def _more(self) -> bool:
        data = self.conn.recv(1 << 16)
        self._data += self._open(data) if data else b""
        return bool(data)

    def rest(self) -> bytes:
        """What has come behind the last message."""
        data, self._data = bytes(self._data), bytearray()
        return data

    def encrypt(self, token: str, agreed: wire_v2.Agreed | None, *, client: bool) -> None:
        rest = self.rest()
        if agreed is None:
            key = derive_key(token)
            self._seal, self._open = Encryptor(key, os.urandom(16)).update, Decryptor(key).update
        else:
            ours, theirs = agreed.keys(token) if client else reversed(agreed.keys(token))
            nonce = os.urandom(12 if agreed.algorithm == "aes-256-gcm" else 24)
            self._seal, self._open = Sealer(agreed.algorithm, ours, nonce).update, Opener(agreed.algorithm, theirs).update
        self._data += self._open(rest) if rest else b""


def key_of(token: str, timestamp: int) -> str:
    """wire.md 4.1"""
    return hashlib.md5(f"{token}{timestamp}".encode()).hexdigest()


class SocketConn:
    """A socket as a link connection that knows whether the other side has ended it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.recv = sock.recv
        self.sendall = sock.sendall

    @property
    def has_ended(self) -> bool:
        """Whether the other side has said so."""
        try:
            self._sock.setblocking(False)
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self._sock.settimeout(15)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that receives
        self._sock.close()


class FrpClient:
    """A client of frp."""

    def __init__(
        self,
        port: int,
        token: str,
        *,
        mux: bool = True,
        wire: str = "v1",
        run_id: str = "",
        client_id: str = "",
        user: str = "",
        pool_count: int = 1,
        algorithms: tuple[str, ...] = wire_v2.ALGORITHMS,
        scopes: bool = False,
    ) -> None:
        self.run_id = run_id
        self._scopes = scopes
        self._port = port
        self._token = token
        self._version = wire
        self._client_id = client_id
        self._user = user
        self._pool_count = pool_count
        self._algorithms = algorithms
        self._transports: list[Conn] = []
        self.mux = Yamux(socket.create_connection((HOST, port), 15), client=True) if mux else None
        self.control: Messages

    def __enter__(self) -> FrpClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
        if error is None and self.mux is not None:
            assert self.mux.faults == []

    def close(self) -> None:
        if self.mux is not None:
            self.mux.close()
        for transport in self._transports:
            transport.close()

    def dial(self) -> Stream | SocketConn:
        if self.mux is not None:
            return self.mux.open()
        conn = SocketConn(socket.create_connection((HOST, self._port), 15))
        self._transports.append(conn)
        return conn

    def log_in(self) -> LoginResp:
        conn = self.dial()
        self.control = control = Messages(conn, self._version)
        now = int(time.time())
        login = Login(
            version="0.70.1",
            hostname="here",
            os="linux",
            arch="amd64",
            user=self._user,
            privilege_key=key_of(self._token, now),
            timestamp=now,
            run_id=self.run_id,
            client_id=self._client_id,
            pool_count=self._pool_count,
        )
        agreed = None
        if self._version == "v2":
            hello = wire_v2.offer("tcp", tls=False, tcp_mux=self.mux is not None, client_random=os.urandom(32), algorithms=self._algorithms)
            conn.sendall(wire_v2.MAGIC + wire_v2.pack_frame(wire_v2.CLIENT_HELLO, hello) + wire_v2.pack(login))
            kind, payload = control.frame()
            assert kind == wire_v2.SERVER_HELLO
            agreed = wire_v2.accept(hello, payload)
        else:
            control.send(login)
        answer = control.receive()
        assert isinstance(answer, LoginResp)
        assert answer.features == ()
        if not answer.error:
            self.run_id = answer.run_id
            control.encrypt(self._token, agreed, client=True)
        return answer

    def register(self, name: str, remote_port: int, **options: bool) -> NewProxyResp:
        self.control.send(NewProxy(name, "tcp", remote_port=remote_port, **options))  # type: ignore[arg-type]
        return self.control.expect(NewProxyResp)

    def control_ends(self) -> bool:
        """Read the control connection to its end."""
        with contextlib.suppress(ConnectionResetError):
            while self.control.receive() is not None:
                pass
        return True

    def work_connection(self, run_id: str = "") -> Stream | SocketConn:
        conn = self.dial()
        now = int(time.time())
        proof = (key_of(self._token, now), now) if self._scopes else ()
        message = NewWorkConn(run_id or self.run_id, *proof)
        conn.sendall(wire_v1.pack(message) if self._version == "v1" else wire_v2.MAGIC + wire_v2.pack(message))
        return conn

    def started(self, conn: Conn) -> StartWorkConn:
        """The answer to a work connection, which must be the last thing that comes before payload."""
        return Messages(conn, self._version).expect(StartWorkConn)

    def serve_echo(self, wrap: Callable[[Conn], Conn] = lambda conn: conn) -> None:
        """From now on answer each ReqWorkConn with a work connection behind which there is an echo."""
        asked = [message for message in self.control.others if isinstance(message, ReqWorkConn)]

        def work() -> None:
            conn = self.work_connection()
            messages = Messages(conn, self._version)
            with contextlib.suppress(OSError, EOFError):
                messages.expect(StartWorkConn)
                payload = wrap(Rest(messages.rest(), conn))
                while data := payload.recv(1 << 16):
                    payload.sendall(data)
            conn.close()

        def listen() -> None:
            with contextlib.suppress(OSError, EOFError):
                while (message := self.control.receive()) is not None:
                    if isinstance(message, ReqWorkConn):
                        threading.Thread(target=work, daemon=True).start()

        for _ in asked:
            threading.Thread(target=work, daemon=True).start()
        threading.Thread(target=listen, daemon=True).start()


class Rest:
    """A link connection of which the first bytes have been received already."""

    def __init__(self, first: bytes, conn: Conn) -> None:
        self._first = first
        self._conn = conn
        self.sendall = conn.sendall
        self.close = conn.close

    def recv(self, n: int) -> bytes:
        if self._first:
            data, self._first = self._first[:n], self._first[n:]
            return data
        return self._conn.recv(n)


class Encrypted:
    """useEncryption, from either side (wire.md 5.3)."""

    def __init__(self, conn: Conn, token: str) -> None:
        key = derive_key(token)
        self._conn = conn
        self._encryptor, self._decryptor = Encryptor(key, os.urandom(16)), Decryptor(key)
        self.close = conn.close

    def sendall(self, data: bytes) -> None:
        self._conn.sendall(self._encryptor.update(data))

    def recv(self, n: int) -> bytes:
        while data := self._conn.recv(n):
            if plain := self._decryptor.update(data):
                return plain
        return b""


class FrpServer:
    """A server of frp, for one session after the other."""

    def __init__(self, token: str, *, mux: bool = True) -> None:
        self._token = token
        self._mux = mux
        self._listener = socket.create_server((HOST, free_port()))
        self._listener.settimeout(15)
        self.port: int = self._listener.getsockname()[1]
        self.mux: Yamux | None = None
        self.control: Messages
        self.login: Login
        self._opened: list[Conn] = []

    def __enter__(self) -> FrpServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        faults = [] if self.mux is None else self.mux.faults
        self._listener.close()
        self.lose()
        if error is None:
            assert faults == []

    def lose(self) -> None:
        """Lose the transport."""
        if self.mux is not None:
            self.mux.close()
        for conn in self._opened:
            conn.close()

    def accept(self) -> Conn:
        """The next link connection."""
        if self._mux and self.mux is not None:
            return self.mux.accept()
        sock, _ = self._listener.accept()
        sock.settimeout(15)
        if self._mux:
            self.mux = Yamux(sock, client=False)
            return self.mux.accept()
        conn = SocketConn(sock)
        self._opened.append(conn)
        return conn

    def begin(self, *, run_id: str = "run of the test", error: str = "", version: str = "v1") -> None:
        """Answer a login."""
        if self._mux and self.mux is not None and not self.mux.is_open:
            self.mux = None
        conn = self.accept()
        control = self.control = Messages(conn, version)
        agreed = None
        if version == "v2":
            assert conn.recv(7) == wire_v2.MAGIC
            kind, hello = control.frame()
            assert kind == wire_v2.CLIENT_HELLO
            payload, agreed_or_error = wire_v2.answer(hello, os.urandom(32))
            assert isinstance(agreed_or_error, wire_v2.Agreed)
            agreed = agreed_or_error
            conn.sendall(wire_v2.pack_frame(wire_v2.SERVER_HELLO, payload))
        self.login = control.expect(Login)
        assert self.login.privilege_key == key_of(self._token, self.login.timestamp)
        if error:
            control.send(LoginResp("0.70.1", error=error))
            conn.close()
            return
        control.send(LoginResp("0.70.1", self.login.run_id or run_id))
        control.encrypt(self._token, agreed, client=False)

    def ask(self, n: int = 1) -> None:
        for _ in range(n):
            self.control.send(ReqWorkConn())

    def work(self) -> tuple[NewWorkConn, Messages]:
        """The next work connection."""
        conn = self.accept()
        if self.control.version == "v2":
            assert conn.recv(7) == wire_v2.MAGIC
        messages = Messages(conn, self.control.version)
        return messages.expect(NewWorkConn), messages
