from __future__ import annotations

import pytest
import trustme
from trio.testing import MockClock


@pytest.fixture
def quick(mock_clock: MockClock) -> MockClock:
    """Waits are over twenty times as fast."""
    mock_clock.rate = 20.0
    return mock_clock


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()
