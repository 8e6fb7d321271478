"""Basic authentication (behaviour.md 3.3)."""

from __future__ import annotations

import binascii
import hmac


def basic_credentials(value: bytes | None) -> tuple[str, str] | None:
    """User and password of an Authorization or Proxy-Authorization field; None when there are none, or not readable ones."""
    if value is None:
        return None
    scheme, _, encoded = value.partition(b" ")
    encoded = encoded.strip()
    if scheme.lower() != b"basic" or len(encoded) % 4:
        return None
    try:
        text = binascii.a2b_base64(encoded, strict_mode=True).decode("utf-8", "surrogateescape")
    except binascii.Error:
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


def allows(credentials: tuple[str, str] | None, user: str, password: str) -> bool:
    """Whether these are the credentials asked for; with neither a user nor a password nothing is asked for."""
    if not user and not password:
        return True
    if credentials is None:
        return False
    same_user = hmac.compare_digest(credentials[0].encode("utf-8", "surrogateescape"), user.encode())
    return hmac.compare_digest(credentials[1].encode("utf-8", "surrogateescape"), password.encode()) and same_user
