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
import sys
from pathlib import Path

from tests.fuzz.corpus import FAULTS, LOGS, ROOT
from tests.fuzz.processes import side_by_side

GUIDED = importlib.util.find_spec("atheris") is not None


def told(output: str) -> str:
    """How many inputs there were, and from what to what coverage has grown, in branches of our own code."""
    count, covered = re.search(r"(?:executed_units:\s*|^)(\d+)$", output, re.MULTILINE), re.findall(r"\bcov: (\d+)", output)
    grown = f"; coverage {covered[0]} to {covered[-1]}" if covered else ""
    return f"{count[1] if count else '?':>10} inputs{grown}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="of tests/fuzz/targets.py; all, if none is named")
    parser.add_argument("--seconds", type=float, default=120, help="for all targets together")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many targets at once")
    parser.add_argument("--blind", action="store_true", help="don't be guided")
    parser.add_argument("--keep", action="store_true", help="add what reaches new code to the corpus")
    parser.add_argument("--input", type=Path, help="run one target on this file")
    args = parser.parse_args()
    is_guided = GUIDED and not args.blind and not args.input
    if is_guided:
        from tests.fuzz.guided import guided as fuzzed  # before anything of ours: what is there already can't be seen
    else:
        from tests.fuzz.blind import blindly as fuzzed
    from tests.fuzz.keeping import keep
    from tests.fuzz.targets import TARGETS

    if unknown := [name for name in args.targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if args.input:
        TARGETS[args.targets[0]](args.input.read_bytes())
        return
    names = args.targets or list(TARGETS)
    share = args.seconds * min(args.jobs, len(names)) / len(names)
    how = "guided by coverage" if is_guided else "blind" if GUIDED else "blind, as atheris is not installed"
    print(f"{how}; {share:.1f} s for each target; seed {args.seed}", flush=True)
    failed = []
    for name, code in side_by_side(args.jobs, names, lambda name: fuzzed(name, share, args.seed)):
        output = (LOGS / name).read_text(errors="replace")
        kept = f"; {keep(name)} inputs kept" if args.keep and is_guided and not code else ""
        print(f"{name:<18} {'FAULT' if code else 'ok':<6} {told(output)}{kept}", flush=True)
        if code:
            failed.append(name)
            print(output[-4000:])
    if failed:
        sys.exit(f"faults in {', '.join(failed)}; the inputs are in {FAULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
