"""A little fuzzing on every run of the tests: the whole corpus, and some hundred changed inputs for each parser, always the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import serving, sessions
from tests.fuzz.blind import mutated
from tests.fuzz.corpus import FOUND
from tests.fuzz.seeds import inputs, seeds
from tests.fuzz.targets import TARGETS

CHANGED = 400
FEWER = 40
COSTLY = (serving.__name__, sessions.__name__)
"""They serve whole connections, which takes milliseconds."""
MOST = 300_000
"""Bytes of all files of the corpus."""


def test_each_target_has_its_seeds() -> None:
    assert seeds().keys() == TARGETS.keys()
    assert seeds() == seeds()


def test_the_corpus_is_small_and_belongs_to_the_targets() -> None:
    assert {path.name for path in FOUND.iterdir()} <= TARGETS.keys()
    assert sum(path.stat().st_size for path in FOUND.glob("*/*")) <= MOST


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    for data in inputs(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs(name: str) -> None:
    start = inputs(name)
    for seed in range(FEWER if TARGETS[name].__module__ in COSTLY else CHANGED):
        data = mutated(random.Random(seed), start)
        try:
            TARGETS[name](data)
        except Exception as error:
            error.add_note(f"input: {data!r}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=FEWER, deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=300))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()
