"""Results as text, as a page, and as plots (SVG, written here: a few bars need no library)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TypeAlias

from bench.loads import Figures
from bench.scenarios import HOME, SCENARIOS, WAN

CEILING = "haproxy"


@dataclass
class Result:
    """Of one scenario: figures by contestant, and why others have none."""

    figures: dict[str, Figures]
    reasons: dict[str, str]


def more_is_better(unit: str) -> bool:
    """Rates are; times and memory are not."""
    return re.fullmatch(r"(MB|req|conn|packets)/s", unit) is not None


def number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(result: Result) -> str:
    """Lines for the terminal."""
    ceiling = result.figures.get(CEILING, {})
    lines = []
    for who, figures in result.figures.items():
        cells = [
            f"{number(value):>9} {unit}" + (f" ({value / ceiling[unit]:.2f})" if who != CEILING and ceiling.get(unit) else "")
            for unit, value in figures.items()
        ]
        lines.append(f"  {who:<10}" + "  ".join(cells))
    lines += [f"  {who:<10}" + f" - {reason}" for who, reason in result.reasons.items()]
    return "\n".join(lines)


_STYLE = """text{font:13px system-ui,sans-serif;fill:#24292f}
.b0{fill:#2f6fed}.b1{fill:#8b949e}.b2{fill:#d29922}.b3{fill:#3fb950}.b4{fill:#a371f7}
.n{font-size:12px}.l{stroke:#8b949e;stroke-width:1}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"""
_LEFT, _WIDE, _BAR = 260, 420, 15
_USUAL = ("frp_py", CEILING, "ssh -R")
Row: TypeAlias = tuple[str, list[tuple[str, float, str]]]
"""A label and its bars: contestant, length, text."""


def _colour(who: str, names: list[str]) -> int:
    """The same in each plot."""
    return _USUAL.index(who) if who in _USUAL else 3 + [name for name in names if name not in _USUAL].index(who) % 2


def bars(title: str, rows: list[Row], *, mark: float | None = None) -> str:
    """A plot. `mark`: a line at that length."""
    names = list(dict.fromkeys(who for _, row in rows for who, _, _ in row))
    most = max([length for _, row in rows for _, length, _ in row] + [mark or 0.0]) or 1.0
    parts, y = [f'<text x="8" y="20" font-weight="600">{escape(title)}</text>'], 34
    for at, name in enumerate(names):
        parts.append(f'<rect class="b{_colour(name, names)}" x="{8 + 120 * at}" y="{y}" width="12" height="12"/>')
        parts.append(f'<text class="n" x="{26 + 120 * at}" y="{y + 11}">{escape(name)}</text>')
    top = y = y + 26
    for label, row in rows:
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>')
        for who, length, text in row:
            width = max(1.0, _WIDE * length / most)
            parts.append(f'<rect class="b{_colour(who, names)}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}"/>')
            parts.append(f'<text class="n" x="{_LEFT + width + 5:.1f}" y="{y + 11}">{escape(text)}</text>')
            y += _BAR
        y += 8
    if mark is not None:
        x = _LEFT + _WIDE * mark / most
        parts.append(f'<path class="l" d="M{x:.1f} {top - 4}V{y - 4}"/>')
    width = _LEFT + _WIDE + 110
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 4}" width="{width}" height="{y + 4}" role="img">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def plots(results: dict[str, Result]) -> dict[str, str]:
    """By file name."""
    relative: list[Row] = []
    latency: list[Row] = []
    memory: list[Row] = []
    for name, result in results.items():
        ceiling = result.figures.get(CEILING)
        unit = next((unit for figures in result.figures.values() for unit in figures), "")
        if ceiling and more_is_better(unit):
            row = [(who, f[unit] / ceiling[unit], f"{f[unit] / ceiling[unit]:.2f}") for who, f in result.figures.items() if who != CEILING]
            relative.append((f"{name}, {unit}", row))
        for kind, rows in (("p99 us", latency), ("KB per user", memory), ("KB per client", memory), ("KB per proxy", memory)):
            if kind == "p99 us" and name not in ("latency", "mixed", "home_mixed"):
                continue
            row = [(who, f[kind], number(f[kind])) for who, f in result.figures.items() if kind in f]
            if row:
                rows.append((f"{name}, {kind}", row))
    drawn = {}
    if relative:
        drawn["throughput.svg"] = bars("Rates, as a fraction of two HAProxies in a row", relative, mark=1.0)
    if latency:
        drawn["latency.svg"] = bars("The slowest of a hundred round trips, in microseconds", latency)
    if memory:
        drawn["memory.svg"] = bars("Memory that users, clients and proxies at rest take", memory)
    return drawn


_INTRO = """# Performance

What `make bench` has measured; `make bench ARGS=--publish` writes this page anew.

{machine}

Users, services and the programs share the processors of this machine, so the figures compare with one another and with nothing
else. All contestants take turns within one run, and the median of the rounds is shown. CPU and memory are those of both programs
together. `haproxy` is two HAProxies in a row: two hops in C with neither TLS nor multiplexing between them, the practical ceiling;
what is in brackets is a fraction of its figures. `ssh -R` has one encrypted connection, as frp_py has. In the `wan` and
`home` rows the two programs are in two network namespaces, with a way of {wan} between them, or of
{home}.

{plots}
"""


def page(directory: Path, results: dict[str, Result], facts: list[tuple[str, str]]) -> None:
    """Write performance.md and the plots into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = plots(results)
    images = directory / "performance"
    images.mkdir(exist_ok=True)
    for old in images.glob("*.svg"):
        old.unlink()
    for name, svg in drawn.items():
        (images / name).write_text(svg)
    listed = "\n\n".join(f"![{re.findall('<title>(.*?)</title>', svg)[0]}](performance/{name})" for name, svg in drawn.items())
    facts_table = "\n".join(("| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)))
    text = _INTRO.format(machine=facts_table, plots=listed, wan=WAN, home=HOME)
    for name, result in results.items():
        text += f"\n## {name}\n\n{SCENARIOS[name].what[:1].upper()}{SCENARIOS[name].what[1:]}.\n\n"
        if result.figures:
            units = list(dict.fromkeys(unit for figures in result.figures.values() for unit in figures))
            text += f"| |{'|'.join(f' {unit} ' for unit in units)}|\n|---|{'---:|' * len(units)}\n"
            ceiling = result.figures.get(CEILING, {})
            for who, figures in result.figures.items():
                cells = []
                for unit in units:
                    cell = number(figures[unit]) if unit in figures else ""
                    if who != CEILING and unit in figures and ceiling.get(unit):
                        cell += f" ({figures[unit] / ceiling[unit]:.2f})"
                    cells.append(f" {cell} ")
                text += f"| {who} |{'|'.join(cells)}|\n"
        for who, reason in result.reasons.items():
            text += f"\n{who or 'All'}: not measured, {reason}.\n"
    (directory / "performance.md").write_text(text)
