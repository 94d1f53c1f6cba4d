"""Each alert asks for what there is, says what it means, fires when it should, and has its entry in the runbook."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import click
import promql_parser as promql
import pytest
import yaml
from compose_files import SERVICES
from tickstockpl.ops.cli.fleet.api_command import api
from tickstockpl.ops.cli.fleet.bridge_command import bridge
from tickstockpl.ops.cli.fleet.jobs_command import jobs
from tickstockpl.ops.cli.fleet.producer_command import producer
from tickstockpl.ops.cli.fleet.worker_command import worker

from ..expressions import PROMETHEUS, asked, known_series, labels_of, rules

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RULES = {each.where: each.expr for each in asked() if each.panel is None}
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
PROMTOOL = os.environ.get("TICKSTOCK_PROMTOOL") or shutil.which("promtool")


@pytest.fixture(scope="module")
def promtool():
    if not PROMTOOL:
        pytest.skip("no promtool in PATH, and TICKSTOCK_PROMTOOL names none")
    return lambda *arguments: subprocess.run(
        [PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )


def test_no_two_rules_have_one_name():
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_asks_for_series_and_labels_that_there_are(rule):
    labels_of(promql.parse(RULES[rule]), known_series())


def test_what_is_recorded_says_of_which_level_and_how_it_was_computed():
    recorded = [name for name in RULES if name not in ALERTS]
    assert all(re.fullmatch(r"fleet:tickstock_[a-z_]+:[a-z0-9_]+", name) for name in recorded)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_how_bad_it_is_since_when_and_what(alert):
    rule = ALERTS[alert]
    assert re.fullmatch(r"TickStock[A-Z][A-Za-z]+", alert)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+[sm]", rule["for"])
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    # A label that the result has not would be empty in the sentence.
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown == labels_of(promql.parse(rule["expr"]), known_series()) - {"job"} | (shown & {"job"})


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_its_entry_in_the_runbook(alert):
    assert ALERTS[alert]["annotations"]["runbook_url"] == f"docs/runbook.md#{alert.lower()}"
    entry = re.search(rf"^### {alert}\n(.*?)(?=^##|\Z)", RUNBOOK.read_text(), re.DOTALL | re.MULTILINE)
    assert entry, f"docs/runbook.md has no entry for {alert}"
    assert [word for word in ("**Means**", "**Look**", "**Do**") if word not in entry[1]] == []


def test_each_entry_of_the_runbook_has_its_alert():
    assert re.findall(r"^### (TickStock\w+)$", RUNBOOK.read_text(), re.MULTILINE) == list(ALERTS)


def test_each_alert_is_tried_where_it_fires_and_where_it_does_not():
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    tried = [each for test in tests for each in test["alert_rule_test"]]
    assert {each["alertname"] for each in tried if each["exp_alerts"]} == ALERTS.keys()
    assert {each["alertname"] for each in tried if not each["exp_alerts"]} == ALERTS.keys()


def test_promtool_finds_each_alert_fire_and_be_silent_as_it_should(promtool):
    ran = promtool("test", "rules", PROMETHEUS / "rules_test.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_finds_the_configuration_and_the_rules_right(promtool):
    ran = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_no_alert_counts_a_process_that_was_restarted_together_with_prometheus():
    """Its last figures would stay beside those of the new one, for as long as Prometheus looks back."""
    (look_back,) = [word for word in SERVICES["prometheus"]["command"] if "lookback-delta" in word]
    assert look_back == "--query.lookback-delta=30s"
    assert ALERTS["TickStockTwoBridgesSpeak"]["for"] == "1m"


def test_prometheus_scrapes_every_replica_of_each_service_on_its_usual_port():
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert config["rule_files"] == ["rules.yml"]
    scraped = {
        job["job_name"]: [(each["names"], each["type"], each["port"]) for each in job["dns_sd_configs"]]
        for job in config["scrape_configs"]
    }
    assert scraped == {
        "worker": [(["worker"], "A", 9101)],
        "producer": [(["producer"], "A", 9102)],
        "bridge": [(["bridge"], "A", 9103)],
        "jobs": [(["jobs"], "A", 9104)],
        "api": [(["api"], "A", 9105)],
    }


@pytest.mark.parametrize(
    ("command", "port"), [(worker, 9101), (producer, 9102), (bridge, 9103), (jobs, 9104), (api, 9105)]
)
def test_each_process_names_its_usual_port(command, port):
    said = command.get_help(click.Context(command))
    assert f"{command.name.removeprefix('tickstock-')} {port}" in re.sub(r"\s+", " ", said)
