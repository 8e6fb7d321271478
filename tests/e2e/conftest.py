from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.programs import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with programs.world(tmp_path) as it:
        yield it
