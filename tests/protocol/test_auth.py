import pytest

from frp_py.protocol.auth import privilege_key, verify_key
from tests.protocol.helpers import VECTORS


@pytest.mark.parametrize("vector", VECTORS["auth_key"])
def test_vectors(vector: dict[str, str | int]) -> None:
    token, timestamp, key = bytes.fromhex(str(vector["token_utf8_hex"])), int(vector["timestamp"]), str(vector["key"])
    assert privilege_key(token, timestamp) == key
    assert privilege_key(token.decode(), timestamp) == key
    assert verify_key(key, token, timestamp)
    assert not verify_key(key, token, timestamp + 1)
    assert not verify_key(key, token + b"x", timestamp)


@pytest.mark.parametrize("key", ["", "x", "é" * 16, "\ud800", "24920DECF83F6960B80F737A28EEAFC1", "24920decf83f6960b80f737a28eeafc1 "])
def test_any_other_text_is_no_key(key: str) -> None:
    assert not verify_key(key, "", 1700000000)


def test_a_negative_timestamp_is_written_with_its_sign() -> None:
    assert privilege_key("x", -5) == privilege_key("x-", 5)


def test_a_token_that_is_no_utf8_keeps_its_bytes() -> None:
    assert privilege_key(b"\xff".decode("utf-8", "surrogateescape"), 1) == privilege_key(b"\xff", 1)
