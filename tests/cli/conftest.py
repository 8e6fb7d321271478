"""Programs that only say what they were made of."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import trio

from frp_py import log
from frp_py.errors import FrpError


class Source(NamedTuple):
    """As that of frp_py.server.app."""

    path: str
    load: Callable[[], Any]


class Made:
    """Stands for Server and Client: remembers its configuration, ends at once, fails if told to."""

    configs: list[Any]
    sources: list[Any]
    failure: FrpError | None
    fails_when_made: bool
    session = None

    def __init__(self, config: Any, source: Any = None, renew_log: object = None) -> None:
        self.config = config
        self.source = source
        self.sources.append(source)
        self.configs.append(config)
        if self.failure and self.fails_when_made:
            raise self.failure

    async def run(self, *, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Made]]:
    class Program(Made):
        configs: list[Any] = []  # noqa: RUF012 - one class a test
        sources: list[Any] = []  # noqa: RUF012
        failure = None
        fails_when_made = False

    for module, name in (("frp_py.server.app", "Server"), ("frp_py.client.app", "Client")):
        fake = types.ModuleType(module)
        setattr(fake, name, Program)
        fake.Source = Source  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.delitem(sys.modules, "frp_py.cli.several", raising=False)
    monkeypatch.setattr("frp_py.net.transports.made_certificate.begin", lambda: None)  # nobody would wait for it
    monkeypatch.delenv("http_proxy", raising=False)
    thresholds = gc.get_threshold()
    yield Program
    sys.modules.pop("frp_py.cli.several", None)
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    log.reset()
