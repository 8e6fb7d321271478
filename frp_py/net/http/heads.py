"""Heads of HTTP/1 messages, taken strictly: whatever two programs might read differently is refused.

A field block is split by one regular expression (5 us for ten fields, where llhttp with its callbacks needs 4.4), so that
its bytes can be passed on as they came.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TypeAlias

from frp_py.errors import PeerError

Field: TypeAlias = tuple[bytes, bytes]
"""Name as received, value without the blanks around it."""

MAX_HEAD = 64 * 1024
"""Bytes of a head."""

MAX_FIELDS = 256
"""Fields of a head: each takes far more memory than the few bytes it may have."""

INTERIM_ROOM, INTERIM_COST = MAX_HEAD, 2048
"""Bytes for the heads of all 1xx responses to a request, and how many each counts for at least: there may be 32 of them."""

CHUNKED, UNTIL_CLOSE = -1, -2
"""Lengths of a body that aren't known in advance."""

_LISTS = frozenset((b"connection", b"te", b"expect"))  # fields whose elements are looked at here; others are passed on as they are

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELD = re.compile(rb"(?m)^(" + _TOKEN + rb"++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n")
_NAME = re.compile(_TOKEN + rb"+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}+) ([^\x00-\x20\x7f#]++) HTTP/(\d)\.(\d)")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) +([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*+))?+[ \t]*+")
_ABSOLUTE = re.compile(rb"(?i:http|https)://([^/?]*)([/?].*)?")
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~\-]+)?\]|[A-Za-z0-9._~%!$&'()*+,;=\-]*)(?::\d{0,5})?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class BadHead(PeerError):
    """A message that is not HTTP/1, or not clearly so; `status` is the answer to it."""

    status = 400


class HeadTooLarge(BadHead):
    """The head goes beyond MAX_HEAD or MAX_FIELDS."""

    status = 431


class VersionUnknown(BadHead):
    """Another version of HTTP."""

    status = 505


def fields_of(block: bytes) -> list[Field]:
    """The fields of a head's lines, each with its CRLF, without the empty line. Raises BadHead."""
    lines = block.count(b"\n")
    if lines > MAX_FIELDS:
        raise HeadTooLarge("too many headers")
    found: list[Field] = _FIELD.findall(block)
    if len(found) != lines or block[-2:] not in (b"", b"\r\n"):
        raise BadHead("malformed header")  # folded lines, bare CR or LF, NUL, blanks before the colon
    if block.count(b",") > MAX_FIELDS:
        check_lists(found)
    if b" \r" in block or b"\t\r" in block:
        return [(name, value.rstrip(b" \t")) for name, value in found]
    return found


def check_lists(fields: Iterable[Field]) -> None:
    """Raises HeadTooLarge when lists name more than a head may have fields: 64 KiB of `Connection: a,a,...` would take 16 ms."""
    if sum(value.count(b",") for name, value in fields if name.lower() in _LISTS) > MAX_FIELDS:
        raise HeadTooLarge("too many elements in a header")


def is_field(name: bytes, value: bytes) -> bool:
    """Whether that can be sent as a field."""
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def block_of(fields: Iterable[Field]) -> bytes:
    """The lines of these fields."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    """Method, target, and whether it is HTTP/1.1 (else 1.0), of a first line without CRLF. Raises BadHead."""
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadHead("malformed request line")
    method, target, major, minor = found.groups()
    if major != b"1" or minor not in b"01":
        raise VersionUnknown(f"HTTP/{major.decode()}.{minor.decode()} is not spoken here")
    return method, target, minor == b"1"


def status_line(line: bytes) -> tuple[int, bytes, bool]:
    """Status, reason, and whether it is HTTP/1.1 (else 1.0), of a response's first line without CRLF. Raises BadHead."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise BadHead("malformed status line")
    minor, status, reason = found.groups()
    return int(status), reason or b"", minor == b"1"


def split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """Authority and path with query of a request's target; the authority is None in origin form. Raises BadHead.

    The path of CONNECT is empty. An absolute URI without a path has the path `/`.
    """
    authority: bytes | None
    if method == b"CONNECT":
        authority, path = target, b""
        if not target:
            raise BadHead("malformed target")
    elif target[:1] == b"/":
        authority, path = None, target
    elif target == b"*" and method == b"OPTIONS":
        return None, target
    else:
        found = _ABSOLUTE.fullmatch(target)
        if found is None:
            raise BadHead("malformed target")
        authority, path = found[1], found[2] or b"/"
        if path[:1] == b"?":
            path = b"/" + path
    if authority is not None and (not authority or not is_authority(authority)):
        raise BadHead("malformed target")
    if b"%" in path and _BAD_ESCAPE.search(path.partition(b"?")[0]):
        raise BadHead("malformed target")
    return authority, path


def is_authority(host: bytes) -> bool:
    """Whether that is `host`, `host:port` or nothing."""
    return _AUTHORITY.fullmatch(host) is not None


def values_of(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """The values of all fields of that name, which is given in lower case."""
    return [value for key, value in fields if key.lower() == name]


def tokens_of(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """The elements, in lower case, of a field that is a comma-separated list."""
    return [token for value in values_of(fields, name) for part in value.split(b",") if (token := part.strip(b" \t").lower())]


def host_of(fields: Iterable[Field], *, required: bool) -> bytes | None:
    """The Host field. Raises BadHead when there are several, or none though it is `required`, or when it is malformed."""
    hosts = values_of(fields, b"host")
    if len(hosts) > 1:
        raise BadHead("more than one Host header")
    if not hosts:
        if required:
            raise BadHead("missing required Host header")
        return None
    if not is_authority(hosts[0]):
        raise BadHead("malformed Host header")
    return hosts[0]


def request_length(fields: Collection[Field], *, is_1_1: bool = True) -> int:
    """Bytes of a request's body, or CHUNKED. Raises BadHead when that isn't told in just one way."""
    codings, lengths = values_of(fields, b"transfer-encoding"), values_of(fields, b"content-length")
    if codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or not is_1_1:
            raise BadHead("unsupported transfer encoding")
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise BadHead("more than one Content-Length header")
    return _length(lengths[0])


def response_length(fields: Collection[Field], *, is_1_1: bool = True) -> int:
    """Bytes of a response's body if it has one, or CHUNKED, or UNTIL_CLOSE. Raises BadHead."""
    codings, lengths = values_of(fields, b"transfer-encoding"), values_of(fields, b"content-length")
    if codings and is_1_1:
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise BadHead("unsupported transfer encoding")
        return CHUNKED
    if not lengths:
        return UNTIL_CLOSE
    if any(length != lengths[0] for length in lengths):
        raise BadHead("different Content-Length headers")
    return _length(lengths[0])


def leaves_open(fields: Collection[Field], *, is_1_1: bool) -> bool:
    """Whether another response may follow this one; none does one of HTTP/1.0 with a coding, whose end is disputed (RFC 9112 6.1)."""
    tokens = tokens_of(fields, b"connection")
    return b"close" not in tokens and (is_1_1 or (b"keep-alive" in tokens and not values_of(fields, b"transfer-encoding")))


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BadHead("malformed Content-Length header")
    return int(value)


def lenient(head: bytes) -> bytes:
    """A response's head as strict parsing wants it: simple services end lines with LF alone, or fold them (RFC 9112 2.2, 5.2)."""
    return re.sub(rb"\r\n[ \t]+", b" ", re.sub(rb"\r?\n", b"\r\n", head))


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where a response's head ends, its empty line included; -1 when there is more to come. CR is optional."""
    strict = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, strict + 1 if strict >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    return strict + 3 if strict >= 0 else -1
