"""Where inputs are kept.

A file in tests/data/corpus/TARGET/ is one input; its name is its CRC. There are only such as reach code that no other input reaches, or
that have once shown a fault.
"""

from __future__ import annotations

import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOUND = ROOT / "tests" / "data" / "corpus"
FAULTS = ROOT / "build" / "fuzz" / "faults"
LOGS = ROOT / "build" / "fuzz" / "logs"
WORK = ROOT / "build" / "fuzz" / "work"
LONGEST = 4096
"""Bytes of an input."""


def write(directory: Path, data: bytes) -> Path:
    """Make a file of an input."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{zlib.crc32(data):08x}"
    path.write_bytes(data)
    return path
