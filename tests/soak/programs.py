"""frps and frpc as `tests.support` runs them, which besides tell how many objects of each kind they have inside."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from trio.lowlevel import Task

from tests.support.programs import ROOT, Figures, Program

_FILE = "FRP_SOAK_PROBE"


def report(number: int, frame: FrameType | None) -> None:
    """In the program, at SIGUSR1: write down what lives, by kind: tasks, and all that is of a class of ours."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    ours = {kind: n for kind, n in kinds.items() if kind is Task or kind.__module__.startswith("frp_py.")}
    counted = Counter[str]()
    for kind, n in ours.items():
        counted[kind.__name__ if not kind.__module__.startswith("frp_py.config.") else f"config {kind.__name__}"] += n
    path = Path(os.environ[_FILE])
    new = path.with_suffix(".new")
    new.write_text(json.dumps(counted))
    new.rename(path)


class Watched(Program):
    """A program that can be asked what lives in it. It ends with this process, however that ends."""

    def __init__(self, role: str, directory: Path, name: str, config: str) -> None:
        self.name = name
        self.config_path = directory / f"{name}.toml"
        self.config_path.write_text(config)
        self.output_path = directory / f"{name}.out"
        self._probe = directory / f"{name}.probe"
        environment = {key: value for key, value in os.environ.items() if key.lower() not in ("http_proxy", "https_proxy", "all_proxy")}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always::ResourceWarning", _FILE: str(self._probe)}
        with self.output_path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.soak.programs", role, "-c", str(self.config_path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
            )
        self.figures = Figures(self.process.pid)

    def reload(self, config: str) -> None:
        """Give it another file; it never reads a part of one, which would be a file that says something else."""
        new = self.config_path.with_suffix(".toml.new")
        new.write_text(config)
        new.rename(self.config_path)
        self.process.send_signal(signal.SIGHUP)

    def inside(self) -> dict[str, int]:
        """How many objects of each kind live in it."""
        self._probe.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                counts: dict[str, int] = json.loads(self._probe.read_text())
                return counts
            time.sleep(0.01)
        raise TimeoutError(f"{self.name} does not answer SIGUSR1: is its loop stuck?")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, report)
    from frp_py.__main__ import main

    sys.exit(main())
