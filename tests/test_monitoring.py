"""docs/monitoring: what it asks Prometheus for is what frps exports."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.server.web.helpers import running_site
from tests.support.ports import free_port
from tests.support.programs import program

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
RULES: list[dict[str, Any]] = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
TARGET = {"job", "instance"}  # labels that Prometheus adds

FUNCTIONS = {
    *("sum", "min", "max", "topk", "rate", "increase", "changes", "by", "and", "or", "label_values"),
    *("max_over_time", "avg_over_time"),
}


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (rule["expr"] for rule in RULES)


def variables() -> Iterator[str]:
    yield from (v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query")


def uses(expression: str) -> tuple[set[tuple[str, frozenset[str]]], set[str]]:
    """The metrics of an expression, each with the labels it is chosen by, and the labels that results are grouped by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    selected = set()
    for name, matchers in re.findall(r"\b([A-Za-z_:][\w:]*)\s*(?:\{([^}]*)\})?", re.sub(r"\[[^\]]*\]|\bby \([^)]*\)", "", bare)):
        labels = frozenset(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        if matchers or name not in FUNCTIONS:
            selected.add((name, labels))
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", bare) for label in labels.split(",")}
    return selected, grouped


def test_the_reader_reads() -> None:
    assert uses('topk(3, sum by (name, type) (rate(a_b{job="frps",x=~"y"}[5m]) > 1e6 and max_over_time(c[1d])))') == (
        {("a_b", frozenset({"job", "x"})), ("c", frozenset())},
        {"name", "type"},
    )


async def exported() -> dict[str, set[str]]:
    """Each metric that a running server exports, with its labels."""
    async with running_site(enablePrometheus=True) as site:
        peer = await site.client()
        await peer.register("p", remote_port=free_port())
        site.server.proxies["p"].count_open()
        site.count("p", 1, 1)
        lines = (await site.ask("/metrics")).body.decode().splitlines()
        site.server.proxies["p"].count_closed()
    found: dict[str, set[str]] = {}
    for line in lines:
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \d+", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


async def test_every_metric_and_label_is_exported() -> None:
    known = {name: labels | TARGET for name, labels in (await exported()).items()} | {"up": TARGET}
    used: set[str] = set()
    for expression in queries():
        selected, grouped = uses(expression)
        assert selected, expression
        for name, labels in selected:
            assert name in known, expression
            assert labels <= known[name], expression
            used.add(name)
        assert all(any(label in known[name] for name, _ in selected) for label in grouped), expression
    assert used == set(known)  # nothing that is exported is left out
    for query in variables():
        metric, matchers, asked = re.fullmatch(r"label_values\((\w+)(?:\{(.*)\})?, (\w+)\)", query).groups()  # type: ignore[union-attr]
        assert {asked, *re.findall(r"(\w+)=", matchers or "")} <= known[metric], query


def test_what_panels_show_is_there() -> None:
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            _, grouped = uses(target["expr"])
            asked = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert asked <= grouped | TARGET, panel["title"]
            variables = set(re.findall(r"\$(\w+)", target["expr"])) - {"__range", "__rate_interval"}
            assert variables <= names, panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_don_t_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_says_what_and_how_bad() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


# what alerts do, by the judgement of Prometheus

SERIES = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: up{{job="frps",instance="a"}}
        values: 1x30 0x30
      - series: frp_server_client_counts{{job="frps",instance="a"}}
        values: 10x29 10 5x29 5
      - series: frp_server_proxy_counts_detailed{{job="frps",instance="a",name="p",type="tcp"}}
        values: 1x30 0x30
      - series: frp_server_proxy_counts_detailed{{job="frps",instance="a",name="fine",type="tcp"}}
        values: 1x60
      - series: frp_server_proxy_counts_detailed{{job="frps",instance="a",name="gone for long",type="tcp"}}
        values: 0x60
    alert_rule_test:
      - {{eval_time: 20m, alertname: FrpsDown}}
      - eval_time: 40m
        alertname: FrpsDown
        exp_alerts:
          - exp_labels: {{severity: critical, job: frps, instance: a}}
            exp_annotations: {down}
      - {{eval_time: 20m, alertname: FrpsClientsLost}}
      - eval_time: 40m
        alertname: FrpsClientsLost
        exp_alerts:
          - exp_labels: {{severity: warning, job: frps, instance: a}}
            exp_annotations: {lost}
      - {{eval_time: 40m, alertname: FrpsNoClients}}
      - {{eval_time: 20m, alertname: FrpsProxyDown}}
      - eval_time: 40m
        alertname: FrpsProxyDown
        exp_alerts:
          - exp_labels: {{severity: warning, job: frps, instance: a, name: p, type: tcp}}
            exp_annotations: {proxy}
      - {{eval_time: 40m, alertname: FrpsProxyFlaps}}
"""


def said(alert: str, **values: str) -> str:
    rule = next(rule for rule in RULES if rule["alert"] == alert)
    filled = {}
    for key, text in rule["annotations"].items():
        for name, value in values.items():
            text = re.sub(r"\{\{ \$(labels\.)?" + name + r" \}\}", value, text)
        filled[key] = text
    return json.dumps(filled)


def test_alerts_are_raised_when_they_should_be(tmp_path: Path) -> None:
    promtool = program("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run([promtool, "check", "rules", str(FOLDER / "alerts.yml")], capture_output=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
    (tmp_path / "test.yml").write_text(
        SERIES.format(
            rules=json.dumps(str(FOLDER / "alerts.yml")),
            down=said("FrpsDown", instance="a"),
            lost=said("FrpsClientsLost", instance="a", value="5"),
            proxy=said("FrpsProxyDown", instance="a", name="p", type="tcp"),
        )
    )
    done = subprocess.run([promtool, "test", "rules", str(tmp_path / "test.yml")], capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
