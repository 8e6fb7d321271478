"""A real Chromium, and both programs with their dashboards for it to look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.support import PASSWORD, USER, Eyes, chromium
from tests.support import programs
from tests.support.programs import World

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--force-color-profile=srgb", "--hide-scrollbars"),
)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests here. It is gone, with playwright's asyncio loop, before the tests of another folder run."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()
    assert asyncio._get_running_loop() is None


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with programs.world(tmp_path) as it:
        yield it


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Eyes]]:
    """Open a page: `look(origin)`, see `Eyes`. Nothing may have gone wrong on it when the test is over."""
    opened: list[Eyes] = []

    def open_page(origin: str, *, user: str = USER, password: str = PASSWORD, **how: Any) -> Eyes:
        it = Eyes(browser, origin, user=user, password=password, **how)
        opened.append(it)
        return it

    yield open_page
    faults = [fault for it in opened for fault in it.close()]
    assert faults == []


@pytest.fixture
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: a temporary folder, kept by pytest for its last runs."""
    return tmp_path_factory.mktemp("shots")
