"""Tables, plots and the page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.report import Result, bars, more_is_better, number, page, plots, table

RESULTS = {
    "bulk_tls": Result(
        {"frp_py": {"MB/s": 500.0, "CPU s/GB": 2.0}, "haproxy": {"MB/s": 1000.0, "CPU s/GB": 1.0}}, {"ssh -R": "sshd is not installed"}
    ),
    "latency": Result({"frp_py": {"p50 us": 90.0, "p99 us": 200.0}}, {}),
    "idle_users": Result({"<b>&": {"KB per user": 2.0}}, {}),
    "udp": Result({}, {"": "no way"}),
}


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.94, "99.9"), (9.999, "10.00"), (0.5, "0.50")])
def test_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_rates_are_better_when_they_are_more() -> None:
    assert [more_is_better(unit) for unit in ("MB/s", "req/s", "conn/s", "packets/s")] == [True] * 4
    assert [more_is_better(unit) for unit in ("p99 us", "KB per user", "CPU s/GB", "s until all are back")] == [False] * 4


def test_a_line_says_the_fraction_of_the_ceiling_and_why_somebody_is_missing() -> None:
    lines = table(RESULTS["bulk_tls"]).splitlines()
    assert re.split(r"\s{2,}", lines[0].strip()) == ["frp_py", "500 MB/s (0.50)", "2.00 CPU s/GB (2.00)"]
    assert "(" not in lines[1]
    assert lines[2].strip() == "ssh -R     - sshd is not installed"


def test_plots_are_wellformed_whatever_a_contestant_is_called() -> None:
    drawn = plots(RESULTS)
    assert drawn.keys() == {"throughput.svg", "latency.svg", "memory.svg"}
    for svg in drawn.values():
        ET.fromstring(svg)
    assert "&lt;b&gt;&amp;" in drawn["memory.svg"]
    assert plots({}) == {}


def test_the_longest_bar_has_all_the_room() -> None:
    widths = [
        float(width)
        for width in re.findall(r'<rect class="b\d" x="260" y="\d+" width="([\d.]+)"', bars("x", [("a", [("p", 1, ""), ("q", 4, "")])]))
    ]
    assert widths == [105, 420]


def test_the_page_names_all_and_shows_the_plots_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance" / "old.svg").touch()
    page(tmp_path, RESULTS, [("Processor", "2 x some")])
    text = (tmp_path / "performance.md").read_text()
    assert "| Processor | 2 x some |" in text
    assert "| frp_py | 500 (0.50) | 2.00 (2.00) |" in text
    assert "ssh -R: not measured, sshd is not installed." in text
    assert {path.name for path in (tmp_path / "performance").iterdir()} == set(re.findall(r"performance/(\w+\.svg)", text))
