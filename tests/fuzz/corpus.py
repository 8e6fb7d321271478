"""The files that coverage-guided runs have found, and how inputs are changed where nothing guides.

A file in tests/data/corpus/TARGET/ is one input; its name is its CRC. There are only such as reach code that no other input reaches, or
that have once shown a fault.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "tests" / "data" / "corpus"
FAULTS = ROOT / "build" / "fuzz" / "faults"
WORK = ROOT / "build" / "fuzz" / "work"
LONGEST = 4096
"""Bytes of an input."""


def mutated(rng: random.Random, inputs: list[bytes]) -> bytes:
    """An input with some of the changes that parsers stumble over."""
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
        at, n = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 16))
        match rng.randrange(8):
            case 0:
                data[at : at + n] = rng.randbytes(n)
            case 1:
                del data[at : at + n]
            case 2:
                data[at:at] = rng.randbytes(n)
            case 3:
                data[at : at + n] = (
                    rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"\r\n", b"\n", b" ", b"\t", b'"', b"%", b"0", b"9" * 20)) * n
                )
            case 4:
                data[at:at] = data[at : at + 64]
            case 5:
                del data[at:]
            case 6:
                other = rng.choice(inputs)
                data[at:] = other[rng.randrange(len(other) + 1) :]
            case _ if at < len(data):
                data[at] = data[at] + rng.choice((1, 255, 128, 32)) & 255
    return bytes(data)


def write(directory: Path, data: bytes) -> Path:
    """Make a file of an input."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{zlib.crc32(data):08x}"
    path.write_bytes(data)
    return path
