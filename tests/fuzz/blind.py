"""Fuzzing where nothing says what an input reaches: known ones are changed at random."""

from __future__ import annotations

import random
import time

from tests.fuzz.corpus import LONGEST
from tests.fuzz.seeds import inputs
from tests.fuzz.targets import run


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


def blindly(name: str, seconds: float, seed: int) -> None:
    """Says how many inputs were tried; what the target raises goes through."""
    rng, start, count = random.Random(seed), inputs(name), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(rng, start)[:LONGEST]
        run(name, data)
        count += 1
    print(count)
