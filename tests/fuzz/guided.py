"""One target under atheris: `python -m tests.fuzz.guided TARGET SECONDS SEED`, as `python -m tests.fuzz` starts it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["frp_py"]):
    from tests.fuzz.corpus import FAULTS, LONGEST, WORK, inputs, write
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Doesn't return: the library ends the process."""
    name, seconds, seed = sys.argv[1:]
    (FAULTS / name).mkdir(parents=True, exist_ok=True)
    (WORK / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as start:
        for data in inputs(name):
            write(Path(start), data)
        limits = [f"-max_total_time={max(1, round(float(seconds)))}", f"-max_len={LONGEST}", f"-seed={seed}", "-rss_limit_mb=1024"]
        output = ["-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={FAULTS / name}/"]
        atheris.Setup([sys.argv[0], *limits, *output, str(WORK / name), start], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
