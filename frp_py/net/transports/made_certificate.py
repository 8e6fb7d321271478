"""The certificate of a server that was given none, made by a process of its own.

What makes it would stay in our memory for as long as we live (10 MB), and is needed once. Begun early, it is ready by
the time trio is imported.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys

_TIMEOUT = 30  # s

_process: subprocess.Popen[bytes] | None = None


def begin() -> None:
    """Start to make one, if this is a Python that can start itself again."""
    global _process
    if _process is None and sys.executable and not getattr(sys, "frozen", False):
        command = [sys.executable, "-m", "frp_py.net.transports.certificate"]
        with contextlib.suppress(OSError):
            _process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def take() -> bytes:
    """Certificate and key as PEM, new each time."""
    global _process
    begin()
    process, _process = _process, None
    if process is not None:
        try:
            made, _ = process.communicate(timeout=_TIMEOUT)
            if process.returncode == 0:
                return made
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    from frp_py.net.transports.certificate import self_signed

    return self_signed()
