"""The control connection of one client (behaviour.md 1.8 to 1.11)."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter, time
from typing import TYPE_CHECKING

import trio

from frp_py.errors import FrpError, PeerError, Refused
from frp_py.net.engine.link import MuxEnd
from frp_py.net.engine.pace import Limit
from frp_py.net.features import DIRECT, HALF_CLOSE
from frp_py.protocol.aead import Opener, Sealer
from frp_py.protocol.auth import verify_key
from frp_py.protocol.cipher import Decryptor, Encryptor, derive_key
from frp_py.protocol.messages import CloseProxy, Login, LoginResp, Message, NewProxy, NewProxyResp, NewWorkConn, Ping, Pong, ReqWorkConn
from frp_py.protocol.yamux import SMALL
from frp_py.server.proxies import KINDS, KNOWN
from frp_py.server.work import Direct, Source, WorkPool

if TYPE_CHECKING:
    from frp_py.net.engine.stream import EndStream
    from frp_py.protocol.wire import Wire
    from frp_py.server.app import Server
    from frp_py.server.proxies.base import PublicProxy
    from frp_py.server.reception import Caller, Reception

Change = Callable[[bytes | bytearray], bytes | bytearray]

_UNREAD = 4 << 20  # bytes of messages that a client may leave unread
_PIECE = 16 * 1024  # bytes of messages read at a time
_TURN = 0.004  # s that one client's messages may take before others get their turn
_LONGEST_NAME = 1024  # bytes: a name goes into logs, statistics and every StartWorkConn
_WISHES, _WISH = 1 << 20, 1024  # bytes that all wishes of a client may have at least, and more for each proxy that it may have
_LONGEST_FAULT = 2000  # characters: a message of 10 KiB can have faults enough for a megabyte


class Control:
    """One session of a client. `run` lasts as long as the session and gives everything back at its end."""

    def __init__(self, server: Server, reception: Reception, login: Login, run_id: str) -> None:
        caller = reception.caller
        assert reception.wire is not None
        self.server = server
        self.engine = server.engine
        self.login = login
        self.run_id = run_id
        self.id = server.controls.next_id()
        self.ip: str = caller.address[0]
        self.token = server.token
        self.scopes = server.config.auth.additional_scopes
        """As they were at the login: the client doesn't hear of a reload."""
        self.wire: Wire = reception.wire
        self.wire_name = reception.wire_name
        self.log = server.log_of_client(self.ip).with_prefix(run_id)
        self.proxies: dict[str, PublicProxy] = {}
        self.connections = 0
        self.routes = 0
        """Keys that its proxies have in tables of routes."""
        self.is_running = False
        self.ended = trio.Event()
        """Everything it had is given back."""
        self.features = self._features(caller.link is not None)
        self.half_close = HALF_CLOSE in self.features
        rate = server.config.bandwidth_limit_per_client.bytes_per_second
        self.limit = Limit(server.engine, rate) if rate > 0 else None
        """What the users of all its proxies share."""
        self._link = caller.link
        self._agreed = reception.agreed
        self._scope = trio.CancelScope()
        self._closed: str | None = None
        self._is_counted = False
        self._ports = 0
        self._wishes = 0  # bytes
        self._seal: Change = bytes
        self.work: Source
        if DIRECT in self.features and caller.link is not None:
            self.work = Direct(self.engine, caller.link, self._has_room)
        else:
            size = max(0, min(login.pool_count, server.config.transport.max_pool_count))
            self.work = WorkPool(size, self._ask_for_work, server.user_waits, self._has_room)
        self._stream: EndStream

    def _features(self, mux: bool) -> tuple[str, ...]:
        """Of what the client offers, what this session uses."""
        known = [HALF_CLOSE]
        if mux and "NewWorkConns" not in self.scopes:
            known.append(DIRECT)
        return tuple(feature for feature in known if feature in self.login.features)

    async def run(self, stream: EndStream) -> None:
        """Answer the login and serve the client until the session ends. What goes wrong on the way ends it, and is logged."""
        self._stream = stream
        if isinstance(stream.end, MuxEnd):
            stream.end.state |= SMALL  # messages are few: who sends megabytes of them is kept waiting
        reason = "connection closed by the client"
        try:
            with self._scope:
                await self._answer_login()
                decrypt = self._start_encryption()
                self.is_running = True
                self.server.statistics.client_came()
                self._is_counted = True
                if self._link is not None:
                    self._link.half_close = self.half_close
                if isinstance(self.work, WorkPool):
                    self.work.start()
                await self._serve(decrypt)
            reason = self._closed or reason
        except (FrpError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            reason = self._closed or str(error)
            if self._closed is None:
                self.log.warning("session ended: %s", reason)
        finally:
            self._give_back(reason)

    async def _answer_login(self) -> None:
        answer = LoginResp(self.server.version, self.run_id, features=self.features)
        with trio.move_on_after(5) as limit:
            await self._stream.send_all(self.wire.pack(answer))
        if limit.cancelled_caught:
            raise PeerError("login answer could not be sent within 5 s")

    def _start_encryption(self) -> Change:
        """Everything after the login is encrypted (wire.md 5.2, 11.6)."""
        if self._agreed is not None:
            ours, theirs = reversed(self._agreed.keys(self.token))
            nonce = os.urandom(12 if self._agreed.algorithm == "aes-256-gcm" else 24)
            self._seal = Sealer(self._agreed.algorithm, ours, nonce).update
            return Opener(self._agreed.algorithm, theirs).update
        key = derive_key(self.token)
        self._seal = Encryptor(key, os.urandom(16), light=True).update
        return Decryptor(key, light=True).update

    async def _serve(self, decrypt: Change) -> None:
        timeout = self.server.config.transport.heartbeat_timeout
        reader = self.wire.Reader()
        with trio.move_on_after(timeout if timeout > 0 else float("inf")) as alive:
            while data := await self._stream.receive_some(_PIECE):
                until = perf_counter() + _TURN
                for message in reader.receive_data(decrypt(data)):
                    if isinstance(message, Ping):
                        if self._answer_ping(message) and timeout > 0:
                            alive.deadline = trio.current_time() + timeout
                    else:
                        await self._handle(message)
                    if perf_counter() > until:
                        self.engine.tasks_wait = True
                        await trio.lowlevel.checkpoint()
                        until = perf_counter() + _TURN
        if alive.cancelled_caught and self._closed is None:
            self.log.warning("heartbeat timeout")
            self._closed = "heartbeat timeout"

    def send(self, message: Message) -> None:
        """Queue a message for the client. One that doesn't read its messages is dropped."""
        if self._closed is None:
            try:
                data = self._seal(self.wire.pack(message))
            except FrpError as error:
                self.log.error("message not sent: %s", error)
                return
            end = self._stream.end
            end.feed(memoryview(data))
            if end.kept > _UNREAD:
                self.close("client doesn't read its messages")

    def close(self, reason: str) -> None:
        """End the session, for the reason that goes to the log."""
        if self._closed is None:
            self._closed = reason
            self.is_running = False
            self.log.info("%s", reason)
            self._scope.cancel()

    def _give_back(self, reason: str) -> None:
        self.is_running = False
        self._closed = self._closed or reason
        self._stream.close()
        try:
            self.work.close("control is closed")
            for name in list(self.proxies):
                try:
                    self._close_proxy(name)
                except Exception:
                    self.log.exception("bug at the end of proxy [%s]", name)  # the others have to go all the same
        finally:
            if self._is_counted:
                self.server.statistics.client_went()
            self.server.left(self)
            if self._link is not None:
                # The frp client closes its link with the control connection; one that does not would keep a link that nobody
                # may use any more.
                self._link.close()
            self.ended.set()
        self.log.info("client exit success")

    # work connections

    def each_second(self) -> None:
        """See to what is overdue."""
        if isinstance(self.work, WorkPool):
            self.work.each_second()

    def _has_room(self, waiting: int) -> bool:
        """Whether one more user may come, beside those who have a connection and those who wait for one."""
        limit = self.server.config.max_users_per_client
        return limit <= 0 or self.connections + waiting < limit

    def _ask_for_work(self) -> None:
        self.send(ReqWorkConn())

    def speaks_on(self, caller: Caller) -> bool:
        """Whether what comes there may be this client's: it opens all its streams on the link on which it has logged in (wire.md 2)."""
        return self._link is None or caller.link is self._link

    def offer(self, reception: Reception, message: NewWorkConn) -> None:
        """A work connection of this client's. Raises Refused."""
        if "NewWorkConns" in self.scopes and not verify_key(message.privilege_key, self.token, message.timestamp):
            raise Refused("token in NewWorkConn doesn't match token from configuration")
        pool = self.work
        if not isinstance(pool, WorkPool):
            raise Refused("work connection pool is full, discarding")
        reception.on_gone = pool.drop
        if not pool.offer(reception):
            reception.on_gone = None
            raise Refused("work connection pool is full, discarding")
        reception.caller.is_now_known()

    # messages

    def _answer_ping(self, message: Ping) -> bool:
        """Answer; whether it counts as a heartbeat."""
        if "HeartBeats" in self.scopes and not verify_key(message.privilege_key, self.token, message.timestamp):
            self.log.warning("received invalid ping: token in heartbeat doesn't match token from configuration")
            self.send(Pong(self.server.error_text("token in heartbeat doesn't match token from configuration", "invalid ping")))
            return False
        self.send(Pong())
        return True

    async def _handle(self, message: Message) -> None:
        if isinstance(message, NewProxy):
            try:
                remote = self._register(message)
            except Refused as error:
                name = message.proxy_name
                self.log.warning("new proxy [%s] type [%s] error: %s", name, message.proxy_type or "tcp", error)
                shown = name if len(name.encode()) <= _LONGEST_NAME else f"{name[:50]}..."
                text = self.server.error_text(str(error), f"new proxy [{shown}] error")
                self.send(NewProxyResp(message.proxy_name, error=text))
            else:
                self.send(self._accepted(message.proxy_name, remote))
        elif isinstance(message, CloseProxy):
            self._close_proxy(message.proxy_name)
            self.log.info("close proxy [%s] success", message.proxy_name)

    def _accepted(self, name: str, remote: str) -> NewProxyResp:
        """The answer, with as much of a long list of addresses as a message can hold: without an answer the client serves nobody."""
        while True:
            answer = NewProxyResp(name, remote)
            try:
                self.wire.pack(answer)
            except FrpError:
                if not remote:
                    return answer  # `send` says what is wrong with it
                remote = remote[: len(remote) // 2].rpartition(",")[0]
            else:
                return answer

    def _register(self, wish: NewProxy) -> str:
        """Open a proxy; returns its remote address. Raises Refused."""
        kind = wish.proxy_type or "tcp"
        make = KINDS.get(kind)
        if make is None:
            raise Refused(f"proxy type {kind} is not supported yet" if kind in KNOWN else f"unknown proxy type: {kind}")
        mine = self.proxies.get(wish.proxy_name)
        if mine is not None and mine.wish == wish:
            return mine.remote_address  # asked again because the answer took too long
        if len(wish.proxy_name.encode()) > _LONGEST_NAME:
            raise Refused(f"proxy name is longer than {_LONGEST_NAME} bytes")
        most = self.server.config.max_proxies_per_client
        if 0 < most <= len(self.proxies):
            raise Refused("exceed the max_proxies_per_client")
        if wish.annotations:
            from frp_py.config.check import annotations_fault

            if fault := annotations_fault(wish.annotations):
                raise Refused(fault[:_LONGEST_FAULT])
        limit = self.server.config.max_ports_per_client
        proxy = make(self, wish)
        if limit > 0 and self._ports + proxy.ports > limit:
            raise Refused("exceed the max_ports_per_client")
        if most > 0 and self._wishes + proxy.size > (room := max(_WISHES, _WISH * most)):
            raise Refused(f"what a client says of all its proxies may have {room} bytes")
        if wish.proxy_name in self.server.proxies:
            raise Refused(f"proxy [{wish.proxy_name}] already exists")
        proxy.remote_address = proxy.open()
        self._ports += proxy.ports
        self._wishes += proxy.size
        self.routes += proxy.routes
        self.proxies[wish.proxy_name] = self.server.proxies[wish.proxy_name] = proxy
        proxy.record = self.server.statistics.opened(proxy, self.login.user, self.login.client_id or self.run_id, time())
        self.log.info("new proxy [%s] type [%s] success", wish.proxy_name, kind)
        return proxy.remote_address

    def _close_proxy(self, name: str) -> None:
        proxy = self.proxies.pop(name, None)
        if proxy is not None:
            self._ports -= proxy.ports
            self._wishes -= proxy.size
            self.routes -= proxy.routes
            del self.server.proxies[name]
            self.server.statistics.closed(proxy.record, time())
            proxy.close()
