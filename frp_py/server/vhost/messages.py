"""What the HTTP vhost has to know of a message's head, and the bytes that it becomes for the other side.

The same field blocks come again and again: on one connection, from one kind of browser, from one service within a second. So an
analysed block is kept under its bytes, in a bounded cache, together with what it was last turned into.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING, Generic, TypeVar

from frp_py.net.http import heads, rules
from frp_py.net.http.auth import basic_credentials
from frp_py.net.http.heads import CHUNKED, BadHead, Field

if TYPE_CHECKING:
    from frp_py.server.vhost.sites import Rules

V = TypeVar("V")

_CACHED = 512  # entries of each cache
_CACHED_SIZE = 2048  # bytes of a block that is kept
_DROPPED = rules.HOP_BY_HOP | {b"content-length"}  # from responses, and more from requests
_DROPPED_FROM_REQUESTS = _DROPPED | rules.FORWARDING | {b"host", b"expect"}
_ORDINARY = frozenset((b"keep-alive", b"close"))  # tokens of Connection that name no field
_NOT_ORDINARY = frozenset((b"te", b"trailer", b"upgrade"))
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


class Cache(Generic[V]):
    """What `make(key)` returned, for short keys; forgotten all at once when there is too much of it."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[bytes], V]) -> None:
        self._make = make
        self._known: dict[bytes, V] = {}

    def get(self, key: bytes) -> V:
        """The value for `key`."""
        value = self._known.get(key)
        if value is None:
            value = self._make(key)
            if len(key) <= _CACHED_SIZE:
                if len(self._known) >= _CACHED:
                    self._known.clear()
                self._known[key] = value
        return value


def sort(fields: list[Field], dropped: Set[bytes], looked_at: Set[bytes]) -> tuple[list[Field], list[Field] | None]:
    """The fields that mean something here, and those that go on as they are.

    Instead of the latter None, when Connection and its like say more than how long the connection lasts, and the rules have to be asked.
    """
    ours, others = [], []
    for field in fields:
        name = field[0].lower()
        if name in dropped:
            ours.append(field)
        else:
            others.append(field)
            if name in looked_at:
                ours.append(field)
    ordinary = _NOT_ORDINARY.isdisjoint([name.lower() for name, _ in ours]) and _ORDINARY.issuperset(heads.tokens_of(ours, b"connection"))
    return ours, others if ordinary else None


class RequestLine:
    """The first line of a request, and what follows from it alone. Raises BadHead when it is none."""

    __slots__ = ("_clean_path", "authority", "fault", "is_1_1", "is_head", "method", "path", "routed", "target")

    def __init__(self, line: bytes) -> None:
        self.method, self.target, self.is_1_1 = heads.request_line(line)
        self.is_head = self.method == b"HEAD"
        self.authority: bytes | None = None
        """None in origin form."""
        self.path = b""
        """With the query, as the user has it."""
        self._clean_path: bytes | None = None
        self.routed = ""
        """The path as routes compare it."""
        self.fault = ""
        """What is wrong with the target, if something is."""
        try:
            self.authority, self.path = heads.split_target(self.method, self.target)
        except BadHead as error:
            self.fault = str(error)
        else:
            self.routed = rules.unescaped_path(self.path)

    @property
    def clean_path(self) -> bytes:
        """The path with the query, as the service gets it: worked out when it is sure that one does."""
        if self._clean_path is None:
            self._clean_path = rules.clean_target(self.path)
        return self._clean_path


class RequestFields:
    """The fields of a request. Raises BadHead when they can't be trusted."""

    __slots__ = (
        "_block",
        "_made_for",
        "_others",
        "_ours",
        "credentials",
        "expects",
        "fields",
        "has_key",
        "has_length",
        "host",
        "keep_alive",
        "length",
        "proxy_credentials",
        "proxy_field",
        "routed",
        "upgrade",
    )

    def __init__(self, fields: list[Field], *, is_1_1: bool) -> None:
        self.fields = fields
        self._ours, self._others = ours, _ = sort(fields, _DROPPED_FROM_REQUESTS, {b"authorization", b"idempotency-key"})
        self.host = heads.host_of(ours, required=is_1_1) or b""
        self.routed = rules.routing_host(self.host)
        """The host as routes compare it."""
        self.length = heads.request_length(ours, is_1_1=is_1_1)
        self.has_length = self.length > 0
        self.has_key = False
        self.expects = False
        self.upgrade = b""
        self.credentials: tuple[str, str] | None = None
        self.proxy_credentials: tuple[str, str] | None = None
        self.proxy_field = False
        self.keep_alive = is_1_1
        listed = False
        for name, value in ours:
            match name.lower():
                case b"content-length":
                    self.has_length = True
                case b"authorization" if self.credentials is None:
                    self.credentials = basic_credentials(value)
                case b"proxy-authorization" if not self.proxy_field:
                    self.proxy_field = True
                    self.proxy_credentials = basic_credentials(value)
                case b"connection" if not listed:
                    listed = True  # all such fields are looked at together
                    tokens = heads.tokens_of(ours, b"connection")
                    self.keep_alive = b"close" not in tokens and (is_1_1 or b"keep-alive" in tokens)
                    self.upgrade = rules.upgrade_of(ours) if is_1_1 else b""
                case b"expect":
                    self.expects = is_1_1 and value.lower() == b"100-continue"
                case b"idempotency-key":
                    self.has_key = True
        self._made_for: tuple[Rules | None, bytes, bytes] = (None, b"", b"")
        self._block = b""

    def repeatable(self, method: bytes) -> bool:
        """Whether the request may be sent again when it isn't known what became of it (behaviour.md 3.7)."""
        return not self.length and (method in _REPEATABLE or self.has_key)

    def block_for(self, site: Rules, user_ip: bytes, host: bytes) -> bytes:
        """The lines for the service, with the empty one at the end (behaviour.md 3.5); `host` is what the user asked for."""
        made_for = self._made_for
        if made_for[0] is site and made_for[1] == user_ip and made_for[2] == host:
            return self._block
        if self._others is None or site.request_set:
            block = self.block_by_rules(site, user_ip, host)
        else:
            chain = b", ".join([*heads.values_of(self._ours, b"x-forwarded-for"), user_ip])
            block = b"Host: %b\r\n%b%b%bX-Forwarded-For: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Proto: http\r\n\r\n" % (
                site.host_rewrite or host,
                heads.block_of(self._others),
                b"Content-Length: %d\r\n" % self.length
                if self.has_length
                else b"Transfer-Encoding: chunked\r\n"
                if self.length == CHUNKED
                else b"",
                b"Expect: 100-continue\r\n" if self.expects else b"",
                chain,
                host,
            )
        self._block = block
        self._made_for = (site, user_ip, host)
        return block

    def block_by_rules(self, site: Rules, user_ip: bytes, host: bytes) -> bytes:
        """The same for all that can be in a request, step by step."""
        fields = rules.without(rules.end_to_end(self.fields, self.upgrade), (b"host", b"content-length", b"expect"))
        if self.length == CHUNKED:
            fields += [(name, value) for name, value in self.fields if name.lower() == b"trailer"]
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif self.has_length:
            fields.append((b"Content-Length", b"%d" % self.length))
        if self.expects:
            fields.append((b"Expect", b"100-continue"))
        fields = rules.with_set(rules.forwarded(fields, user_ip=user_ip, host=host, proto=b"http"), site.request_set)
        return b"Host: %b\r\n%b\r\n" % (site.host_rewrite or host, heads.block_of(fields))


def _fields_1_1(block: bytes) -> RequestFields:
    return RequestFields(heads.fields_of(block), is_1_1=True)


def _fields_1_0(block: bytes) -> RequestFields:
    return RequestFields(heads.fields_of(block), is_1_1=False)


class Response:
    """The head of a response. Raises BadHead when it is none."""

    __slots__ = (
        "_made",
        "_made_for",
        "_others",
        "fields",
        "has_date",
        "is_1_1",
        "is_bare",
        "keep_alive",
        "length",
        "reason",
        "status",
        "upgrade",
    )

    def __init__(self, head: bytes) -> None:
        line, _, block = head.partition(b"\r\n")
        self.status, self.reason, self.is_1_1 = heads.status_line(line)
        self.is_bare = self.status < 200 or self.status in (204, 304)
        """It has no body, whatever was asked for."""
        self.fields = fields = heads.fields_of(block[:-2])
        ours, self._others = sort(fields, _DROPPED, {b"date"})
        self.length = heads.response_length(ours, is_1_1=self.is_1_1)
        self.keep_alive = heads.leaves_open(ours, is_1_1=self.is_1_1)
        self.upgrade = rules.upgrade_of(ours) if self.status == 101 else b""
        self.has_date = any(name.lower() == b"date" for name, _ in ours)
        self._made_for: tuple[Rules | None, bool, bool] = (None, False, False)
        self._made = b""

    def fields_for(self, site: Rules) -> list[Field]:
        """The fields for the user, without those that tell where the body ends."""
        return rules.with_set(rules.without(rules.end_to_end(self.fields), (b"content-length",)), site.response_set)

    def lines_for(self, site: Rules, *, with_body: bool, is_1_1: bool) -> bytes:
        """Status line and fields for a user of HTTP/1, without Date, what is said of the connection, and the empty line.

        The body's framing is the user's: what has no length is chunked for HTTP/1.1, and goes on until the close for 1.0.
        """
        made_for = self._made_for
        if made_for[0] is site and made_for[1] is with_body and made_for[2] is is_1_1:
            return self._made
        fields = self.fields_for(site) if self._others is None or site.response_set else self._others.copy()
        if self.length >= 0 and self.status >= 200 and self.status != 204:
            fields.append((b"Content-Length", b"%d" % self.length))
        elif is_1_1 and (with_body or (self.length == CHUNKED and self.status >= 200 and self.status != 204)):
            fields += [(name, value) for name, value in self.fields if name.lower() == b"trailer"]
            fields.append((b"Transfer-Encoding", b"chunked"))
        self._made = made = b"HTTP/1.1 %d %b\r\n%b" % (self.status, self.reason, heads.block_of(fields))
        self._made_for = (site, with_body, is_1_1)
        return made


def _response(head: bytes) -> Response:
    try:
        return Response(head)
    except BadHead:
        return Response(heads.lenient(head))


request_lines = Cache(RequestLine)
requests_1_1 = Cache(_fields_1_1)
requests_1_0 = Cache(_fields_1_0)
responses = Cache(_response)
