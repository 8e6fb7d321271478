"""What the tests of the cores share: the vectors, and input cut at random places."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "data" / "wire_vectors.json").read_text("utf-8"))

CUTS = st.lists(st.integers(0, 400), max_size=6)
"""Lengths of pieces."""


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """`data` in pieces of the given lengths, repeated as long as they are not all 0, or whole."""
    at = 0
    while any(cuts) and at < len(data):
        for cut in cuts:
            yield data[at : at + cut]
            at += cut
    yield data[at:]
