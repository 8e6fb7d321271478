from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frp_py.net.http.chunks import LAST, Chunks, chunk
from frp_py.net.http.heads import BadHead


def read(data: bytes, cuts: list[int] | None = None) -> tuple[bytes, bytes, Chunks]:
    """Payload, what is behind the body, and the reader."""
    chunks = Chunks()
    payload = b""
    used = 0
    for start, end in zip([0, *(cuts or [])], [*(cuts or []), len(data)], strict=True):
        piece = data[start:end]
        pieces, n = chunks.receive(memoryview(piece))
        payload += b"".join(pieces)
        used += n
        if n < len(piece):
            assert chunks.done
            break
    return payload, data[used:], chunks


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";a=b", b';a="b c"']),
    st.sampled_from([b"", b"X-A: b\r\n", b"X-A: b\r\nX-C:d\r\n"]),
    st.binary(max_size=5),
    st.data(),
)
def test_any_cut_gives_the_same(pieces: list[bytes], extension: bytes, trailer: bytes, behind: bytes, data: st.DataObject) -> None:
    body = b"".join(b"%X%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces) + b"00\r\n" + trailer + b"\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    payload, rest, chunks = read(body + behind, cuts)
    assert chunks.done
    assert payload == b"".join(pieces)
    assert (body + behind).endswith(rest)
    assert len(rest) <= len(behind)
    assert len(chunks.trailers) == trailer.count(b":")


def test_every_cut() -> None:
    body = b"5;x\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n"
    for cut in range(len(body)):
        payload, _, chunks = read(body, [cut])
        assert payload == b"hello!"
        assert chunks.done
        assert chunks.trailers == [(b"A", b"b")]
        assert not read(body[:cut])[2].done


def test_what_is_behind_stays() -> None:
    assert read(b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n")[1] == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1\t;x\r\na\r\n",
        b"1\na\r\n",
        b"1\r\na\n",
        b"1\r\nab",
        b"1\r\na\r\r",
        b"1\r\na\rX",
        b"2\r\na\r\n0\r\n\r\n",
        b"1;\x00\r\na\r\n",
        b"1;a\rb\r\na\r\n",
        b"1;" + b"x" * 2000,
        b"1" * 16 + b"\r\n",
        b"f" * 2000,
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nHost: a\r\n\r\n",
        b"0\r\nA b\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\nA: \0\r\n\r\n",
        b"0\r\n" + b"A: %s\r\n" % (b"x" * 1000) * 20 + b"\r\n",
        b"0\r\nA: " + b"x" * 20000,
        b"0\r\n\n",
        b"1_0\r\n",
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
def test_malformed(body: bytes, bytewise: bool) -> None:
    with pytest.raises(BadHead):
        read(body, list(range(1, len(body))) if bytewise else None)


def test_what_is_written_can_be_read() -> None:
    assert read(chunk(b"abc") + chunk(memoryview(b"d" * 300)) + LAST)[0] == b"abc" + b"d" * 300
