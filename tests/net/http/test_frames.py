from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from frp_py.net.http.frames import Lengths

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def header(length: int) -> bytes:
    return length.to_bytes(3, "big") + bytes(6)


@given(
    st.lists(st.sampled_from([0, 1, 8, 9, 300, 16384]), max_size=6), st.booleans(), st.lists(st.integers(1, 40), min_size=1, max_size=50)
)
def test_a_frame_is_judged_by_its_header(lengths: list[int], too_long: bool, cuts: list[int]) -> None:
    """Wherever the bytes are cut: the frame that is too long is seen with the last byte of its header, and no other one."""
    allowed = PREFACE + b"".join(header(n) + bytes(n) for n in lengths)
    data = allowed + (header(16385) if too_long else b"")
    seen, at = Lengths(), 0
    for n in cuts:
        assert seen.allow(data[at : at + n]) is (not too_long or at + n < len(data) or at >= len(data))
        at += n
    if at < len(data):
        assert seen.allow(data[at:]) is not too_long


def test_what_looks_like_a_header_in_a_frame_is_none() -> None:
    assert Lengths().allow(PREFACE + header(9) + b"\xff" * 9 + header(0))


def test_a_head_has_a_length_however_many_frames_it_is_made_of() -> None:
    def piece(kind: int, length: int) -> bytes:
        return length.to_bytes(3, "big") + bytes((kind, 0, 0, 0, 0, 1)) + bytes(length)

    seen = Lengths()
    for n in range(2):
        assert seen.allow(PREFACE * (n == 0) + piece(1, 16384) + 3 * piece(9, 16384))
    assert not seen.allow(piece(9, 1))
