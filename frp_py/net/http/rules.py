"""What a proxy does to the fields of a message (behaviour.md 3.5), as functions from fields to fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from string import hexdigits

from frp_py.net.http.heads import Field, is_field, tokens_of, values_of

HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"proxy-connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    )
)
"""In lower case, as all names that are compared here."""

_NEVER_SET = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"trailer", b"upgrade"))
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MOST_PAIRS = 2000  # of a query that is written anew
_PLAIN = re.compile(rb"[A-Za-z0-9_.~\-]*")
# tables, because a stranger may send 64 KiB that are nothing but escapes
_ESCAPED = [b"+" if byte == 32 else bytes((byte,)) if _PLAIN.fullmatch(bytes((byte,))) else b"%%%02X" % byte for byte in range(256)]
_UNESCAPED = {f"{high}{low}".encode(): bytes.fromhex(high + low) for high in hexdigits for low in hexdigits}


def upgrade_of(fields: Collection[Field]) -> bytes:
    """The protocol that the message would go over to; empty when to none.

    Never HTTP/2: through that anything could be asked of the service behind the proxy's back.
    """
    if b"upgrade" in tokens_of(fields, b"connection"):
        wanted = values_of(fields, b"upgrade")
        if wanted and not any(b"h2c" in value.lower() for value in wanted):
            return wanted[0]
    return b""


def end_to_end(fields: Collection[Field], upgrade: bytes | None = None) -> list[Field]:
    """The fields that aren't for the next hop only: an upgrade and `TE: trailers` are put back, framing is the caller's business.

    `upgrade` is what the message may go over to, if that isn't what its fields say: HTTP/1.0 has none (RFC 9110, 7.8).
    """
    listed = tokens_of(fields, b"connection")
    dropped = HOP_BY_HOP.union(listed) if listed else HOP_BY_HOP
    kept = [field for field in fields if field[0].lower() not in dropped]
    if any(token.partition(b";")[0].rstrip() == b"trailers" for token in tokens_of(fields, b"te")):
        kept.append((b"Te", b"trailers"))
    if upgrade is None:
        upgrade = upgrade_of(fields)
    if upgrade:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    return kept


def without(fields: Iterable[Field], names: Collection[bytes]) -> list[Field]:
    """The other fields; `names` are in lower case."""
    return [field for field in fields if field[0].lower() not in names]


FORWARDING = frozenset((b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))


def forwarded(fields: Collection[Field], *, user_ip: bytes, host: bytes, proto: bytes) -> list[Field]:
    """The fields with what tells the service about its user: X-Forwarded-For is added to, the others are ours alone (rules 2 to 4)."""
    chain = b", ".join([*values_of(fields, b"x-forwarded-for"), user_ip])
    return [
        *without(fields, FORWARDING),
        (b"X-Forwarded-For", chain),
        (b"X-Forwarded-Host", host),
        (b"X-Forwarded-Proto", proto),
    ]


def setting(operations: Mapping[str, str]) -> list[Field]:
    """A configured `set` as fields. Those that can't be sent, or would change where the message goes or ends, are left out."""
    fields = [(name.encode(), value.strip().encode()) for name, value in operations.items()]
    return [field for field in fields if is_field(*field) and field[0].lower() not in _NEVER_SET]


def with_set(fields: Iterable[Field], wanted: Collection[Field]) -> list[Field]:
    """The fields with `wanted` in place of those of the same names."""
    return [*without(fields, {name.lower() for name, _ in wanted}), *wanted] if wanted else list(fields)


def clean_target(target: bytes) -> bytes:
    """A path with its query, which is written anew when it has `;` or a broken escape: services differ in how they read these (rule 9).

    Of very many pairs nothing is left, as with frp, which has a limit too: they would take 20 ms.
    """
    path, mark, query = target.partition(b"?")
    if not query or (b";" not in query and (b"%" not in query or _BAD_ESCAPE.search(query) is None)):
        return target
    if query.count(b"&") >= _MOST_PAIRS:
        return path + mark
    pairs: dict[bytes, list[bytes]] = {}
    for part in query.split(b"&"):
        if not part or b";" in part or (b"%" in part and _BAD_ESCAPE.search(part)):
            continue
        key, _, value = part.replace(b"+", b" ").partition(b"=")
        pairs.setdefault(_unescaped(key), []).append(_escaped(_unescaped(value)))
    cleaned = []
    for key in sorted(pairs):
        start = _escaped(key) + b"="
        cleaned += [start + value for value in pairs[key]]
    return path + mark + b"&".join(cleaned)


def _unescaped(text: bytes) -> bytes:
    if b"%" not in text:
        return text
    first, *others = text.split(b"%")
    return first + b"".join([_UNESCAPED[other[:2]] + other[2:] if other[:2] in _UNESCAPED else b"%" + other for other in others])


def _escaped(text: bytes) -> bytes:
    return text if _PLAIN.fullmatch(text) else b"".join([_ESCAPED[byte] for byte in text])


def unescaped_path(target: bytes) -> str:
    """The path of a target as routes compare it: decoded, without the query."""
    return _unescaped(target.partition(b"?")[0]).decode("utf-8", "surrogateescape")


def routing_host(host: bytes) -> str:
    """A host as routes compare it: lower case, without port, brackets, and one dot at its end."""
    name = host.decode("latin-1").lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")
