"""Every PromQL expression of ours, where it stands, and which labels its result has."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser as promql
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector
from tickstockpl import ops
from tickstockpl.db.metrics import ALL, BUILD

OPS = Path(ops.__file__).parent
PROMETHEUS = OPS / "prometheus"
DASHBOARDS = OPS / "grafana" / "dashboards"
OTHERWISE = " or on() vector(NaN)"  # what a figure is that has no result

_BUILD = {"version", "python", "component"}
_TARGET = {"job", "instance"}  # what a scrape adds
_ADDED: dict[str, dict[str, set[str]]] = {"counter": {"_total": set()}, "info": {"_info": set()}, "gauge": {"": set()}}
_ADDED["histogram"] = {"_bucket": {"le"}, "_count": set(), "_sum": set()}
_VARIABLES = {"$__rate_interval": "5m", "$partition": ".*"}


class Asked(NamedTuple):
    """An expression. where: to be found again; panel: the dashboard's panel, None for a rule."""

    where: str
    expr: str
    legend: str = ""
    panel: dict[str, Any] | None = None


@cache
def rules():
    """Return every rule of rules.yml, in its order."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards():
    """Return every dashboard that is committed, by its file's name."""
    return {file.name: json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))}


def panels():
    """Return every panel but the headings, by dashboard and title."""
    found = [(board["title"], panel) for board in dashboards().values() for panel in board["panels"]]
    return {f"{title} / {panel['title']} ({panel['id']})": panel for title, panel in found if panel["type"] != "row"}


def asked():
    """Return every expression of the rules, the dashboards' panels, and their variables."""
    of_rules = [Asked(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    of_panels = [
        Asked(where, query["expr"], query["legendFormat"], panel)
        for where, panel in panels().items()
        for query in panel["targets"]
    ]
    return of_rules + of_panels


def as_sent(expr):
    """Put values in the place of Grafana's variables."""
    for variable, value in _VARIABLES.items():
        expr = expr.replace(variable, value)
    return expr


@cache
def known_series():
    """Return the labels of every series that we show, that Prometheus makes of itself, and that our rules record."""
    known = {"up": _TARGET, "ALERTS": _TARGET | {"alertname", "alertstate", "severity"}}
    for described in ProcessCollector(registry=CollectorRegistry()).collect():
        known |= _series_of(described, set())
    for metric in ALL:
        labels = _BUILD if metric is BUILD else set(metric._labelnames)
        for described in metric.describe():
            known |= _series_of(described, labels)
    for rule in rules():
        if "record" in rule:
            known[rule["record"]] = labels_of(promql.parse(rule["expr"]), known)
    return known


def _series_of(metric, labels):
    return {f"{metric.name}{end}": labels | added | _TARGET for end, added in _ADDED[metric.type].items()}


def labels_of(expr, known):
    """Return the labels that a result can have. Fails where a series or a label is not known."""
    return _LABELS_OF[type(expr)](expr, known)


def _of_series(expr, known):
    assert expr.name in known, f"no process shows {expr.name}"
    for matcher in expr.matchers.matchers:
        assert matcher.name in known[expr.name], f"{expr.name} has no label {matcher.name}"
    return known[expr.name]


def _of_aggregate(expr, known):
    inner = labels_of(expr.expr, known)
    if expr.modifier is None:
        return set()
    assert expr.modifier.type == promql.AggModifierType.By, "say which labels stay"
    assert set(expr.modifier.labels) <= inner, f"{expr.modifier.labels} are not all in {sorted(inner)}"
    return set(expr.modifier.labels)


def _of_call(expr, known):
    found = set().union(*(labels_of(argument, known) for argument in expr.args))
    if expr.func.name == "histogram_quantile":
        assert "le" in found
        return found - {"le"}
    return set() if expr.func.name in {"absent", "vector"} else found


def _of_pair(expr, known):
    left, right = labels_of(expr.lhs, known), labels_of(expr.rhs, known)
    operator = str(expr.op)
    matching = expr.modifier.matching if expr.modifier else None
    if matching:
        assert set(matching.labels) <= left | right, f"{matching.labels}: {sorted(left)}, {sorted(right)}"
    if operator == "or":
        return left | right
    if operator == "and" or not right:
        return left
    if matching:
        brought = set(expr.modifier.group_labels or ())
        assert brought <= right
        return left | brought
    assert not left or left == right, f"{sorted(left)} is not matched by {sorted(right)}"
    return right


_LABELS_OF = {
    promql.VectorSelector: _of_series,
    promql.MatrixSelector: lambda expr, known: labels_of(expr.vector_selector, known),
    promql.ParenExpr: lambda expr, known: labels_of(expr.expr, known),
    promql.AggregateExpr: _of_aggregate,
    promql.Call: _of_call,
    promql.BinaryExpr: _of_pair,
    promql.NumberLiteral: lambda *_: set(),
}
