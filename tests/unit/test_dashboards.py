"""The committed dashboards are what the code makes, and each of their expressions asks for what there is."""

import re
from pathlib import Path

import promql_parser as promql
import pytest
import yaml
from click.testing import CliRunner
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tickstockpl.db.metrics import ALL
from tickstockpl.ops.cli.tickstock_command import tickstock
from tickstockpl.ops.dashboards import dashboard_files

from ..expressions import OPS, OTHERWISE, as_sent, asked, dashboards, known_series, labels_of, panels

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
PANELS = panels()
FIGURES = {where: panel for where, panel in PANELS.items() if panel["type"] == "stat"}
PROVISIONING = OPS / "grafana" / "provisioning"


def test_the_committed_dashboards_are_what_the_code_makes():
    assert list(dashboard_files.differences(dashboard_files.FOLDER)) == []


def test_check_names_the_files_that_are_not_current(tmp_path):
    written = run("--out", tmp_path)
    assert sorted(written.stdout.split()) == sorted(str(file) for file in tmp_path.iterdir())
    assert run("--check", "--out", tmp_path).exit_code == 0
    (tmp_path / "tickstock-fleet.json").unlink()
    with (tmp_path / "tickstock-bridge.json").open("a") as file:
        file.write(" ")
    (tmp_path / "other.json").write_text("{}")
    checked = run("--check", "--out", tmp_path)
    assert checked.exit_code == 1
    assert checked.stderr.splitlines()[:-1] == [
        "other.json is not one of ours",
        "tickstock-bridge.json is not current",
        "tickstock-fleet.json is missing",
    ]


def test_without_grafana_s_sdk_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setattr("tickstockpl.ops.cli.fleet.dashboards_command.find_spec", lambda _: None)
    said = run("--check")
    assert said.exit_code == 2
    assert "[dashboards]'" in said.stderr


def run(*arguments):
    return CliRunner().invoke(tickstock, ["dashboards", *map(str, arguments)])


def test_grafana_s_own_model_reads_each_dashboard():
    register_default_plugins()
    for name, board in dashboards().items():
        assert Dashboard.from_json(board).uid == board["uid"] == name.removesuffix(".json")


def test_each_dashboard_has_an_address_of_its_own_and_each_panel_too():
    boards = dashboards().values()
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == 4
    for board in boards:
        numbers = [panel["id"] for panel in board["panels"]]
        assert numbers == list(range(1, len(numbers) + 1))


def test_no_two_panels_of_a_dashboard_lie_on_each_other():
    for name, board in dashboards().items():
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24
            assert not cells & taken, (name, panel["title"])
            taken |= cells


@pytest.mark.parametrize("where", PANELS)
def test_each_panel_says_what_it_shows_in_which_unit_and_what_is_unknown(where):
    panel = PANELS[where]
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert defaults["noValue"] == "unknown"
    in_columns = [each["properties"] for each in panel["fieldConfig"]["overrides"]]
    assert defaults.get("unit") or all(properties[0]["id"] == "unit" for properties in in_columns)
    assert {query["refId"] for query in panel["targets"]} == set("ABCDEFGH"[: len(panel["targets"])])


@pytest.mark.parametrize("where", FIGURES)
def test_a_figure_without_a_result_is_unknown_in_purple(where):
    panel = FIGURES[where]
    (query,) = panel["targets"]
    assert query["expr"].endswith(OTHERWISE)
    assert (query["instant"], query["range"]) == (True, False)
    assert panel["options"]["reduceOptions"]["calcs"] == ["last"]  # lastNotNull would show the number before a NaN
    unknown = {"match": "null+nan", "result": {"text": "unknown", "color": "purple", "index": 0}}
    assert panel["fieldConfig"]["defaults"]["mappings"][0] == {"type": "special", "options": unknown}
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    values = [step["value"] for step in steps[1:]]
    assert steps[0]["value"] is None
    assert values == sorted(set(values))


@pytest.mark.parametrize(
    "query", [each for each in asked() if each.panel], ids=lambda each: f"{each.where}: {each.expr}"
)
def test_each_expression_asks_for_series_and_labels_that_there_are(query):
    found = labels_of(promql.parse(as_sent(query.expr)), known_series())
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= found
    if query.panel["type"] == "timeseries" and "{{" not in query.legend:
        assert found == set(), "several lines under one name"


def test_each_choice_is_of_a_label_that_its_metric_has():
    known = known_series()
    choices = [v for board in dashboards().values() for v in board["templating"]["list"] if v["type"] == "query"]
    assert choices
    for choice in choices:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", choice["query"]).groups()
        assert label in known[metric]
        assert label == choice["name"]


def test_each_metric_of_ours_is_asked_for_somewhere():
    expressions = "\n".join(each.expr for each in asked())
    names = {described.name for metric in ALL for described in metric.describe()}
    assert {name for name in names if not re.search(rf"\b{name}(?:_total|_info|_bucket)?\b", expressions)} == set()


def test_the_runbook_speaks_of_panels_that_there_are():
    titles = {panel["title"] for board in dashboards().values() for panel in board["panels"]}
    spoken_of = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOK.read_text().replace("\n", " ")))
    assert len(spoken_of) > 5
    assert spoken_of - titles == set()


def test_the_alerts_are_marked_in_every_dashboard():
    known = known_series()
    for board in dashboards().values():
        (marks,) = board["annotations"]["list"]
        assert labels_of(promql.parse(marks["expr"]), known) >= {"alertname", "severity"}


def test_the_dashboards_are_provided_from_the_folder_that_they_are_mounted_in():
    found = yaml.safe_load((PROVISIONING / "dashboards" / "tickstock.yml").read_text())
    (provider,) = found["providers"]
    assert (found["apiVersion"], provider["type"], provider["allowUiUpdates"]) == (1, "file", False)
    assert provider["options"] == {"path": "/etc/grafana/dashboards"}


def test_the_data_source_is_asked_in_steps_that_prometheus_scrapes_in():
    found = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    (source,) = found["datasources"]
    assert (found["apiVersion"], source["type"], source["isDefault"]) == (1, "prometheus", True)
    scrapes = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrapes
