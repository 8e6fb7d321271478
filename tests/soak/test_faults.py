from __future__ import annotations

from typing import Any, cast

import pytest

from tests.soak.faults import BOUNDS, MEDIANS, Faults
from tests.soak.stage import Stage, recovered
from tests.soak.targets import Target
from tests.soak.users import Fault


def faults() -> Faults:
    return Faults(cast(Stage, cast(Any, None)), lambda line: None, lambda: False)


def test_most_recoveries_are_quicker_than_the_slowest_may_be() -> None:
    assert all(MEDIANS[what] < BOUNDS[what] for what in MEDIANS)
    it = faults()
    it.recoveries["cut"] = [1.0, 1.0, 1.0, 9.0, 9.0]
    it.recoveries["freeze"] = [4.9] * 4  # too seldom to tell
    it.check_medians()
    it.recoveries["cut"].append(9.0)
    with pytest.raises(Fault, match=r"cut: 5\.0 s in the median"):
        it.check_medians()


def test_whoever_waits_is_not_blamed_for_what_others_have_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "works", lambda self: False)
    target = Target("it", "tcp", 1, frozenset())
    with pytest.raises(Fault, match=r"it: not back 0\.1 s after: cut"):
        recovered([target], 0.1, "cut")
    assert recovered([target], 0.1, "cut", over=lambda: True) is None
