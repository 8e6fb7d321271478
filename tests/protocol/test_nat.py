from __future__ import annotations

import pytest

from frp_py.errors import FrpError
from frp_py.protocol.nat import BOTH_CHANGED, EASY, HARD, IP_CHANGED, NO_CHANGE, PORT_CHANGED, Nat, classify


@pytest.mark.parametrize(
    ("mapped", "nat"),
    [
        (["1.1.1.1:9", "1.1.1.1:9"], Nat(EASY, NO_CHANGE, 0, False, False)),
        (["1.1.1.1:9", "1.1.1.2:9"], Nat(HARD, IP_CHANGED, 0, False, False)),
        (["1.1.1.1:9", "1.1.1.1:10"], Nat(HARD, PORT_CHANGED, 1, True, False)),
        (["1.1.1.1:14", "1.1.1.1:9"], Nat(HARD, PORT_CHANGED, 5, True, False)),
        (["1.1.1.1:9", "1.1.1.1:15"], Nat(HARD, PORT_CHANGED, 6, False, False)),
        (["1.1.1.1:9", "1.1.1.2:10"], Nat(HARD, BOTH_CHANGED, 0, False, False)),
        (["10.0.0.2:9", "10.0.0.2:9"], Nat(EASY, NO_CHANGE, 0, False, True)),
        (["1.1.1.1:9", "10.0.0.2:9"], Nat(HARD, IP_CHANGED, 0, False, True)),
        (["[2001:DB8::1]:9", "[2001:db8:0::1]:9"], Nat(EASY, NO_CHANGE, 0, False, False)),
        (["1.1.1.1:9", "1.1.1.1:9", "1.1.1.1:12"], Nat(HARD, PORT_CHANGED, 3, True, False)),
    ],
)
def test_kinds(mapped: list[str], nat: Nat) -> None:
    assert classify(mapped, ["192.168.1.5", "10.0.0.2"]) == nat


@pytest.mark.parametrize("mapped", [[], ["1.1.1.1:9"]])
def test_one_observation_says_nothing(mapped: list[str]) -> None:
    with pytest.raises(FrpError, match=r"^not enough addresses$"):
        classify(mapped, [])


@pytest.mark.parametrize(
    "bad", ["", "1.1.1.1", "1.1.1.1:", "1.1.1.1:65536", "1.1.1.1:-1", "1.1.1.1:\u0661", "x:1", "1.1.1.1:" + "9" * 5000]
)
def test_invalid_addresses(bad: str) -> None:
    with pytest.raises(FrpError, match="is invalid"):
        classify([bad, "1.1.1.1:9"], [])
