"""Fuzz for longer: `make fuzz`, or `python -m tests.fuzz [TARGET ...] [--seconds N] [--seed N] [--jobs N] [--keep]`.

With atheris installed a run is guided by coverage, else it changes inputs blindly. Each target has its own process and its share of the
time. An input that shows a fault is written to build/fuzz/faults/TARGET, and the run ends with status 1;
`python -m tests.fuzz TARGET --input FILE` repeats it. `--keep` adds to tests/data/corpus the inputs, up to 2 KB each, that reach
code which no input there reaches.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.corpus import FAULTS, FOUND, LONGEST, ROOT, WORK, mutated, write
from tests.fuzz.cuts import Target
from tests.fuzz.seeds import inputs
from tests.fuzz.targets import TARGETS

KEPT_SIZE = 2048
KEPT = 40
"""Files of one target."""
GUIDED = importlib.util.find_spec("atheris") is not None


def blindly(name: str, seconds: float, seed: int) -> int:
    """Returns how many inputs were tried; what the target raises goes through, and its input is written down."""
    rng, start, count = random.Random(seed), inputs(name), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(rng, start)[:LONGEST]
        try:
            TARGETS[name](data)
        except BaseException as error:
            error.add_note(f"input: {write(FAULTS / name, data)}")
            raise
        count += 1
    return count


def lines_of(target: Target, data: bytes) -> frozenset[tuple[str, int, int]]:
    """The steps from line to line in our own code that an input causes."""
    steps: set[tuple[str, int, int]] = set()
    last = 0
    package = str(ROOT / "frp_py")

    def trace(frame, event, argument):  # type: ignore[no-untyped-def]
        nonlocal last
        if not frame.f_code.co_filename.startswith(package):
            return None
        steps.add((frame.f_code.co_filename, last, frame.f_lineno))
        last = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(None)
    return frozenset(steps)


def keep(name: str) -> int:
    """Take the inputs that reach something new into the corpus, the short ones first; returns how many."""
    seen: set[tuple[str, int, int]] = set()
    for data in inputs(name):
        seen |= lines_of(TARGETS[name], data)
    taken = 0
    for path in sorted((WORK / name).glob("*"), key=lambda path: (path.stat().st_size, path.name)):
        data = path.read_bytes()
        if (
            len(data) <= KEPT_SIZE
            and len(list((FOUND / name).glob("*"))) < KEPT
            and not seen.issuperset(new := lines_of(TARGETS[name], data))
        ):
            seen |= new
            write(FOUND / name, data)
            taken += 1
    return taken


def fuzzed(name: str, seconds: float, seed: int) -> subprocess.CompletedProcess[str]:
    """One target, in a process of its own."""
    if GUIDED:
        command = ["tests.fuzz.guided", name, str(seconds), str(seed)]
    else:
        command = ["tests.fuzz", name, "--alone", "--seconds", str(seconds), "--seed", str(seed)]
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT)


def told(done: subprocess.CompletedProcess[str]) -> str:
    """How that ended, how many inputs there were, and from what to what coverage has grown, in branches of our own code."""
    output = done.stdout + done.stderr
    count, covered = re.search(r"(?:executed_units:\s*|^)(\d+)$", output, re.MULTILINE), re.findall(r"\bcov: (\d+)", output)
    grown = f"; coverage {covered[0]} to {covered[-1]}" if covered else ""
    return f"{'FAULT' if done.returncode else 'ok':<6} {count[1] if count else '?':>10} inputs{grown}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=120, help="for all targets together")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many targets at once")
    parser.add_argument("--keep", action="store_true", help="add what reaches new code to the corpus")
    parser.add_argument("--input", type=Path, help="run one target on this file")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := [name for name in args.targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    if args.input:
        TARGETS[args.targets[0]](args.input.read_bytes())
        return
    if args.alone:
        print(blindly(args.targets[0], args.seconds, args.seed))
        return
    names = args.targets or list(TARGETS)
    share = args.seconds * min(args.jobs, len(names)) / len(names)
    print(f"{'guided by coverage' if GUIDED else 'blind (atheris is not installed)'}; {share:.1f} s for each target; seed {args.seed}")
    failed = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for name, done in zip(names, pool.map(lambda name: fuzzed(name, share, args.seed), names), strict=True):
            kept = f"; {keep(name)} inputs kept" if args.keep and GUIDED and not done.returncode else ""
            print(f"{name:<18} {told(done)}{kept}", flush=True)
            if done.returncode:
                failed.append(name)
                print((done.stderr + done.stdout)[-4000:])
    if failed:
        sys.exit(f"faults in {', '.join(failed)}; the inputs are in {FAULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
