"""How fast the tunnel is on this machine: `make bench`, or `python -m bench [SCENARIO ...] [options] [NAME=FRPS|FRPC ...]`.

Users, services and both programs share the processors, so figures compare only within one run: rounds go through all contestants in
turn, and the median is shown. Contestants are frp_py, two HAProxies in a row (C, without TLS and multiplexing between them: the
ceiling), `ssh -R`, and every pair of programs that reads frp's files and is named, as in `other="/opt/frps|/opt/frpc"`. What isn't
installed is left out. CPU and memory are those of the two programs of a tunnel. A run ends by itself, and touches no processes but
its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contestants import Contestant, HaProxy, Pair, Ssh
from bench.loads import QUICK, Figures, Scale
from bench.places import LOOPBACK, Place, slow_way
from bench.report import Result, page, table
from bench.scenarios import SCENARIOS, Scenario
from bench.services import services
from bench.system import ROOT, Unavailable, find, machine, python

OUTPUT = ROOT / "build" / "bench"
_LIMIT = 65536  # descriptors, where that may be had


def more_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in ((_LIMIT, max(_LIMIT, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            return
        except (OSError, ValueError):
            continue


def parsed() -> tuple[argparse.Namespace, list[str], dict[str, Contestant]]:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="SCENARIO | NAME=FRPS|FRPC", help=f"beginnings of {', '.join(SCENARIOS)}; or pairs")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="little of everything: shows that it runs, not how fast")
    parser.add_argument("--only", metavar="NAME,...", help="measure these contestants: frp_py, haproxy, ssh and named pairs")
    parser.add_argument("--publish", action="store_true", help="write docs/performance.md and its plots")
    args = parser.parse_intermixed_args()
    contestants: dict[str, Contestant] = {"frp_py": Pair(*(" ".join(python("frp_py", role)) for role in ("server", "client")))}
    contestants |= {"haproxy": HaProxy(), "ssh -R": Ssh()}
    wanted = []
    for word in args.words:
        name, sign, commands = word.partition("=")
        if sign and commands.count("|") == 1:
            contestants[name] = Pair(*commands.split("|"))
        elif sign:
            parser.error(f"{word}: two commands with | between them are expected")
        else:
            wanted.append(word)
    names = [name for name in SCENARIOS if not wanted or name.startswith(tuple(wanted))]
    if not names:
        parser.error(f"there is no scenario {' or '.join(wanted)}")
    if args.only:
        only = args.only.split(",")
        contestants = {name: it for name, it in contestants.items() if name in only or name.partition(" ")[0] in only}
    return args, names, contestants


def measure(
    scenario: Scenario, contestants: dict[str, Contestant], place: Place, local: dict[str, int], scale: Scale, rounds: int
) -> Result:
    """The medians of all who can; why others couldn't."""
    found: dict[str, list[Figures]] = {}
    reasons: dict[str, str] = {}
    for _ in range(rounds):
        for who, contestant in contestants.items():
            if scenario.wants not in contestant.can or who in reasons:
                continue
            try:
                with (
                    TemporaryDirectory(prefix="bench-") as directory,
                    place.among_users(),
                    contestant.between(place, local, Path(directory), scenario.setup) as tunnel,
                ):
                    figures = scenario.load(tunnel, scale)
                found.setdefault(who, []).append(figures)
            except (Unavailable, OSError, EOFError, RuntimeError, subprocess.CalledProcessError) as error:
                reasons[who] = f"{type(error).__name__}: {error}" if not isinstance(error, Unavailable) else str(error)
    medians = {who: {unit: statistics.median(each[unit] for each in rows) for unit in rows[0]} for who, rows in found.items()}
    return Result(medians, reasons)


def main() -> None:
    args, names, contestants = parsed()
    more_descriptors()
    scale, rounds = (QUICK, args.rounds or 1) if args.quick else (Scale(), args.rounds or 3)
    results: dict[str, Result] = {}
    began = time.monotonic()
    for way in dict.fromkeys(scenario.way for scenario in SCENARIOS.values()):
        chosen = [name for name in names if SCENARIOS[name].way == way]
        if not chosen:
            continue
        with ExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
            try:
                place = stack.enter_context(slow_way(directory, way)) if way is not None else LOOPBACK
                local = stack.enter_context(services(directory, place.far))
            except Unavailable as reason:
                print(f"{', '.join(chosen)}: skipped, {reason}")
                results |= {name: Result({}, {"": str(reason)}) for name in chosen}
                continue
            for name in chosen:
                scenario = SCENARIOS[name]
                try:
                    if scenario.web:
                        find("nginx"), find("wrk")
                    results[name] = measure(scenario, contestants, place, local, scale, rounds)
                except Unavailable as reason:
                    results[name] = Result({}, {"": str(reason)})
                print(f"{name}: {scenario.what}\n{table(results[name])}", flush=True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    facts = [*machine(), ("Rounds", f"{rounds}, median{' (a quick run: the figures say little)' if args.quick else ''}")]
    record = {"machine": facts, "results": {name: {"figures": r.figures, "reasons": r.reasons} for name, r in results.items()}}
    (OUTPUT / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    for target in [OUTPUT] + ([ROOT / "docs"] if args.publish else []):
        page(target, {name: results[name] for name in SCENARIOS if name in results}, facts)
    print(f"{time.monotonic() - began:.0f} s; the page is {(OUTPUT / 'performance.md').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
