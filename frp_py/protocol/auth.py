"""The key that proves knowledge of a token or of a visitor's secret (wire.md 4.1 and 9)."""

import hashlib
import hmac


def as_bytes(secret: str | bytes) -> bytes:
    """A token as its bytes; one from the environment that is no UTF-8 keeps the bytes it had."""
    return secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")


def privilege_key(secret: str | bytes, timestamp: int) -> str:
    """32 lower-case hex digits for `timestamp` in Unix seconds; also the sign key of visitors."""
    return hashlib.md5(b"%b%d" % (as_bytes(secret), timestamp), usedforsecurity=False).hexdigest()


def verify_key(key: str, secret: str | bytes, timestamp: int) -> bool:
    """Whether `key`, as a peer sent it, belongs to `secret` and `timestamp`; takes the same time for every wrong key."""
    return hmac.compare_digest(key.encode("utf-8", "replace"), privilege_key(secret, timestamp).encode())
