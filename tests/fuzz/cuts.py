"""That it makes no difference where the bytes are cut."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

from frp_py.errors import PeerError
from tests.protocol.helpers import pieces

Target: TypeAlias = Callable[[bytes], None]
Pieces: TypeAlias = Sequence[bytes]

REFUSED = object()
"""The outcome of a parser that has raised PeerError."""


def cuts_of(data: bytes) -> list[int]:
    """Lengths of pieces, told by the data itself, so that an input always means the same."""
    rng = random.Random(zlib.crc32(data))
    return [rng.randrange(1, rng.choice((2, 8, 64, 1024))) for _ in range(4)]


def same_for_all_cuts(parse: Callable[[Pieces], object], data: bytes) -> object:
    """The outcome for `data`, which must be the same whole and cut."""

    def outcome(parts: Pieces) -> object:
        try:
            return parse(parts)
        except PeerError:
            return REFUSED

    whole = outcome([data])
    cut = outcome([piece for piece in pieces(data, cuts_of(data)) if piece])
    assert cut == whole, f"cut: {cut!r}, whole: {whole!r}"
    return whole
