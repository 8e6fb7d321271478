"""`make soak`, or `python -m tests.soak [--seconds N] [--seed N]`: both programs for ten minutes under everything that goes wrong.

Users of all kinds come and go, each checks every byte. Meanwhile clients and the server are killed, stopped, frozen and reloaded, the
ways between them are cut or swallow what is sent, and strangers send rubbish. Whoever is not concerned by what is broken must notice
nothing; who is must be served again within a bound; and when all rests, no task, descriptor, memory, port or name may be left. The
first fault ends the run with status 1, and the logs of the programs are kept. The seed is printed: the same one breaks the same things
in the same order, and its users ask for the same things in the same order.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path
from statistics import median

from tests.soak.run import Soak
from tests.support.programs import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SOAK_SECONDS", "600")))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--users", type=int, default=12)
    args = parser.parse_args()
    directory = ROOT / "build" / "soak" / f"{args.seed}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    print(f"seed {args.seed}, {args.seconds:g} s", flush=True)
    with (directory / "events.log").open("w", buffering=1) as log:

        def tell(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")

        began = time.monotonic()
        soak = Soak(directory, args.seed, args.seconds, clients=args.clients, users=args.users, tell=tell)
        found = soak.run()
        tell(
            f"{time.monotonic() - began:.0f} s; visits: {_listed(soak.visits)}; {soak.served:,} connections to services; "
            f"events: {_listed(soak.faults.events)}"
        )
        tell(f"the longest: {', '.join(f'{kind} {took:.1f} s' for kind, took in soak.longest.items())}")
        recoveries = (
            f"{len(took)} after {cause}, {median(took):.1f} s in the median, {max(took):.1f} s at most"
            for cause, took in soak.faults.recoveries.items()
        )
        tell(f"recoveries: {'; '.join(recoveries)}")
        tell(f"memory: {soak.counts.summary() or 'counted too seldom'}")
    if found:
        sys.exit(f"{len(found)} faults with seed {args.seed}; the logs are in {Path(directory).relative_to(ROOT)}")
    shutil.rmtree(directory)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


if __name__ == "__main__":
    main()
