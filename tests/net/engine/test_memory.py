from __future__ import annotations

import ctypes
import subprocess
import sys
import time

import pytest

from frp_py.net.engine import memory
from frp_py.net.engine.loop import Engine
from frp_py.net.engine.memory import Trimmer

MIB = 1 << 20


class Allocator:
    def __init__(self) -> None:
        self.free = 5 * MIB
        self.trims = 0

    def trim(self) -> None:
        self.trims += 1


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    monkeypatch.setattr(time, "process_time", lambda: 0.0)
    return Allocator()


def pass_time(trimmer: Trimmer, seconds: int) -> None:
    for _ in range(seconds):
        trimmer.each_second()


def test_what_a_rush_left_is_given_back_once(allocator: Allocator) -> None:
    trimmer = Trimmer(lambda: allocator.free, allocator.trim)
    pass_time(trimmer, 100)
    allocator.free = 20 * MIB
    pass_time(trimmer, 100)
    assert allocator.trims == 0
    allocator.free = 21 * MIB
    pass_time(trimmer, 9)
    assert allocator.trims == 0
    pass_time(trimmer, 100)
    assert allocator.trims == 1
    allocator.free = 10 * MIB  # it is used again
    pass_time(trimmer, 10)
    allocator.free = 30 * MIB
    pass_time(trimmer, 100)
    assert allocator.trims == 2


def test_a_program_at_work_is_not_held_up(allocator: Allocator, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "process_time", lambda: now)
    trimmer = Trimmer(lambda: allocator.free, allocator.trim)
    allocator.free = 500 * MIB
    for _ in range(50):
        now += 0.5
        trimmer.each_second()
    assert allocator.trims == 0
    now += 0.1
    trimmer.each_second()
    assert allocator.trims == 1


def test_where_the_allocator_is_another_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    engine = Engine()
    memory.give_back(engine)
    assert not engine._each_second


SCRIPT = """
import os
from frp_py.net.engine import memory
from frp_py.net.engine.loop import Engine

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

memory._BUSY = 100
engine = Engine()
memory.give_back(engine)
if not engine._each_second:
    print("nothing to test")
    raise SystemExit
[look] = engine._each_second
blocks = [bytes(100_000) for _ in range(1000)]
for block in range(0, 1000, 50):
    blocks[block] = bytearray(blocks[block])  # so that all are in use
held = resident()
kept = blocks[-1]
blocks.clear()
before = resident()
for _ in range(10):
    look()
print(held, before, resident())
"""


def test_it_works_with_the_allocator_there_is() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    if done.stdout == "nothing to test\n":
        pytest.skip("the allocator is not glibc's")
    held, before, after = map(int, done.stdout.split())
    assert before > held - 20  # one block at the end keeps all of it
    assert after < before - 60
