"""Fuzzing under atheris, which sees what of our code an input reaches, and tries most what reaches something new."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import traceback
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

# The book of ports sees no bytes, and looks at all 65536 of them when a server starts: traced, that takes 40 ms.
with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["frp_py"], exclude=["frp_py.server.ports"]):
    import frp_py.server.vhost.h2  # noqa: F401 otherwise imported only when the first user of HTTP/2 comes
    from tests.fuzz.corpus import FAULTS, LONGEST, WORK, write
    from tests.fuzz.seeds import inputs
    from tests.fuzz.targets import run


def guided(name: str, seconds: float, seed: int) -> None:
    """Doesn't return: the library ends the process."""
    (FAULTS / name).mkdir(parents=True, exist_ok=True)
    (WORK / name).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as start:
        for data in inputs(name):
            write(Path(start), data)
        limits = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST}", f"-seed={seed}", "-rss_limit_mb=1024", "-timeout=10"]
        output = ["-print_final_stats=1", f"-artifact_prefix={FAULTS / name}/"]

        def target(data: bytes) -> None:
            try:
                run(name, data)
            except BaseException:
                traceback.print_exc()  # the library shows neither notes nor what is in a group
                raise

        atheris.Setup([sys.argv[0], *limits, *output, str(WORK / name), start], target)
        atheris.Fuzz()
